// SPDX-License-Identifier: GPL-2.0-or-later
// A provider's Xen and a dom0 in memory, as far as blanket.c sees them: ports, grant frames, parameters, pages, the unplug protocol. Any call to the provider
// can be made to fail. Whatever blanket.c does that the real ones would not forgive is a wrong.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/hypercall/blanket-glue.h"

namespace blanket::hypercall {

struct FakeProvider {
    bool hardware_domain = true, enabled = true, owns_console = false;
    std::uint32_t delivery = XBLANKET_DELIVERY_VECTOR, processors = 2, max_grant_frames = 64;
    std::uint32_t store_port = 3;
    std::uint32_t offline = ~0u;                  // that processor is

    struct Port {
        bool masked = true;
        std::uint32_t remote = 0, vcpu = 0;
        unsigned sent = 0;
    };
    std::map<std::uint32_t, Port> ports;          // open, by number
    std::set<std::uint32_t> local;                // dom0's ends
    std::map<std::uint32_t, unsigned> notified;   // by local port
    std::map<std::uint32_t, std::uint64_t> grant; // index -> frame
    std::set<std::uint64_t> dom0_pages;           // that dom0 owns
    std::multiset<std::uint64_t> held;
    std::map<std::uint32_t, std::uint64_t> params;
    std::uint32_t local_next = 20, free_from = 1;
    std::size_t most_ports = 4096;
    unsigned locked = 0;
    std::vector<std::string> wrongs;
    int fail_in = -1;                             // the n-th call to the provider from now on fails
    bool fails_clean = true;                      // ... that puts a grant frame somewhere: before it has done anything
    long shut_down_for = -1;
    // The platform device.
    std::uint16_t magic = 0x49d2;
    std::uint8_t protocol = 1;
    bool refuses = false;
    std::uint32_t unplugged = 0;

    FakeProvider();
    ~FakeProvider();
    [[nodiscard]] long op(unsigned cmd, void* arg) const { return blanket_op(cmd, arg); }
    template <typename T>
    long call(unsigned cmd, T& arg) {
        return blanket_op(cmd, &arg);
    }
    xblanket_stats stats();
};

}  // namespace blanket::hypercall
