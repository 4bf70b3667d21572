// SPDX-License-Identifier: GPL-2.0-or-later
// meter: tells whoever connects how long each domain of this Xen has run so far, "ID NANOSECONDS" a line. Runs in the provider's dom0, or in the one inside; the probe asks it around what
// it measures (probe_meter.cpp). One process that stays: an answer costs a hypercall and a connection.
#include <array>
#include <cstdio>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

extern "C" {
#include <xenctrl.h>
}

#include "tests/vm/uplink_rig/pattern.hpp"

int main() {
    xc_interface* const xc = xc_interface_open(nullptr, nullptr, 0);
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_port = htons(blanket::rig::kMeterPort);
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (xc == nullptr || ::bind(listener, reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 || ::listen(listener, 8) != 0) {
        std::perror("meter");
        return 1;
    }
    for (;;) {
        const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        constexpr unsigned kMost = 64;
        std::array<xc_domaininfo_t, kMost> all{};
        const int count = xc_domain_getinfolist(xc, 0, kMost, all.data());
        std::string text;
        for (int i = 0; i < count; ++i) {
            const auto& one = all[static_cast<std::size_t>(i)];
            text += std::to_string(one.domain) + " " + std::to_string(one.cpu_time) + "\n";
        }
        if (::send(fd, text.data(), text.size(), MSG_NOSIGNAL) < 0) std::perror("meter: send");
        ::close(fd);
    }
}
