// SPDX-License-Identifier: GPL-2.0-or-later
// See link_session.hpp.
#include "toolstack/migrate/link_session.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"
#include "toolstack/migrate/protocol.hpp"

namespace blanket::migrate {
namespace {

using namespace std::chrono_literals;
constexpr auto kAgree = 60s;         // as other answers of a slow host
constexpr auto kResumeAnswer = 10s;
constexpr auto kMargin = 15s;        // the target waits longer: the source decides
constexpr std::size_t kIdBytes = 16, kSecretBytes = 32;

bool same_secret(std::string_view a, std::string_view b) {  // takes as long for any two of one length
    if (a.size() != b.size()) return false;
    unsigned difference = 0;
    for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
    return difference == 0;
}

Result<ResumableLink::Again> take_up(const Dial& dial, const Json& request) {
    BLANKET_TRY(auto link, dial());
    BLANKET_CHECK(send_json(*link, Type::kResumeLink, request));
    BLANKET_TRY(const Message answer, link->receive(kResumeAnswer));
    ResumableLink::Again again;
    const auto body = payload_json(answer);
    const auto type = static_cast<Type>(answer.type);
    if (type == Type::kError && body) {
        Error error = error_from_json(*body);
        if (error.kind == Kind::kUnavailable) return std::unexpected(std::move(error));
        again.refused = std::move(error);
        return again;
    }
    const auto number = body ? json_number(*body, "taken") : Result<std::uint64_t>(std::unexpected(body.error()));
    if (type != Type::kLinkResumed || !number) {
        again.refused = Error{Kind::kInvalid, std::format("site '{}' answered '{}'", link->peer(), to_string(type)), {}};
        return again;
    }
    again.taken = *number;
    again.link = std::move(link);
    return again;
}

}  // namespace

Result<std::unique_ptr<ResumableLink>> open_session(const Dial& first, const Dial& again, ResumableLink::Options options) {
    BLANKET_TRY(auto link, first());
    const unsigned wished = std::clamp(options.streams, 1u, kMostStreams);
    Json wish{{"patience_ms", static_cast<std::uint64_t>(std::max<std::int64_t>(options.times.patience.count(), 0))}};
    if (wished > 1) wish["streams"] = wished;
    BLANKET_CHECK(send_json(*link, Type::kHello, {{"version", kProtocolVersion}, {"session", wish}}));
    BLANKET_TRY(const Json hello, expect(*link, Type::kHello, kAgree));
    if (const auto version = json_number_or(hello, "version", 0); version != kProtocolVersion)
        return fail_hint(Kind::kPrecondition, std::format("site '{}' speaks migration protocol {}, this site {}", link->peer(), version, kProtocolVersion),
                         "bring both sites to the same version of blanketd");
    const Json session = hello.value("session", Json::object());
    BLANKET_TRY(const std::string id, json_string(session, "id"));
    BLANKET_TRY(const std::string secret, json_string(session, "secret"));
    if (id.size() != 2 * kIdBytes || secret.size() != 2 * kSecretBytes) return fail(Kind::kInvalid, "site '{}' offers a session that is none", link->peer());
    const std::uint64_t agreed = json_number_or(session, "streams", 1);
    if (agreed < 1 || agreed > wished) return fail(Kind::kInvalid, "site '{}' offers {} connections where {} were wished", link->peer(), agreed, wished);
    options.streams = static_cast<unsigned>(agreed);
    options.again = [again, id, secret, agreed](unsigned stream, std::uint64_t taken) {
        Json request{{"id", id}, {"secret", secret}, {"taken", taken}};
        if (agreed > 1) request["stream"] = stream;
        return take_up(again, request);
    };
    return std::make_unique<ResumableLink>(std::move(link), std::move(options));
}

bool LinkSessions::asks(const Message& first) {
    if (static_cast<Type>(first.type) != Type::kHello) return false;
    const auto body = payload_json(first);
    return body && body->contains("session") && json_number_or(*body, "version", 0) == kProtocolVersion;
}

Result<std::shared_ptr<LinkSessions::Session>> LinkSessions::open(std::unique_ptr<PeerLink> link, const Message& hello, ResumableLink::Options options, std::function<bool()> unwanted) {
    BLANKET_TRY(const Json body, payload_json(hello));
    const Json wish = body.value("session", Json::object());
    constexpr auto kMostMs = static_cast<std::uint64_t>(std::chrono::milliseconds(kMostPatience).count());
    const std::uint64_t wished = wish.is_object() ? json_number_or(wish, "patience_ms", 0) : 0;
    options.times.patience = std::chrono::milliseconds(std::min(wished, kMostMs)) + kMargin;
    options.again = {};
    const std::uint64_t streams = wish.is_object() ? json_number_or(wish, "streams", 1) : 1;
    // The peer may come back on another connection as soon as it has been told, so it is known before that.
    const auto session = std::make_shared<Session>(Session{.id = random_hex(kIdBytes), .secret = random_hex(kSecretBytes), .peer = link->peer(), .unwanted = std::move(unwanted), .link = {}});
    {
        const std::scoped_lock lock(mutex_);
        if (ended_ || sessions_.size() >= kMost) {
            auto busy = fail_hint(Kind::kUnavailable, ended_ ? std::string("this site's blanketd stops") : std::format("{} VMs come in here already", sessions_.size()), "try again in a moment");
            (void)send_error(*link, busy.error());
            return busy;
        }
        options.streams = session->streams = grant(streams, options.streams);
        sessions_.emplace(session->id, session);
    }
    Json offer{{"id", session->id}, {"secret", session->secret}};
    if (options.streams > 1) offer["streams"] = options.streams;
    if (auto told = send_json(*link, Type::kHello, {{"version", kProtocolVersion}, {"session", offer}}); !told) {
        close(*session);
        return std::unexpected(std::move(told).error());
    }
    auto resumable = std::make_unique<ResumableLink>(std::move(link), std::move(options));
    const std::scoped_lock lock(mutex_);
    session->link = std::move(resumable);
    if (ended_) session->link->shutdown();
    return session;
}

// Under the mutex. What is left is shared: a session that comes to a crowd has fewer, and never none.
unsigned LinkSessions::grant(std::uint64_t wished, unsigned most) const {
    std::size_t given = 0;
    for (const auto& [id, session] : sessions_) given += session->streams;
    const std::size_t left = kMostConnections - std::min(kMostConnections, given + kMost - sessions_.size() - 1);
    return static_cast<unsigned>(std::clamp<std::uint64_t>(std::min<std::uint64_t>({wished, most, kMostStreams, left}), 1, kMostStreams));
}

void LinkSessions::close(const Session& session) {
    const std::scoped_lock lock(mutex_);
    sessions_.erase(session.id);
}

// One answer for all that is wrong: a stranger learns nothing of what there is.
Result<std::shared_ptr<LinkSessions::Session>> LinkSessions::find(const PeerLink& link, const Json& request) const {
    BLANKET_TRY(const std::string id, json_string(request, "id"));
    BLANKET_TRY(const std::string secret, json_string(request, "secret"));
    const std::scoped_lock lock(mutex_);
    const auto at = sessions_.find(id);
    if (at == sessions_.end() || at->second->peer != link.peer() || !same_secret(at->second->secret, secret)) return fail(Kind::kNotFound, "it knows no such session");
    if (!at->second->link) return fail(Kind::kUnavailable, "the session is only just being made");
    return at->second;
}

Result<void> LinkSessions::resume(std::unique_ptr<PeerLink> link, const Message& request) {
    const auto serve = [&]() -> Result<void> {
        BLANKET_TRY(const Json body, payload_json(request));
        BLANKET_TRY(const std::uint64_t taken, json_number(body, "taken"));
        BLANKET_TRY(const auto session, find(*link, body));
        if (session->unwanted && session->unwanted()) return fail(Kind::kCancelled, "its record no longer says that the VM comes here");
        return session->link->adopt(link, json_number_or(body, "stream", 0), taken, [](PeerLink& peer, std::uint64_t own) { return send_json(peer, Type::kLinkResumed, {{"taken", own}}); });
    };
    auto done = serve();
    if (!done && link) (void)send_error(*link, done.error());
    return done;
}

void LinkSessions::end_all() {
    const std::scoped_lock lock(mutex_);
    ended_ = true;
    for (const auto& [id, session] : sessions_)
        if (session->link) session->link->shutdown();  // else open() does it
}

std::size_t LinkSessions::count() const {
    const std::scoped_lock lock(mutex_);
    return sessions_.size();
}

}  // namespace blanket::migrate
