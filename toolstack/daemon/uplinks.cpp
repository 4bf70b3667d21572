// SPDX-License-Identifier: GPL-2.0-or-later
// See uplinks.hpp.
#include "toolstack/daemon/uplinks.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>

#include "toolstack/base/text.hpp"
#include "toolstack/daemon/doctor.hpp"
#include "toolstack/daemon/sysfs.hpp"

namespace blanket {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxUplinks = 256;
constexpr std::array<const char*, 10> kBusCounters{"ports", "grants", "grant_frames", "granted_own", "granted_guests", "upcalls", "forwarded", "dropped", "sends", "send_failures"};

std::uint64_t number(const std::string& text) { return parse_number(text, 0, std::numeric_limits<std::uint64_t>::max(), "counter").value_or(0); }

// Names below a folder of /sys, sorted.
std::vector<std::string> names(const std::string& root, const std::string& folder) {
    std::vector<std::string> found;
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(root + folder, code)) {
        if (found.size() == kMaxUplinks) break;
        found.push_back(entry.path().filename());
    }
    std::ranges::sort(found);
    return found;
}

// The module's word for each kind whose emulated devices stay, and whose paravirtual twins it therefore leaves alone.
std::map<std::string, std::string> kinds_left_alone(const std::string& root) {
    std::map<std::string, std::string> kinds;
    for (const auto& row : split(sysfs::text(root, "/sys/bus/blanket/left_alone", 4096), '\n')) {
        const std::vector<std::string> cells = split(row, ' ');
        if (cells.size() != 2) continue;
        if (cells[0] == "vbd") kinds["disk"] = cells[1];
        if (cells[0] == "vif") kinds["nic"] = cells[1];
    }
    return kinds;
}

// What to do about a twin that is there and not used: `why` as the module says it.
std::string way_to_the_twin(const HostUplink& uplink, const std::string& why) {
    if (why == "driven")
        return std::format("its paravirtual twin is left alone, as a driver had such a device before the module uplink came: reboot, uplink comes first then; "
                           "if that does not help, put 'softdep {} pre: uplink' into /etc/modprobe.d and run update-initramfs -u", uplink.driver);
    if (why == "asked") return "its paravirtual twin is left alone, as uplink.unplug=0 says: take that out of /boot/args.cfg or /etc/modprobe.d, and reboot";
    return "its paravirtual twin is left alone, as the provider does not take this one away (dmesg | grep uplink): ask it for a machine without emulated ones";
}

// Drivers of a bus "blanket" device are Debian's frontends under our names.
void learn_driver(const std::string& root, const std::string& device, HostUplink& uplink) {
    uplink.device = sysfs::link_name(root, device);
    uplink.driver = sysfs::driver_of(root, device);
    if (sysfs::link_name(root, device + "/subsystem") != "blanket") return;
    uplink.driver = uplink.kind == "disk" ? "uplink-blk" : "uplink-net";
    uplink.state = sysfs::line(root, device + "/state");
}

void add_disks(const std::string& root, Uplinks& all) {
    for (const auto& name : names(root, "/sys/block")) {
        const std::string folder = "/sys/block/" + name;
        if (!sysfs::exists(root, folder + "/device") || name.starts_with("sr")) continue;  // loop, dm, drbd have no device below them
        HostUplink uplink{.name = name, .kind = "disk", .driver = {}, .device = {}, .state = {}, .counters = {}};
        learn_driver(root, folder + "/device", uplink);
        std::vector<std::string> cells = split(sysfs::line(root, folder + "/stat"), ' ');
        std::erase(cells, "");
        if (cells.size() >= 7)  // Documentation/block/stat.rst: read I/Os, merges, sectors of 512 bytes, ticks, write I/Os, merges, sectors
            uplink.counters = {{"reads", number(cells[0])}, {"read_bytes", number(cells[2]) * 512}, {"writes", number(cells[4])}, {"written_bytes", number(cells[6]) * 512}};
        all.list.push_back(std::move(uplink));
    }
}

void add_nics(const std::string& root, Uplinks& all) {
    for (const auto& name : names(root, "/sys/class/net")) {
        const std::string folder = "/sys/class/net/" + name;
        if (!sysfs::exists(root, folder + "/device") || name.starts_with("vif")) continue;  // vifX.Y is our end of a guest's card
        HostUplink uplink{.name = name, .kind = "nic", .driver = {}, .device = {}, .state = {}, .counters = {}};
        learn_driver(root, folder + "/device", uplink);
        const auto counter = [&](const char* which) { return number(sysfs::line(root, folder + "/statistics/" + which)); };
        uplink.counters = {{"reads", counter("rx_packets")},
                           {"read_bytes", counter("rx_bytes")},
                           {"writes", counter("tx_packets")},
                           {"written_bytes", counter("tx_bytes")},
                           {"errors", counter("rx_errors") + counter("tx_errors")}};
        all.list.push_back(std::move(uplink));
    }
}

