// SPDX-License-Identifier: GPL-2.0-or-later
// The whole appliance as a PC of a provider's Xen (HVM): its own GRUB from an emulated disk, then root on that provider's paravirtual disk and the emulated devices gone; what the
// provider asks for. The emulated disk is AHCI's, not IDE's: SeaBIOS reads IDE word by word, each an exit, and would take hours for the initramfs (lab/provider.cpp).
// Input: BLANKET_IMAGE, BLANKET_DEVICE_MODEL (./dev test uplink sets them).
#include <cstdlib>
#include <gtest/gtest.h>
#include <sched.h>

#include "tests/lab/blanket_cli.hpp"
#include "tests/lab/deadline.hpp"
#include "tests/lab/lab.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::rig {
namespace {

using lab::wait_until;
using std::chrono::minutes;
using std::chrono::seconds;

class UplinkHvm : public ::testing::Test {
protected:
    void SetUp() override {
        ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
        const char *const image = std::getenv("BLANKET_IMAGE"), *const model = std::getenv("BLANKET_DEVICE_MODEL");
        lab::LabOptions options;
        options.name = "uplink-hvm";
        options.image = image == nullptr ? "" : image;
        options.device_model = model == nullptr ? "" : model;
        options.providers["east"] = lab::Provider::kXenHvm;
        options.capture_bytes = 0;
        auto made = lab::Lab::create(std::move(options));
        ASSERT_TRUE(made) << made.error().what << " " << made.error().hint;
        lab_ = std::move(*made);
    }
    void TearDown() override {
        if (lab_ && HasFailure()) {
            if (const auto provider = lab_->provider_ssh("east"); provider) {
                const auto said = (*provider)->run_any({"sh", "-c", "xl list; tail -n 40 /var/log/xen/*.log; xl dmesg | tail -n 40"});
                if (said) std::printf("the provider says:\n%s\n", said->out.c_str());
            }
            lab_->collect_logs();
            std::printf("logs: %s\n", lab_->dir().c_str());
        }
        lab_.reset();
    }

    lab::Ssh& inside() { return **lab_->ssh("east"); }
    lab::Ssh& provider() { return **lab_->provider_ssh("east"); }

    // One line that a command of dom0 inside says; "" and a failure of the test when it did not end well.
    std::string said(const std::string& command) {
        const auto out = inside().run({"sh", "-c", command}, minutes(6));
        EXPECT_TRUE(out) << command << ": " << (out ? "" : out.error().what);
        return out ? std::string(trim(*out)) : std::string();
    }

    void expect_green() {
        lab::BlanketCli blanket(inside());
        std::string findings;
        const auto green = wait_until("blanket doctor is green", minutes(4), seconds(2), [&]() -> Result<bool> {
            const auto now = blanket.doctor_green(findings);
            return now && *now;
        });
        EXPECT_TRUE(green) << findings;
    }

    // The provider asks for it.
    void restart() {
        const std::string boot = said("cat /proc/sys/kernel/random/boot_id");
        ASSERT_TRUE(provider().run({"xl", "reboot", "east"}, minutes(1)));
        inside().disconnect();
        const auto again = wait_until("the machine has started again", minutes(12), seconds(5), [&]() -> Result<bool> {
            const auto now = inside().wait_up(seconds(10)) ? inside().run({"cat", "/proc/sys/kernel/random/boot_id"}) : Result<std::string>(fail(Kind::kUnavailable, "not yet"));
            if (!now) inside().disconnect();
            return now && trim(*now) != boot;
        });
        ASSERT_TRUE(again) << again.error().what;
    }

    void power_off() {
        ASSERT_TRUE(provider().run({"xl", "shutdown", "east"}, minutes(1)));
        inside().disconnect();
        const auto gone = wait_until("the machine has powered off", minutes(6), seconds(2), [&]() -> Result<bool> {
            const auto there = provider().run_any({"xl", "domid", "east"});
            return there && there->status != 0;
        });
        ASSERT_TRUE(gone) << gone.error().what;
    }

