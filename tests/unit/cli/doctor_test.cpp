// SPDX-License-Identifier: GPL-2.0-or-later
// doctor: gathering from fake roots and commands, judging of good and bad facts.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/daemon/doctor.hpp"

namespace blanket {
namespace {

namespace fs = std::filesystem;

const Check& check(const std::vector<Check>& checks, const std::string& name) {
    static const Check kNone{"none", CheckStatus::kFail, "no such check", ""};
    const auto at = std::ranges::find(checks, name, &Check::name);
    return at == checks.end() ? kNone : *at;
}

DoctorInputs healthy() {
    DoctorInputs in;
    in.host = HostFacts{.memory_mib = 2048, .free_mib = 1200, .cpus = 2, .cpu_features = {}, .cpu_model = "EPYC", .xen_version = "4.20", .libvirt_version = "11.3", .log_dirty = true};
    in.pool = PoolFacts{.size = 10u << 20, .used = 1u << 20, .metadata_percent = 3};
    in.registry = RegistryFacts{.running = true, .quorum = true, .voters = 3, .healthy = 3, .leader = "east", .error = ""};
    in.federated = true;
    in.revoked_sites = {"lost (by east, 2026-01-01T00:00:00Z)"};
    in.certificate_days = 300;
    in.hypervisor_type = "xen";
    in.hypervisor_version = "4.20.3-blanket";
    in.control_domain = true;
    in.units = {{"ovs-vswitchd.service", "active"}, {"openvswitch-switch.service", "active"}};
    in.modules = {{"openvswitch", {true, true, ""}}, {"drbd", {true, true, "8.4.11"}}, {"wireguard", {false, true, ""}}};
    in.clock_synchronised = true;
    in.uplink = {"ens3", "virtio_net"};
    in.uplink_address = "10.0.0.2";
    in.uplink_mtu = 1500;
    in.root_disk = {"vda", "virtio_blk"};
    in.root_space = {.free = 3ull << 30, .total = 5ull << 30};
    in.uplinks.list = {{.name = "vda", .kind = "disk", .driver = "virtio_blk", .device = {}, .state = {}, .path = UplinkPath::kParavirtual, .counters = {}}};
    in.wireguard = WireguardFacts{.present = true, .peers = 1, .alive = 1};
    in.dmi_vendor = "QEMU";
    in.uefi = true;
    in.secure_boot = SecureBoot::kOff;
    in.entropy = 256;
    in.xen_build = XenBuildFacts{.version = "4.20.3+127-gc42374a105-0+deb13u1", .commit = "c42374a105", .advisories = 24, .newest = 508, .age_days = 20};
    in.metadata = {.chosen = "Ec2", .used = "DataSourceEc2Local", .errors = {}};
    in.update.running = 'a';
    in.update.slots = {{{.bootable = true, .version = "0.1.0", .id = "1", .time = {}}, {.bootable = true, .version = "0.2.0", .id = "2", .time = {}}}};
    return in;
}

TEST(Doctor, AHealthyHostIsAllOk) {
    for (const auto& one : run_doctor(healthy())) {
        EXPECT_EQ(one.status, CheckStatus::kOk) << one.name << ": " << one.detail;
        EXPECT_TRUE(one.hint.empty()) << one.name;
    }
}

TEST(Doctor, SaysWhatDrivesEachUplinkAndWhatWouldBeBetter) {
    DoctorInputs in = healthy();
    EXPECT_EQ(check(run_doctor(in), "devices").detail, "vda by virtio_blk, paravirtual");
    in.uplinks.list.push_back({.name = "eth0", .kind = "nic", .driver = "e1000", .device = {}, .state = {}, .path = UplinkPath::kEmulated, .counters = {}});
    const auto checks = run_doctor(in);
    EXPECT_EQ(check(checks, "devices").status, CheckStatus::kWarning);
    EXPECT_TRUE(check(checks, "devices").detail.contains("eth0 by e1000, emulated")) << check(checks, "devices").detail;
    EXPECT_TRUE(check(checks, "devices").hint.contains("virtio"));
    in.uplinks.provider_xen = "xen 4.17";
    EXPECT_TRUE(check(run_doctor(in), "devices").hint.contains("the provider's Xen gives none of this kind"));
}

TEST(Doctor, SaysWhatTheContentStoreIsWorth) {
    DoctorInputs in = healthy();
    in.store = ContentStoreFacts{1u << 30, 512u << 20, 131'072, 50'000, 40'000, ""};
    const auto checks = run_doctor(in);
    const auto store = std::ranges::find(checks, "content-store", &Check::name);
    ASSERT_NE(store, checks.end());
    EXPECT_EQ(store->status, CheckStatus::kOk);
    for (const char* word : {"131072 pages", "50000 pages", "40000"}) EXPECT_TRUE(store->detail.contains(word)) << store->detail;
    in.store.reset();
    EXPECT_FALSE(std::ranges::contains(run_doctor(in), "content-store", &Check::name));
}

TEST(Doctor, KnowingNothingSaysSoAndHelps) {
    const auto checks = run_doctor({});
    EXPECT_EQ(checks.size(), run_doctor(healthy()).size());
    for (const auto& one : checks) {
        EXPECT_FALSE(one.detail.empty()) << one.name;
        if (one.status != CheckStatus::kOk) EXPECT_FALSE(one.hint.empty()) << one.name;
    }
    EXPECT_EQ(check(checks, "xen").status, CheckStatus::kFail);
    EXPECT_EQ(check(checks, "clock").status, CheckStatus::kWarning);
}

TEST(Doctor, EachFaultIsFoundAlone) {
    struct Fault {
        std::string name;
        CheckStatus status;
        void (*make)(DoctorInputs&);
        std::string text;
    };
    const std::vector<Fault> faults{
        {"xen", CheckStatus::kFail, [](DoctorInputs& in) { in.hypervisor_type = "kvm"; }, "'kvm'"},
        {"xen", CheckStatus::kFail, [](DoctorInputs& in) { in.control_domain = false; }, "control domain"},
        {"xen", CheckStatus::kWarning, [](DoctorInputs& in) { in.hypervisor_version = "4.20.3"; }, "not Blanket's own"},
        {"xsa", CheckStatus::kWarning, [](DoctorInputs& in) { in.xen_build.reset(); }, "not known"},
        {"xsa", CheckStatus::kWarning, [](DoctorInputs& in) { in.xen_build->age_days = 121; }, "121 days old, with Debian's fixes for 24 advisories up to XSA-508"},
        {"entropy", CheckStatus::kWarning, [](DoctorInputs& in) { in.entropy = 40; }, "40 of 256"},
        {"entropy", CheckStatus::kWarning, [](DoctorInputs& in) { in.entropy.reset(); }, "not known"},
        {"secure-boot", CheckStatus::kFail, [](DoctorInputs& in) { in.secure_boot = SecureBoot::kOn; }, "Secure Boot is on"},
        {"log-dirty", CheckStatus::kFail, [](DoctorInputs& in) { in.host->log_dirty = false; }, "shadow"},
        {"openvswitch", CheckStatus::kFail, [](DoctorInputs& in) { in.units["ovs-vswitchd.service"] = "failed"; }, "failed"},
        {"openvswitch", CheckStatus::kFail, [](DoctorInputs& in) { in.modules["openvswitch"].loaded = false; }, "not loaded"},
        {"storage", CheckStatus::kFail, [](DoctorInputs& in) { in.pool.reset(), in.pool_error = "no such LV"; }, "no such LV"},
        {"disk", CheckStatus::kWarning, [](DoctorInputs& in) { in.twin = "/dev/vdb3"; }, "/dev/vdb3 is the same image"},
        {"disk", CheckStatus::kWarning, [](DoctorInputs& in) { in.root_space.free = 500u << 20; }, "500.0 MiB of 5.0 GiB free: the root file system is nearly full"},
        {"disk", CheckStatus::kFail, [](DoctorInputs& in) { in.root_space.free = 63u << 20; }, "is full"},
        {"disk", CheckStatus::kFail, [](DoctorInputs& in) { in.root_space = {.free = 60u << 20, .total = 200u << 20}; in.twin = "/dev/vdb3"; }, "is full"},
        {"disk", CheckStatus::kWarning, [](DoctorInputs& in) { in.root_disk_lacks = 16u << 10; }, "ends 16.0 KiB beyond the disk"},
        {"metadata", CheckStatus::kWarning, [](DoctorInputs& in) { in.metadata.used.clear(); }, "found nothing yet"},
        {"content-store", CheckStatus::kWarning, [](DoctorInputs& in) { in.store = ContentStoreFacts{1u << 30, 1u << 20, 200, 50, 40, "no room is left"}; }, "no room is left"},
        {"storage", CheckStatus::kWarning, [](DoctorInputs& in) { in.pool->used = in.pool->size * 85 / 100; }, "85 %"},
        {"storage", CheckStatus::kFail, [](DoctorInputs& in) { in.pool->metadata_percent = 96; }, "metadata 96 %"},
        {"metadata", CheckStatus::kWarning, [](DoctorInputs& in) { in.metadata.errors = {"Failed loading yaml blob", "more"}; }, "yaml blob (and 1 more)"},
        {"metadata", CheckStatus::kWarning, [](DoctorInputs& in) { in.metadata.used = "DataSourceNone"; }, "Ec2 was expected"},
        {"update", CheckStatus::kWarning, [](DoctorInputs& in) { in.update.env = {.slot = 'b', .trial = 'a'}; in.update.on_trial = true; }, "version 0.1.0 is on trial"},
        {"update", CheckStatus::kWarning, [](DoctorInputs& in) { in.update.env = {.slot = 'a', .trial = 'b'}; }, "version 0.2.0 was started and did not come up; this is 0.1.0 again"},
        {"update", CheckStatus::kWarning, [](DoctorInputs& in) { in.update.env = {.slot = 'a', .trial = 'b', .armed = true}; }, "0.2.0 is started next"},
        {"update", CheckStatus::kWarning, [](DoctorInputs& in) { in.update.refused = "signed by none"; in.update.refused_time = "2026"; }, "was not installed at 2026: signed by none"},
        {"drbd", CheckStatus::kFail, [](DoctorInputs& in) { in.modules.erase("drbd"); }, "no module 'drbd'"},
        {"drbd", CheckStatus::kFail, [](DoctorInputs& in) { in.modules["drbd"].version = "9.2.1"; }, "9.2.1"},
        {"wireguard", CheckStatus::kFail, [](DoctorInputs& in) { in.wireguard->present = false; }, "missing"},
        {"wireguard", CheckStatus::kWarning, [](DoctorInputs& in) { in.wireguard->alive = 0; }, "0 of 1"},
        {"wireguard", CheckStatus::kWarning, [](DoctorInputs& in) { in.relayed = {"home via west: not reached at 198.51.100.9:51820"}; }, "home via west: not reached"},
        {"registry", CheckStatus::kFail, [](DoctorInputs& in) { in.registry->quorum = false, in.registry->healthy = 1; }, "1 of 3"},
        {"registry", CheckStatus::kFail, [](DoctorInputs& in) { in.registry.reset(); }, "does not answer"},
        {"registry", CheckStatus::kWarning, [](DoctorInputs& in) { in.registry->healthy = 2; }, "2 of 3"},
        {"standing", CheckStatus::kFail, [](DoctorInputs& in) { in.revoked = Revocation{"here", {}, "", "west", "2026-01-01T00:00:00Z", "", ""}; }, "revoked by 'west'"},
        {"listeners", CheckStatus::kFail, [](DoctorInputs& in) { in.shut = "cannot listen on 0.0.0.0:7443"; }, "cannot listen on 0.0.0.0:7443"},
        {"certificate", CheckStatus::kFail, [](DoctorInputs& in) { in.certificate_days.reset(); }, "cannot be read"},
        {"certificate", CheckStatus::kFail, [](DoctorInputs& in) { in.certificate_days = -3; }, "expired"},
        {"certificate", CheckStatus::kFail, [](DoctorInputs& in) { in.certificate_days = 6; }, "6 days"},
        {"certificate", CheckStatus::kWarning, [](DoctorInputs& in) { in.certificate_days = 59; }, "59 days"},
        {"records", CheckStatus::kFail, [](DoctorInputs& in) { in.malformed = {{"vms/1", "there is no phase 'dancing'", true}}; }, "dancing"},
        {"networks", CheckStatus::kFail, [](DoctorInputs& in) { in.unserved = {"network 'lan' (172.31.0.0/20) holds addresses that the host of site 'west' needs itself: 172.31.5.7/20 of ens5"}; }, "172.31.5.7/20 of ens5"},
        {"networks", CheckStatus::kWarning, [](DoctorInputs& in) { in.unservable = {"network 'lan' (172.31.0.0/20) holds addresses that the host of site 'west' needs itself: 172.31.5.7/20 of ens5"}; }, "no VM of it can come here"},
        {"registry", CheckStatus::kWarning, [](DoctorInputs& in) { in.registry->voters = in.registry->healthy = 2; }, "two voters"},
        {"clock", CheckStatus::kWarning, [](DoctorInputs& in) { in.clock_synchronised = false; }, "not synchronised"},
        {"uplink", CheckStatus::kFail, [](DoctorInputs& in) { in.uplink_address.clear(); }, "no address"},
        {"uplink", CheckStatus::kWarning, [](DoctorInputs& in) { in.uplink_mtu = 1450; }, "1450"},
        {"memory", CheckStatus::kWarning, [](DoctorInputs& in) { in.host->free_mib = 60; }, "60 MiB"},
    };
    for (const auto& fault : faults) {
        DoctorInputs in = healthy();
        fault.make(in);
        for (const auto& one : run_doctor(in)) {
            if (one.name != fault.name) {
                EXPECT_EQ(one.status, CheckStatus::kOk) << fault.text << " also hit " << one.name;
                continue;
            }
            EXPECT_EQ(one.status, fault.status) << fault.text << ": " << one.detail;
            EXPECT_NE(one.detail.find(fault.text), std::string::npos) << one.detail;
            EXPECT_FALSE(one.hint.empty()) << fault.text;
        }
    }
}

TEST(Doctor, ALiveSystemKeepsNothing) {
    DoctorInputs in = healthy();
    in.pool.reset();
    in.live = "sr0";
    unsigned warned = 0;
    for (const auto& check : run_doctor(in)) {
        if (check.status == CheckStatus::kOk) continue;
        EXPECT_EQ(check.status, CheckStatus::kWarning) << check.name;
        EXPECT_TRUE(check.name == "storage" || check.name == "disk") << check.name;
        EXPECT_TRUE(check.detail.contains("live")) << check.detail;
        ++warned;
    }
    EXPECT_EQ(warned, 2u);
}

TEST(Doctor, JsonHasTheApiForm) {
    const Json json = to_json(run_doctor(healthy()));
    ASSERT_TRUE(json["checks"].is_array());
    EXPECT_EQ(json["checks"][0]["name"], "xen");
    EXPECT_EQ(json["checks"][0]["status"], "ok");
    EXPECT_TRUE(json["checks"][0].contains("detail") && json["checks"][0].contains("hint"));
}

TEST(Doctor, GathersAVirtioCloud) {
    const FakeRoot root;
    root.file("/sys/hypervisor/type", "xen\n");
    root.file("/sys/hypervisor/version/major", "4\n");
    root.file("/sys/hypervisor/version/minor", "20\n");
    root.file("/sys/hypervisor/version/extra", ".3-blanket\n");
    root.file("/proc/xen/capabilities", "control_d\n");
    root.file("/proc/sys/kernel/osrelease", "6.12.1-amd64\n");
    root.file("/lib/modules/6.12.1-amd64/modules.dep", "kernel/drivers/net/wireguard/wireguard.ko.xz: kernel/x.ko\nkernel/drivers/md/dm-thin-pool.ko.xz:\n");
    root.file("/sys/module/drbd/version", "8.4.11\n");
    root.file("/proc/net/route",
              "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
              "ens4\t00000000\t0102000A\t0003\t0\t0\t200\t00000000\t0\t0\t0\n"
              "ens3\t00000000\t0102000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
              "ens3\t0002000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n");
    root.file("/sys/devices/pci0/0000:00:03.0/virtio1/net/ens3/mtu", "1500\n");
    root.link("/sys/devices/pci0/0000:00:03.0/virtio1/net/ens3/device", "../../../virtio1");
    root.link("/sys/devices/pci0/0000:00:03.0/virtio1/driver", "../../../../bus/virtio/drivers/virtio_net");
    root.link("/sys/class/net/ens3", "../../devices/pci0/0000:00:03.0/virtio1/net/ens3");
    root.file("/proc/self/mountinfo", "22 1 252:1 / / rw,relatime - ext4 /dev/vda1 rw\n23 22 0:5 / /dev rw - devtmpfs udev rw\n");
    root.file("/sys/devices/pci0/0000:00:04.0/virtio2/block/vda/vda1/partition", "1\n");
    root.link("/sys/devices/pci0/0000:00:04.0/virtio2/driver", "../../../../bus/virtio/drivers/virtio_blk");
    root.link("/sys/dev/block/252:1", "../../devices/pci0/0000:00:04.0/virtio2/block/vda/vda1");
    root.file("/sys/class/block/vda/size", "200\n");  // sectors
    root.file("/dev/vda", std::string(512, '\0') + "EFI PART" + std::string(24, '\0') + std::string("\xe7\0\0\0\0\0\0\0", 8));  // the last block is 231
    root.file("/sys/class/dmi/id/sys_vendor", "QEMU\n");
    root.file("/proc/sys/kernel/random/entropy_avail", "256\n");
    root.file("/sys/class/misc/hw_random/rng_current", "virtio_rng.0\n");
    const auto yesterday = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count() - 100'000;
    root.file("/usr/share/blanket/xen-build.json", std::format(R"({{"version": "4.20.3-0+deb13u1", "commit": "c42374a105", "released": {}, "advisories": [480, 508, 495, -1, "x"]}})", yesterday));
    root.file("/sys/class/net/wg-blanket/mtu", "1420\n");
    root.file("/run/blanket/datasource", "Ec2\n");
    root.file("/run/cloud-init/status.json",
              R"({"v1": {"datasource": "DataSourceEc2Local", "stage": null, "init": {"errors": ["one"], "recoverable_errors": {"WARNING": ["two", 3]}, "start": 1.5}, "x": [1]}})");
    std::vector<std::string> commands;
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    const DoctorProbe probe{.root = root.path(),
                            .run = [&](const Argv& argv) -> Result<Output> {
                                commands.push_back(argv[0]);
                                if (argv[0] == "systemctl") return Output{3, "active\nfailed\nactive\ninactive\nactive\n", ""};
                                if (argv[0] == "ip") return Output{0, R"([{"ifname":"ens3","addr_info":[{"local":"127.0.0.5","scope":"host"},{"local":"10.0.2.15","scope":"global"}]}])", ""};
                                if (argv[0] == "wg") return Output{0, std::format("k1=\t{}\nk2=\t0\n", now - 20), ""};
                                return fail(Kind::kNotFound, "no {}", argv[0]);
                            },
                            .clock = [] { return std::optional(true); },
                            .uplink = ""};
    const DoctorInputs in = gather_doctor(probe);
    EXPECT_EQ(in.hypervisor_type, "xen");
    EXPECT_EQ(in.hypervisor_version, "4.20.3-blanket");
    EXPECT_TRUE(in.control_domain);
    EXPECT_EQ(in.units.at("openvswitch-switch.service"), "active");
    EXPECT_EQ(in.units.at("ovs-vswitchd.service"), "failed");
    EXPECT_EQ(in.units.count("xenstored.service"), 0u);
    EXPECT_TRUE(in.modules.at("wireguard").available && !in.modules.at("wireguard").loaded);
    EXPECT_TRUE(in.modules.at("dm_thin_pool").available);
    EXPECT_TRUE(in.modules.at("drbd").loaded);
    EXPECT_EQ(in.modules.at("drbd").version, "8.4.11");
    EXPECT_FALSE(in.modules.at("openvswitch").available);
    EXPECT_EQ(in.uplink.name, "ens3");
    EXPECT_EQ(in.uplink.driver, "virtio_net");
    EXPECT_EQ(in.uplink_address, "10.0.2.15");
    EXPECT_EQ(in.uplink_mtu, 1500u);
    EXPECT_EQ(in.root_disk.name, "vda");
    EXPECT_EQ(in.root_disk.driver, "virtio_blk");
    EXPECT_EQ(in.root_disk_lacks, 32u * 512);
    EXPECT_GT(in.root_space.total, 0u);
    EXPECT_FALSE(in.uefi);
    EXPECT_EQ(in.metadata.chosen, "Ec2");
    EXPECT_EQ(in.metadata.used, "DataSourceEc2Local");
    EXPECT_EQ(in.metadata.errors, (std::vector<std::string>{"one", "two"}));
    ASSERT_TRUE(in.wireguard);
    EXPECT_EQ(in.wireguard->peers, 2u);
    EXPECT_EQ(in.wireguard->alive, 1u);
    EXPECT_EQ(in.entropy, 256u);
    EXPECT_EQ(in.random_source, "virtio_rng.0");
    EXPECT_EQ(in.secure_boot, SecureBoot::kUnknown);
    ASSERT_TRUE(in.xen_build);
    EXPECT_EQ(in.xen_build->version, "4.20.3-0+deb13u1");
    EXPECT_EQ(in.xen_build->age_days, 1u);
    EXPECT_EQ(in.xen_build->advisories, 3u);
    EXPECT_EQ(in.xen_build->newest, 508u);
    EXPECT_EQ(commands, (std::vector<std::string>{"systemctl", "ip", "wg"}));
}

TEST(Doctor, GathersAnNvmeCloudWithoutADefaultRoute) {
    const FakeRoot root;
    root.file("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", std::string("\6\0\0\0\1", 5));
    root.file("/usr/share/blanket/xen-build.json", R"({"version": 3})");
    root.file("/sys/class/misc/hw_random/rng_current", "none\n");
    root.file("/proc/sys/kernel/random/entropy_avail", "many\n");
    root.file("/sys/devices/pci0/0000:00:02.0/net/enp0s2/mtu", "9001\n");
    root.link("/sys/devices/pci0/0000:00:02.0/net/enp0s2/device", "../../../0000:00:02.0");
    root.link("/sys/devices/pci0/0000:00:02.0/driver", "../../../bus/pci/drivers/e1000e");
    root.link("/sys/class/net/enp0s2", "../../devices/pci0/0000:00:02.0/net/enp0s2");
    root.file("/sys/class/net/br-int/mtu", "1500\n");
    root.file("/proc/self/mountinfo", "22 1 259:2 / / rw - ext4 /dev/nvme0n1p2 rw\n");
    root.file("/sys/devices/pci0/0000:00:05.0/nvme/nvme0/nvme0n1/nvme0n1p2/partition", "2\n");
    root.link("/sys/devices/pci0/0000:00:05.0/driver", "../../../bus/pci/drivers/nvme");
    root.link("/sys/dev/block/259:2", "../../devices/pci0/0000:00:05.0/nvme/nvme0/nvme0n1/nvme0n1p2");
    root.file("/sys/class/block/nvme0n1/size", "2000\n");
    root.file("/sys/class/block/nvme0n1/queue/logical_block_size", "4096\n");
    root.file("/dev/nvme0n1", std::string(4096, '\0') + "EFI PART" + std::string(24, '\0') + std::string("\xf9\0\0\0\0\0\0\0", 8));  // 249: as it should be
    const DoctorProbe probe{.root = root.path(), .run = [](const Argv&) -> Result<Output> { return Output{1, "garbage", ""}; }, .clock = [] { return std::optional<bool>(); }, .uplink = ""};
    const DoctorInputs in = gather_doctor(probe);
    EXPECT_EQ(in.uplink.name, "enp0s2");
    EXPECT_EQ(in.uplink.driver, "e1000e");
    EXPECT_EQ(in.uplink_mtu, 9001u);
    EXPECT_EQ(in.uplink_address, "");
    EXPECT_EQ(in.root_disk.name, "nvme0n1");
    EXPECT_EQ(in.root_disk.driver, "nvme");
    EXPECT_EQ(in.root_disk_lacks, 0u);
    EXPECT_TRUE(in.uefi);
    EXPECT_EQ(in.secure_boot, SecureBoot::kOn);
    EXPECT_FALSE(in.xen_build || in.entropy);
    EXPECT_TRUE(in.random_source.empty());
    EXPECT_TRUE(in.hypervisor_type.empty());
    ASSERT_TRUE(in.wireguard);
    EXPECT_FALSE(in.wireguard->present);
}

TEST(Doctor, GathersNothingFromAnEmptyRoot) {
    const FakeRoot root;
    const DoctorInputs in = gather_doctor({.root = root.path(), .run = [](const Argv&) -> Result<Output> { return fail(Kind::kNotFound, "none"); }, .clock = {}, .uplink = "../x"});
    EXPECT_TRUE(in.uplink.name.empty());
    EXPECT_FALSE(run_doctor(in).empty());
}

TEST(Doctor, GuessesProviders) {
    EXPECT_EQ(guess_provider("Amazon EC2", "m5.large", "1.0", ""), "Amazon EC2 (Nitro)");
    EXPECT_EQ(guess_provider("Xen", "HVM domU", "4.11.amazon", ""), "Amazon EC2 (Xen)");
    EXPECT_EQ(guess_provider("Xen", "HVM domU", "4.17", ""), "Xen (HVM)");
    EXPECT_EQ(guess_provider("Google", "Google Compute Engine", "", ""), "Google Compute Engine");
    EXPECT_EQ(guess_provider("Microsoft Corporation", "Virtual Machine", "", "7783-7084-3265-9085-8269-3286-77"), "Microsoft Azure");
    EXPECT_EQ(guess_provider("Microsoft Corporation", "Virtual Machine", "", ""), "Hyper-V");
    EXPECT_EQ(guess_provider("QEMU", "Standard PC", "", ""), "QEMU or KVM");
    EXPECT_EQ(guess_provider("Dell Inc.", "PowerEdge R640", "", ""), "bare metal or unknown: Dell Inc. PowerEdge R640");
    EXPECT_EQ(guess_provider("", "", "", ""), "unknown: the firmware does not name itself");
}

}  // namespace
}  // namespace blanket
