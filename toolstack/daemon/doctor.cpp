// SPDX-License-Identifier: GPL-2.0-or-later
// Judging: facts -> findings with the next step. Pure; gathering is in doctor_gather.cpp.
#include "toolstack/daemon/doctor.hpp"

#include <algorithm>
#include <array>

#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

Check ok(std::string name, std::string detail) { return {std::move(name), CheckStatus::kOk, std::move(detail), {}}; }
Check warning(std::string name, std::string detail, std::string hint) { return {std::move(name), CheckStatus::kWarning, std::move(detail), std::move(hint)}; }
Check failed(std::string name, std::string detail, std::string hint) { return {std::move(name), CheckStatus::kFail, std::move(detail), std::move(hint)}; }
std::string or_unknown(const std::string& text) { return text.empty() ? "unknown" : text; }

std::string unit_state(const DoctorInputs& in, const std::string& unit) {
    const auto at = in.units.find(unit);
    return at == in.units.end() ? "unknown" : at->second;
}

Check check_xen(const DoctorInputs& in) {
    if (in.hypervisor_type != "xen")
        return failed("xen", in.hypervisor_type.empty() ? "this Linux runs without Xen" : std::format("the hypervisor is '{}'", in.hypervisor_type),
                      "reboot and choose the Blanket entry in the boot menu, not the plain Linux one");
    const std::string version = in.hypervisor_version.empty() && in.host ? in.host->xen_version : in.hypervisor_version;
    if (!in.control_domain) return failed("xen", std::format("Xen {} runs, but this is not its control domain", or_unknown(version)), "run the appliance's own Xen below this Linux");
    if (!version.contains("blanket"))
        return warning("xen", std::format("Xen {} is not Blanket's own build", or_unknown(version)), "boot the Blanket entry: a stock Xen cannot move running guests");
    return ok("xen", std::format("Xen {}", version));
}

constexpr unsigned kOldBuildDays = 120;  // Xen's advisories come about every two months

// Advisories since the build are not known here, as nothing is asked of the network: how old it is, and where to compare, is.
Check check_xsa(const DoctorInputs& in) {
    constexpr std::string_view kCompare = "compare with https://xenbits.xen.org/xsa/ and https://security-tracker.debian.org/tracker/source-package/xen";
    if (!in.xen_build) return warning("xsa", "not known from which source this Xen was built", std::format("boot an image with /usr/share/blanket/xen-build.json; {}", kCompare));
    const XenBuildFacts& build = *in.xen_build;
    std::string text = std::format("Xen source {}", build.version);
    if (!build.commit.empty()) text += std::format(" (commit {})", build.commit);
    text += std::format(", {} days old, with Debian's fixes for {} advisories", build.age_days, build.advisories);
    if (build.newest != 0) text += std::format(" up to XSA-{}", build.newest);
    text += "; its shadow paging has no security support upstream (XSA-495)";
    if (build.age_days > kOldBuildDays) return warning("xsa", text, std::format("{}; then build or fetch a newer image", kCompare));
    return ok("xsa", std::format("{}; {}", text, kCompare));
}

Check check_log_dirty(const DoctorInputs& in) {
    if (!in.host) return failed("log-dirty", "not known: libvirt does not answer", "see the check 'libvirt'");
    if (!in.host->log_dirty) return failed("log-dirty", "this Xen has no shadow paging: no guest can be moved while it runs", "boot Blanket's own Xen");
    return ok("log-dirty", "shadow paging is there: guests can be moved while they run");
}

Check check_libvirt(const DoctorInputs& in) {
    if (!in.host) return failed("libvirt", std::format("does not answer: {}", or_unknown(in.host_error)), "systemctl status libvirtd virtxend; journalctl -u libvirtd -u virtxend -e");
    return ok("libvirt", std::format("libvirt {}, {} CPUs {}", or_unknown(in.host->libvirt_version), in.host->cpus, in.host->cpu_model));
}