    void expect_paravirtual() {
        EXPECT_TRUE(said("findmnt -no SOURCE -M / || findmnt -no SOURCE /").starts_with("/dev/xvda")) << said("findmnt; lsblk");
        // ls fails where there is none, as there should be.
        EXPECT_EQ(said("ls -d /sys/block/sd* /sys/block/sr* 2>/dev/null || true"), "") << "an emulated disk is there as well";
        EXPECT_EQ(said("for c in /sys/class/net/eth*; do basename $(readlink -f $c/device/subsystem); done"), "blanket") << "one card, and not the emulated one";
        EXPECT_TRUE(said("dmesg | grep -o 'emulated devices taken away: .*'").contains("disks network cards"));
        EXPECT_EQ(said("cat /sys/bus/blanket/provider"), "xen 4.20");
        EXPECT_EQ(said("cat /sys/bus/blanket/send_failures"), "0");
    }

    // 256 MiB that the provider writes to a second disk, and the machine inside reads past all caches.
    void expect_what_the_provider_writes() {
        const auto made = provider().script("set -eu\ncd /root/rent\nhead -c 256M /dev/urandom >second.img; sync\nlosetup /dev/loop8 second.img\n"
                                            "xl block-attach east 'format=raw, vdev=xvdc, access=rw, script=/root/rent/block, target=/dev/loop8' >&2\nsha256sum <second.img\n", minutes(8));
        ASSERT_TRUE(made) << made.error().what;
        const auto there = wait_until("the second disk is there", minutes(2), seconds(1), [&]() -> Result<bool> {
            const auto size = inside().run({"blockdev", "--getsize64", "/dev/xvdc"});
            return size && trim(*size) == "268435456";
        });
        ASSERT_TRUE(there) << there.error().what << "\n" << said("dmesg | tail -n 20");
        EXPECT_EQ(said("sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum </dev/xvdc"), trim(*made));
        ASSERT_TRUE(provider().run({"xl", "block-detach", "east", "xvdc"}, minutes(2)));  // or the next start would have it, too
        const auto gone = wait_until("the second disk is gone", minutes(2), seconds(1), [&]() -> Result<bool> {
            const auto look = inside().run_any({"test", "-e", "/dev/xvdc"});
            return look && look->status == 1;
        });
        EXPECT_TRUE(gone) << gone.error().what;
    }

    // The argument makes uplink refuse each load by modprobe, in the initramfs as later: no blacklist does that, as the initramfs asks for it by name and other drivers depend on it softly.
    // So the machine runs from its emulated disk, whose driver is bound; then uplink comes after all, by insmod, which does not read the kernel's command line.
    void expect_left_alone(const std::string& sum) {
        said("sed -i 's/^set linux_args=\"/&uplink.selftest=x /' /boot/args.cfg; sync");
        ASSERT_NO_FATAL_FAILURE(restart());
        EXPECT_TRUE(said("findmnt -no SOURCE -M / || findmnt -no SOURCE /").starts_with("/dev/sd")) << said("findmnt; lsblk");
        ASSERT_EQ(said("ls -d /sys/module/uplink /sys/bus/blanket 2>/dev/null || true"), "") << "uplink is there before its time";
        said("insmod /usr/lib/modules/$(uname -r)/updates/blanket/uplink.ko && modprobe uplink-blk && modprobe uplink-net");
        EXPECT_NE(said("dmesg | grep 'uplink: emulated disks stay (.*): the provider.s PV disks are left alone' || true"), "") << said("dmesg | grep -i uplink; true");
        EXPECT_EQ(said("cat /sys/bus/blanket/left_alone"), "vbd driven\nvif driven");
        const auto told = lab::BlanketCli(inside()).run({"uplink", "list"});
        EXPECT_TRUE(told && told->dump().contains("its paravirtual twin is left alone")) << (told ? told->dump() : told.error().what);
        // The bus has looked at the store once there is silence on the way to it.
        const auto quiet = wait_until("the bus has looked", minutes(2), seconds(1), [&]() -> Result<bool> {
            return said("before=$(cat /sys/bus/blanket/upcalls); sleep 2; [ $before != $(cat /sys/bus/blanket/upcalls) ] || echo quiet") == "quiet";
        });
        EXPECT_TRUE(quiet) << quiet.error().what;
        // The store lists a keyboard of an HVM guest, too, which nobody drives.
        EXPECT_EQ(said("udevadm settle; ls /sys/bus/blanket/devices | grep -E '^(vbd|vif)-' || true; ls -d /sys/block/xvd* 2>/dev/null || true"), "") << "two names for one device";
        EXPECT_EQ(said("for c in /sys/class/net/eth*; do basename $(readlink -f $c/device/subsystem); done"), "pci");
        EXPECT_EQ(said("sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum </var/tmp/data"), sum);
        const std::string written = said("head -c 16M /dev/urandom >/var/tmp/emulated; sync; sha256sum </var/tmp/emulated");
        expect_green();
        EXPECT_EQ(said("dmesg | grep -E 'BUG:|Oops|Call Trace' || true"), "");
        said("sed -i 's/uplink.selftest=x /uplink.unplug=0 /' /boot/args.cfg; sync");
        ASSERT_NO_FATAL_FAILURE(restart());
        expect_kept_as_asked(sum);
        said("sed -i 's/uplink.unplug=0 //' /boot/args.cfg; sync");
        ASSERT_NO_FATAL_FAILURE(restart());
        expect_paravirtual();
        EXPECT_EQ(said("sha256sum </var/tmp/data"), sum);
        EXPECT_EQ(said("sha256sum </var/tmp/emulated"), written);
    }

