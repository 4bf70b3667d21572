// SPDX-License-Identifier: GPL-2.0-or-later
// The gateway's JSON, and which endpoint gets a request; see etcd_client.hpp. uint64 and int64 come as strings, bytes as base64, zero values not at all.
#include "toolstack/registry/etcd_client.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>
#include <thread>

#include "toolstack/base/text.hpp"
#include "toolstack/registry/etcd_http.hpp"

namespace blanket {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxJson = 64u << 20;
constexpr std::string_view kQuorumHint = "check that a majority of the etcd members (sites and witness) runs and that they reach each other: blanket federation show";

std::uint64_t number(const Json& object, std::string_view field) {
    if (!object.is_object()) return 0;
    const auto at = object.find(field);
    if (at == object.end()) return 0;
    if (at->is_number_unsigned()) return at->get<std::uint64_t>();
    if (!at->is_string()) return 0;
    return parse_number(at->get_ref<const std::string&>(), 0, std::numeric_limits<std::uint64_t>::max(), field).value_or(0);
}

const Json& child(const Json& object, std::string_view field) {
    static const Json kNone;
    if (!object.is_object()) return kNone;
    const auto at = object.find(field);
    return at == object.end() ? kNone : *at;
}

Result<EtcdKv> parse_kv(const Json& value) {
    EtcdKv kv;
    BLANKET_TRY(kv.key, base64_decode(json_string_or(value, "key", "")));
    BLANKET_TRY(kv.value, base64_decode(json_string_or(value, "value", "")));
    kv.mod_revision = number(value, "mod_revision");
    return kv;
}

std::vector<std::string> strings(const Json& list) {
    std::vector<std::string> out;
    if (list.is_array())
        for (const auto& item : list)
            if (item.is_string()) out.push_back(item.get<std::string>());
    return out;
}

// The key after all keys that start with `prefix`.
std::string prefix_end(std::string prefix) {
    ++prefix.back();  // our prefixes end with '/'
    return prefix;
}

// What etcd's refusals mean; the text is stable across 3.4 to 3.6 (api/v3rpc/rpctypes/error.go).
struct Refusal {
    std::string_view text;
    Kind kind;
    bool next;  // another endpoint may do it
};
constexpr std::array<Refusal, 16> kRefusals{{
    {"not supported for learner", Kind::kUnavailable, true},
    {"no leader", Kind::kUnavailable, true},
    {"not leader", Kind::kUnavailable, true},
    {"request timed out", Kind::kUnavailable, true},
    {"leader changed", Kind::kUnavailable, true},
    {"server stopped", Kind::kUnavailable, true},
    {"not capable", Kind::kUnavailable, true},
    {"too many requests", Kind::kUnavailable, true},
    {"unhealthy cluster", Kind::kUnavailable, true},
    {"re-configuration failed", Kind::kUnavailable, true},
    {"in sync with leader", Kind::kPrecondition, false},
    {"can only promote a learner member", Kind::kConflict, false},  // it votes already
    {"too many learner members", Kind::kConflict, false},
    {"already exist", Kind::kConflict, false},
    {"member not found", Kind::kNotFound, false},
    {"database space exceeded", Kind::kIo, false},
}};

struct Failure {
    Error error;
    bool next = false;
};

Failure failure_of(const EtcdReply& reply, const std::string& endpoint) {
    std::string text;
    if (const auto body = parse_json(reply.body, 1u << 20)) text = json_string_or(*body, "message", json_string_or(*body, "error", ""));
    if (text.empty()) text = std::format("HTTP {}", reply.status);
    Failure failure{{Kind::kInternal, std::format("etcd at {}: {}", endpoint, text), {}}, reply.status >= 500};
    if (reply.status == 503 || reply.status == 504) failure.error.kind = Kind::kUnavailable;
    for (const auto& refusal : kRefusals)
        if (text.find(refusal.text) != std::string::npos) {
            failure.error.kind = refusal.kind;
            failure.next = refusal.next;
            break;
        }
    if (failure.error.kind == Kind::kUnavailable) failure.error.hint = kQuorumHint;
    return failure;
}

}  // namespace

