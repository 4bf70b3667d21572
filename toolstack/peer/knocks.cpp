// SPDX-License-Identifier: GPL-2.0-or-later
// See knocks.hpp.
#include "toolstack/peer/knocks.hpp"

#include <algorithm>
#include <fcntl.h>
#include <map>
#include <netinet/in.h>
#include <ranges>
#include <sys/socket.h>

namespace blanket {
namespace {

std::uint32_t address_of(int socket) {
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&from), &size) != 0 || from.ss_family != AF_INET) return 0;
    return ntohl(reinterpret_cast<const sockaddr_in*>(&from)->sin_addr.s_addr);
}

}  // namespace

Knocks::Ticket::~Ticket() { knocks_.leave(this); }

std::unique_ptr<Knocks::Ticket> Knocks::enter(int socket) {
    std::unique_ptr<Ticket> ticket(new Ticket(*this));
    One one{ticket.get(), address_of(socket), UniqueFd(::fcntl(socket, F_DUPFD_CLOEXEC, 0))};
    const std::scoped_lock lock(mutex_);
    if (over_) {
        ::shutdown(socket, SHUT_RDWR);
        return ticket;
    }
    std::map<std::uint32_t, std::size_t> of;
    for (const auto& other : all_) ++of[other.address];
    if (of[one.address] >= kMostOfOne) end(std::ranges::find(all_, one.address, &One::address));
    else if (all_.size() >= kMost) {
        const std::size_t most = std::ranges::max(of | std::views::values);
        end(std::ranges::find_if(all_, [&](const One& other) { return of[other.address] == most; }));
    }
    all_.push_back(std::move(one));
    return ticket;
}

void Knocks::end(std::list<One>::iterator at) {
    if (at == all_.end()) return;
    if (at->copy) ::shutdown(at->copy.get(), SHUT_RDWR);
    all_.erase(at);
}

void Knocks::leave(const Ticket* ticket) {
    const std::scoped_lock lock(mutex_);
    all_.remove_if([&](const One& one) { return one.ticket == ticket; });
}

void Knocks::end_all() {
    const std::scoped_lock lock(mutex_);
    over_ = true;
    for (const auto& one : all_)
        if (one.copy) ::shutdown(one.copy.get(), SHUT_RDWR);
    all_.clear();
}

std::size_t Knocks::count() const {
    const std::scoped_lock lock(mutex_);
    return all_.size();
}

}  // namespace blanket
