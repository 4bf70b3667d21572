// SPDX-License-Identifier: GPL-2.0-or-later
// See peers.hpp.
#include "toolstack/daemon/peers.hpp"

#include <optional>

#include "toolstack/base/log.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/migrate/image_transfer.hpp"
#include "toolstack/migrate/target.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {
namespace {

constexpr auto kCall = std::chrono::seconds(60);
constexpr auto kFirst = std::chrono::seconds(30);
constexpr auto kClaim = std::chrono::milliseconds(10'000), kClaimPoll = std::chrono::milliseconds(100);

// Gives the first message back before the rest: the connection's first word decides who serves it.
class Replay final : public PeerLink {
public:
    Replay(PeerLink& link, Message first) : link_(link), first_(std::move(first)) {}
    Result<void> send(std::uint32_t type, std::span<const std::byte> payload) override { return link_.send(type, payload); }
    Result<Message> receive(std::chrono::milliseconds deadline) override {
        if (!first_) return link_.receive(deadline);
        Message message = std::move(*first_);
        first_.reset();
        return message;
    }
    std::uint64_t bytes_sent() const override { return link_.bytes_sent(); }
    std::uint64_t bytes_received() const override { return link_.bytes_received(); }
    const std::string& peer() const override { return link_.peer(); }
    void shutdown() override { link_.shutdown(); }

private:
    PeerLink& link_;
    std::optional<Message> first_;
};

Result<void> serve_image(App& app, PeerLink& link, const Message& request) {
    BLANKET_TRY(const Json body, migrate::payload_json(request));
    return migrate::serve_image(link, app.blocks, body);
}

}  // namespace

Result<std::unique_ptr<PeerLink>> TlsNeighbours::link(const Site& site, std::chrono::milliseconds deadline) {
    BLANKET_TRY(const TlsContext tls, federation_.tls());
    auto channel = Channel::connect(tls, address(site), kStreamPort, site.name, deadline);
    if (!channel) return std::unexpected(std::move(channel).error().context(std::format("reaching site '{}'", site.name)));
    return std::make_unique<ChannelLink>(std::move(*channel));
}

Result<Json> TlsNeighbours::call(const Site& site, const std::string& method, const std::string& path, const Json* body) {
    BLANKET_TRY(const TlsContext tls, federation_.tls());
    return RestClient::site(tls, address(site), kRestPort, site.name).call_ok(method, path, body, kCall);
}

namespace {

// What the threads of a link ask about its move. The target leaves before it goes.
class Coming final {
public:
    void is(const migrate::Target* target) {
        const std::scoped_lock lock(mutex_);
        target_ = target;
    }
    bool taken_back() {
        const std::scoped_lock lock(mutex_);
        return target_ != nullptr && target_->taken_back();
    }

private:
    std::mutex mutex_;
    const migrate::Target* target_ = nullptr;
};

void receive_vm(App& app, PeerLink& link, const std::function<bool()>& stopping, Coming& move) {
    std::unique_ptr<Claimed> claim;  // while it comes in, neither a job nor the reconciler touches it here
    const auto coming = [&](const std::string& vm) -> Result<void> {
        for (auto left = kClaim; !(claim = app.jobs.claim("vm/" + vm)); left -= kClaimPoll) {
            if (left <= kClaimPoll || stopping()) return fail_hint(Kind::kConflict, std::format("site '{}' is at work on VM '{}'", app.site, vm), "try again in a moment");
            app.clock.sleep(kClaimPoll);
        }
        return {};
    };
    migrate::Target target(app, link, app.site, stopping, coming, app.store);
    move.is(&target);
    const auto served = target.serve();
    move.is(nullptr);
    if (!served) {
        log::warning("migrate", "VM {} from '{}': {}", target.subject(), link.peer(), served.error().what);
        app.events.add("vm", target.subject().empty() ? "?" : target.subject(), std::format("not taken from '{}': {}", link.peer(), served.error().what));
    }
    (void)app.world.refresh();
}

void receive_over_session(App& app, migrate::LinkSessions& sessions, std::unique_ptr<PeerLink> link, const Message& hello, const std::function<bool()>& stopping) {
    const auto move = std::make_shared<Coming>();
    const std::string peer = link->peer();
    migrate::ResumableLink::Options options;
    options.streams = migrate::kMostStreams;
    options.ended = [move, stopping] { return stopping() || move->taken_back(); };
    options.lost = [peer](const migrate::LinkLoss& loss) {
        if (loss.lost_ms < 0) log::info("migrate", "the link from '{}' is back after {} ms", peer, loss.was_ms);
        else if (loss.lost_ms < 1000) log::warning("migrate", "the link from '{}' is lost: {}", peer, loss.why);
    };
    const auto session = sessions.open(std::move(link), hello, std::move(options), [move] { return move->taken_back(); });
    if (!session) {
        log::warning("migrate", "from '{}': {}", peer, session.error().what);
        return;
    }
    receive_vm(app, *(*session)->link, stopping, *move);
    (*session)->link->close();  // first: it may be taken up once more to hear the end
    sessions.close(**session);
}

}  // namespace

void serve_channel(App& app, migrate::LinkSessions& sessions, std::unique_ptr<PeerLink> link, const std::function<bool()>& stopping) {
    auto first = link->receive(kFirst);
    if (!first) return;
    const auto type = static_cast<migrate::Type>(first->type);
    if (type == migrate::Type::kFetchImage) {
        if (auto served = serve_image(app, *link, *first); !served) {
            log::warning("image", "for '{}': {}", link->peer(), served.error().what);
            (void)migrate::send_error(*link, served.error());
        }
    } else if (type == migrate::Type::kResumeLink) {
        const std::string peer = link->peer();
        if (const auto served = sessions.resume(std::move(link), *first); !served) log::warning("migrate", "a link from '{}' does not go on: {}", peer, served.error().what);
    } else if (migrate::LinkSessions::asks(*first)) {
        receive_over_session(app, sessions, std::move(link), *first, stopping);
    } else {  // another version of the protocol, most likely: it is told so
        Replay replay(*link, std::move(*first));
        Coming nobody_asks;
        receive_vm(app, replay, stopping, nobody_asks);
    }
}

}  // namespace blanket