Check check_openvswitch(const DoctorInputs& in) {
    // ovs-vswitchd is the process; openvswitch-switch only its umbrella, which stays active when the process dies.
    const std::string daemon = unit_state(in, "ovs-vswitchd.service"), umbrella = unit_state(in, "openvswitch-switch.service");
    const std::string& state = daemon == "unknown" ? umbrella : daemon;
    if (state != "active") return failed("openvswitch", std::format("ovs-vswitchd is {}", state), "systemctl restart openvswitch-switch; journalctl -u ovs-vswitchd -e");
    const auto module = in.modules.find("openvswitch");
    if (module == in.modules.end() || !module->second.loaded) return failed("openvswitch", "the kernel's data path is not loaded", "modprobe openvswitch");
    return ok("openvswitch", "ovs-vswitchd is active, with the kernel's data path");
}

constexpr const char* kInstall = "to keep anything, and to have VMs: start again and choose the installation in the menu (PXE: blanket.install=auto on Linux' command line)";

Check check_storage(const DoctorInputs& in) {
    if (!in.pool && !in.live.empty()) return warning("storage", "no pool: a live system takes no disk, and dom0 has too little memory for one in it", kInstall);
    if (!in.pool) return failed("storage", std::format("no pool: {}", or_unknown(in.pool_error)), "systemctl status blanket-firstboot; lvs blanket");
    const PoolFacts& pool = *in.pool;
    const double percent = pool.size == 0 ? 100 : 100.0 * static_cast<double>(pool.used) / static_cast<double>(pool.size);
    const std::string text = std::format("{} of {} used ({:.0f} %), metadata {:.0f} %", format_bytes(pool.used), format_bytes(pool.size), percent, pool.metadata_percent);
    const double worst = std::max(percent, pool.metadata_percent);
    constexpr std::string_view kHint = "delete VMs or images, or add a disk: vgextend blanket DEVICE; lvextend -l +95%FREE blanket/pool-data; systemctl restart blanketd";
    if (worst >= 95) return failed("storage", text, std::string(kHint));
    if (!in.live.empty()) return warning("storage", text + "; it is in memory and gone at the next start, with its VMs", kInstall);
    if (worst >= 80) return warning("storage", text, std::string(kHint));
    return ok("storage", text);
}

// What it is worth, and whether it can be written to: moves do without it, so nothing of it is ever a failure.
Check check_content_store(const ContentStoreFacts& store) {
    const std::string text = std::format("{} of {} used, {} pages; moves to this site were offered {} pages since blanketd started and took {}", format_bytes(store.bytes), format_bytes(store.quota),
                                         store.pages, store.offered, store.taken);
    if (!store.trouble.empty()) return warning("content-store", std::format("{}; it keeps nothing now: {}", text, store.trouble), "df /var/lib/blanket; make room there, or a smaller [storage] content_store_mib");
    return ok("content-store", text);
}

Check check_module(const DoctorInputs& in, const std::string& check, const std::string& module) {
    const auto at = in.modules.find(module);
    const ModuleFacts facts = at == in.modules.end() ? ModuleFacts{} : at->second;
    if (facts.loaded) return ok(check, facts.version.empty() ? "the module is loaded" : std::format("the module is loaded, version {}", facts.version));
    if (facts.available) return ok(check, "the module is there and is loaded at its first use");
    return failed(check, std::format("the running kernel has no module '{}'", module), "boot the appliance's own kernel; after an update of the kernel, reboot");
}

Check check_drbd(const DoctorInputs& in) {
    Check check = check_module(in, "drbd", "drbd");
    const auto at = in.modules.find("drbd");
    if (check.status == CheckStatus::kOk && at->second.loaded && !at->second.version.empty() && !at->second.version.starts_with("8.4"))
        return failed("drbd", std::format("the module has version {}, and 8.4 is needed", at->second.version), "remove drbd-dkms: the kernel's own module is the right one");
    return check;
}

