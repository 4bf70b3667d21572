// SPDX-License-Identifier: GPL-2.0-or-later
// Gathering for `blanket doctor`: small bounded readers of /sys and /proc below a root, and three commands. Judging is in doctor.cpp.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sys/statvfs.h>
#include <sys/timex.h>

#include "toolstack/base/text.hpp"
#include "toolstack/daemon/doctor.hpp"
#include "toolstack/daemon/sysfs.hpp"

namespace blanket {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 6> kUnits{"openvswitch-switch.service", "ovs-vswitchd.service", "libvirtd.service", "virtxend.service", "blanket-etcd.service", "xenstored.service"};
constexpr std::size_t kMaxErrors = 8, kMaxError = 300;  // of cloud-init, and characters of each
constexpr std::array<const char*, 5> kModules{"openvswitch", "drbd", "wireguard", "vxlan", "dm_thin_pool"};

class Gather final {
public:
    explicit Gather(const DoctorProbe& probe) : probe_(probe) {}

    DoctorInputs all() {
        hypervisor();
        units();
        modules();
        in_.clock_synchronised = probe_.clock ? probe_.clock() : kernel_clock();
        uplink();
        in_.uplinks = gather_uplinks(probe_.root);
        root_disk();
        root_space();
        firmware();
        xen_build();
        if (const auto bits = parse_number(line("/proc/sys/kernel/random/entropy_avail"), 0, 4096, "entropy")) in_.entropy = static_cast<unsigned>(*bits);
        in_.random_source = line("/sys/class/misc/hw_random/rng_current");
        if (in_.random_source == "none") in_.random_source.clear();
        in_.dmi_vendor = line("/sys/class/dmi/id/sys_vendor");
        in_.dmi_product = line("/sys/class/dmi/id/product_name");
        in_.dmi_bios = line("/sys/class/dmi/id/bios_version");
        in_.dmi_tag = line("/sys/class/dmi/id/chassis_asset_tag");
        in_.provider_xen = line("/sys/bus/blanket/provider");
        wireguard();
        metadata();
        in_.twin = line("/run/blanket/twin");
        in_.update = update::read_status(probe_.root);
        in_.live = line("/run/blanket-live/source");
        return std::move(in_);
    }

private:
    [[nodiscard]] std::string text(const std::string& path, std::size_t max = 1u << 20) const { return sysfs::text(probe_.root, path, max); }
    [[nodiscard]] std::string line(const std::string& path) const { return sysfs::line(probe_.root, path); }
    [[nodiscard]] bool exists(const std::string& path) const { return sysfs::exists(probe_.root, path); }
    [[nodiscard]] std::string command(const Argv& argv) const {
        auto output = probe_.run ? probe_.run(argv) : run_any(argv, {.deadline = std::chrono::seconds(5)});
        return output ? std::move(output->out) : std::string();
    }
    static std::optional<bool> kernel_clock() {
        timex state{};
        const int code = ::adjtimex(&state);
        if (code < 0) return std::nullopt;
        return code != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
    }

    void metadata() {
        in_.metadata.chosen = line("/run/blanket/datasource");
        const auto status = parse_json(text("/run/cloud-init/status.json"));
        const Json* const v1 = status && status->is_object() && status->contains("v1") ? &(*status)["v1"] : nullptr;
        if (v1 == nullptr || !v1->is_object()) return;
        in_.metadata.used = json_string_or(*v1, "datasource", "");
        const auto add = [&](const Json& list) {
            for (const auto& error : list)
                if (error.is_string() && in_.metadata.errors.size() < kMaxErrors) in_.metadata.errors.push_back(error.get<std::string>().substr(0, kMaxError));
        };
        for (const auto& stage : *v1) {
            if (!stage.is_object()) continue;
            if (const auto errors = stage.find("errors"); errors != stage.end() && errors->is_array()) add(*errors);
            if (const auto levels = stage.find("recoverable_errors"); levels != stage.end() && levels->is_object())
                for (const auto& list : *levels)
                    if (list.is_array()) add(list);
        }
    }

