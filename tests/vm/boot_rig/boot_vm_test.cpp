// SPDX-License-Identifier: GPL-2.0-or-later
// The image on the machines that providers rent out, its metadata, the ISO, and the way back when Xen does not come up. BLANKET_IMAGE: the appliance; BLANKET_ISO: the ISO of a release.
#include <gtest/gtest.h>

#include <cstdlib>
#include <print>

#include "tests/lab/deadline.hpp"
#include "tests/vm/boot_rig/machine.hpp"
#include "tests/vm/boot_rig/metadata_service.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kDir = "/cache/lab/boot";

std::string given(const char* name) {
    const char* const value = std::getenv(name);
    return value != nullptr ? value : "";
}

class Boot : public testing::Test {
protected:
    void SetUp() override {
        image_ = given("BLANKET_IMAGE");
        ASSERT_FALSE(image_.empty()) << "BLANKET_IMAGE names no image: run ./dev test boot";
        const auto key = public_key(std::string(kDir) + "/m");
        ASSERT_TRUE(key) << key.error().what;
        key_ = *key;
    }
    // A NoCloud seed with root's key and a name.
    std::string seed(const std::string& user_data, const std::string& name) const {
        const std::string path = std::string(kDir) + "/seed.img";
        const auto made = lab::make_seed({.meta_data = "instance-id: " + name + "\nlocal-hostname: " + name + "\npublic-keys: [\"" + key_ + "\"]\n", .user_data = user_data,
                                          .network_config = "version: 2\nethernets:\n  all:\n    match: {name: \"e*\"}\n    dhcp4: true\n"}, kDir, path);
        EXPECT_TRUE(made) << made.error().what;
        return path;
    }
    void healthy(Machine& machine, const std::string& name) const {
        const auto up = machine.wait_ssh(minutes(6));
        ASSERT_TRUE(up) << up.error().what << "\n" << tail(machine.console());
        EXPECT_EQ(trim(machine.ssh("hostname").value_or("?")), name);
        std::string findings;
        const auto green = lab::wait_until("doctor has no failure", minutes(4), seconds(3), [&]() -> Result<bool> {
            const auto said = machine.ssh("blanket doctor --output json; true");
            if (!said) return false;
            findings = *said;
            const auto report = parse_json(*said);
            if (!report || !report->contains("checks")) return false;
            for (const auto& check : (*report)["checks"])
                if (check.value("status", "") == "fail") return false;
            return true;
        });
        EXPECT_TRUE(green) << findings;
        EXPECT_EQ(trim(machine.ssh("/usr/libexec/blanket/boot-tries").value_or("?")), "0") << "this start of Xen was not confirmed";
    }
    static std::string tail(const std::string& text) { return text.size() > 3000 ? text.substr(text.size() - 3000) : text; }

    std::string image_, key_;
};

class Machines : public Boot, public testing::WithParamInterface<MachineKind> {};

TEST_P(Machines, BootsAndIsHealthy) {
    std::println("{}", describe(GetParam()));
    auto machine = Machine::start(GetParam(), {.image = image_, .cd = "", .seed = seed("#cloud-config\n", "m1"), .metadata = ""}, std::string(kDir) + "/m");
    ASSERT_TRUE(machine) << machine.error().what;
    healthy(**machine, "m1");
}

INSTANTIATE_TEST_SUITE_P(All, Machines,
                         testing::Values(MachineKind{"pc", false, Disk::kIde, "e1000"}, MachineKind{"pc", false, Disk::kVirtio, "virtio-net-pci"}, MachineKind{"pc", false, Disk::kScsi, "virtio-net-pci"},
                                         MachineKind{"pc", false, Disk::kUsb, "e1000"}, MachineKind{"q35", false, Disk::kSata, "e1000e"}, MachineKind{"q35", false, Disk::kNvme, "virtio-net-pci"},
                                         MachineKind{"q35", true, Disk::kVirtio, "virtio-net-pci"}, MachineKind{"q35", true, Disk::kScsi, "virtio-net-pci"}, MachineKind{"q35", true, Disk::kNvme, "e1000e"},
                                         MachineKind{"q35", true, Disk::kSata, "e1000e"}, MachineKind{"q35", true, Disk::kUsb, "virtio-net-pci"}, MachineKind{"pc", true, Disk::kVirtio, "e1000"}));

