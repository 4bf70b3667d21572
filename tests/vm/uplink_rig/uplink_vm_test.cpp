// SPDX-License-Identifier: GPL-2.0-or-later
// Xen in Xen: a provider (the appliance on Debian's hypervisor), a guest of it that is our hypervisor with a dom0 of one process (probe.cpp), and in it the uplink
// modules at the provider's backends. One provider serves all tests of this program. Input: BLANKET_IMAGE (./dev test vm sets it).
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <memory>
#include <sched.h>
#include <vector>

#include "tests/lab/deadline.hpp"
#include "tests/lab/lab.hpp"
#include "tests/vm/uplink_rig/pattern.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// SVM and nested paging for the guest; one CPU (two hang in QEMU's SVM now and then); without rdtscp, which would trap into the provider at each call.
constexpr const char* kProviderCpu = "EPYC,-monitor,-rdtscp,+svm,+npt";

// Backends without the appliance's own hotplug program: that one serves its own VMs.
constexpr std::string_view kPrepare = R"sh(set -eu
mkdir -p /root/rig/root/modules; cd /root/rig
cp /usr/lib/modules/"$(uname -r)"/updates/blanket/*.ko root/modules/
mv /root/probe root/init; chmod 755 root/init
(cd root && find . | cpio --quiet -o -H newc) >initrd.img
cat >block <<'S'
#!/bin/sh
[ "$1" = add ] || exit 0
xenstore-write "$XENBUS_PATH/physical-device" "$(stat -L -c '%t:%T' "$(xenstore-read "$XENBUS_PATH/params")")" "$XENBUS_PATH/hotplug-status" connected
S
cat >vif <<'S'
#!/bin/sh
[ "$1" = online ] || exit 0
ip link set "$vif" master rig0 up
xenstore-write "$XENBUS_PATH/hotplug-status" connected
S
chmod 755 block vif
ip link add rig0 type bridge; ip addr add 10.99.0.1/24 dev rig0; ip link set rig0 up
losetup /dev/loop7 disk.img
cat >guest.cfg <<'S'
name = "inside"
type = "pvh"
pvshim = 1
pvshim_path = "/boot/xen-blanket.gz"
pvshim_cmdline = "console=xen,pv dom0_mem=320M,max:320M dom0_max_vcpus=@DOM0@ loglvl=all mmio-relax=1"
kernel = "/boot/vmlinuz"
ramdisk = "/root/rig/initrd.img"
cmdline = "console=hvc0 quiet panic=5 reloads=@RELOADS@"
memory = 512
vcpus = @VCPUS@
tsc_mode = "native"
on_crash = "destroy"
on_reboot = "destroy"
disk = [ "format=raw, vdev=xvda, access=rw, script=/root/rig/block, target=/dev/loop7" ]
vif = [ "mac=00:16:3e:99:00:02, script=/root/rig/vif" ]
S
)sh";

class Uplink : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        ASSERT_EQ(::unshare(CLONE_NEWNET), 0) << "needs root";
        LabOptions options;
        options.name = "uplink-test";
        options.image = "/cache/lab/uplink-provider.raw";
        options.capture_bytes = 0;
        const auto provider_image = run({UPLINK_MAKE_PROVIDER, std::getenv("BLANKET_IMAGE") == nullptr ? "" : std::getenv("BLANKET_IMAGE"), options.image}, {.deadline = minutes(5)});
        ASSERT_TRUE(provider_image) << provider_image.error().what;
        auto made = Lab::create(std::move(options));
        ASSERT_TRUE(made) << made.error().what << " " << made.error().hint;
        lab_ = std::move(*made);
        MachineProfile provider = east_profile();
        provider.cpu = kProviderCpu;
        provider.cpus = 1;
        const auto started = lab_->start(provider);
        ASSERT_TRUE(started) << started.error().what;
        const auto ready = lab_->wait_ready("east", minutes(6));
        ASSERT_TRUE(ready) << ready.error().what;
        prepare();
    }
    static void prepare() {
        std::vector<std::uint64_t> words(rig::kRegionBytes / 8);
        rig::fill(words, 0, rig::kProviderSeed);
        const std::string disk = lab_->dir() + "/uplink.img";
        std::string bytes(reinterpret_cast<const char*>(words.data()), rig::kRegionBytes);
        bytes.resize(2 * rig::kRegionBytes);
        ASSERT_TRUE(write_file(disk, bytes));
        Ssh* const ssh = *lab_->ssh("east");
        ASSERT_TRUE(ssh->put_file(UPLINK_PROBE, "/root/probe", minutes(2)));
        ASSERT_TRUE(ssh->run({"mkdir", "-p", "/root/rig"}));
        ASSERT_TRUE(ssh->put_file(disk, "/root/rig/disk.img", minutes(2)));
        const auto prepared = ssh->script(kPrepare, minutes(2));
        ASSERT_TRUE(prepared) << prepared.error().what;
        prepared_ = true;
    }
    static void TearDownTestSuite() {
        if (lab_ && ::testing::UnitTest::GetInstance()->failed_test_count() > 0) std::printf("logs: %s\n", lab_->dir().c_str());
        lab_.reset();
    }
    void SetUp() override { ASSERT_TRUE(prepared_) << "the provider did not come up"; }

    // Runs the guest to its end; what its console said.
    static std::string run_guest(int vcpus, int dom0_vcpus, int reloads) {
        Ssh* const ssh = *lab_->ssh("east");
        const auto started = ssh->script(std::format("cd /root/rig; sed 's/@VCPUS@/{}/; s/@DOM0@/{}/; s/@RELOADS@/{}/' guest.cfg >now.cfg; xl create now.cfg 2>&1\n"
                                                     "(sleep 900 | setsid xl console -t pv inside >console.log 2>&1) </dev/null >/dev/null 2>&1 &\n",
                                                     vcpus, dom0_vcpus, reloads),
                                         minutes(3));
        EXPECT_TRUE(started) << started.error().what;
        std::string console;
        const auto ended = wait_until("the guest inside ends", minutes(6), seconds(2), [&]() -> Result<bool> {
            const auto text = ssh->run_any({"cat", "/root/rig/console.log"});
            if (text) console = text->out;
            const auto there = ssh->run_any({"xl", "domid", "inside"});
            return (there && there->status != 0) || console.contains("Kernel panic") || console.contains("Panic on CPU");
        });
        EXPECT_TRUE(ended) << ended.error().what;
        if (const auto there = ssh->run_any({"xl", "domid", "inside"}); there && there->status == 0) (void)ssh->run_any({"xl", "destroy", "inside"});
        if (const auto log = ssh->run_any({"tail", "-c", "20000", "/root/rig/console.log"}); log) console = log->out;
        (void)write_file(std::format("{}/inside-{}-vcpus.log", lab_->dir(), vcpus), console);
        return console;
    }
    static void expect_good(const std::string& console) {
        for (const char* step : {"load", "disk", "network", "reload"}) EXPECT_TRUE(console.contains(std::format("PROBE {} ok", step))) << "step '" << step << "'; console:\n" << console;
        EXPECT_TRUE(console.contains("PROBE provider xen 4.20")) << console;
        EXPECT_TRUE(console.contains("PROBE end"));
        EXPECT_FALSE(console.contains("FAILED")) << console;
        for (const char* alarm : {"BUG:", "Oops", "Call Trace", "Panic on CPU"}) EXPECT_FALSE(console.contains(alarm)) << alarm << "\n" << console;
    }

    static inline std::unique_ptr<Lab> lab_;
    static inline bool prepared_ = false;
};

TEST_F(Uplink, DiskNetworkAndReloads) {
    expect_good(run_guest(1, 1, 5));
    // What was written inside is on the provider's disk, at its place.
    Ssh* const ssh = *lab_->ssh("east");
    const std::string copy = lab_->dir() + "/written.img";
    ASSERT_TRUE(ssh->run({"sync"}));
    ASSERT_TRUE(ssh->get_file("/root/rig/disk.img", copy, minutes(2)));
    const auto bytes = read_file(copy, 64u << 20);
    ASSERT_TRUE(bytes);
    ASSERT_EQ(bytes->size(), 2 * rig::kRegionBytes);
    std::vector<std::uint64_t> words(rig::kRegionBytes / 8);
    std::memcpy(words.data(), bytes->data() + rig::kRegionBytes, rig::kRegionBytes);
    EXPECT_TRUE(rig::holds(words, 0, rig::kInsideSeed)) << "what was written inside is not what the provider has";
    const auto alarms = lab_->alarms();
    ASSERT_TRUE(alarms);
    EXPECT_TRUE(alarms->empty()) << alarms->front();
}

// dom0 with fewer processors than its Xen, none of them pinned: an event of the provider comes in on whatever processor.
TEST_F(Uplink, FourProcessorsThreeOfThemDom0s) { expect_good(run_guest(4, 3, 2)); }

}  // namespace
}  // namespace blanket::lab
