// SPDX-License-Identifier: GPL-2.0-or-later
// The hypervisor's xblanket_op in user space: who may call, what is refused, and that nothing is ever left behind, whatever fails and whatever dom0 says.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <random>
#include <utility>

#include "tests/unit/hypercall/fake_provider.hpp"

namespace blanket::hypercall {
namespace {

xblanket_evtchn_bind unbound(std::uint32_t remote = 0, std::uint32_t processor = 0) {
    xblanket_evtchn_bind bind{};
    bind.kind = XBLANKET_BIND_UNBOUND;
    bind.remote = remote;
    bind.processor = processor;
    return bind;
}

// The layout is an interface: dom0's modules and the hypervisor may be of different versions.
TEST(XblanketAbi, FieldsStayWhereTheyAre) {
    const auto in_order = [](std::initializer_list<std::size_t> offsets, std::size_t width, std::size_t first = 0) {
        for (const std::size_t offset : offsets) EXPECT_EQ(offset, std::exchange(first, first + width));
    };
    using Query = xblanket_query;
    in_order({offsetof(Query, abi_major), offsetof(Query, abi_minor), offsetof(Query, provider), offsetof(Query, provider_version), offsetof(Query, delivery), offsetof(Query, max_ports),
              offsetof(Query, max_grant_frames), offsetof(Query, mapped_grant_frames), offsetof(Query, processors), offsetof(Query, unplugged), offsetof(Query, reserved)}, 4);
    in_order({offsetof(xblanket_param, index), offsetof(xblanket_param, reserved), offsetof(xblanket_param, value)}, 4);
    in_order({offsetof(xblanket_gnttab_map, first), offsetof(xblanket_gnttab_map, count), offsetof(xblanket_gnttab_map, done), offsetof(xblanket_gnttab_map, reserved), offsetof(xblanket_gnttab_map, frame)}, 4);
    using Bind = xblanket_evtchn_bind;
    in_order({offsetof(Bind, kind), offsetof(Bind, remote), offsetof(Bind, processor), offsetof(Bind, port), offsetof(Bind, local_port), offsetof(Bind, reserved)}, 4);
    in_order({offsetof(xblanket_evtchn_port, port), offsetof(xblanket_evtchn_port, processor)}, 4);
    in_order({offsetof(xblanket_unplug, mask), offsetof(xblanket_unplug, protocol)}, 4);
    in_order({offsetof(xblanket_shutdown, reason), offsetof(xblanket_shutdown, reserved)}, 4);
    in_order({offsetof(xblanket_intx, bus), offsetof(xblanket_intx, devfn), offsetof(xblanket_intx, pin), offsetof(xblanket_intx, reserved)}, 4);
    using Stats = xblanket_stats;
    in_order({offsetof(Stats, upcalls), offsetof(Stats, forwarded), offsetof(Stats, dropped), offsetof(Stats, sends), offsetof(Stats, send_failures), offsetof(Stats, binds), offsetof(Stats, unbinds),
              offsetof(Stats, resets), offsetof(Stats, refused), offsetof(Stats, ports), offsetof(Stats, grant_frames), offsetof(Stats, reserved)}, 8);
}

TEST(XblanketAbi, NumbersStayWhatTheyAre) {
    EXPECT_EQ(XBLANKET_HYPERCALL, static_cast<unsigned>(__HYPERVISOR_arch_6));
    int cmd = 0;
    for (const int known : {XBLANKET_QUERY, XBLANKET_GET_PARAM, XBLANKET_GNTTAB_MAP, XBLANKET_EVTCHN_BIND, XBLANKET_EVTCHN_UNBIND, XBLANKET_EVTCHN_AFFINITY, XBLANKET_UNPLUG, XBLANKET_SHUTDOWN,
                            XBLANKET_RESET, XBLANKET_STATS, XBLANKET_INTX, XBLANKET_POLL})
        EXPECT_EQ(known, cmd++);
    int index = 0;
    for (const int known : {XBLANKET_PARAM_STORE_PFN, XBLANKET_PARAM_STORE_PORT, XBLANKET_PARAM_CONSOLE_PFN, XBLANKET_PARAM_CONSOLE_PORT}) EXPECT_EQ(known, index++);
    EXPECT_EQ(static_cast<int>(XBLANKET_PROVIDER_NONE), 0);
    EXPECT_EQ(static_cast<int>(XBLANKET_PROVIDER_XEN), 1);
    EXPECT_EQ(static_cast<int>(XBLANKET_DELIVERY_NONE), 0);
    EXPECT_EQ(static_cast<int>(XBLANKET_DELIVERY_VECTOR), 1);
    EXPECT_EQ(static_cast<int>(XBLANKET_DELIVERY_INTX), 2);
    EXPECT_EQ(static_cast<int>(XBLANKET_BIND_UNBOUND), 0);
    EXPECT_EQ(static_cast<int>(XBLANKET_BIND_STORE), 1);
    EXPECT_EQ(static_cast<int>(XBLANKET_SHUTDOWN_POWEROFF), 0);
    EXPECT_EQ(static_cast<int>(XBLANKET_SHUTDOWN_REBOOT), 1);
    EXPECT_EQ(static_cast<int>(XBLANKET_SHUTDOWN_CRASH), 3);
}

TEST(BlanketOp, IsForTheHardwareDomainOnly) {
    FakeProvider fake;
    fake.hardware_domain = false;
    std::byte garbage[256]{};
    for (unsigned cmd = 0; cmd < 300; ++cmd) EXPECT_EQ(fake.op(cmd, garbage), -EPERM);
    EXPECT_EQ(fake.op(~0u, nullptr), -EPERM);
    fake.hardware_domain = true;
    fake.enabled = false;
    for (unsigned cmd = 0; cmd < 300; ++cmd) EXPECT_EQ(fake.op(cmd, garbage), -ENOSYS);
    EXPECT_TRUE(fake.wrongs.empty());
}

TEST(BlanketOp, TellsWhatThereIs) {
    FakeProvider fake;
    xblanket_query query{};
    ASSERT_EQ(fake.call(XBLANKET_QUERY, query), 0);
    EXPECT_EQ(query.abi_major, XBLANKET_ABI_MAJOR);
    EXPECT_EQ(query.provider, static_cast<std::uint32_t>(XBLANKET_PROVIDER_XEN));
    EXPECT_EQ(query.provider_version >> 16, 4u);
    EXPECT_EQ(query.max_ports, 4096u);
    EXPECT_EQ(query.max_grant_frames, 64u);
    EXPECT_EQ(query.processors, 2u);
    EXPECT_EQ(fake.op(12, nullptr), -ENOSYS);
    EXPECT_EQ(fake.op(XBLANKET_QUERY, nullptr), -EFAULT);
}

TEST(BlanketOp, ParametersComeFromAShortList) {
    FakeProvider fake;
    for (const auto& [index, value] : {std::pair(0u, std::uint64_t{0xfeffc}), {1u, std::uint64_t{3}}, {2u, std::uint64_t{0xfefff}}, {3u, std::uint64_t{4}}}) {
        xblanket_param param{};
        param.index = index;
        ASSERT_EQ(fake.call(XBLANKET_GET_PARAM, param), 0);
        EXPECT_EQ(param.value, value);
    }
    fake.owns_console = true;
    xblanket_param console{};
    console.index = XBLANKET_PARAM_CONSOLE_PFN;
    EXPECT_EQ(fake.call(XBLANKET_GET_PARAM, console), -EBUSY);
    console.index = 4;
    EXPECT_EQ(fake.call(XBLANKET_GET_PARAM, console), -EINVAL);
    console.index = ~0u;
    EXPECT_EQ(fake.call(XBLANKET_GET_PARAM, console), -EINVAL);
    EXPECT_TRUE(fake.wrongs.empty());
}

TEST(BlanketOp, EventsGoBothWays) {
    FakeProvider fake;
    auto bind = unbound(5, 1);
    ASSERT_EQ(fake.call(XBLANKET_EVTCHN_BIND, bind), 0);
    const auto& port = fake.ports.at(bind.port);
    EXPECT_FALSE(port.masked);
    EXPECT_EQ(port.remote, 5u);
    EXPECT_EQ(port.vcpu, 2u);
    EXPECT_TRUE(blanket_upcall(bind.port));
    EXPECT_TRUE(blanket_upcall(bind.port));
    EXPECT_EQ(fake.notified.at(bind.local_port), 2u);
    blanket_send(bind.local_port);
    EXPECT_EQ(port.sent, 1u);
    EXPECT_FALSE(blanket_upcall(bind.port + 1));
    EXPECT_FALSE(blanket_upcall(4096));
    blanket_send(bind.local_port + 1);
    blanket_send(~0u);
    xblanket_evtchn_port move{bind.port, 0};
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_AFFINITY, move), 0);
    EXPECT_EQ(port.vcpu, 0u);
    move.processor = 2;
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_AFFINITY, move), -EINVAL);
    move.processor = 1;
    fake.offline = 1;
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_AFFINITY, move), -EINVAL);
    auto there = unbound(0, 1);
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_BIND, there), -EINVAL);
    ASSERT_EQ(fake.call(XBLANKET_EVTCHN_UNBIND, move), 0);
    EXPECT_FALSE(fake.ports.contains(bind.port));
    EXPECT_TRUE(fake.local.empty());
    EXPECT_FALSE(blanket_upcall(bind.port));
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_UNBIND, move), -ENOENT);
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_AFFINITY, move), -ENOENT);
    move.port = 4096;
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_UNBIND, move), -EINVAL);
    EXPECT_TRUE(fake.wrongs.empty()) << fake.wrongs.front();
}