template <std::size_t N>
bool one_of(const std::string& driver, const std::array<std::string_view, N>& list) {
    return std::ranges::find(list, driver) != list.end();
}

}  // namespace

std::string_view to_string(UplinkPath path) {
    switch (path) {
        case UplinkPath::kUnknown: return "unknown";
        case UplinkPath::kParavirtual: return "paravirtual";
        case UplinkPath::kNative: return "native";
        case UplinkPath::kEmulated: return "emulated";
    }
    return "unknown";
}

UplinkPath path_of_driver(const std::string& driver, bool real_hardware) {
    static constexpr std::array<std::string_view, 11> kParavirtual{"virtio_net", "virtio_blk", "virtio_scsi", "virtio-pci", "uplink-blk", "uplink-net",
                                                                   "hv_netvsc", "hv_storvsc", "vmxnet3", "vmw_pvscsi", "xen_netfront"};
    // What providers play: chips of long ago.
    static constexpr std::array<std::string_view, 14> kOld{"ata_piix", "ata_generic", "pata_acpi", "ahci", "8139cp", "8139too", "e1000", "e1000e", "ne2k-pci", "pcnet32", "tulip",
                                                           "sym53c8xx", "mptspi", "mptsas"};
    if (driver.empty()) return UplinkPath::kUnknown;
    if (one_of(driver, kParavirtual)) return UplinkPath::kParavirtual;
    return one_of(driver, kOld) && !real_hardware ? UplinkPath::kEmulated : UplinkPath::kNative;
}

std::string better_way(const HostUplink& uplink, const Uplinks& all) {
    if (uplink.path != UplinkPath::kEmulated) return {};
    if (all.provider_xen.empty()) return "choose a paravirtual or native one at the provider: virtio, NVMe, ENA";
    const bool twin = std::ranges::any_of(all.list, [&](const HostUplink& other) { return other.kind == uplink.kind && other.driver.starts_with("uplink-"); });
    if (const auto alone = all.left_alone.find(uplink.kind); !twin && alone != all.left_alone.end()) return way_to_the_twin(uplink, alone->second);
    return twin ? "use the paravirtual one beside it; reboot, and this one is taken away before a driver takes it" : "the provider's Xen gives none of this kind: ask it for a paravirtual one";
}

Uplinks gather_uplinks(const std::string& root) {
    Uplinks all;
    if (sysfs::exists(root, "/sys/bus/blanket/provider")) {
        all.provider_xen = sysfs::line(root, "/sys/bus/blanket/provider");
        for (const char* name : kBusCounters) all.bus[name] = number(sysfs::line(root, std::string("/sys/bus/blanket/") + name));
        all.left_alone = kinds_left_alone(root);
    }
    add_disks(root, all);
    add_nics(root, all);
    const auto dmi = [&](const char* field) { return sysfs::line(root, std::string("/sys/class/dmi/id/") + field); };
    all.provider = guess_provider(dmi("sys_vendor"), dmi("product_name"), dmi("bios_version"), dmi("chassis_asset_tag"));
    const bool real = all.provider_xen.empty() && all.provider.starts_with("bare metal");
    for (auto& uplink : all.list) uplink.path = path_of_driver(uplink.driver, real);
    return all;
}

std::string summary(const HostUplink& uplink) {
    return std::format("{} by {}, {}", uplink.name, uplink.driver.empty() ? "no driver that is known" : uplink.driver, to_string(uplink.path));
}

std::string provider_summary(const std::string& provider, const std::string& provider_xen) {
    return provider_xen.empty() ? provider : std::format("{}; {} around this one, with paravirtual devices for dom0", provider, provider_xen);
}

Json to_json(const Uplinks& uplinks) {
    Json list = Json::array();
    for (const auto& uplink : uplinks.list)
        list.push_back({{"name", uplink.name},
                        {"kind", uplink.kind},
                        {"driver", uplink.driver},
                        {"device", uplink.device},
                        {"state", uplink.state},
                        {"path", to_string(uplink.path)},
                        {"better", better_way(uplink, uplinks)},
                        {"counters", uplink.counters}});
    return {{"uplinks", std::move(list)}, {"provider", uplinks.provider}, {"provider_xen", uplinks.provider_xen}, {"left_alone", uplinks.left_alone}, {"bus", uplinks.bus}};
}

}  // namespace blanket