    void hypervisor() {
        in_.hypervisor_type = line("/sys/hypervisor/type");
        const std::string major = line("/sys/hypervisor/version/major"), minor = line("/sys/hypervisor/version/minor");
        if (!major.empty()) in_.hypervisor_version = std::format("{}.{}{}", major, minor, line("/sys/hypervisor/version/extra"));
        in_.control_domain = text("/proc/xen/capabilities", 4096).contains("control_d");
    }

    void firmware() {
        in_.uefi = exists("/sys/firmware/efi");
        // The variable's four attribute bytes, then one byte (UEFI 2.10, 3.3).
        const std::string state = text("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", 64);
        if (state.size() == 5) in_.secure_boot = state[4] == 1 ? SecureBoot::kOn : SecureBoot::kOff;
    }

    void xen_build() {
        const auto json = parse_json(text("/usr/share/blanket/xen-build.json", 64u << 10));
        if (!json || !json->is_object()) return;
        XenBuildFacts facts;
        facts.version = json_string_or(*json, "version", "").substr(0, 80);
        facts.commit = json_string_or(*json, "commit", "").substr(0, 40);
        const std::uint64_t released = json_number_or(*json, "released", 0);
        if (facts.version.empty() || released == 0) return;
        if (const auto list = json->find("advisories"); list != json->end() && list->is_array())
            for (const auto& number : *list) {
                if (!number.is_number_unsigned() || number.get<std::uint64_t>() > 1'000'000) continue;
                ++facts.advisories;
                facts.newest = std::max(facts.newest, number.get<unsigned>());
            }
        const auto now = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count());
        facts.age_days = now > released ? static_cast<unsigned>((now - released) / 86'400) : 0;  // a clock that is wrong has a check of its own
        in_.xen_build = facts;
    }

    void units() {
        Argv argv{"systemctl", "is-active"};
        argv.insert(argv.end(), kUnits.begin(), kUnits.end());
        const auto lines = split(command(argv), '\n');  // one a unit, in their order; the status says only whether all are active
        for (std::size_t i = 0; i < kUnits.size() && i < lines.size(); ++i)
            if (const auto state = trim(lines[i]); !state.empty()) in_.units[kUnits[i]] = state;
    }

    void modules() {
        const std::string release = line("/proc/sys/kernel/osrelease");
        const std::string folder = "/lib/modules/" + release;
        std::string known = text(folder + "/modules.dep", 8u << 20) + text(folder + "/modules.builtin", 1u << 20);
        std::ranges::replace(known, '-', '_');  // dm-thin-pool.ko is the module dm_thin_pool
        for (const std::string name : kModules) {
            ModuleFacts& facts = in_.modules[name];
            facts.loaded = exists("/sys/module/" + name);
            facts.version = line("/sys/module/" + name + "/version");
            facts.available = facts.loaded || (!release.empty() && known.contains("/" + name + ".ko"));
        }
    }

    // The interface of the default route with the lowest metric, from /proc/net/route.
    [[nodiscard]] std::string default_interface() const {
        const std::string routes = text("/proc/net/route");
        std::string found;
        std::uint64_t best = std::numeric_limits<std::uint64_t>::max();
        for (const auto& row : split(routes, '\n')) {
            const auto cells = split(row, '\t');
            if (cells.size() < 8 || trim(cells[1]) != "00000000" || trim(cells[7]) != "00000000") continue;
            const auto metric = parse_number(trim(cells[6]), 0, 0xffffffff, "metric").value_or(0xffffffff);
            if (metric < best) {
                best = metric;
                found = trim(cells[0]);
            }
        }
        return found;
    }

    // Of the interfaces with a device below them (no bridges, no tunnels), if there is exactly one.
    [[nodiscard]] std::string only_interface() const {
        std::string found;
        std::error_code code;
        for (const auto& entry : fs::directory_iterator(probe_.root + "/sys/class/net", code)) {
            const std::string name = entry.path().filename();
            if (!exists("/sys/class/net/" + name + "/device") || name.starts_with("vif")) continue;
            if (!found.empty()) return {};
            found = name;
        }
        return found;
    }

