// SPDX-License-Identifier: GPL-2.0-or-later
// What is pure about the machines: command lines, seeds, console alarms, traffic kinds, deadlines.
#include <gtest/gtest.h>

#include "tests/lab/console_scan.hpp"
#include "tests/lab/deadline.hpp"
#include "tests/lab/machine_profile.hpp"
#include "tests/lab/seed.hpp"
#include "tests/lab/traffic_count.hpp"
#include "toolstack/base/fd.hpp"

namespace blanket::lab {
namespace {

TEST(PlanQemu, EastAndWestDifferInAllTheHardware) {
    const std::string east = to_string(plan_qemu(east_profile(), {"/d"}, Accelerator::kTcg)), west = to_string(plan_qemu(west_profile(), {"/d"}, Accelerator::kTcg));
    for (const char* part : {"-machine pc,", "virtio-blk-pci,drive=disk", "virtio-net-pci,netdev=uplink", "-accel tcg,thread=multi", "-smp 2", "-m 2048"})
        EXPECT_NE(east.find(part), std::string::npos) << part;
    EXPECT_EQ(east.find("pflash"), std::string::npos);
    for (const char* part : {"-machine q35,", "nvme,drive=disk", "e1000e,netdev=uplink", "if=pflash,unit=0", "local.path=/d/nic.vm,remote.type=unix,remote.path=/d/nic.sw"})
        EXPECT_NE(west.find(part), std::string::npos) << part;
    EXPECT_NE(east_profile().mac, west_profile().mac);
    EXPECT_NE(to_string(plan_qemu(south_profile(), {"/d"}, Accelerator::kTcg)).find("-avx2"), std::string::npos);
}

TEST(PlanQemu, AProvidersXenHasTheRentedDiskAndNamesOfItsOwn) {
    MachineProfile inside = east_profile();
    EXPECT_EQ(to_string(plan_qemu(inside, {"/d"}, Accelerator::kTcg)).find("inside"), std::string::npos);
    inside.provider = Provider::kXenPvh;
    const MachineProfile provider = provider_of(inside);
    EXPECT_EQ(provider_of(west_profile()).disk, DiskModel::kVirtio);
    EXPECT_EQ(provider.mac, "52:54:00:77:01:0b");
    EXPECT_EQ(provider.address, "192.168.77.111");
    EXPECT_EQ(provider.name, inside.name);
    const std::string qemu = to_string(plan_qemu(provider, {"/d"}, Accelerator::kTcg));
    for (const char* part : {"+svm,+npt", "-smp 1", "-m 3072", "file=/d/inside.qcow2", "virtio-blk-pci,drive=inside,serial=inside"}) EXPECT_NE(qemu.find(part), std::string::npos) << part;
}

TEST(PlanSeed, GivesNameKeyAddressAndSettings) {
    const SeedTexts texts = plan_seed(east_profile(), "ssh-ed25519 AAAA lab");
    EXPECT_EQ(texts.meta_data, "instance-id: lab-east\nlocal-hostname: east\n");
    EXPECT_NE(texts.user_data.find("#cloud-config\nhostname: east\nssh_authorized_keys:\n  - ssh-ed25519 AAAA lab\n"), std::string::npos);
    EXPECT_NE(texts.user_data.find("      [site]\n      name = \"east\"\n"), std::string::npos);
    EXPECT_NE(texts.network_config.find("macaddress: \"52:54:00:77:00:0b\"\n    addresses: [192.168.77.11/24]"), std::string::npos);
}

TEST(ConsoleScan, KnowsAlarmsFromSettings) {
    for (const char* line : {"[  1.0] BUG: unable to handle page fault", "Oops: 0000 [#1]", " Call Trace:", "systemd[1]: segfault at 7fd7 ip 0 sp 0 error 4 in libc.so.6", "Kernel panic - not syncing: x", "(XEN) Assertion 'x' failed", "(XEN) Xen BUG at y.c:1",
                             "(XEN) Panic on CPU 0:"})
        EXPECT_TRUE(is_alarming(line)) << line;
    for (const char* line : {"Command line: root=/dev/vda panic=10 quiet", "kernel.panic_on_oops = 0", "DEBUG enabled", "(XEN) Brought up 2 CPUs", "systemd[1]: Started x"}) EXPECT_FALSE(is_alarming(line)) << line;
    EXPECT_EQ(alarming_lines("a\r\nBUG: one\r\nb\nKernel panic - two"), (std::vector<std::string>{"BUG: one", "Kernel panic - two"}));
}

TEST(ScanConsole, AnAbsentConsoleSaysNothing) { EXPECT_TRUE(scan_console("/nonexistent/console.log")->empty()); }

TEST(TrafficCount, SortsFramesByPort) {
    const auto frame = [](char protocol, unsigned from, unsigned to) {
        std::string data(12, '\0');
        data += std::string("\x08\x00\x45", 3) + std::string(8, '\0') + protocol + std::string(10, '\0');
        data.resize(34, '\0');
        data[23] = protocol;
        for (const unsigned port : {from, to}) {
            data += static_cast<char>(port >> 8);
            data += static_cast<char>(port & 255);
        }
        return data + std::string(62, 'x');
    };
    TrafficCount count;
    count.add(as_bytes(frame(17, 51820, 51820)));
    count.add(as_bytes(frame(6, 40000, 7444)));
    count.add(as_bytes(frame(6, 7444, 40000)));
    count.add(as_bytes(frame(6, 40000, 2380)));
    count.add(as_bytes(frame(6, 40000, 7443)));
    count.add(as_bytes("short"));
    EXPECT_EQ(count.report(), (Json{{"wireguard", 100}, {"streams", 200}, {"registry", 100}, {"rest", 100}, {"other", 5}}));
}

TEST(WaitUntil, EndsWithTheFirstTrueTheFirstErrorOrTheDeadline) {
    using std::chrono::milliseconds;
    int calls = 0;
    EXPECT_TRUE(wait_until("x", milliseconds(1000), milliseconds(1), [&]() -> Result<bool> { return ++calls == 3; }));
    EXPECT_EQ(calls, 3);
    EXPECT_EQ(wait_until("x", milliseconds(1000), milliseconds(1), []() -> Result<bool> { return fail(Kind::kDenied, "no"); }).error().kind, Kind::kDenied);
    EXPECT_EQ(wait_until("x", milliseconds(5), milliseconds(1), []() -> Result<bool> { return false; }).error().kind, Kind::kTimeout);
}

}  // namespace
}  // namespace blanket::lab