TEST(BlanketOp, TheStorePortIsAdoptedAndNeverClosed) {
    FakeProvider fake;
    xblanket_evtchn_bind bind{};
    bind.kind = XBLANKET_BIND_STORE;
    ASSERT_EQ(fake.call(XBLANKET_EVTCHN_BIND, bind), 0);
    EXPECT_EQ(bind.port, 3u);
    EXPECT_FALSE(fake.ports.at(3).masked);
    auto again = bind;
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_BIND, again), -EBUSY);
    ASSERT_EQ(fake.op(XBLANKET_RESET, nullptr), 0);
    EXPECT_TRUE(fake.ports.at(3).masked);
    EXPECT_TRUE(fake.local.empty());
    ASSERT_EQ(fake.call(XBLANKET_EVTCHN_BIND, bind), 0);
    bind.remote = 1;
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_BIND, bind), -EINVAL);
    EXPECT_TRUE(fake.wrongs.empty()) << fake.wrongs.front();
}

TEST(BlanketOp, AllPortsCanBeUsedUpAndGivenBack) {
    FakeProvider fake;
    fake.local_next = 100;
    unsigned bound = 0;
    for (;; ++bound) {
        auto bind = unbound();
        const long rc = fake.call(XBLANKET_EVTCHN_BIND, bind);
        if (rc == 0) continue;
        EXPECT_EQ(rc, -ENOSPC);
        break;
    }
    EXPECT_EQ(bound, 4095u - 2);  // all but port 0, xenstore's and the console's
    EXPECT_EQ(fake.stats().ports, bound);
    ASSERT_EQ(fake.op(XBLANKET_RESET, nullptr), 0);
    EXPECT_EQ(fake.stats().ports, 0u);
    EXPECT_EQ(fake.ports.size(), 2u);
    EXPECT_TRUE(fake.local.empty());
    fake.local_next = 16384;  // dom0 has so many channels that we cannot tell its port
    auto bind = unbound();
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_BIND, bind), -ENOSPC);
    EXPECT_EQ(fake.ports.size(), 2u);
    EXPECT_TRUE(fake.local.empty());
    EXPECT_TRUE(fake.wrongs.empty()) << fake.wrongs.front();
}