struct EtcdClient::State {
    std::chrono::milliseconds deadline;
    mutable std::mutex mutex;  // guards what follows
    std::vector<std::string> endpoints;
    std::shared_ptr<EtcdHttp> http;
    std::size_t preferred = 0;  // the endpoint that answered last
    std::stop_source streams;   // of the endpoints above: they end when others take their place

    struct View {
        std::vector<std::string> endpoints;
        std::shared_ptr<EtcdHttp> http;
        std::size_t first = 0;
        std::stop_token replaced;
    };
    View view() const {
        const std::scoped_lock lock(mutex);
        return {endpoints, http, preferred, streams.get_token()};
    }
    void prefer(const View& used, std::size_t index) {
        const std::scoped_lock lock(mutex);
        if (http == used.http && endpoints == used.endpoints) preferred = index;
    }

    // Asks the endpoints in turn until one answers or the deadline passes; a full turn without success waits a little.
    Result<Json> call(const std::string& path, const Json& body, bool* retried = nullptr) {
        const std::string text = body.dump(-1, ' ', false, Json::error_handler_t::replace);
        const View now = view();
        const auto until = Clock::now() + deadline;
        Error last{Kind::kUnavailable, "no etcd endpoint is known", "run blanket doctor"};
        auto pause = std::chrono::milliseconds(100);
        for (std::size_t turn = 0; !now.endpoints.empty(); ++turn) {
            const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
            if (left.count() <= 0) break;
            const std::size_t index = (now.first + turn) % now.endpoints.size();
            const std::string& endpoint = now.endpoints[index];
            // One endpoint of several gets no more than half of what is left, so that one that hangs does not cost everything.
            const auto share = now.endpoints.size() > 1 ? std::max(left / 2, std::chrono::milliseconds(200)) : left;
            auto reply = now.http->post(endpoint, path, text, std::min(share, left));
            if (reply && reply->status == 200) {
                prefer(now, index);
                return parse_json(reply->body, kMaxJson);
            }
            if (reply) {
                Failure failure = failure_of(*reply, endpoint);
                if (!failure.next) return std::unexpected(std::move(failure.error));
                last = std::move(failure.error);
            } else {
                last = std::move(reply).error();
                if (last.kind == Kind::kDenied || last.kind == Kind::kInvalid) return std::unexpected(std::move(last));
            }
            if (retried != nullptr) *retried = true;
            if ((turn + 1) % now.endpoints.size() == 0) {
                std::this_thread::sleep_for(pause);
                pause = std::min(pause * 2, std::chrono::milliseconds(1000));
            }
        }
        if (last.kind == Kind::kTimeout) last.kind = Kind::kUnavailable;
        if (last.hint.empty()) last.hint = kQuorumHint;
        return std::unexpected(std::move(last).context("the registry does not answer"));
    }
};

EtcdClient::EtcdClient(std::vector<std::string> endpoints, EtcdTls tls, std::chrono::milliseconds deadline) : state_(std::make_unique<State>()) {
    state_->deadline = deadline;
    configure(std::move(endpoints), std::move(tls));
}
EtcdClient::~EtcdClient() = default;

void EtcdClient::configure(std::vector<std::string> endpoints, EtcdTls tls) {
    auto http = std::make_shared<EtcdHttp>(std::move(tls));
    std::stop_source old;
    {
        const std::scoped_lock lock(state_->mutex);
        state_->endpoints = std::move(endpoints);
        state_->http = std::move(http);
        state_->preferred = 0;
        std::swap(old, state_->streams);
    }
    old.request_stop();  // a stream from a member that is gone, or cut off, may never end by itself
}