Check check_wireguard(const DoctorInputs& in) {
    Check check = check_module(in, "wireguard", "wireguard");
    if (check.status != CheckStatus::kOk) return check;
    if (!in.wireguard || !in.wireguard->present) {
        if (!in.federated) return check;
        return failed("wireguard", "the interface wg-blanket is missing", "systemctl restart blanketd; journalctl -u blanketd -e");
    }
    const WireguardFacts& wg = *in.wireguard;
    if (wg.peers == 0) return ok("wireguard", "wg-blanket is up, no other site yet");
    const std::string text = std::format("{} of {} other site{} answered in the last three minutes", wg.alive, wg.peers, wg.peers == 1 ? "" : "s");
    if (wg.alive < wg.peers) return warning("wireguard", text, "blanket site list; let UDP port 51820 through in the provider's firewall");
    const auto listed = [](std::string out, const std::vector<std::string>& more) {
        for (const auto& one : more) out += "; " + one;
        return out;
    };
    if (!in.relayed.empty())
        return warning("wireguard", listed(text, in.relayed), "a relay costs time and a smaller MTU: let UDP port 51820 in at one of the two sites, or forward it there in the NAT; blanket path list");
    return ok("wireguard", listed(text, in.punched));
}

Check check_registry(const DoctorInputs& in) {
    const std::string hint = "systemctl status blanket-etcd; blanket federation show";
    if (!in.registry || !in.registry->running)
        return failed("registry", std::format("etcd does not answer: {}", in.registry ? or_unknown(in.registry->error) : unit_state(in, "blanket-etcd.service")), hint);
    const RegistryFacts& facts = *in.registry;
    if (!facts.quorum) return failed("registry", std::format("no quorum, {} of {} voters are healthy: {}", facts.healthy, facts.voters, or_unknown(facts.error)), hint);
    std::string text = std::format("quorum, {} of {} voters healthy{}", facts.healthy, facts.voters, facts.leader.empty() ? "" : ", leader " + facts.leader);
    if (facts.healthy < facts.voters) return warning("registry", text, hint);
    if (facts.voters == 2) return warning("registry", text + "; with two voters no VM may move between sites", "blanket site token --witness, and run a witness on a third machine");
    return ok("registry", text);
}

Check check_records(const DoctorInputs& in) {
    if (in.malformed.empty()) return ok("records", "all make sense");
    std::string text;
    for (const auto& record : in.malformed) text += std::format("{}{}: {}", text.empty() ? "" : "; ", record.key, record.why);
    const bool replaced = std::ranges::all_of(in.malformed, [](const Malformed& one) { return one.replaced && one.of_vm(); });
    return failed("records", text, replaced ? "its last good version counts; to write that back: blanket vm recover UUID" : "write a good version to etcd, or restore etcd's last snapshot");
}

Check check_networks(const DoctorInputs& in) {
    std::string text;
    if (in.unserved.empty()) {
        for (const auto& one : in.unservable) text += std::format("{}{}", text.empty() ? "" : "; ", one);
        if (text.empty()) return ok("networks", "this host can serve the networks of its VMs, and all others");
        return warning("networks", text + ": no VM of it can come here", "run its VMs at the other sites; or give this host other addresses, or the VMs another network (blanket net create)");
    }
    for (const auto& one : in.unserved) text += std::format("{}{}", text.empty() ? "" : "; ", one);
    return failed("networks", text + ": its VMs here get no address, and nothing of them is public here", "move them to another site (blanket vm migrate), or make them anew in a network with other addresses");
}

Check check_standing(const DoctorInputs& in) {
    if (in.revoked)
        return failed("standing", std::format("this site was revoked by '{}' at {}: the federation has cut it off, for good", in.revoked->by, in.revoked->since),
                      "its VMs belong to the others (blanket vm recover there); reinstall the machine to join again, under another name");
    if (in.behind) return failed("standing", in.behind->what, in.behind->hint);
    if (in.revoked_sites.empty()) return ok("standing", in.federated ? "no site of the federation is revoked" : "in no federation");
    std::string text = "cut off from the federation:";
    for (const auto& site : in.revoked_sites) text += " " + site;
    return ok("standing", text);
}

Check check_listeners(const DoctorInputs& in) {
    if (!in.shut.empty())
        return failed("listeners", std::format("this site does not listen for the others: {}", in.shut), "it is tried again at least every minute; who has the ports: ss -lntp '( sport = :7443 or sport = :7444 )'");
    return ok("listeners", in.federated ? "the other sites are listened for" : "in no federation");
}

