// SPDX-License-Identifier: GPL-2.0-or-later
// See switch_socket.hpp.
#include "net/switch_socket.hpp"

#include <array>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "net/openflow.hpp"
#include "toolstack/base/fd.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::net {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxReply = 64u << 20;

class Connection final {
public:
    static Result<Connection> open(const std::string& path, std::chrono::milliseconds deadline) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path.size() >= sizeof address.sun_path) return fail(Kind::kInvalid, "socket path '{}' is too long", path);
        std::memcpy(address.sun_path, path.data(), path.size());
        UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
            return fail_hint(Kind::kUnavailable, std::format("Open vSwitch does not answer at {}: {}", path, std::strerror(errno)), "systemctl status openvswitch-switch");
        return Connection(std::move(fd), path, Clock::now() + deadline);
    }
    Result<void> send(std::span<const std::byte> bytes) { return write_all(fd_.get(), bytes); }
    // At least one more byte into `text`.
    Result<void> receive(std::vector<std::byte>& into) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until_ - Clock::now()).count();
        pollfd wait{fd_.get(), POLLIN, 0};
        if (left <= 0 || ::poll(&wait, 1, static_cast<int>(std::min<long long>(left, 60'000))) <= 0) return fail(Kind::kTimeout, "{} did not answer in time", path_);
        std::array<std::byte, 16 * 1024> chunk;
        BLANKET_TRY(const std::size_t got, read_some(fd_.get(), chunk));
        if (got == 0) return fail(Kind::kIo, "{} closed the connection", path_);
        if (into.size() + got > kMaxReply) return fail(Kind::kIo, "{} answered more than {} bytes", path_, kMaxReply);
        into.insert(into.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(got));
        return {};
    }

private:
    Connection(UniqueFd fd, std::string path, Clock::time_point until) : fd_(std::move(fd)), path_(std::move(path)), until_(until) {}
    UniqueFd fd_;
    std::string path_;
    Clock::time_point until_;
};

Json select(const char* table, Json where, std::initializer_list<const char*> columns) {
    Json names = Json::array();
    for (const char* column : columns) names.push_back(column);
    return {{"op", "select"}, {"table", table}, {"where", std::move(where)}, {"columns", std::move(names)}};
}

// {"rows":[{column:value}]} -> {"headings":[...],"data":[[...]]}
Result<std::string> table_line(const Json& answer, const Json& columns) {
    if (!answer.is_object() || !answer.contains("rows") || !answer["rows"].is_array())
        return fail(Kind::kIo, "OVSDB refused a question: {}", answer.is_object() ? json_string_or(answer, "details", json_string_or(answer, "error", "no rows")) : "no rows");
    Json data = Json::array();
    for (const Json& row : answer["rows"]) {
        Json cells = Json::array();
        for (const auto& column : columns) {
            const auto cell = row.is_object() ? row.find(column.get_ref<const std::string&>()) : row.end();
            if (!row.is_object() || cell == row.end()) return fail(Kind::kIo, "OVSDB left out column '{}'", column.get_ref<const std::string&>());
            cells.push_back(*cell);
        }
        data.push_back(std::move(cells));
    }
    return Json{{"headings", columns}, {"data", std::move(data)}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string switch_folder() {
    const char* const folder = std::getenv("OVS_RUNDIR");
    return folder != nullptr && *folder != '\0' ? folder : "/run/openvswitch";
}

Result<void> send_bundle(const std::string& bridge, std::string_view lines, std::chrono::milliseconds deadline) {
    BLANKET_TRY(const Bundle bundle, encode_bundle(lines, 2));
    BLANKET_TRY(Connection connection, Connection::open(std::format("{}/{}.mgmt", switch_folder(), bridge), deadline));
    // All at once: the switch reads on after the greeting, or closes the connection when it speaks no version of ours. Waiting for its greeting costs another
    // round of its main loop.
    Bytes first = hello(1);
    first.insert(first.end(), bundle.lines.begin(), bundle.lines.end());
    BLANKET_CHECK(connection.send(first));
    std::vector<std::byte> input;
    for (;;) {
        while (input.size() >= kOpenFlowHead) {
            BLANKET_TRY(const OpenFlowHead head, parse_head(input));
            if (input.size() < head.length) break;
            const auto message = std::span<const std::byte>(input).first(head.length);
            if (head.type == OpenFlowType::kEchoRequest) BLANKET_CHECK(connection.send(echo_reply(message)));
            BLANKET_TRY(const BundleNews news, bundle_news(head, message.subspan(kOpenFlowHead), bundle));
            if (news == BundleNews::kTaken) BLANKET_CHECK(connection.send(bundle.commit));
            if (news == BundleNews::kCommitted) return {};
            input.erase(input.begin(), input.begin() + head.length);
        }
        BLANKET_CHECK(connection.receive(input));
    }
}

Result<std::string> read_tables(const std::string& bridge, std::chrono::milliseconds deadline) {
    const Json everything = Json::array();
    const Json questions{select("Bridge", Json::array({Json::array({"name", "==", bridge})}), {"_uuid", "name", "ports", "datapath_type", "fail_mode"}),
                         select("Port", everything, {"_uuid", "name", "interfaces"}),
                         select("Interface", everything, {"_uuid", "name", "type", "ofport", "external_ids", "options", "mac", "mtu_request", "error"})};
    Json params = Json::array({"Open_vSwitch"});
    for (const auto& question : questions) params.push_back(question);
    BLANKET_TRY(Connection connection, Connection::open(switch_folder() + "/db.sock", deadline));
    BLANKET_CHECK(connection.send(as_bytes(Json{{"method", "transact"}, {"params", params}, {"id", 1}}.dump())));
    // One question is open, and we never answer an echo in so short a time: the first complete value is the answer.
    std::vector<std::byte> input;
    for (std::string_view text; !Json::accept(text);) {
        BLANKET_CHECK(connection.receive(input));
        text = std::string_view(reinterpret_cast<const char*>(input.data()), input.size());
        if (!text.ends_with('}')) text = {};  // cannot be complete: spares the parser
    }
    BLANKET_TRY(const Json reply, parse_json(std::string_view(reinterpret_cast<const char*>(input.data()), input.size()), kMaxReply));
    const auto result = reply.find("result");
    if (result == reply.end() || !result->is_array() || result->size() < questions.size()) return fail(Kind::kIo, "OVSDB answered {} of {} questions", result == reply.end() ? 0 : result->size(), questions.size());
    std::string out;
    for (std::size_t i = 0; i < questions.size(); ++i) {
        BLANKET_TRY(const std::string line, table_line((*result)[i], questions[i]["columns"]));
        out += line + '\n';
    }
    return out;
}

}  // namespace blanket::net
