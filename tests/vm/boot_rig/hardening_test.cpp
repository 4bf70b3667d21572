// SPDX-License-Identifier: GPL-2.0-or-later
// The running machine as an auditor sees it: Debian's lynis in it, what its services may do, and whether its files are as they were built.
#include <print>

#include "tests/lab/deadline.hpp"
#include "tests/vm/boot_rig/fixture.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr int kGoal = 80;

class Hardening : public Boot {
protected:
    // A disk with lynis as Debian packs it (what apt verified), made once; the image does not carry it.
    static std::string lynis_disk() {
        const std::string path = std::string(kDir) + "/lynis.img";
        const auto made = run({"bash", "-euc", R"sh(
[ ! -e "$OUT" ] || exit 0
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; mkdir "$work/deb" "$work/tree"; cd "$work/deb"
get() { apt-get -o APT::Sandbox::User=root download -qq lynis; }
get || { apt-get -qq update; get; }
dpkg-deb -x lynis_*.deb "$work/tree"
mke2fs -q -t ext4 -L lynis -d "$work/tree" "$OUT.new" 32m; mv "$OUT.new" "$OUT")sh"}, {.deadline = lab::scaled(minutes(5)), .env = {"OUT=" + path}});
        EXPECT_TRUE(made) << made.error().what;
        return path;
    }
};

TEST_F(Hardening, LynisAndFilesAsBuilt) {
    const MachineKind kind{.more = {"-drive", "if=none,id=lynis,format=raw,readonly=on,file=" + lynis_disk(), "-device", "virtio-blk-pci,drive=lynis"}};
    auto machine = Machine::start(kind, {.image = image_, .seed = seed("#cloud-config\n", "h1")}, machine_dir());
    ASSERT_TRUE(machine) << machine.error().what;
    healthy(**machine, "h1");

    // Nothing in /usr and /boot is other than it was built, after a first start with all that it makes; one changed program is found.
    const auto same = (*machine)->ssh("aide -c /etc/aide/aide.conf --check 2>&1; echo status $?", minutes(15));
    EXPECT_TRUE(same && same->contains("status 0")) << (same ? *same : same.error().what);
    ASSERT_TRUE((*machine)->ssh("cp -p /usr/bin/nano /run/nano && echo >>/usr/bin/nano"));
    const auto changed = (*machine)->ssh("aide -c /etc/aide/aide.conf --check --limit /usr/bin/nano 2>&1; echo status $?", minutes(15));
    EXPECT_TRUE(changed && changed->contains("/usr/bin/nano") && !changed->contains("status 0")) << (changed ? *changed : changed.error().what);
    ASSERT_TRUE((*machine)->ssh("cp -p /run/nano /usr/bin/nano; rm /run/nano"));

    for (const auto* unit : {"blanketd", "blanket-etcd"})
        std::println("    systemd-analyze security {}: {}", unit, trim((*machine)->ssh(std::string("systemd-analyze security --no-pager ") + unit + " | tail -n 1").value_or("?")));

    ASSERT_TRUE((*machine)->ssh("mount -o ro LABEL=lynis /mnt && cp -r /mnt/usr /mnt/etc / && umount /mnt"));
    const auto ran = (*machine)->ssh("lynis audit system --quick --quiet --no-colors >/run/lynis.out 2>&1; grep -E '^(hardening_index|lynis_tests_done|warning|suggestion)' /var/log/lynis-report.dat", minutes(40));
    ASSERT_TRUE(ran) << ran.error().what;
    std::println("{}", *ran);
    // Where points are missing.
    std::println("{}", (*machine)->ssh("sed -nE 's/.*Performing test ID ([A-Z]+-[0-9]+).*/\\1/p; s/.*assigned partial number of hardening points \\(([0-9]+ of [0-9]+)\\).*/  \\1/p' /var/log/lynis.log | "
                                       "awk '/^ / { print test \":\" $0; next } { test = $1 }' | sort | uniq -c").value_or("?"));
    int index = 0;
    for (const auto& line : split(*ran, '\n'))
        if (line.starts_with("hardening_index=")) index = std::atoi(line.c_str() + 16);
    EXPECT_GE(index, kGoal);
}

}  // namespace
}  // namespace blanket::boot_rig
