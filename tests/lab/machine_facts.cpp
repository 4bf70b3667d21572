// SPDX-License-Identifier: GPL-2.0-or-later
// See machine_facts.hpp.
#include "tests/lab/machine_facts.hpp"

#include <thread>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {

Json machine_facts(Accelerator accelerator) {
    std::string cpu = "unknown";
    if (const auto info = read_file("/proc/cpuinfo"); info) {
        for (const auto& line : split(*info, '\n')) {
            if (!line.starts_with("model name")) continue;
            cpu = trim(line.substr(line.find(':') + 1));
            break;
        }
    }
    std::uint64_t ram_mib = 0;
    if (const auto info = read_file("/proc/meminfo"); info && info->starts_with("MemTotal:")) ram_mib = std::strtoull(info->c_str() + 9, nullptr, 10) / 1024;
    return {{"cpu", cpu}, {"cores", std::thread::hardware_concurrency()}, {"ram_mib", ram_mib}, {"accelerator", name_of(accelerator)}};
}

std::string commit_of_tree() {
    const auto head = run({"git", "-c", "safe.directory=*", "-C", BLANKET_LAB_SOURCE_DIR, "rev-parse", "HEAD"});
    return head ? std::string(trim(*head)) : "unknown";
}

Json software_versions(Clouds& clouds) {
    Json versions = Json::object();
    constexpr std::string_view kAsk =
        "say() { local name=$1; shift; printf '%s=%s\\n' \"$name\" \"$(\"$@\" 2>/dev/null | head -n1)\"; }\n"
        "xen() { xl info | sed -n 's/^xen_version *: //p'; }\n"
        "drbd() { modinfo -F version drbd; }\n"
        "debian() { cat /etc/debian_version; }\n"
        "say blanket blanket --version; say xen xen; say dom0_kernel uname -r; say libvirt libvirtd --version; say openvswitch ovs-vswitchd --version\n"
        "say etcd etcd --version; say drbd drbd; say wireguard wg --version; say debian debian\n";
    if (const auto east = clouds.lab.ssh("east"); east) {
        const auto text = (*east)->run_any({"bash", "-s"}, std::chrono::seconds(60), kAsk);
        for (const auto& line : split(text ? text->out : std::string(), '\n')) {
            if (const auto equals = line.find('='); equals != std::string::npos) versions[line.substr(0, equals)] = line.substr(equals + 1);
        }
    }
    if (const auto qemu = run({"qemu-system-x86_64", "--version"}); qemu) versions["qemu"] = qemu->substr(0, qemu->find('\n'));
    return versions;
}

}  // namespace blanket::lab
