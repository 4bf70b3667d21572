// SPDX-License-Identifier: GPL-2.0-or-later
// The stopped VM's volume, looked at from dom0 and from the lab host; see demo_checks.hpp.
#include <algorithm>

#include "tests/lab/demo_checks.hpp"
#include "tests/lab/guest/records.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

// $volume is the device-mapper name of the content. The root file system is the ext4 in it, with or without a partition table. Everything is read-only.
constexpr std::string_view kFsck =
    "loop=$(losetup --read-only --partscan --find --show /dev/mapper/$volume); trap 'losetup -d $loop' EXIT\n"
    "udevadm settle --timeout=10 || true\n"
    "root=\n"
    "for part in $loop ${loop}p*; do [ -b $part ] || continue; if [ \"$(blkid -p -o value -s TYPE $part 2>/dev/null)\" = ext4 ]; then root=$part; break; fi; done\n"
    "[ -n \"$root\" ] || { echo \"no ext4 on $volume\"; exit 9; }\n"
    "rc=0; e2fsck -fn $root 2>&1 || rc=$?\n"
    "rm -f /var/tmp/records; debugfs -R 'dump /var/lib/demo/records /var/tmp/records' $root 2>/dev/null\n"
    "exit $rc\n";

}  // namespace

std::vector<CheckResult> check_volume(Clouds& clouds, const std::string& site) {
    std::vector<CheckResult> checks{{"fsck -n finds the disk clean", false, ""}, {"records on the stopped disk", false, ""}};
    const auto ssh = clouds.lab.ssh(site);
    if (!ssh || clouds.web.volumes.empty()) {
        checks[0].detail = ssh ? "the VM has no volume" : ssh.error().what;
        return checks;
    }
    const std::string script = std::format("volume=bs-{}-vol\n[ -e /dev/mapper/$volume ] || volume=bs-{}-top\n{}", clouds.web.volumes[0], clouds.web.volumes[0], kFsck);
    const auto output = (*ssh)->run_any({"bash", "-s"}, std::chrono::minutes(3), script);
    if (!output) {
        checks[0].detail = output.error().what;
        return checks;
    }
    const auto lines = split(trim(output->out), '\n');
    checks[0].ok = output->status == 0;
    checks[0].detail = std::format("status {}: {}", output->status, lines.back());

    const std::string local = clouds.lab.dir() + "/records";
    const auto fetched = (*ssh)->get_file("/var/tmp/records", local, std::chrono::minutes(3));
    const auto records = fetched ? check_records(local, false) : std::unexpected(fetched.error());
    if (!records) {
        checks[1].detail = records.error().what;
        return checks;
    }
    const std::uint64_t acked = std::max(clouds.client.highest_acked(), clouds.driver_acked);
    checks[1].ok = acked > 0 && records->lost(acked) == 0 && records->damaged == 0 && records->gaps == 0;
    checks[1].detail = std::format("{} acknowledged, {} read on the lab host, {} damaged, {} out of place", acked, records->records, records->damaged, records->gaps);
    return checks;
}

}  // namespace blanket::lab
