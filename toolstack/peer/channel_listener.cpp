// SPDX-License-Identifier: GPL-2.0-or-later
// The accepting side of channels; see channel.hpp.
#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <list>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include "toolstack/base/log.hpp"
#include "toolstack/peer/knocks.hpp"
#include "toolstack/peer/wire.hpp"

namespace blanket {

struct ChannelListener::State {
    struct Worker {
        std::atomic<bool> done = false;
        std::mutex mutex;
        std::weak_ptr<Channel::Wire> wire;  // present while the handler holds the channel
        bool stopping = false;
        std::jthread thread;
    };

    std::mutex identity;
    TlsContext tls;  // under identity
    UniqueFd socket, wake;
    Handler handler;
    std::size_t limit = 0;
    std::uint16_t port = 0;
    Knocks knocks;                       // handshakes; they do not count against the limit
    std::atomic<std::size_t> open = 0;  // channels
    std::list<Worker> workers;  // touched by the accepting thread, and by stop() after it has ended
    std::jthread acceptor;

    void work(Worker& worker, UniqueFd connection, std::unique_ptr<Knocks::Ticket> ticket) {
        const auto now = [this] {
            const std::scoped_lock lock(identity);
            return tls;
        };
        auto channel = Channel::accept(now(), std::move(connection), Knocks::kHandshake);
        ticket.reset();
        if (!channel) {
            log::warning("channel", "refused a connection: {}", channel.error().what);
        } else if ((*channel)->role() == kWitnessRole) {
            log::warning("channel", "refused a connection of '{}': a witness takes no part in moves", (*channel)->peer());
        } else if (++open > limit) {
            --open;
            log::warning("channel", "refused a connection of '{}': {} are open already", (*channel)->peer(), limit);
        } else {
            {
                const std::scoped_lock lock(worker.mutex);
                worker.wire = (*channel)->wire_;
                if (worker.stopping) (*channel)->shutdown();
            }
            handler(std::move(*channel));
            --open;
        }
        worker.done = true;
    }

    void loop(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            std::array<pollfd, 2> polls{pollfd{socket.get(), POLLIN, 0}, pollfd{wake.get(), POLLIN, 0}};
            if (::poll(polls.data(), polls.size(), -1) < 0 || (polls[0].revents & POLLIN) == 0) continue;
            UniqueFd connection(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
            if (!connection) {  // out of descriptors, or the client left: do not spin
                std::this_thread::sleep_for(std::chrono::milliseconds(20));
                continue;
            }
            workers.remove_if([](const Worker& worker) { return worker.done.load(); });
            if (open >= limit) {
                log::warning("channel", "refused a connection: {} are open already", limit);
                continue;
            }
            auto ticket = knocks.enter(connection.get());
            Worker& worker = workers.emplace_back();
            worker.thread = std::jthread([this, &worker, fd = std::move(connection), ticket = std::move(ticket)]() mutable { work(worker, std::move(fd), std::move(ticket)); });
        }
    }
};

ChannelListener::ChannelListener(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChannelListener::~ChannelListener() { stop(); }

Result<std::unique_ptr<ChannelListener>> ChannelListener::create(const TlsContext& tls, const std::string& address, std::uint16_t port, Handler handler,
                                                                 std::size_t limit) {
    auto state = std::make_unique<State>();
    state->tls = tls;
    state->handler = std::move(handler);
    state->limit = limit;
    BLANKET_TRY(state->socket, listen_tcp(address, port));
    state->wake = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!state->wake) return fail_errno("eventfd", "listener");
    sockaddr_in bound{};
    socklen_t size = sizeof bound;
    if (::getsockname(state->socket.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) return fail_errno("getsockname", address);
    state->port = ntohs(bound.sin_port);
    State& inner = *state;
    state->acceptor = std::jthread([&inner](const std::stop_token& stop) { inner.loop(stop); });
    return std::unique_ptr<ChannelListener>(new ChannelListener(std::move(state)));
}

std::uint16_t ChannelListener::port() const { return state_->port; }

void ChannelListener::use(const TlsContext& tls) {
    const std::scoped_lock lock(state_->identity);
    state_->tls = tls;
}

void ChannelListener::stop() {
    if (!state_->acceptor.joinable()) return;
    state_->acceptor.request_stop();
    ::eventfd_write(state_->wake.get(), 1);
    state_->acceptor.join();
    state_->knocks.end_all();
    for (auto& worker : state_->workers) {
        const std::scoped_lock lock(worker.mutex);
        worker.stopping = true;
        if (const auto wire = worker.wire.lock()) wire->shutdown();
    }
    state_->workers.clear();  // joins
    state_->socket.reset();
}

}  // namespace blanket