TEST(BlanketOp, ABindThatFailsAnywhereLeavesNothing) {
    for (const auto kind : {XBLANKET_BIND_UNBOUND, XBLANKET_BIND_STORE})
        for (int at = 0; at < 6; ++at) {
            FakeProvider fake;
            fake.fail_in = at;
            auto bind = unbound();
            bind.kind = static_cast<std::uint32_t>(kind);
            const long rc = fake.call(XBLANKET_EVTCHN_BIND, bind);
            if (fake.fail_in >= 0) EXPECT_EQ(rc, 0);  // it was not reached
            else EXPECT_LT(rc, 0);
            if (rc != 0) {
                EXPECT_EQ(fake.ports.size(), 2u) << at;
                EXPECT_TRUE(fake.local.empty()) << at;
                EXPECT_EQ(fake.stats().ports, 0u);
                EXPECT_TRUE(fake.ports.at(3).masked);
            }
            EXPECT_TRUE(fake.wrongs.empty()) << fake.wrongs.front();
        }
}

TEST(BlanketOp, AProviderWithoutDeliveryBindsNothing) {
    FakeProvider fake;
    fake.delivery = XBLANKET_DELIVERY_NONE;
    auto bind = unbound();
    EXPECT_EQ(fake.call(XBLANKET_EVTCHN_BIND, bind), -EOPNOTSUPP);
    xblanket_intx intx{};
    EXPECT_EQ(fake.call(XBLANKET_INTX, intx), -EOPNOTSUPP);
    EXPECT_EQ(fake.op(XBLANKET_POLL, nullptr), -EOPNOTSUPP);
    fake.delivery = XBLANKET_DELIVERY_INTX;
    intx = {.bus = 0, .devfn = 0x10, .pin = 0, .reserved = 0};
    EXPECT_EQ(fake.call(XBLANKET_INTX, intx), 0);
    EXPECT_EQ(fake.params.at(HVM_PARAM_CALLBACK_IRQ), (std::uint64_t{1} << 56) | (0x10 << 8));
    intx.pin = 4;
    EXPECT_EQ(fake.call(XBLANKET_INTX, intx), -EINVAL);
    EXPECT_EQ(fake.op(XBLANKET_POLL, nullptr), 7);
}