std::vector<std::string> EtcdClient::endpoints() const { return state_->view().endpoints; }

Result<std::optional<EtcdKv>> EtcdClient::get(const std::string& key, std::uint64_t revision) {
    Json request{{"key", base64_encode(key)}};
    if (revision != 0) request["revision"] = revision;
    BLANKET_TRY(const Json reply, state_->call("/v3/kv/range", request));
    const Json& kvs = child(reply, "kvs");
    if (!kvs.is_array() || kvs.empty()) return std::nullopt;
    BLANKET_TRY(EtcdKv kv, parse_kv(kvs.front()));
    return kv;
}

Result<EtcdRange> EtcdClient::range_prefix(const std::string& prefix) {
    BLANKET_TRY(const Json reply, state_->call("/v3/kv/range", {{"key", base64_encode(prefix)}, {"range_end", base64_encode(prefix_end(prefix))}}));
    EtcdRange range;
    range.revision = number(child(reply, "header"), "revision");
    const Json& kvs = child(reply, "kvs");
    if (kvs.is_array())
        for (const auto& item : kvs) {
            BLANKET_TRY(EtcdKv kv, parse_kv(item));
            range.kvs.push_back(std::move(kv));
        }
    return range;
}

Result<EtcdTxnReply> EtcdClient::txn(const std::vector<EtcdCompare>& compares, const std::vector<EtcdOp>& then) {
    Json compare = Json::array(), success = Json::array();
    for (const auto& [key, revision] : compares)
        compare.push_back({{"key", base64_encode(key)}, {"target", "MOD"}, {"result", "EQUAL"}, {"mod_revision", std::to_string(revision)}});
    for (const auto& [key, value] : then) {
        if (value) success.push_back({{"request_put", {{"key", base64_encode(key)}, {"value", base64_encode(*value)}}}});
        else success.push_back({{"request_delete_range", {{"key", base64_encode(key)}}}});
    }
    EtcdTxnReply result;
    BLANKET_TRY(const Json reply, state_->call("/v3/kv/txn", {{"compare", compare}, {"success", success}}, &result.retried));
    result.succeeded = json_bool_or(reply, "succeeded", false);
    result.revision = number(child(reply, "header"), "revision");
    return result;
}

Result<std::vector<EtcdMember>> EtcdClient::members() {
    BLANKET_TRY(const Json reply, state_->call("/v3/cluster/member/list", {{"linearizable", true}}));
    std::vector<EtcdMember> members;
    const Json& list = child(reply, "members");
    if (list.is_array())
        for (const auto& item : list)
            members.push_back({number(item, "ID"), json_string_or(item, "name", ""), strings(child(item, "peerURLs")), strings(child(item, "clientURLs")),
                               json_bool_or(item, "isLearner", false)});
    return members;
}

Result<std::uint64_t> EtcdClient::member_add(const std::string& peer_url, bool learner) {
    const auto reply = state_->call("/v3/cluster/member/add", {{"peerURLs", {peer_url}}, {"isLearner", learner}});
    if (reply) return number(child(*reply, "member"), "ID");
    if (reply.error().kind != Kind::kConflict) return std::unexpected(reply.error());
    // An earlier attempt whose answer was lost may have added it.
    BLANKET_TRY(const auto all, members());
    for (const auto& member : all)
        if (std::ranges::contains(member.peer_urls, peer_url) && member.name.empty() && member.learner == learner) return member.id;
    return std::unexpected(reply.error());
}

Result<void> EtcdClient::member_promote(std::uint64_t id) {
    const auto reply = state_->call("/v3/cluster/member/promote", {{"ID", std::to_string(id)}});
    if (reply || reply.error().kind == Kind::kConflict) return {};
    return std::unexpected(reply.error());
}

Result<void> EtcdClient::member_remove(std::uint64_t id) {
    const auto reply = state_->call("/v3/cluster/member/remove", {{"ID", std::to_string(id)}});
    if (reply || reply.error().kind == Kind::kNotFound) return {};
    return std::unexpected(reply.error());
}

