// SPDX-License-Identifier: GPL-2.0-or-later
// Disks and machines from the smallest to large ones, and a disk that the provider enlarges.
#include <fstream>
#include <print>

#include "tests/lab/deadline.hpp"
#include "tests/vm/boot_rig/fixture.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class Sizes : public Boot {
protected:
    std::unique_ptr<Machine> start(const MachineKind& kind, bool keep_disk = false) const {
        std::println("{}", describe(kind));
        auto machine = Machine::start(kind, {.image = image_, .seed = seed("#cloud-config\n", "s1")}, machine_dir(), keep_disk);
        EXPECT_TRUE(machine) << machine.error().what;
        return machine ? std::move(*machine) : nullptr;
    }
    // A number that a command prints.
    static std::uint64_t number(Machine& machine, const std::string& command) {
        const auto text = machine.ssh(command);
        return text ? parse_number(trim(*text), 0, UINT64_MAX, command).value_or(0) : 0;
    }
    static std::uint64_t group_mib(Machine& machine) { return number(machine, "vgs --noheadings --nosuffix --units m -o vg_size blanket | cut -d. -f1"); }
    static std::uint64_t pool_mib(Machine& machine) { return number(machine, "lvs --noheadings --nosuffix --units m -o lv_size blanket/pool-data | cut -d. -f1"); }
    static std::uint64_t root_mib(Machine& machine) { return number(machine, "df --output=size -m / | tail -n 1"); }
};

// There is no room for a pool: the machine is reachable, its start of Xen is confirmed, and console and doctor say what is missing.
TEST_F(Sizes, ADiskOfExactlyTheImagesSize) {
    const auto machine = start({.disk_bytes = 0});
    ASSERT_TRUE(machine);
    const auto up = machine->wait_ssh(minutes(6));
    ASSERT_TRUE(up) << up.error().what << "\n" << tail(machine->console());
    const auto told = machine->wait_console("there is no room for a pool", minutes(2));
    EXPECT_TRUE(told) << told.error().what << "\n" << tail(machine->console());
    const std::string doctor = machine->ssh("blanket doctor; true").value_or("?");
    EXPECT_TRUE(doctor.contains("there is no room for a pool, and no VM can run") && doctor.contains("add an empty disk of at least 1 GiB")) << doctor;
    const auto confirmed = lab::wait_until("this start of Xen is confirmed", minutes(1), seconds(2), [&]() -> Result<bool> { return trim(machine->ssh("/usr/libexec/blanket/boot-tries").value_or("?")) == "0"; });
    EXPECT_TRUE(confirmed) << confirmed.error().what;
}

// Where it was written to a smaller disk, Linux finds no root; the console says why.
TEST_F(Sizes, ADiskSmallerThanTheImage) {
    const auto info = run({"qemu-img", "info", "--output=json", image_});
    ASSERT_TRUE(info) << info.error().what;
    const auto json = parse_json(*info);
    ASSERT_TRUE(json && json->contains("virtual-size"));
    const auto machine = start({.disk_bytes = (*json)["virtual-size"].get<std::uint64_t>() - (100u << 20)});
    ASSERT_TRUE(machine);
    const auto told = machine->wait_console("is smaller than the image on it", minutes(4));
    EXPECT_TRUE(told) << told.error().what << "\n" << tail(machine->console());
}

TEST_F(Sizes, ADiskOfThreeTebibytes) {
    const auto machine = start({.disk_bytes = 3ull << 40});
    ASSERT_TRUE(machine);
    healthy(*machine, "s1");
    EXPECT_GT(group_mib(*machine), 3'130'000u);
    EXPECT_GT(pool_mib(*machine), group_mib(*machine) * 9 / 10);
    EXPECT_GT(root_mib(*machine), 4'500u);
}

TEST_F(Sizes, EightProcessorsAndSixteenGibibytes) {
    std::uint64_t free_kib = 0;
    std::ifstream memory("/proc/meminfo");
    for (std::string word; memory >> word;)
        if (word == "MemAvailable:") memory >> free_kib;
    if (free_kib < (17ull << 20)) GTEST_SKIP() << "this machine has " << (free_kib >> 10) << " MiB of memory to give, and Xen touches all 16 GiB of its own";
    const auto machine = start({.chipset = "q35", .uefi = true, .disk = Disk::kNvme, .cpus = 8, .memory_mib = 16384});
    ASSERT_TRUE(machine);
    healthy(*machine, "s1");
    const std::string libvirt = green_findings(*machine)["libvirt"];
    EXPECT_TRUE(libvirt.contains("8 CPUs")) << libvirt;
}

// The provider enlarges the disk of a machine that has a pool: root, group and pool have the new space after the next start.
TEST_F(Sizes, AnEnlargedDiskIsTakenAtTheNextStart) {
    std::uint64_t group = 0, pool = 0, root = 0;
    for (const bool again : {false, true}) {
        if (again) ASSERT_TRUE(run({"qemu-img", "resize", "-q", "-f", "qcow2", machine_dir() + "/disk.qcow2", "12G"}));
        const auto machine = start({}, again);
        ASSERT_TRUE(machine);
        healthy(*machine, "s1");
        std::println("    group {} MiB, pool {} MiB, root {} MiB", group_mib(*machine), pool_mib(*machine), root_mib(*machine));
        if (!again) {
            group = group_mib(*machine), pool = pool_mib(*machine), root = root_mib(*machine);
            EXPECT_GT(group, 1000u);
            (void)machine->ssh("systemctl poweroff");  // the connection may end before its answer: what counts is that the machine does
            EXPECT_TRUE(machine->wait_end(minutes(3)));
            continue;
        }
        EXPECT_GE(group_mib(*machine), group + 3000);
        EXPECT_GE(pool_mib(*machine), pool + 2800);
        EXPECT_GT(root_mib(*machine), root);
        const auto table = machine->ssh("dmsetup table bs-pool | cut -d' ' -f2");  // sectors that the pool's device has
        EXPECT_GE(parse_number(trim(table.value_or("0")), 0, UINT64_MAX, "sectors").value_or(0) / 2048, pool + 2800) << (table ? *table : table.error().what);
    }
}

}  // namespace
}  // namespace blanket::boot_rig
