// SPDX-License-Identifier: GPL-2.0-or-later
// The ISO, as a CD and on a stick, and the PXE set: live, and as installers.
#include <filesystem>
#include <print>

#include "tests/lab/deadline.hpp"
#include "tests/vm/boot_rig/fixture.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// Is up from `medium` and not from a disk, doctor says so, and the machine's own disk `disk` is as empty as it was.
void is_live(Machine& machine, const std::string& medium, const std::string& disk) {
    const auto up = machine.wait_ssh(minutes(9));
    ASSERT_TRUE(up) << up.error().what << "\n" << machine.console();
    EXPECT_TRUE(machine.console().contains("(XEN) "));
    EXPECT_EQ(trim(machine.ssh("findmnt -no FSTYPE /").value_or("?")), "overlay");
    const auto findings = green_findings(machine);
    ASSERT_TRUE(findings.contains("disk"));
    EXPECT_TRUE(findings.at("disk").contains("live, started from " + medium)) << findings.at("disk");
    EXPECT_EQ(trim(machine.ssh("systemctl is-active blanketd").value_or("?")), "active");
    EXPECT_EQ(trim(machine.ssh("cmp -n 67108864 " + disk + " /dev/zero && echo untouched").value_or("?")), "untouched");
}

class Iso : public Boot {
protected:
    void SetUp() override {
        Boot::SetUp();
        iso_ = artefact("BLANKET_ISO");
    }
    // From the ISO with what is typed in its menu, until the console says `word`.
    std::unique_ptr<Machine> install(const MachineKind& kind, const std::string& keys, const std::string& word, bool keep_disk) const {
        auto machine = Machine::start(kind, {.cd = iso_}, machine_dir(), keep_disk);
        EXPECT_TRUE(machine) << machine.error().what;
        if (!machine) return nullptr;
        EXPECT_TRUE((*machine)->wait_console("Install Blanket", minutes(2))) << tail((*machine)->console());
        EXPECT_TRUE((*machine)->type(keys));
        const auto told = (*machine)->wait_console(word, minutes(6));
        EXPECT_TRUE(told) << told.error().what << "\n" << tail((*machine)->console());
        return std::move(*machine);
    }
    std::string iso_;
};

// Each waits for words that only its own way prints: what was typed may have been lost, and the menu's default goes its way then. In GRUB's menu, Ctrl-N goes one entry down.
constexpr const char* kInstallAuto = "\x0e\r";
std::string install_to(const std::string& what) { return "cset linux_extra=blanket.install=" + what + "\r\x1b\x0e\x0e\r"; }

TEST_F(Iso, RunsLiveFromACd) {
    for (const bool uefi : {false, true}) {
        std::println("CD, {}", uefi ? "UEFI" : "BIOS");
        auto machine = Machine::start({.chipset = "q35", .uefi = uefi, .disk = Disk::kSata, .media_first = true}, {.cd = iso_, .seed = seed("#cloud-config\n", "live")}, machine_dir());
        ASSERT_TRUE(machine) << machine.error().what;
        is_live(**machine, "sr0", "/dev/sda");
    }
}

TEST_F(Iso, RunsLiveFromAStick) {
    for (const bool uefi : {false, true}) {
        std::println("stick, {}", uefi ? "UEFI" : "BIOS");
        auto machine = Machine::start({.chipset = uefi ? "q35" : "pc", .uefi = uefi, .media_first = true}, {.stick = iso_, .seed = seed("#cloud-config\n", "live")}, machine_dir());
        ASSERT_TRUE(machine) << machine.error().what;
        is_live(**machine, "sda", "/dev/vda");
    }
}

