// SPDX-License-Identifier: GPL-2.0-or-later
// uplinks: what drives the provider's disks and cards, from fake /sys trees of an EC2 Xen machine, of KVM, and of a real one.
#include "toolstack/daemon/uplinks.hpp"

#include <algorithm>

#include "tests/unit/cli/fake_root.hpp"

namespace blanket {
namespace {

// A device at a bus with a driver, and the disk or card that hangs on it.
void device(const FakeRoot& root, const std::string& path, const std::string& bus, const std::string& driver) {
    std::filesystem::create_directories(root.path() + "/sys/devices/" + path);
    std::filesystem::create_directories(root.path() + "/sys/bus/" + bus + "/drivers/" + driver);
    root.link("/sys/devices/" + path + "/driver", root.path() + "/sys/bus/" + bus + "/drivers/" + driver);
    root.link("/sys/devices/" + path + "/subsystem", root.path() + "/sys/bus/" + bus);
}
void disk(const FakeRoot& root, const std::string& name, const std::string& on, const std::string& stat) {
    root.file("/sys/block/" + name + "/stat", stat);
    root.link("/sys/block/" + name + "/device", root.path() + "/sys/devices/" + on);
}
void nic(const FakeRoot& root, const std::string& name, const std::string& on) {
    for (const char* counter : {"rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_errors", "tx_errors"}) root.file("/sys/class/net/" + name + "/statistics/" + counter, "5\n");
    root.link("/sys/class/net/" + name + "/device", root.path() + "/sys/devices/" + on);
}
HostUplink named(const Uplinks& all, const std::string& name) {
    const auto at = std::ranges::find(all.list, name, &HostUplink::name);
    return at == all.list.end() ? HostUplink{} : *at;
}

TEST(Uplinks, InsideAProvidersXen) {
    const FakeRoot root;
    device(root, "blanket/vbd-51712", "blanket", "vbd");
    root.file("/sys/devices/blanket/vbd-51712/state", "connected\n");
    device(root, "pci0000:00/0000:00:04.0", "pci", "8139cp");
    disk(root, "xvda", "blanket/vbd-51712", "  12  0  128  3  4  0  2048  9 0 0 0\n");
    root.file("/sys/block/loop0/stat", "1 1 1 1 1 1 1 1");
    nic(root, "eth0", "pci0000:00/0000:00:04.0");
    nic(root, "vif3.0", "pci0000:00/0000:00:04.0");
    root.file("/sys/bus/blanket/provider", "xen 4.17\n");
    root.file("/sys/bus/blanket/ports", "4\n");
    root.file("/sys/bus/blanket/grants", "not a number\n");
    root.file("/sys/class/dmi/id/sys_vendor", "Xen\n");
    const Uplinks all = gather_uplinks(root.path());
    ASSERT_EQ(all.list.size(), 2u) << "loop devices and our ends of guests' cards are no uplinks";
    const HostUplink blk = named(all, "xvda"), card = named(all, "eth0");
    EXPECT_EQ(blk.driver, "uplink-blk");
    EXPECT_EQ(blk.state, "connected");
    EXPECT_EQ(blk.path, UplinkPath::kParavirtual);
    EXPECT_EQ(blk.counters.at("read_bytes"), 128u * 512);
    EXPECT_EQ(blk.counters.at("written_bytes"), 2048u * 512);
    EXPECT_EQ(better_way(blk, all), "");
    EXPECT_EQ(card.driver, "8139cp");
    EXPECT_EQ(card.path, UplinkPath::kEmulated);
    EXPECT_EQ(card.counters.at("errors"), 10u);
    EXPECT_TRUE(better_way(card, all).contains("gives none of this kind"));
    EXPECT_EQ(all.provider_xen, "xen 4.17");
    EXPECT_EQ(all.bus.at("ports"), 4u);
    EXPECT_EQ(all.bus.at("grants"), 0u);
    const Json json = to_json(all);
    EXPECT_EQ(json["uplinks"][0]["path"], "paravirtual");
    EXPECT_EQ(json["bus"]["ports"], 4);
}

TEST(Uplinks, AnEmulatedTwinIsToGo) {
    const FakeRoot root;
    device(root, "blanket/vbd-768", "blanket", "vbd");
    device(root, "pci0000:00/0000:00:01.1", "pci", "ata_piix");
    disk(root, "xvda", "blanket/vbd-768", "0 0 0 0 0 0 0");
    disk(root, "sda", "pci0000:00/0000:00:01.1", "0 0 0");
    root.file("/sys/bus/blanket/provider", "xen 4.2\n");
    const Uplinks all = gather_uplinks(root.path());
    EXPECT_TRUE(better_way(named(all, "sda"), all).contains("use the paravirtual one beside it"));
    EXPECT_TRUE(named(all, "sda").counters.empty()) << "a short stat line is no zero";
}

// The disk has Linux' usual chain above it: sd at the SCSI device, then the port, then the controller with the driver that counts.
TEST(Uplinks, ATwinThatIsLeftAloneIsNotMissing) {
    const std::string controller = "pci0000:00/0000:00:01.1", disk_at = controller + "/ata1/host0/target0:0:0/0:0:0:0";
    struct Case {
        const char *said, *disk_needs, *card_needs;
    };
    for (const Case& one : {Case{"vbd driven\n", "softdep ata_piix pre: uplink", "gives none of this kind"}, Case{"vbd asked\nvif driven\n", "uplink.unplug=0", "softdep 8139cp pre: uplink"},
                            Case{"vbd refused\nvif refused\n", "does not take this one away", "does not take this one away"},
                            Case{"", "gives none of this kind", "gives none of this kind"}, Case{"vbd\nvif a b\nnonsense x\n", "gives none of this kind", "gives none of this kind"}}) {
        SCOPED_TRACE(one.said);
        const FakeRoot root;
        device(root, controller, "pci", "ata_piix");
        device(root, disk_at, "scsi", "sd");
        device(root, "pci0000:00/0000:00:04.0", "pci", "8139cp");
        disk(root, "sda", disk_at, "0 0 0 0 0 0 0");
        nic(root, "eth0", "pci0000:00/0000:00:04.0");
        root.file("/sys/bus/blanket/provider", "xen 4.2\n");
        root.file("/sys/bus/blanket/left_alone", one.said);
        const Uplinks all = gather_uplinks(root.path());
        const HostUplink sda = named(all, "sda"), eth0 = named(all, "eth0");
        EXPECT_EQ(sda.driver, "ata_piix");
        EXPECT_EQ(sda.path, UplinkPath::kEmulated);
        EXPECT_TRUE(better_way(sda, all).contains(one.disk_needs)) << better_way(sda, all);
        EXPECT_TRUE(better_way(eth0, all).contains(one.card_needs)) << better_way(eth0, all);
        EXPECT_EQ(better_way(sda, all).contains("paravirtual twin is left alone"), !std::string(one.disk_needs).contains("gives none"));
    }
}

TEST(Uplinks, OtherProvidersAndRealHardware) {
    for (const auto& [vendor, way] : {std::pair("QEMU", "emulated"), std::pair("Dell Inc.", "native")}) {
        const FakeRoot root;
        device(root, "pci0000:00/0000:00:03.0", "pci", "e1000e");
        nic(root, "eth0", "pci0000:00/0000:00:03.0");
        root.file("/sys/class/dmi/id/sys_vendor", vendor);
        const Uplinks all = gather_uplinks(root.path());
        EXPECT_EQ(to_string(named(all, "eth0").path), way);
        EXPECT_EQ(better_way(named(all, "eth0"), all).empty(), std::string(way) == "native");
        EXPECT_TRUE(all.provider_xen.empty());
    }
    EXPECT_TRUE(gather_uplinks("/nowhere").list.empty());
}

}  // namespace
}  // namespace blanket