// One test: the grant table has one life, as in the hypervisor.
TEST(BlanketOp, GrantFramesAreDom0sOwnPagesAndStay) {
    FakeProvider fake;
    xblanket_gnttab_map map{};
    const auto ask = [&](std::uint32_t first, std::uint32_t count, std::uint64_t frame) {
        map = {};
        map.first = first;
        map.count = count;
        for (std::uint32_t i = 0; i < XBLANKET_GRANT_BATCH; ++i) map.frame[i] = frame + i;
        return fake.call(XBLANKET_GNTTAB_MAP, map);
    };
    EXPECT_EQ(ask(0, 0, 1000), -EINVAL);
    EXPECT_EQ(ask(0, 17, 1000), -EINVAL);
    EXPECT_EQ(ask(64, 1, 1000), -EINVAL);
    EXPECT_EQ(ask(63, 2, 1000), -EINVAL);
    EXPECT_EQ(ask(~0u, 1, 1000), -EINVAL);
    EXPECT_EQ(ask(0, 1, 999), -EINVAL);  // not dom0's
    EXPECT_TRUE(fake.held.empty());
    fake.fail_in = 1;  // the second frame
    EXPECT_LT(ask(0, 4, 1000), 0);
    EXPECT_EQ(map.done, 1u);
    EXPECT_EQ(fake.held.size(), 1u);
    fake.fail_in = 0;
    fake.fails_clean = false;  // the page may be a hole by now
    EXPECT_EQ(ask(1, 1, 1050), -ENOMEM);
    EXPECT_TRUE(fake.held.contains(1050));
    fake.held.erase(1050);
    map.reserved = 1;
    EXPECT_EQ(fake.call(XBLANKET_GNTTAB_MAP, map), -EINVAL);
    ASSERT_EQ(ask(0, 4, 1100), 0);  // what is mapped stays where it was
    EXPECT_EQ(map.frame[0], 1000u);
    EXPECT_EQ(map.frame[1], 1101u);
    EXPECT_EQ(fake.grant.size(), 4u);
    EXPECT_EQ(ask(3, 3, 1197), 0);
    EXPECT_EQ(map.frame[0], 1103u);
    EXPECT_EQ(map.frame[2], 1199u);
    EXPECT_EQ(ask(6, 2, 1199), -EINVAL);  // the second one is beyond dom0
    EXPECT_EQ(map.done, 1u);
    EXPECT_EQ(fake.stats().grant_frames, 7u);
    ASSERT_EQ(fake.op(XBLANKET_RESET, nullptr), 0);
    EXPECT_EQ(fake.stats().grant_frames, 7u);
    EXPECT_EQ(fake.held.size(), 7u);
    EXPECT_TRUE(fake.wrongs.empty()) << fake.wrongs.front();
}