    void uplink() {
        std::string name = probe_.uplink;
        if (name.empty()) name = default_interface();
        if (name.empty()) name = only_interface();
        if (name.empty() || name.contains('/') || !exists("/sys/class/net/" + name)) return;
        in_.uplink.name = name;
        in_.uplink.driver = sysfs::driver_of(probe_.root, "/sys/class/net/" + name + "/device");
        in_.uplink_mtu = static_cast<unsigned>(parse_number(line("/sys/class/net/" + name + "/mtu"), 0, 1u << 20, "MTU").value_or(0));
        const auto links = parse_json(command({"ip", "-json", "-4", "address", "show", "dev", name}));
        if (!links || !links->is_array()) return;
        for (const auto& link : *links) {
            const auto addresses = link.is_object() ? link.find("addr_info") : link.end();
            if (!link.is_object() || addresses == link.end() || !addresses->is_array()) continue;
            for (const auto& address : *addresses)
                if (in_.uplink_address.empty() && json_string_or(address, "scope", "global") == "global") in_.uplink_address = json_string_or(address, "local", "");
        }
    }

    void root_disk() {
        std::string number;
        for (const auto& row : split(text("/proc/self/mountinfo"), '\n')) {  // "25 1 252:1 / / rw ..."
            const auto cells = split(row, ' ');
            if (cells.size() > 4 && cells[4] == "/") number = cells[2];
        }
        if (number.empty()) return;
        std::error_code code;
        fs::path at = fs::canonical(probe_.root + "/sys/dev/block/" + number, code);
        if (code) return;
        if (fs::exists(at / "partition", code)) at = at.parent_path();
        in_.root_disk.name = at.filename();
        in_.root_disk.driver = sysfs::driver_of(probe_.root, "/sys/dev/block/" + number);
        in_.root_disk_lacks = table_beyond(in_.root_disk.name);
    }

    // The table's copy stands in the disk's last block (UEFI 2.10, 5.3.2): a header that says it is farther away is of a larger disk.
    [[nodiscard]] std::uint64_t table_beyond(const std::string& disk) const {
        constexpr std::uint64_t kMost = 1ull << 62;
        const std::uint64_t sectors = parse_number(line("/sys/class/block/" + disk + "/size"), 0, kMost / 512, "sectors").value_or(0);
        const std::uint64_t block = parse_number(line("/sys/class/block/" + disk + "/queue/logical_block_size"), 512, 65536, "block size").value_or(512);
        std::array<char, 40> header{};
        std::ifstream file(probe_.root + "/dev/" + disk, std::ios::binary);
        file.seekg(static_cast<std::streamoff>(block));
        if (sectors == 0 || !file.read(header.data(), static_cast<std::streamsize>(header.size())) || !std::string_view(header.data(), 8).starts_with("EFI PART")) return 0;
        std::uint64_t last = 0;
        std::memcpy(&last, header.data() + 32, sizeof last);
        if (last >= kMost / block) return 0;  // nonsense
        return (last + 1) * block > sectors * 512 ? (last + 1) * block - sectors * 512 : 0;
    }

    void root_space() {
        struct statvfs info{};
        if (::statvfs((probe_.root + "/").c_str(), &info) != 0) return;
        in_.root_space = {.free = static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize, .total = static_cast<std::uint64_t>(info.f_blocks) * info.f_frsize};
    }

    void wireguard() {
        WireguardFacts facts;
        facts.present = exists("/sys/class/net/wg-blanket");
        if (facts.present) {
            const auto now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
            for (const auto& row : split(command({"wg", "show", "wg-blanket", "latest-handshakes"}), '\n')) {  // "key<TAB>seconds"
                const auto tab = row.find('\t');
                if (tab == std::string::npos) continue;
                ++facts.peers;
                const auto seen = parse_number(trim(std::string_view(row).substr(tab + 1)), 0, 1ull << 40, "handshake").value_or(0);
                if (seen != 0 && now - static_cast<std::int64_t>(seen) <= 180) ++facts.alive;
            }
        }
        in_.wireguard = facts;
    }

    const DoctorProbe& probe_;
    DoctorInputs in_;
};

}  // namespace

DoctorInputs gather_doctor(const DoctorProbe& probe) { return Gather(probe).all(); }

}  // namespace blanket