constexpr std::int64_t kCertificateWarning = 60, kCertificateLast = 7;  // days; it is renewed with half a year left

Check check_certificate(const DoctorInputs& in) {
    if (!in.certificate_days) return failed("certificate", "this site's certificate cannot be read", "journalctl -u blanketd -e");
    const std::string text = *in.certificate_days < 0 ? "this site's certificate has expired" : std::format("this site's certificate is good for {} days", *in.certificate_days);
    const std::string hint = "it is renewed by the site that holds the CA's key: see that the two reach each other, and journalctl -u blanketd -e";
    if (*in.certificate_days < kCertificateLast) return failed("certificate", text, hint);
    if (*in.certificate_days < kCertificateWarning) return warning("certificate", text, hint);
    return ok("certificate", text);
}

Check check_clock(const DoctorInputs& in) {
    if (!in.clock_synchronised) return warning("clock", "not known whether the clock is synchronised", "timedatectl status");
    if (!*in.clock_synchronised) return warning("clock", "the clock is not synchronised", "timedatectl set-ntp true, and let UDP port 123 through");
    return ok("clock", "the clock is synchronised");
}

Check check_entropy(const DoctorInputs& in) {
    constexpr unsigned kSeeded = 256;  // Linux since 5.18 counts no further
    const std::string source = in.random_source.empty() ? "no hardware generator" : in.random_source;
    if (!in.entropy) return warning("entropy", "not known whether the kernel's random generator is seeded", "cat /proc/sys/kernel/random/entropy_avail");
    if (*in.entropy < kSeeded)
        return warning("entropy", std::format("the kernel's random generator has {} of {} bits ({}): keys cannot be made yet", *in.entropy, kSeeded, source),
                       "wait a minute; if it stays so, give the machine a virtio-rng device, or a processor with RDRAND");
    return ok("entropy", std::format("the kernel's random generator is seeded ({})", source));
}

// Providers call it Trusted Launch (Azure) or Shielded VM (GCE).
Check check_secure_boot(const DoctorInputs& in) {
    if (!in.uefi) return ok("secure-boot", "BIOS has none");
    if (in.secure_boot == SecureBoot::kOn)
        return failed("secure-boot", "Secure Boot is on, and neither this image's boot loader nor its Xen is signed: its next boot may be refused, and Linux may refuse Blanket's own modules",
                      "switch it off in the firmware; Azure: make the VM with --security-type Standard, not TrustedLaunch; GCE: --no-shielded-secure-boot; EC2: an AMI without uefi-data");
    if (in.secure_boot == SecureBoot::kOff) return ok("secure-boot", "off");
    return ok("secure-boot", "the firmware does not tell; it is not enforced, as this image is not signed and has booted");
}

// All that the provider gave, and where it has something better.
Check check_devices(const DoctorInputs& in) {
    std::string text, why, next;
    for (const auto& one : in.uplinks.list) {
        text += (text.empty() ? "" : "; ") + summary(one);
        if (const std::string better = better_way(one, in.uplinks); !better.empty() && next.empty()) {
            why = std::format("{} is slow: each access to it is played by the provider", one.name);
            next = better;
        }
    }
    if (text.empty()) return ok("devices", "no disk or network card of the provider is known");
    return next.empty() ? ok("devices", text) : warning("devices", std::format("{} ({})", text, why), next);
}

Check check_uplink(const DoctorInputs& in) {
    if (in.uplink.name.empty()) return failed("uplink", "no interface has a default route", "name it in /etc/blanket/blanket.toml: [site] uplink = \"...\"");
    const std::string text = std::format("{} ({}), {}, MTU {}", in.uplink.name, in.uplink.driver.empty() ? "driver unknown" : in.uplink.driver,
                                         in.uplink_address.empty() ? "no address" : in.uplink_address, in.uplink_mtu);
    if (in.uplink_address.empty()) return failed("uplink", text, std::format("networkctl status {}", in.uplink.name));
    // guest 1390 + VXLAN 50 + WireGuard 60
    if (in.uplink_mtu < 1500) return warning("uplink", text + ": guests' packets of 1390 bytes need 1500", "raise the uplink's MTU to 1500; until then guests that talk to other sites are offered less (blanket net show)");
    return ok("uplink", text);
}