    // To the shutdown's wish it listens as before: the store is there.
    void expect_left_alone_where_the_provider_refuses(const std::string& sum) {
        const auto made = provider().script("set -eu\ncd /root/rent\necho 'xen_platform_pci = 0' >>guest.cfg\nxl create guest.cfg\n", minutes(4));
        ASSERT_TRUE(made) << made.error().what;
        const auto up = wait_until("the machine without a platform device has started", minutes(12), seconds(5), [&]() -> Result<bool> { return inside().wait_up(seconds(10)).has_value(); });
        ASSERT_TRUE(up) << up.error().what;
        EXPECT_EQ(said("grep -l 0x5853 /sys/bus/pci/devices/*/vendor || true"), "") << "there is a platform device";
        EXPECT_EQ(said("cat /sys/bus/blanket/left_alone"), "vbd refused\nvif refused") << said("dmesg | grep -i uplink; true");
        EXPECT_TRUE(said("findmnt -no SOURCE -M / || findmnt -no SOURCE /").starts_with("/dev/sd")) << said("findmnt; lsblk");
        EXPECT_EQ(said("udevadm settle; ls /sys/bus/blanket/devices | grep -E '^(vbd|vif)-' || true; ls -d /sys/block/xvd* 2>/dev/null || true"), "") << "two names for one device";
        EXPECT_EQ(said("for c in /sys/class/net/eth*; do basename $(readlink -f $c/device/subsystem); done"), "pci");
        EXPECT_EQ(said("sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum </var/tmp/data"), sum);
    }

    // With uplink.unplug=0: the module came first, no driver had a device yet, and the emulated ones stay all the same.
    void expect_kept_as_asked(const std::string& sum) {
        EXPECT_TRUE(said("findmnt -no SOURCE -M / || findmnt -no SOURCE /").starts_with("/dev/sd")) << said("findmnt; lsblk");
        EXPECT_EQ(said("cat /sys/bus/blanket/provider"), "xen 4.20");
        EXPECT_EQ(said("cat /sys/bus/blanket/left_alone"), "vbd asked\nvif asked");
        EXPECT_NE(said("dmesg | grep 'uplink: emulated disks stay (.* is to stay: unplug=0)' || true"), "") << said("dmesg | grep -i uplink; true");
        const auto told = lab::BlanketCli(inside()).run({"uplink", "list"});
        EXPECT_TRUE(told && told->dump().contains("as uplink.unplug=0 says")) << (told ? told->dump() : told.error().what);
        EXPECT_EQ(said("udevadm settle; ls /sys/bus/blanket/devices | grep -E '^(vbd|vif)-' || true; ls -d /sys/block/xvd* 2>/dev/null || true"), "") << "two names for one device";
        EXPECT_EQ(said("for c in /sys/class/net/eth*; do basename $(readlink -f $c/device/subsystem); done"), "pci");
        EXPECT_EQ(said("sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum </var/tmp/data"), sum);
        EXPECT_EQ(said("dmesg | grep -E 'BUG:|Oops|Call Trace' || true"), "");
    }

    // Each driver of what a provider emulates comes after uplink, whether this machine has such a device or not. One line a driver, or what is wrong is seen.
    void expect_uplink_before_their_drivers() {
        EXPECT_EQ(said("for m in ata_piix ahci 8139cp 8139too e1000; do modprobe --show-depends $m | grep '^insmod ' | sed 's|^insmod [^ ]*/||; s|\\.ko.*||' | tr '_' '-' | awk -v m=$m 'BEGIN { gsub(\"_\", \"-\", m) } "
                       "$1 == \"uplink\" { u = NR } $1 == m { d = NR } END { print (u > 0 && d > u ? \"after\" : \"not after\"), m }'; done"),
                  "after ata-piix\nafter ahci\nafter 8139cp\nafter 8139too\nafter e1000");
    }

