// SPDX-License-Identifier: GPL-2.0-or-later
// What the providers' import tools are given, started as the disk that they make of it, on a machine like that provider's. BLANKET_VHD, BLANKET_VMDK, BLANKET_GCE: of a release.
#include "tests/vm/boot_rig/fixture.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::boot_rig {
namespace {

class Formats : public Boot {
protected:
    void boots(const MachineKind& kind, const std::string& image) const {
        auto machine = Machine::start(kind, {.image = image, .seed = seed("#cloud-config\n", "f1")}, machine_dir());
        ASSERT_TRUE(machine) << machine.error().what;
        healthy(**machine, "f1");
    }
};

// Azure's two generations: BIOS with IDE, UEFI with SCSI; its own disks and cards (VMBus) QEMU has not.
TEST_F(Formats, Vhd) {
    const std::string image = artefact("BLANKET_VHD");
    boots({.disk = Disk::kIde, .nic = "e1000"}, image);
    boots({.chipset = "q35", .uefi = true, .disk = Disk::kScsi, .nic = "e1000e"}, image);
}

TEST_F(Formats, VmdkWithTheDevicesOfVsphere) { boots({.disk = Disk::kPvscsi, .nic = "vmxnet3"}, artefact("BLANKET_VMDK")); }

TEST_F(Formats, GceTar) {
    const std::string folder = std::string(kDir) + "/gce";
    ASSERT_TRUE(make_dirs(folder, 0755));
    const auto unpacked = run({"tar", "-C", folder, "-xzSf", artefact("BLANKET_GCE")}, {.deadline = std::chrono::minutes(5)});
    ASSERT_TRUE(unpacked) << unpacked.error().what;
    boots({.chipset = "q35", .uefi = true, .disk = Disk::kScsi}, folder + "/disk.raw");
    ASSERT_TRUE(remove_file(folder + "/disk.raw"));
}

}  // namespace
}  // namespace blanket::boot_rig