Check check_disk(const DoctorInputs& in) {
    if (!in.live.empty()) return warning("disk", std::format("live, started from {}: what is written stays in memory and is gone at the next start", in.live), kInstall);
    if (in.root_disk.name.empty()) return warning("disk", "the root file system's disk is not known", "lsblk");
    std::string text = std::format("{} ({})", in.root_disk.name, in.root_disk.driver.empty() ? "driver unknown" : in.root_disk.driver);
    const SpaceFacts& space = in.root_space;
    if (space.total != 0) text += std::format(", {} of {} free", format_bytes(space.free), format_bytes(space.total));
    constexpr std::uint64_t kFull = 64u << 20;  // what an update leaves free
    constexpr const char* kRoom = "make room: du -xh --max-depth=2 /var /root /boot; journalctl --vacuum-size=16M; or enlarge the disk and restart";
    if (space.total != 0 && space.free < kFull) return failed("disk", text + ": the root file system is full", kRoom);
    if (!in.twin.empty())
        return warning("disk", std::format("{}; {} is the same image: which of the two is started is chance", text, in.twin), "take one of the two disks out of the machine, or wipe the copy: wipefs -a on its partitions and on the disk");
    if (in.root_disk_lacks != 0)
        return warning("disk", std::format("{}; its partition table ends {} beyond the disk: the image was written to a disk that is smaller than it", text, format_bytes(in.root_disk_lacks)), "write the image to a larger disk, or enlarge this one and restart");
    if (space.free < space.total / 10) return warning("disk", text + ": the root file system is nearly full", kRoom);
    return ok("disk", text);
}

Check check_update(const DoctorInputs& in) {
    const update::Status& status = in.update;
    if (status.running == 0) return ok("update", "a system without slots: it is not updated in place");
    const std::string version = status.slot(status.running).version;
    if (status.on_trial) return warning("update", std::format("version {} is on trial: it is confirmed by itself when all is well", version), "wait, or keep it as it is: blanket update confirm");
    if (status.failed())
        return warning("update", std::format("version {} was started and did not come up; this is {} again", status.slot(status.env.trial).version, version), "journalctl -b -1; a new attempt: blanket update install FILE --any-version");
    if (status.next() != status.running)
        return warning("update", std::format("version {} runs, and {} is started next", version, status.slot(status.next()).version), "restart when it suits: blanket host drain, then reboot; to stay: blanket update rollback or confirm");
    if (!status.refused.empty()) return warning("update", std::format("version {}; an update was not installed at {}: {}", version, status.refused_time, status.refused), "blanket update install FILE");
    return ok("update", std::format("version {} in slot {}", version, status.running));
}

Check check_memory(const DoctorInputs& in) {
    if (!in.host) return failed("memory", "not known: libvirt does not answer", "see the check 'libvirt'");
    const std::string text = std::format("{} MiB of {} MiB are free for VMs", in.host->free_mib, in.host->memory_mib);
    if (in.host->free_mib < 128) return warning("memory", text, "stop a VM, or move one away: blanket vm list");
    return ok("memory", text);
}

Check check_metadata(const DoctorInputs& in) {
    const MetadataFacts& facts = in.metadata;
    if (!facts.errors.empty()) {
        std::string text = std::format("{}: cloud-init complains: {}", facts.chosen.empty() ? "seed" : facts.chosen, facts.errors.front());
        if (facts.errors.size() > 1) text += std::format(" (and {} more)", facts.errors.size() - 1);
        return warning("metadata", text, "cloud-init status --long; what it could not read was left out: mend the user-data, then cloud-init clean --reboot");
    }
    if (facts.chosen.empty()) return ok("metadata", facts.used.empty() ? "no word of a seed or a metadata service" : facts.used);
    if (facts.chosen == "None") return ok("metadata", "no seed, and no provider whose metadata service is known: name, keys and network are the image's own");
    if (!facts.used.empty() && !facts.used.contains("DataSource" + facts.chosen))
        return warning("metadata", std::format("{} was expected, cloud-init went on with {}", facts.chosen, facts.used), "cloud-init status --long; does the provider's metadata service answer?");
    if (facts.used.empty()) return warning("metadata", std::format("{} was expected, and cloud-init has found nothing yet", facts.chosen), "cloud-init status --long; does the provider's metadata service answer?");
    return ok("metadata", facts.used);
}

}  // namespace

