// SPDX-License-Identifier: GPL-2.0-or-later
// The image on the machines that providers rent out, on odd ones, and the way back when Xen does not come up.
#include <print>

#include "tests/lab/deadline.hpp"
#include "tests/vm/boot_rig/fixture.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class XenEfi : public Boot {};
class Machines : public Boot, public testing::WithParamInterface<MachineKind> {};

TEST_P(Machines, BootsAndIsHealthy) {
    std::println("{}", describe(GetParam()));
    auto machine = Machine::start(GetParam(), {.image = image_, .seed = seed("#cloud-config\n", "m1")}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    healthy(**machine, "m1");
}

INSTANTIATE_TEST_SUITE_P(All, Machines,
                         testing::Values(MachineKind{.disk = Disk::kIde, .nic = "e1000", .cpus = 1, .memory_mib = 1024}, MachineKind{}, MachineKind{.disk = Disk::kScsi}, MachineKind{.disk = Disk::kUsb, .nic = "e1000"},
                                         MachineKind{.chipset = "q35", .disk = Disk::kSata, .nic = "e1000e"}, MachineKind{.chipset = "q35", .disk = Disk::kNvme},
                                         MachineKind{.chipset = "q35", .uefi = true}, MachineKind{.chipset = "q35", .uefi = true, .disk = Disk::kScsi, .cpus = 4, .memory_mib = 6144},
                                         MachineKind{.chipset = "q35", .uefi = true, .disk = Disk::kNvme, .nic = "e1000e"}, MachineKind{.chipset = "q35", .uefi = true, .disk = Disk::kSata, .nic = "e1000e"},
                                         MachineKind{.chipset = "q35", .uefi = true, .disk = Disk::kUsb}, MachineKind{.uefi = true, .nic = "e1000"},
                                         MachineKind{.chipset = "q35", .uefi = true, .disk = Disk::kNvme, .disk_options = "logical_block_size=4096,physical_block_size=4096"}));

// A machine without a serial port, whose clock is a year of long ago: time comes from the network later, and nothing waits for it.
TEST_F(Boot, WithoutASerialPortAndWithAWrongClock) {
    auto machine = Machine::start({.chipset = "q35", .serial = false, .clock = "2001-01-01T00:00:00"}, {.image = image_, .seed = seed("#cloud-config\n", "m4")}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    healthy(**machine, "m4");
}

// A disk that was copied to a second one of the same machine: it boots, twice, from the first one, says so, and does not write a byte to the copy.
TEST_F(Boot, TwoDisksWithTheSameImage) {
    const std::string copy = std::string(kDir) + "/copy.qcow2", cidata = seed("#cloud-config\n", "m5");
    ASSERT_TRUE(run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", image_, "-F", "qcow2", copy, "6G"}));
    const MachineKind kind{.disk_options = "serial=first", .more = {"-drive", "if=none,id=copy,format=qcow2,file=" + copy, "-device", "virtio-blk-pci,drive=copy,serial=copy"}};
    for (const bool again : {false, true}) {
        auto machine = Machine::start(kind, {.image = image_, .seed = cidata}, machine_dir(), again);
        ASSERT_TRUE(machine) << machine.error().what;
        healthy(**machine, "m5");
        const auto findings = green_findings(**machine);
        ASSERT_TRUE(findings.contains("disk"));
        EXPECT_TRUE(findings.at("disk").contains("same image")) << findings.at("disk");
        const auto ask = [&](const std::string& command) { return std::string(trim((*machine)->ssh(command).value_or("?"))); };
        const std::string disks = ask("lsblk -dno NAME,SERIAL");
        EXPECT_EQ(ask("lsblk -dno SERIAL /dev/$(lsblk -no PKNAME $(findmnt -vno SOURCE /) | head -n 1)"), "first") << disks;
        EXPECT_EQ(ask("lsblk -dno SERIAL /dev/$(lsblk -no PKNAME $(pvs --noheadings -o pv_name -S vg_name=blanket) | head -n 1)"), "first") << disks;
        EXPECT_EQ(ask("lsblk -nro MOUNTPOINTS /dev/disk/by-id/virtio-copy | grep -c /; true"), "0") << disks;
        ASSERT_TRUE((*machine)->ssh("sync"));
        (*machine)->kill();
        const auto same = run_any({"qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", image_, copy}, {.deadline = lab::scaled(minutes(5))});
        EXPECT_TRUE(same && same->status == 0) << (same ? same->out + same->err : same.error().what);
    }
    ASSERT_TRUE(remove_file(copy));
}

// User-data with a mistake: the machine is reachable all the same, and says what is wrong.
TEST_F(Boot, BadUserDataIsToldAndCostsNothingElse) {
    auto machine = Machine::start({}, {.image = image_, .seed = seed("#cloud-config\nwrite_files: [\n  - {path: /x\n", "m2")}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    const auto told = (*machine)->wait_console("blanket-userdata: cloud-init complains: ", minutes(6));
    EXPECT_TRUE(told) << told.error().what << "\n" << tail((*machine)->console());
    healthy(**machine, "m2");
    const auto doctor = (*machine)->ssh("blanket doctor");
    EXPECT_TRUE(doctor && doctor->contains("cloud-init complains")) << (doctor ? *doctor : doctor.error().what);
}

// A root file system without room, at a start too: the machine is reachable, and console and doctor say what is wrong.
TEST_F(Boot, AFullRootFileSystemIsToldAndCostsNothingElse) {
    const std::string cidata = seed("#cloud-config\n", "m6");
    const auto full = [](Machine& machine) { return machine.ssh("blanket doctor; true").value_or("?").contains("the root file system is full"); };
    auto machine = Machine::start({}, {.image = image_, .seed = cidata}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    healthy(**machine, "m6");
    ASSERT_TRUE((*machine)->ssh("fallocate -l $(($(stat -f -c '%a * %S' /) - (20 << 20))) /var/tmp/full && sync"));
    EXPECT_TRUE(full(**machine)) << (*machine)->ssh("blanket doctor; df /; true").value_or("?");
    (void)(*machine)->ssh("systemctl reboot");  // the connection may end before its answer
    EXPECT_TRUE((*machine)->wait_end(minutes(4)));

    machine = Machine::start({}, {.image = image_, .seed = cidata}, machine_dir(), true);
    ASSERT_TRUE(machine) << machine.error().what;
    const auto up = (*machine)->wait_ssh(minutes(6));
    ASSERT_TRUE(up) << up.error().what << "\n" << tail((*machine)->console());
    const auto said = (*machine)->wait_console("the root file system is full: ", minutes(2));  // sshd need not wait for who says it
    EXPECT_TRUE(said) << said.error().what << "\n" << tail((*machine)->console());
    const auto told = lab::wait_until("doctor says so", minutes(3), seconds(3), [&]() -> Result<bool> { return full(**machine); });
    EXPECT_TRUE(told) << (*machine)->ssh("blanket doctor; df /; true").value_or("?");
    ASSERT_TRUE((*machine)->ssh("rm /var/tmp/full && sync"));
    (void)green_findings(**machine);
}

// Three starts of Xen that nobody confirms: the fourth is Linux without it, with sshd, and a word about it.
TEST_F(Boot, AXenThatNeverComesUpGivesWayToLinux) {
    const std::string cidata = seed("#cloud-config\n", "m3");
    for (int start = 0; start < 3; ++start) {
        auto machine = Machine::start({}, {.image = image_, .seed = cidata}, machine_dir(), start > 0);
        ASSERT_TRUE(machine) << machine.error().what;
        ASSERT_TRUE((*machine)->wait_console("(XEN) ", minutes(3))) << tail((*machine)->console());
        (*machine)->kill();
    }
    auto machine = Machine::start({}, {.image = image_, .seed = cidata}, machine_dir(), true);
    ASSERT_TRUE(machine) << machine.error().what;
    ASSERT_TRUE((*machine)->wait_ssh(minutes(6))) << tail((*machine)->console());
    EXPECT_FALSE((*machine)->console().contains("(XEN) "));
    EXPECT_TRUE((*machine)->ssh("cat /run/motd.d/blanket").value_or("").contains("were not confirmed"));
    EXPECT_EQ(trim((*machine)->ssh("/usr/libexec/blanket/boot-tries").value_or("?")), "3");
    ASSERT_TRUE((*machine)->ssh("/usr/libexec/blanket/boot-tries 0 && sync"));
    (*machine)->kill();
    machine = Machine::start({}, {.image = image_, .seed = cidata}, machine_dir(), true);
    ASSERT_TRUE(machine) << machine.error().what;
    healthy(**machine, "m3");
}

// Xen as an EFI program: GRUB's menu offers it by UEFI only. What was typed may come after the menu's second has passed: then the machine has started as ever, and is started again.
TEST_F(XenEfi, TheMenusEntryStartsTheSameMachine) {
    const std::string cidata = seed("#cloud-config\n", "m7");
    std::unique_ptr<Machine> machine;
    for (int attempt = 0; attempt < 3; ++attempt) {
        auto started = Machine::start({.chipset = "q35", .uefi = true}, {.image = image_, .seed = cidata}, machine_dir(), attempt > 0);
        ASSERT_TRUE(started) << started.error().what;
        machine = std::move(*started);
        ASSERT_TRUE(machine->wait_console("Blanket by xen.efi", minutes(3))) << tail(machine->console());
        ASSERT_TRUE(machine->type("\x0e\x0e\r"));  // Ctrl-N: one entry down
        ASSERT_TRUE(machine->wait_console("(XEN) Bootloader: ", minutes(3))) << tail(machine->console());
        if (machine->console().contains("(XEN) Bootloader: EFI")) break;
        machine->kill();
    }
    ASSERT_TRUE(machine->console().contains("(XEN) Bootloader: EFI")) << tail(machine->console());
    healthy(*machine, "m7");
    const auto arguments = machine->ssh("cat /proc/cmdline; ls -d /sys/firmware/efi");
    EXPECT_TRUE(arguments && arguments->contains("blanket.slot=a ") && arguments->contains("console=hvc0") && arguments->contains("/sys/firmware/efi")) << (arguments ? *arguments : arguments.error().what);
}

TEST_F(XenEfi, IsNotOfferedByBios) {
    auto machine = Machine::start({}, {.image = image_, .seed = seed("#cloud-config\n", "m8")}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    ASSERT_TRUE((*machine)->wait_console("(XEN) Bootloader: ", minutes(3))) << tail((*machine)->console());
    EXPECT_TRUE((*machine)->console().contains("Linux without Xen (rescue)")) << tail((*machine)->console());
    EXPECT_FALSE((*machine)->console().contains("by xen.efi"));
}

}  // namespace
}  // namespace blanket::boot_rig
