// SPDX-License-Identifier: GPL-2.0-or-later
// See switch_socket.hpp.
#include "net/switch_socket.hpp"

#include <array>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>

#include "net/openflow.hpp"
#include "toolstack/base/fd.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::net {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxReply = 64u << 20;
constexpr auto kConnectPoll = std::chrono::milliseconds(5);

class Connection final {
public:
    static Result<Connection> open(const std::string& path, std::chrono::milliseconds deadline) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path.size() >= sizeof address.sun_path) return fail(Kind::kInvalid, "socket path '{}' is too long", path);
        std::memcpy(address.sun_path, path.data(), path.size());
        const auto until = Clock::now() + deadline;
        UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        while (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            if (!fd || errno != EAGAIN || Clock::now() >= until)
                return fail_hint(Kind::kUnavailable, std::format("Open vSwitch does not answer at {}: {}", path, std::strerror(errno)), "systemctl status openvswitch-switch");
            std::this_thread::sleep_for(kConnectPoll);  // its queue of callers is full
        }
        return Connection(std::move(fd), path, until);
    }
    // What is answered meanwhile comes into `heard`: a switch that waits until somebody takes its answers reads no more.
    Result<void> send(std::span<const std::byte> bytes, std::vector<std::byte>& heard) {
        while (!bytes.empty()) {
            BLANKET_TRY(const short ready, wait(POLLIN | POLLOUT));
            if ((ready & POLLIN) != 0) BLANKET_CHECK(take(heard));
            if ((ready & POLLOUT) == 0) continue;
            const auto sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN && errno != EINTR) return fail(Kind::kIo, "{}: {}", path_, std::strerror(errno));
            if (sent > 0) bytes = bytes.subspan(static_cast<std::size_t>(sent));
        }
        return {};
    }
    // At least one more byte.
    Result<void> receive(std::vector<std::byte>& heard) {
        BLANKET_CHECK(wait(POLLIN));
        return take(heard);
    }

private:
    Connection(UniqueFd fd, std::string path, Clock::time_point until) : fd_(std::move(fd)), path_(std::move(path)), until_(until) {}
    Result<short> wait(short events) {
        for (;;) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(until_ - Clock::now()).count();
            if (left <= 0) return fail(Kind::kTimeout, "{} did not answer in time", path_);
            pollfd item{fd_.get(), events, 0};
            const int count = ::poll(&item, 1, static_cast<int>(std::min<long long>(left, 60'000)));
            if (count < 0 && errno != EINTR) return fail(Kind::kIo, "{}: {}", path_, std::strerror(errno));
            if (count > 0) return (item.revents & (POLLERR | POLLHUP)) != 0 ? static_cast<short>(item.revents | events) : item.revents;  // reading or sending tells what it is
        }
    }
    Result<void> take(std::vector<std::byte>& heard) {
        std::array<std::byte, 16 * 1024> chunk;
        BLANKET_TRY(const std::size_t got, read_some(fd_.get(), chunk));
        if (got == 0) return fail(Kind::kIo, "{} closed the connection", path_);
        if (heard.size() + got > kMaxReply) return fail(Kind::kIo, "{} answered more than {} bytes", path_, kMaxReply);
        heard.insert(heard.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(got));
        return {};
    }
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
    std::vector<std::byte> input;
    BLANKET_CHECK(connection.send(first, input));
    for (;;) {
        while (input.size() >= kOpenFlowHead) {
            BLANKET_TRY(const OpenFlowHead head, parse_head(input));
            if (input.size() < head.length) break;
            const Bytes message(input.begin(), input.begin() + head.length);  // a copy: sending reads more into `input`
            input.erase(input.begin(), input.begin() + head.length);
            if (head.type == OpenFlowType::kEchoRequest) BLANKET_CHECK(connection.send(echo_reply(message), input));
            BLANKET_TRY(const BundleNews news, bundle_news(head, std::span(message).subspan(kOpenFlowHead), bundle));
            if (news == BundleNews::kTaken) BLANKET_CHECK(connection.send(bundle.commit, input));
            if (news == BundleNews::kCommitted) return {};
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
    std::vector<std::byte> input;
    BLANKET_CHECK(connection.send(as_bytes(Json{{"method", "transact"}, {"params", params}, {"id", 1}}.dump()), input));
    // One question is open, and we never answer an echo in so short a time: the first complete value is the answer.
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
