// SPDX-License-Identifier: GPL-2.0-or-later
// The appliance's own search for its seed or its provider's metadata service, over firmware tables and disk labels as the providers show them.
#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

constexpr const char* kScript = BLANKET_SOURCE_DIR "/image-builder/extra/usr/libexec/blanket/datasource";

struct Machine {
    FakeRoot root;
    void dmi(const std::string& name, const std::string& value) const { root.file("/sys/class/dmi/id/" + name, value + "\n"); }
    [[nodiscard]] std::string source() const {
        const auto ran = run_any({"env", "ROOT=" + root.path(), "bash", kScript});
        EXPECT_TRUE(ran && ran->status == 0) << (ran ? ran->err : ran.error().what);
        const auto config = read_file(root.path() + "/run/cloud-init/cloud.cfg", 4096), chosen = read_file(root.path() + "/run/blanket/datasource", 4096);
        if (!config || !chosen) return "nothing was written";
        const std::string name(trim(*chosen));
        // Azure's administrator is no account here: the keys are root's.
        EXPECT_EQ(*config, name == "None" ? "datasource_list: [ None ]\n" : std::format("datasource_list: [ {}, None ]\n{}", name, name == "Azure" ? "users: [root]\n" : ""));
        return name;
    }
};

TEST(Datasource, EachProviderByItsFirmware) {
    struct Case {
        const char *file, *value, *source;
    };
    for (const Case& one : {Case{"sys_vendor", "Amazon EC2", "Ec2"}, Case{"product_uuid", "EC2E1916-9099-7CAF-FD21-012345ABCDEF", "Ec2"}, Case{"bios_version", "4.11.amazon", "Ec2"},
                            Case{"product_name", "Google Compute Engine", "GCE"}, Case{"product_name", "OpenStack Nova", "OpenStack"}, Case{"product_name", "OpenStack Compute", "OpenStack"},
                            Case{"chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77", "Azure"}, Case{"chassis_asset_tag", "OracleCloud.com", "Oracle"}, Case{"sys_vendor", "Hetzner", "Hetzner"},
                            Case{"sys_vendor", "DigitalOcean", "DigitalOcean"}, Case{"sys_vendor", "Dell Inc.", "None"}}) {
        const Machine machine;
        machine.dmi(one.file, one.value);
        EXPECT_EQ(machine.source(), one.source) << one.file << " " << one.value;
    }
}

TEST(Datasource, ASeedComesFirst) {
    const Machine machine;
    machine.dmi("sys_vendor", "Amazon EC2");
    machine.root.file("/dev/disk/by-label/config-2", "");
    EXPECT_EQ(machine.source(), "ConfigDrive");
    machine.root.file("/dev/disk/by-label/CIDATA", "");
    EXPECT_EQ(machine.source(), "NoCloud");
}

TEST(Datasource, AMachineThatTellsNothing) { EXPECT_EQ(Machine().source(), "None"); }

// dom0's own UUID is all zeros; cloud-init would take it for the provider's.
TEST(Datasource, TheFirmwaresUuidCountsInDom0) {
    const Machine dom0;
    dom0.dmi("product_uuid", "EC2E1916-9099-7CAF-FD21-012345ABCDEF");
    dom0.root.file("/sys/hypervisor/uuid", "00000000-0000-0000-0000-000000000000\n");
    EXPECT_EQ(dom0.source(), "Ec2");
    EXPECT_EQ(read_file(dom0.root.path() + "/run/blanket/hypervisor-uuid", 4096), "ec2e1916-9099-7caf-fd21-012345abcdef\n");
    const Machine guest;  // of a provider's Xen, without ours between
    guest.dmi("product_uuid", "EC2E1916-9099-7CAF-FD21-012345ABCDEF");
    guest.root.file("/sys/hypervisor/uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n");
    EXPECT_EQ(guest.source(), "Ec2");
    EXPECT_FALSE(read_file(guest.root.path() + "/run/blanket/hypervisor-uuid", 4096));
}

}  // namespace
}  // namespace blanket
