// SPDX-License-Identifier: GPL-2.0-or-later
// Connections of those who have not shown yet who they are: a few in all and a few of each address. When there are too many, the oldest of whoever has the most is
// ended, so that nobody keeps others out by holding connections open. Used by channel_listener and rest_tls. Thread safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>

#include "toolstack/base/fd.hpp"

namespace blanket {

class Knocks final {
public:
    static constexpr std::size_t kMost = 32, kMostOfOne = 16;           // a site's connections come at once when a cut heals: one for each move
    static constexpr auto kHandshake = std::chrono::seconds(10);        // TLS, from the first byte to the last: a path that loses packets, a busy machine

    // The connection is one of them as long as this lives.
    class Ticket {
    public:
        ~Ticket();
        Ticket(const Ticket&) = delete;
        Ticket& operator=(const Ticket&) = delete;

    private:
        friend class Knocks;
        explicit Ticket(Knocks& knocks) : knocks_(knocks) {}
        Knocks& knocks_;
    };

    // `socket` stays the caller's; when it is to end, it is shut down by a copy of the descriptor. Never null.
    std::unique_ptr<Ticket> enter(int socket);
    void end_all();  // those that are there, and whoever comes later: the listener ends
    [[nodiscard]] std::size_t count() const;

private:
    struct One {
        const Ticket* ticket = nullptr;
        std::uint32_t address = 0;
        UniqueFd copy;
    };
    void leave(const Ticket* ticket);
    void end(std::list<One>::iterator at);  // mutex_ is held
    mutable std::mutex mutex_;
    std::list<One> all_;  // the oldest first
    bool over_ = false;
};

}  // namespace blanket