std::string_view to_string(CheckStatus status) {
    switch (status) {
        case CheckStatus::kOk: return "ok";
        case CheckStatus::kWarning: return "warning";
        case CheckStatus::kFail: return "fail";
    }
    return "fail";
}

Json to_json(const std::vector<Check>& checks) {
    Json list = Json::array();
    for (const auto& check : checks) list.push_back({{"name", check.name}, {"status", to_string(check.status)}, {"detail", check.detail}, {"hint", check.hint}});
    return {{"checks", std::move(list)}};
}

std::vector<Check> run_doctor(const DoctorInputs& in) {
    const std::string provider = guess_provider(in.dmi_vendor, in.dmi_product, in.dmi_bios, in.dmi_tag);
    std::vector<Check> checks{
            check_xen(in),     check_xsa(in),    check_log_dirty(in), check_libvirt(in),  check_openvswitch(in),
            check_storage(in), check_drbd(in),   check_wireguard(in), check_registry(in), check_standing(in), check_listeners(in), check_certificate(in), check_records(in), check_networks(in),
            check_clock(in),   check_entropy(in), check_uplink(in),   check_disk(in),     check_memory(in),
            ok("firmware", in.uefi ? "UEFI" : "BIOS"), check_secure_boot(in), ok("provider", provider_summary(provider, in.provider_xen)), check_devices(in), check_metadata(in), check_update(in)};
    if (in.store) checks.push_back(check_content_store(*in.store));
    return checks;
}

std::string guess_provider(const std::string& vendor, const std::string& product, const std::string& bios, const std::string& tag) {
    struct Marks {
        std::string_view vendor, product, bios, tag;  // each must be contained; empty = anything
        std::string_view name;
    };
    static constexpr std::array kMarks{
        Marks{"Amazon EC2", "", "", "", "Amazon EC2 (Nitro)"},
        Marks{"Xen", "", "amazon", "", "Amazon EC2 (Xen)"},
        Marks{"", "Google Compute Engine", "", "", "Google Compute Engine"},
        Marks{"Microsoft Corporation", "Virtual Machine", "", "7783-7084-3265-9085-8269-3286-77", "Microsoft Azure"},
        Marks{"Microsoft Corporation", "Virtual Machine", "", "", "Hyper-V"},
        Marks{"", "", "", "OracleCloud.com", "Oracle Cloud"},
        Marks{"Alibaba Cloud", "", "", "", "Alibaba Cloud"},
        Marks{"DigitalOcean", "", "", "", "DigitalOcean"},
        Marks{"Hetzner", "", "", "", "Hetzner Cloud"},
        Marks{"Scaleway", "", "", "", "Scaleway"},
        Marks{"Vultr", "", "", "", "Vultr"},
        Marks{"Linode", "", "", "", "Akamai (Linode)"},
        Marks{"Akamai", "", "", "", "Akamai (Linode)"},
        Marks{"UpCloud", "", "", "", "UpCloud"},
        Marks{"Exoscale", "", "", "", "Exoscale"},
        Marks{"", "OpenStack", "", "", "OpenStack"},
        Marks{"VMware", "", "", "", "VMware"},
        Marks{"innotek", "", "", "", "VirtualBox"},
        Marks{"Xen", "HVM domU", "", "", "Xen (HVM)"},
        Marks{"QEMU", "", "", "", "QEMU or KVM"},
        Marks{"", "KVM", "", "", "QEMU or KVM"},
    };
    for (const auto& rule : kMarks)
        if (vendor.contains(rule.vendor) && product.contains(rule.product) && bios.contains(rule.bios) && tag.contains(rule.tag)) return std::string(rule.name);
    if (vendor.empty() && product.empty()) return "unknown: the firmware does not name itself";
    return std::format("bare metal or unknown: {}", trim(std::format("{} {}", vendor, product)));
}

}  // namespace blanket