// EC2: name and key from a metadata service that speaks version 2 only; the machine is known by its firmware, below our Xen too.
TEST_F(Boot, AsAnEc2InstanceWithVersion2OfTheMetadataOnly) {
    const MetadataService service({{"meta-data/instance-id", "i-0123456789abcdef0"}, {"meta-data/local-hostname", "ip-169-254-169-20"}, {"meta-data/hostname", "ip-169-254-169-20.example"}, {"meta-data/ami-id", "ami-1"},
                                   {"meta-data/placement/availability-zone", "eu-central-1a"}, {"meta-data/public-keys/0/openssh-key", key_}, {"meta-data/mac", "52:54:00:12:34:56"},
                                   {"meta-data/network/interfaces/macs/52:54:00:12:34:56/device-number", "0"}, {"meta-data/network/interfaces/macs/52:54:00:12:34:56/local-ipv4s", "169.254.169.20"},
                                   {"meta-data/network/interfaces/macs/52:54:00:12:34:56/mac", "52:54:00:12:34:56"}, {"dynamic/instance-identity/document", "{\"instanceId\": \"i-0123456789abcdef0\"}"},
                                   {"user-data", "#cloud-config\nwrite_files:\n  - {path: /etc/blanket/federation, permissions: '0600', content: \"mycloud\"}\n"}});
    const MachineKind kind{.chipset = "q35", .uefi = true, .disk = Disk::kNvme, .nic = "e1000e,mac=52:54:00:12:34:56",
                    .more = {"-smbios", "type=0,vendor=Amazon EC2", "-smbios", "type=1,manufacturer=Amazon EC2,product=m5.large,serial=ec2e1916-9099-7caf-fd21-012345abcdef,uuid=ec2e1916-9099-7caf-fd21-012345abcdef"}};
    auto machine = Machine::start(kind, {.image = image_, .cd = "", .seed = "", .metadata = service.address()}, std::string(kDir) + "/m");
    ASSERT_TRUE(machine) << machine.error().what;
    healthy(**machine, "ip-169-254-169-20");
    EXPECT_GT(service.answered(), 5u);
    const auto doctor = (*machine)->ssh("blanket doctor");
    EXPECT_TRUE(doctor && doctor->contains("DataSourceEc2")) << (doctor ? *doctor : doctor.error().what);
    const auto joined = lab::wait_until("the federation of the user-data", minutes(3), seconds(3), [&]() -> Result<bool> {
        const auto shown = (*machine)->ssh("blanket federation show");
        return shown && shown->contains("mycloud");
    });
    EXPECT_TRUE(joined) << (*machine)->ssh("journalctl -u blanket-join --no-pager -n 20").value_or("");
    EXPECT_EQ(trim((*machine)->ssh("ls /etc/blanket/federation 2>/dev/null | wc -l").value_or("?")), "0");
}

// User-data with a mistake: the machine is reachable all the same, and says what is wrong.
TEST_F(Boot, BadUserDataIsToldAndCostsNothingElse) {
    auto machine = Machine::start({}, {.image = image_, .cd = "", .seed = seed("#cloud-config\nwrite_files: [\n  - {path: /x\n", "m2"), .metadata = ""}, std::string(kDir) + "/m");
    ASSERT_TRUE(machine) << machine.error().what;
    healthy(**machine, "m2");
    const auto doctor = (*machine)->ssh("blanket doctor");
    EXPECT_TRUE(doctor && doctor->contains("cloud-init complains")) << (doctor ? *doctor : doctor.error().what);
}

// Three starts of Xen that nobody confirms: the fourth is Linux without it, with sshd, and a word about it.
TEST_F(Boot, AXenThatNeverComesUpGivesWayToLinux) {
    const std::string cidata = seed("#cloud-config\n", "m3");
    const std::string dir = std::string(kDir) + "/m";
    for (int start = 0; start < 3; ++start) {
        auto machine = Machine::start({}, {.image = image_, .cd = "", .seed = cidata, .metadata = ""}, dir, start > 0);
        ASSERT_TRUE(machine) << machine.error().what;
        ASSERT_TRUE((*machine)->wait_console("(XEN) ", minutes(3))) << tail((*machine)->console());
        (*machine)->kill();
    }
    auto machine = Machine::start({}, {.image = image_, .cd = "", .seed = cidata, .metadata = ""}, dir, true);
    ASSERT_TRUE(machine) << machine.error().what;
    ASSERT_TRUE((*machine)->wait_ssh(minutes(6))) << tail((*machine)->console());
    EXPECT_FALSE((*machine)->console().contains("(XEN) "));
    EXPECT_TRUE((*machine)->ssh("cat /run/motd.d/blanket").value_or("").contains("were not confirmed"));
    EXPECT_EQ(trim((*machine)->ssh("/usr/libexec/blanket/boot-tries").value_or("?")), "3");
    ASSERT_TRUE((*machine)->ssh("/usr/libexec/blanket/boot-tries 0 && sync"));
    (*machine)->kill();
    machine = Machine::start({}, {.image = image_, .cd = "", .seed = cidata, .metadata = ""}, dir, true);
    ASSERT_TRUE(machine) << machine.error().what;
    healthy(**machine, "m3");
}

class Iso : public Boot {
protected:
    void SetUp() override {
        Boot::SetUp();
        iso_ = given("BLANKET_ISO");
        ASSERT_FALSE(iso_.empty()) << "BLANKET_ISO names no ISO: run ./dev test boot";
    }
    std::string iso_;
};

TEST_F(Iso, RunsLiveByBiosAndByUefiAndWritesToNoDisk) {
    for (const bool uefi : {false, true}) {
        auto machine = Machine::start({.chipset = "q35", .uefi = uefi, .disk = Disk::kSata, .nic = "virtio-net-pci", .cd_is_first = true}, {.image = "", .cd = iso_, .seed = seed("#cloud-config\n", "live"), .metadata = ""},
                                      std::string(kDir) + "/m");
        ASSERT_TRUE(machine) << machine.error().what;
        ASSERT_TRUE((*machine)->wait_ssh(minutes(8))) << tail((*machine)->console());
        EXPECT_TRUE((*machine)->console().contains("(XEN) "));
        EXPECT_EQ(trim((*machine)->ssh("findmnt -no FSTYPE /").value_or("?")), "overlay");
        EXPECT_EQ(trim((*machine)->ssh("systemctl is-active blanketd").value_or("?")), "active");
        EXPECT_EQ(trim((*machine)->ssh("cmp -n 1048576 /dev/sda /dev/zero && echo untouched").value_or("?")), "untouched");
    }
}

}  // namespace
}  // namespace blanket::boot_rig