Result<void> EtcdClient::member_update(std::uint64_t id, const std::string& peer_url) {
    BLANKET_CHECK(state_->call("/v3/cluster/member/update", {{"ID", std::to_string(id)}, {"peerURLs", {peer_url}}}));
    return {};
}

Result<EtcdStatus> EtcdClient::status(const std::string& endpoint) {
    const auto now = state_->view();
    BLANKET_TRY(const EtcdReply reply, now.http->post(endpoint, "/v3/maintenance/status", "{}", std::min<std::chrono::milliseconds>(state_->deadline, std::chrono::seconds(5))));
    if (reply.status != 200) return std::unexpected(failure_of(reply, endpoint).error);
    BLANKET_TRY(const Json body, parse_json(reply.body, 1u << 20));
    const Json& header = child(body, "header");
    return EtcdStatus{number(header, "member_id"), number(body, "leader"), number(header, "revision"), number(body, "raftIndex"), number(body, "dbSize"),
                      json_bool_or(body, "isLearner", false)};
}

Result<void> EtcdClient::move_leader(std::uint64_t member) {
    for (const auto& endpoint : endpoints()) {
        const auto now = status(endpoint);
        if (!now) continue;
        if (now->leader == member) return {};
        if (now->leader != now->member) continue;  // only the leader hands over
        const auto view = state_->view();
        BLANKET_TRY(const EtcdReply reply,
                    view.http->post(endpoint, "/v3/maintenance/transfer-leadership", Json{{"targetID", std::to_string(member)}}.dump(), state_->deadline));
        if (reply.status != 200) return std::unexpected(failure_of(reply, endpoint).error);
        return {};
    }
    return fail_hint(Kind::kUnavailable, "no etcd leader answers", std::string(kQuorumHint));
}

Result<void> EtcdClient::watch(const std::string& prefix, std::stop_token stop, const std::function<void(std::span<const EtcdEvent>)>& on_events) {
    const auto now = state_->view();
    if (now.endpoints.empty()) return fail(Kind::kUnavailable, "no etcd endpoint is known");
    const Json request{{"create_request", {{"key", base64_encode(prefix)}, {"range_end", base64_encode(prefix_end(prefix))}, {"progress_notify", true}}}};
    Result<void> outcome = fail(Kind::kUnavailable, "no etcd endpoint answers");
    std::stop_source either;
    const auto end = [&either] { either.request_stop(); };
    const std::stop_callback by_caller(stop, end);
    const std::stop_callback by_change(now.replaced, end);
    for (std::size_t turn = 0; turn < now.endpoints.size(); ++turn) {
        const std::size_t index = (now.first + turn) % now.endpoints.size();
        bool stood = false;
        outcome = now.http->stream(now.endpoints[index], "/v3/watch", request.dump(), either.get_token(), [&](std::string_view line) -> Result<void> {
            BLANKET_TRY(const Json message, parse_json(line, kMaxJson));
            const Json& result = child(message, "result");
            if (!result.is_object()) return fail(Kind::kUnavailable, "etcd refused the watch: {}", line.substr(0, 200));
            if (json_bool_or(result, "canceled", false)) return fail(Kind::kUnavailable, "etcd ended the watch");
            if (json_bool_or(result, "created", false)) {
                stood = true;
                on_events({});
            }
            std::vector<EtcdEvent> told;
            if (const Json& events = child(result, "events"); events.is_array())
                for (const Json& event : events) {
                    BLANKET_TRY(EtcdKv kv, parse_kv(child(event, "kv")));
                    told.push_back({std::move(kv), json_string_or(event, "type", "PUT") == "DELETE"});
                }
            if (!told.empty()) on_events(told);
            return {};
        });
        if (stood || either.stop_requested()) return outcome;
    }
    return outcome;
}

}  // namespace blanket