TEST(BlanketOp, UnplugSpeaksTheProvidersProtocol) {
    FakeProvider fake;
    xblanket_unplug unplug{.mask = 0, .protocol = 0};
    EXPECT_EQ(fake.call(XBLANKET_UNPLUG, unplug), -EINVAL);
    unplug.mask = 16;
    EXPECT_EQ(fake.call(XBLANKET_UNPLUG, unplug), -EINVAL);
    unplug.mask = XBLANKET_UNPLUG_DISKS | XBLANKET_UNPLUG_NICS;
    ASSERT_EQ(fake.call(XBLANKET_UNPLUG, unplug), 0);
    EXPECT_EQ(unplug.protocol, 1u);
    EXPECT_EQ(fake.unplugged, 3u);
    fake.refuses = true;
    unplug.mask = XBLANKET_UNPLUG_NVME;
    EXPECT_EQ(fake.call(XBLANKET_UNPLUG, unplug), -EACCES);
    EXPECT_EQ(fake.unplugged, 3u);
    EXPECT_EQ(fake.call(XBLANKET_UNPLUG, unplug), -EOPNOTSUPP);  // no such device
    EXPECT_EQ(unplug.protocol, 0u);
}

TEST(BlanketOp, ShutsDownButNeverSuspends) {
    FakeProvider fake;
    for (const std::uint32_t reason : {2u, 4u, 5u, ~0u}) {
        xblanket_shutdown shutdown{.reason = reason, .reserved = 0};
        EXPECT_EQ(fake.call(XBLANKET_SHUTDOWN, shutdown), -EINVAL);
    }
    EXPECT_EQ(fake.shut_down_for, -1);
    xblanket_shutdown shutdown{.reason = XBLANKET_SHUTDOWN_REBOOT, .reserved = 0};
    EXPECT_EQ(fake.call(XBLANKET_SHUTDOWN, shutdown), 0);
    EXPECT_EQ(fake.shut_down_for, 1);
}

void clear_reserved(unsigned cmd, std::uint32_t (&words)[64]) {
    switch (cmd) {
        case XBLANKET_GET_PARAM:
        case XBLANKET_SHUTDOWN: words[1] = 0; break;
        case XBLANKET_GNTTAB_MAP:
        case XBLANKET_INTX: words[3] = 0; break;
        case XBLANKET_EVTCHN_BIND: words[5] = words[6] = words[7] = 0; break;
        default: break;
    }
}

