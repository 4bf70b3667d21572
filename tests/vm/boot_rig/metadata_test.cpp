// SPDX-License-Identifier: GPL-2.0-or-later
// First boot at each cloud: name, key and user-data come from its metadata, which are asked as that cloud wants it; a service that is slow or broken costs bounded time.
#include <print>

#include "tests/lab/deadline.hpp"
#include "tests/vm/boot_rig/fixture.hpp"
#include "tests/vm/boot_rig/metadata_service.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kMac = "52:54:00:12:34:56";
constexpr const char* kFederation = "#cloud-config\nwrite_files:\n  - {path: /etc/blanket/federation, permissions: '0600', content: \"mycloud\"}\n";

class Metadata : public Boot {
protected:
    // Healthy under its name, by this data source, with the federation of the user-data.
    static void provisioned(Machine& machine, const std::string& name, const std::string& source) {
        healthy(machine, name);
        const auto findings = green_findings(machine);
        ASSERT_TRUE(findings.contains("metadata"));
        EXPECT_TRUE(findings.at("metadata").starts_with("ok") && findings.at("metadata").contains(source)) << findings.at("metadata") << "\n" << machine.ssh("tail -n 60 /var/log/cloud-init.log").value_or("");
        const auto joined = lab::wait_until("the federation of the user-data", minutes(3), seconds(3), [&]() -> Result<bool> {
            const auto shown = machine.ssh("blanket federation show");
            return shown && shown->contains("mycloud");
        });
        EXPECT_TRUE(joined) << machine.ssh("journalctl -u blanket-join --no-pager -n 20").value_or("");
        EXPECT_EQ(trim(machine.ssh("ls /etc/blanket/federation 2>/dev/null | wc -l").value_or("?")), "0");
    }
    static MachineKind kind(bool uefi, Disk disk, const std::string& smbios) {
        return {.chipset = uefi ? "q35" : "pc", .uefi = uefi, .disk = disk, .nic = std::string("virtio-net-pci,mac=") + kMac, .more = {"-smbios", "type=1," + smbios}};
    }
    // A CD with these files; `udf`, as Azure's is.
    static std::string cd(const std::string& label, const std::map<std::string, std::string>& files, bool udf = false) {
        const std::string folder = std::string(kDir) + "/cd", path = std::string(kDir) + "/cd.iso";
        EXPECT_TRUE(run({"rm", "-rf", folder, path}));
        for (const auto& [name, text] : files) {
            EXPECT_TRUE(make_dirs(folder + "/" + name.substr(0, name.rfind('/')), 0755));
            EXPECT_TRUE(write_file(folder + "/" + name, text));
        }
        if (!udf) {
            EXPECT_TRUE(run({"xorriso", "-as", "mkisofs", "-quiet", "-V", label, "-r", "-J", "-o", path, folder}));
            return path;
        }
        // xorriso makes none; Debian's genisoimage is fetched for this, as apt verified it.
        const auto made = run({"bash", "-euc", R"sh(
if [ ! -x "$DIR/genisoimage/usr/bin/genisoimage" ]; then
    work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
    get() { apt-get -o APT::Sandbox::User=root download -qq genisoimage; }
    get || { apt-get -qq update; get; }
    dpkg-deb -x genisoimage_*.deb "$DIR/genisoimage"
fi
"$DIR/genisoimage/usr/bin/genisoimage" -quiet -udf -V "$LABEL" -o "$OUT" "$FROM"
blkid -p "$OUT")sh"}, {.deadline = lab::scaled(minutes(5)), .env = {std::string("DIR=") + kDir, "LABEL=" + label, "OUT=" + path, "FROM=" + folder}});
        EXPECT_TRUE(made && made->contains("TYPE=\"udf\"")) << (made ? *made : made.error().what);
        return path;
    }
    [[nodiscard]] std::string openstack_meta_data(const std::string& name) const {
        return Json{{"uuid", "83679162-1378-4288-a2d4-70e13ec132aa"}, {"name", name}, {"hostname", name}, {"public_keys", {{"mine", key_}}}, {"availability_zone", "nova"}}.dump();
    }
    [[nodiscard]] Answers ec2() const {
        const std::string card = std::string("meta-data/network/interfaces/macs/") + kMac;
        return ec2_metadata({{"meta-data/instance-id", "i-0123456789abcdef0"}, {"meta-data/local-hostname", "ip-172-16-0-20"}, {"meta-data/hostname", "ip-172-16-0-20.example"}, {"meta-data/ami-id", "ami-1"},
                             {"meta-data/placement/availability-zone", "eu-central-1a"}, {"meta-data/public-keys/0/openssh-key", key_}, {"meta-data/mac", kMac}, {card + "/device-number", "0"},
                             {card + "/local-ipv4s", "172.16.0.20"}, {card + "/mac", kMac}, {"dynamic/instance-identity/document", "{\"instanceId\": \"i-0123456789abcdef0\"}"}, {"user-data", kFederation}});
    }
};

constexpr const char* kNitro = "manufacturer=Amazon EC2,product=m5.large,serial=ec2e1916-9099-7caf-fd21-012345abcdef,uuid=ec2e1916-9099-7caf-fd21-012345abcdef";

// The machine is known by its firmware, below our Xen too.
TEST_F(Metadata, Ec2WithVersion2Only) {
    const MetadataService service(ec2());
    auto machine = Machine::start(kind(true, Disk::kNvme, kNitro), {.image = image_, .metadata = service.address()}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    provisioned(**machine, "ip-172-16-0-20", "DataSourceEc2");
    EXPECT_GT(service.answered(), 5u);
}

TEST_F(Metadata, GoogleComputeEngine) {
    const MetadataService service(gce_metadata("gce1", key_, kFederation));
    auto machine = Machine::start(kind(true, Disk::kScsi, "manufacturer=Google,product=Google Compute Engine"), {.image = image_, .metadata = service.address()}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    provisioned(**machine, "gce1", "DataSourceGCE");
    EXPECT_FALSE((*machine)->ssh("cat /root/.ssh/authorized_keys").value_or("nobody").contains("nobody")) << "another user's key lets in as root";
}

TEST_F(Metadata, OpenStackService) {
    const MetadataService service(openstack_metadata(openstack_meta_data("nova1"), kFederation,
                                                     {{"meta-data/instance-id", "i-00000001"}, {"meta-data/hostname", "nova1.novalocal"}, {"meta-data/local-hostname", "nova1.novalocal"}, {"meta-data/local-ipv4", "172.16.0.20"},
                                                      {"meta-data/placement/availability-zone", "nova"}, {"meta-data/public-keys/0/openssh-key", key_}}));
    auto machine = Machine::start(kind(false, Disk::kVirtio, "manufacturer=OpenStack Foundation,product=OpenStack Nova,uuid=83679162-1378-4288-a2d4-70e13ec132aa"), {.image = image_, .metadata = service.address()}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    provisioned(**machine, "nova1", "DataSourceOpenStack");
}

TEST_F(Metadata, OpenStackConfigDrive) {
    const std::string drive = cd("config-2", {{"openstack/latest/meta_data.json", openstack_meta_data("nova2")}, {"openstack/latest/user_data", kFederation}});
    auto machine = Machine::start(kind(false, Disk::kVirtio, "manufacturer=OpenStack Foundation,product=OpenStack Nova"), {.image = image_, .cd = drive}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    provisioned(**machine, "nova2", "DataSourceConfigDrive");
}

// What a machine of Azure has, but for VMBus: the provisioning CD, the metadata, and the wireserver, which is told that the machine is ready. Its administrator, who may not be called root there, is no
// account here: his key is root's.
TEST_F(Metadata, Azure) {
    const std::string ovf = "<?xml version=\"1.0\" encoding=\"utf-8\"?><ns0:Environment xmlns:ns0=\"http://schemas.dmtf.org/ovf/environment/1\" xmlns:ns1=\"http://schemas.microsoft.com/windowsazure\">"
                            "<ns1:ProvisioningSection><ns1:Version>1.0</ns1:Version><ns1:LinuxProvisioningConfigurationSet><ns1:ConfigurationSetType>LinuxProvisioningConfiguration</ns1:ConfigurationSetType>"
                            "<ns1:UserName>azureuser</ns1:UserName><ns1:DisableSshPasswordAuthentication>true</ns1:DisableSshPasswordAuthentication><ns1:HostName>azure1</ns1:HostName></ns1:LinuxProvisioningConfigurationSet>"
                            "</ns1:ProvisioningSection><ns1:PlatformSettingsSection><ns1:Version>1.0</ns1:Version><ns1:PlatformSettings><ns1:ProvisionGuestAgent>false</ns1:ProvisionGuestAgent></ns1:PlatformSettings>"
                            "</ns1:PlatformSettingsSection></ns0:Environment>";
    const auto encoded = run({"base64", "-w0"}, {.input = kFederation});
    ASSERT_TRUE(encoded);
    const Json instance{{"compute", {{"location", "westeurope"}, {"name", "azure1"}, {"vmId", "52e1ab28-65c8-4f15-b5d8-8c0e7d7a7d11"}, {"userData", *encoded},
                                     {"osProfile", {{"adminUsername", "azureuser"}, {"computerName", "azure1"}, {"disablePasswordAuthentication", "true"}}},
                                     {"publicKeys", {{{"keyData", key_}, {"path", "/home/azureuser/.ssh/authorized_keys"}}}}}},
                        {"network", {{"interface", {{{"macAddress", "525400123456"}, {"ipv6", {{"ipAddress", Json::array()}}},
                                                     {"ipv4", {{"ipAddress", {{{"privateIpAddress", "172.16.0.20"}, {"publicIpAddress", ""}}}}, {"subnet", {{{"address", "172.16.0.0"}, {"prefix", "24"}}}}}}}}}}}};
    const auto ready = std::make_shared<std::atomic<bool>>(false);
    const MetadataService service(azure_metadata(instance.dump(), ready));
    MachineKind machine_kind = kind(true, Disk::kScsi, "manufacturer=Microsoft Corporation,product=Virtual Machine,uuid=28abe152-c865-154f-b5d8-8c0e7d7a7d11");
    machine_kind.more.insert(machine_kind.more.end(), {"-smbios", "type=3,manufacturer=Microsoft Corporation,asset=7783-7084-3265-9085-8269-3286-77"});
    auto machine = Machine::start(machine_kind, {.image = image_, .cd = cd("rd_rdfe_stable", {{"/ovf-env.xml", ovf}}, true), .metadata = service.address()}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    provisioned(**machine, "azure1", "DataSourceAzure");
    EXPECT_TRUE(*ready);
    EXPECT_EQ(trim((*machine)->ssh("mount -o ro /dev/sr0 /mnt && findmnt -no FSTYPE /mnt && cmp /mnt/ovf-env.xml /dev/null 2>&1 | grep -c EOF; umount /mnt").value_or("?")), "udf\n1");
}

// The key comes from nowhere then, so that nobody can log in: the console is what tells.
TEST_F(Metadata, ABrokenServiceCostsBoundedTime) {
    struct Case {
        const char* name;
        Answers answers;
        std::chrono::milliseconds delay;
        MachineKind kind;
    };
    const Case cases[]{{"EC2, each answer 30 s late", ec2(), seconds(30), kind(true, Disk::kNvme, kNitro)},
                       {"OpenStack, 500", broken_metadata(), {}, kind(false, Disk::kVirtio, "manufacturer=OpenStack Foundation,product=OpenStack Nova")}};
    for (const auto& one : cases) {
        const MetadataService service(one.answers, one.delay);
        const auto started = std::chrono::steady_clock::now();
        auto machine = Machine::start(one.kind, {.image = image_, .metadata = service.address()}, machine_dir());
        ASSERT_TRUE(machine) << machine.error().what;
        const auto up = (*machine)->wait_sshd(minutes(7));
        EXPECT_TRUE(up) << one.name << ": " << up.error().what << "\n" << tail((*machine)->console());
        std::println("{}: sshd answers after {} s", one.name, std::chrono::duration_cast<seconds>(std::chrono::steady_clock::now() - started).count());
    }
}

}  // namespace
}  // namespace blanket::boot_rig