    std::unique_ptr<lab::Lab> lab_;
};

TEST_F(UplinkHvm, RootOnTheProvidersDiskAndWhatItAsksFor) {
    auto profile = lab::east_profile();
    profile.memory_mib = 1536;
    ASSERT_TRUE(lab_->start(profile));
    const auto up = lab_->wait_ready("east", minutes(12));
    ASSERT_TRUE(up) << up.error().what << " " << up.error().hint;
    expect_paravirtual();
    expect_green();
    // Without such a line grep's status is 1: what is missing is told by the expectation.
    EXPECT_TRUE(said("xl dmesg | grep 'Platform timer is' || true").ends_with("XEN PV CLOCK")) << said("xl dmesg | grep -i timer || true");
    const auto uplinks = lab::BlanketCli(inside()).run({"uplink", "list"});
    ASSERT_TRUE(uplinks) << uplinks.error().what;
    EXPECT_TRUE(uplinks->dump().contains("uplink-blk") && uplinks->dump().contains("uplink-net")) << uplinks->dump();
    const auto doctor = lab::BlanketCli(inside()).run({"doctor"});
    EXPECT_TRUE(doctor && doctor->dump().contains("xen 4.20 around this one") && doctor->dump().contains("xvda by uplink-blk, paravirtual")) << (doctor ? doctor->dump() : doctor.error().what);
    expect_uplink_before_their_drivers();

    // 256 MiB through the file system to the provider's disk, and back from there. At the end the provider looks itself.
    const std::string sum = said("head -c 256M /dev/urandom >/var/tmp/data; sync; sha256sum </var/tmp/data");
    EXPECT_EQ(said("echo 3 >/proc/sys/vm/drop_caches; sha256sum </var/tmp/data"), sum);
    ASSERT_NO_FATAL_FAILURE(expect_what_the_provider_writes());

    // The provider asks for a restart: the machine ends in order and comes again.
    ASSERT_NO_FATAL_FAILURE(restart());
    expect_paravirtual();
    EXPECT_EQ(said("sha256sum </var/tmp/data"), sum);
    EXPECT_EQ(said("journalctl -b -1 -o cat | grep -c 'Reached target.*[Rr]eboot'"), "1") << "it went down without its services being ended";

    // A driver that has the emulated disk already keeps it, and nobody drives its paravirtual twin. Then all is as before.
    ASSERT_NO_FATAL_FAILURE(expect_left_alone(sum));

    // Events by the platform device's interrupt line, as an old provider gives them.
    EXPECT_EQ(said("awk '/ uplink$/ { n++ } END { print n + 0 }' /proc/interrupts"), "0");
    said("sed -i 's/^set xen_args=\"/&blanket=intx /' /boot/args.cfg; sync");
    ASSERT_NO_FATAL_FAILURE(restart());
    expect_paravirtual();
    EXPECT_TRUE(said("xl info xen_commandline").contains("blanket=intx"));
    EXPECT_EQ(said("grep -c ' uplink$' /proc/interrupts"), "1");
    EXPECT_EQ(said("echo 3 >/proc/sys/vm/drop_caches; sha256sum </var/tmp/data"), sum);

    said("sed -i 's/blanket=intx //' /boot/args.cfg; sync");
    ASSERT_NO_FATAL_FAILURE(power_off());

    // A provider without the device that takes emulated ones away.
    ASSERT_NO_FATAL_FAILURE(expect_left_alone_where_the_provider_refuses(sum));

    // And for its end: the domain is gone, and its file system was left in order.
    ASSERT_NO_FATAL_FAILURE(power_off());
    const auto check = provider().script("disk=$(losetup -fP --show /dev/disk/by-id/virtio-inside)\npart=${disk}p3\ndumpe2fs -h $part 2>/dev/null | grep 'Filesystem state'\ne2fsck -fn $part 2>&1 | tail -n 1\n"
                                         "mount -o ro,noload $part /mnt\nsha256sum <\"$(find /mnt -path '*/var/tmp/data')\"\numount /mnt\n", minutes(5));
    ASSERT_TRUE(check) << check.error().what;
    EXPECT_TRUE(check->contains("clean") && check->contains(sum)) << *check << "; expected " << sum;
}

}  // namespace
}  // namespace blanket::rig