TEST(BlanketOp, WhatIsReservedIsZero) {
    FakeProvider fake;
    fake.delivery = XBLANKET_DELIVERY_INTX;
    for (const std::size_t at : {0u, 1u, 2u}) {
        auto bind = unbound();
        bind.reserved[at] = 1;
        EXPECT_EQ(fake.call(XBLANKET_EVTCHN_BIND, bind), -EINVAL);
    }
    xblanket_param param{.index = 0, .reserved = 1, .value = 0};
    EXPECT_EQ(fake.call(XBLANKET_GET_PARAM, param), -EINVAL);
    xblanket_shutdown shutdown{.reason = XBLANKET_SHUTDOWN_POWEROFF, .reserved = 1};
    EXPECT_EQ(fake.call(XBLANKET_SHUTDOWN, shutdown), -EINVAL);
    EXPECT_EQ(fake.shut_down_for, -1);
    xblanket_intx intx{.bus = 0, .devfn = 0, .pin = 0, .reserved = 1};
    EXPECT_EQ(fake.call(XBLANKET_INTX, intx), -EINVAL);
    EXPECT_EQ(fake.ports.size(), 2u);
}

// dom0 says anything at all, the provider fails now and then, and its events come by a vector, by a line, or not at all: nothing is lost, doubled, or given away.
TEST(BlanketOp, GarbageFromDom0) {
    FakeProvider fake;
    std::mt19937 random(7);
    unsigned lines_set = 0, polls = 0, polls_refused = 0;
    const auto small = [&] { return static_cast<std::uint32_t>(random() % 40); };
    for (int i = 0; i < 300'000; ++i) {
        std::uint32_t words[64];
        for (auto& word : words) word = random() % 3 == 0 ? static_cast<std::uint32_t>(random()) : small() % 8;
        const unsigned cmd = static_cast<unsigned>(random() % 50 == 0 ? random() : random() % 12);
        if (random() % 8 != 0) clear_reserved(cmd, words);  // or hardly a call would get further
        if (cmd == XBLANKET_RESET && random() % 50 != 0) continue;
        if (random() % 10 == 0) fake.fail_in = static_cast<int>(random() % 4);
        if (random() % 16 == 0) fake.delivery = static_cast<std::uint32_t>(random() % 2 == 0 ? XBLANKET_DELIVERY_VECTOR : XBLANKET_DELIVERY_INTX);
        if (random() % 128 == 0) fake.delivery = XBLANKET_DELIVERY_NONE;
        const long rc = fake.op(cmd, words);
        fake.fail_in = -1;
        if (cmd == XBLANKET_INTX && rc == 0) ++lines_set;
        if (cmd == XBLANKET_POLL) ++(rc == 7 ? polls : polls_refused);
        if (rc >= 0 && fake.delivery != XBLANKET_DELIVERY_INTX) ASSERT_TRUE(cmd != XBLANKET_INTX && cmd != XBLANKET_POLL);
        if (random() % 4 == 0) (void)blanket_upcall(small());
        if (random() % 4 == 0) blanket_send(20 + small());
        ASSERT_EQ(fake.locked, 0u);
        ASSERT_TRUE(fake.wrongs.empty()) << fake.wrongs.front();
        if (fake.local_next > 16000) fake.local_next = 20 + static_cast<std::uint32_t>(random() % 100) * 100;
        while (fake.local.contains(fake.local_next)) ++fake.local_next;
    }
    const auto stats = fake.stats();
    EXPECT_EQ(stats.ports, fake.local.size());
    EXPECT_EQ(stats.binds - stats.unbinds, stats.ports + 0u);
    EXPECT_GT(stats.binds, 100u);
    EXPECT_GT(stats.refused, 100u);
    EXPECT_GT(lines_set, 100u);
    EXPECT_GT(polls, 100u);
    EXPECT_GT(polls_refused, 100u);
}

}  // namespace
}  // namespace blanket::hypercall