// The menu's second entry, onto an empty disk; the disk boots by itself. Then it is not empty any more, and refused, until it is said that it may be overwritten.
TEST_F(Iso, InstallsToTheOnlyEmptyDiskAndRefusesAFullOne) {
    const MachineKind kind{.chipset = "q35", .uefi = true, .disk = Disk::kNvme, .media_first = true};
    {
        const auto machine = install(kind, kInstallAuto, "/dev/nvme0n1 boots Blanket", false);
        ASSERT_TRUE(machine);
        EXPECT_TRUE(machine->wait_end(minutes(2))) << "it does not start again";
    }
    {
        auto machine = Machine::start({.chipset = "q35", .uefi = true, .disk = Disk::kNvme}, {.seed = seed("#cloud-config\n", "installed")}, machine_dir(), true);
        ASSERT_TRUE(machine) << machine.error().what;
        healthy(**machine, "installed");
        (void)(*machine)->ssh("systemctl poweroff");  // the connection may end before its answer: what counts is that the machine does
        EXPECT_TRUE((*machine)->wait_end(minutes(3)));
    }
    {
        const auto machine = install(kind, kInstallAuto, "there is no empty disk", true);
        ASSERT_TRUE(machine);
        EXPECT_TRUE(machine->console().contains("/dev/nvme0n1 is not empty (gpt")) << tail(machine->console());
    }
    {
        const auto machine = install(kind, install_to("/dev/nvme0n1"), "To overwrite it: blanket.install=/dev/nvme0n1,erase", true);
        ASSERT_TRUE(machine);
        EXPECT_FALSE(machine->console().contains("writing"));
    }
    const auto machine = install(kind, install_to("/dev/nvme0n1,erase"), "/dev/nvme0n1 boots Blanket", true);
    ASSERT_TRUE(machine);
    EXPECT_TRUE(machine->wait_end(minutes(2)));
}

TEST_F(Iso, RefusesDisksThatAreTooSmallOrThatTheBiosCannotStart) {
    EXPECT_TRUE(install({.disk_bytes = 512u << 20, .media_first = true}, kInstallAuto, "MiB; /dev/vda has 512 MiB, and the image", false));
    EXPECT_TRUE(install({.disk_options = "logical_block_size=4096,physical_block_size=4096", .media_first = true}, install_to("/dev/vda,erase"), "switch this machine to UEFI. Nothing was written", false));
}

// A byte of the squashfs' head is another one: the medium says so, and what to do.
TEST_F(Iso, SaysThatItsImageIsDamaged) {
    const std::string path = std::string(kDir) + "/damaged.iso";
    const auto made = run({"python3", "-c", R"py(
import shutil, sys
shutil.copyfile(sys.argv[1], sys.argv[2])
with open(sys.argv[2], "r+b") as iso:
    at = 0
    while True:  # a file begins with a sector
        iso.seek(at)
        sector = iso.read(2048)
        assert sector, "there is no squashfs in the ISO"
        if sector[:4] == b"hsqs":
            break
        at += 2048
    iso.seek(at + 1)
    iso.write(bytes([sector[1] ^ 0xFF]))
)py", iso_, path}, {.deadline = minutes(3)});
    ASSERT_TRUE(made) << made.error().what;
    auto machine = Machine::start({.media_first = true}, {.cd = path}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    const auto told = (*machine)->wait_console("the image on sr0 is damaged: write it anew, and check it with SHA256SUMS", minutes(6));
    EXPECT_TRUE(told) << told.error().what << "\n" << tail((*machine)->console());
    (*machine)->kill();
    ASSERT_TRUE(remove_file(path));
}

// The set of files on a TFTP server, booted by the iPXE of the network card and by UEFI.
class Pxe : public Boot {
protected:
    void live(const MachineKind& kind) const {
        const std::string set = artefact("BLANKET_PXE"), folder = std::string(kDir) + "/tftp";
        std::error_code error;
        std::filesystem::remove_all(folder, error);
        ASSERT_TRUE(make_dirs(folder, 0755));
        ASSERT_TRUE(run({"tar", "-C", folder, "-xf", set}));
        auto machine = Machine::start(kind, {.seed = seed("#cloud-config\n", "live"), .tftp = folder}, machine_dir());
        ASSERT_TRUE(machine) << machine.error().what;
        is_live(**machine, "network", "/dev/vda");
    }
};
TEST_F(Pxe, RunsLiveByBiosAndIpxe) { live({.media_first = true, .memory_mib = 3072}); }
TEST_F(Pxe, RunsLiveByUefiAndGrub) { live({.chipset = "q35", .uefi = true, .media_first = true, .memory_mib = 3072}); }

}  // namespace
}  // namespace blanket::boot_rig
