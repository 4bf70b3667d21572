// SPDX-License-Identifier: GPL-2.0-or-later
// The uplink modules inside a real Xen (rig.hpp). One provider serves all tests of this program. Input: BLANKET_IMAGE (./dev test vm sets it).
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <vector>

#include "tests/lab/deadline.hpp"
#include "tests/vm/uplink_rig/fixture.hpp"
#include "tests/vm/uplink_rig/pattern.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::rig {
namespace {

using std::chrono::minutes;
using Uplink = RigTest;

TEST_F(Uplink, DiskNetworkAndReloads) {
    const auto console = rig_->run({.words = "selftest=1 reloads=5 ports=1 twoway=15"});
    expect_good(console);
    EXPECT_TRUE(console && console->contains("PROBE ports ok") && console->contains("PROBE both-ways ok"));
    EXPECT_TRUE(console && console->contains("XEN PV CLOCK")) << *console;  // and its events come by a vector: the step "ports" asks
    // What was written inside is on the provider's disk, at its place.
    const std::string copy = rig_->machine().dir() + "/written.img";
    ASSERT_TRUE(rig_->provider().run({"sync"}));
    ASSERT_TRUE(rig_->provider().get_file(kDisk, copy, minutes(2)));
    const auto bytes = read_file(copy, 64u << 20);
    ASSERT_TRUE(bytes);
    ASSERT_EQ(bytes->size(), 2 * kRegionBytes);
    std::vector<std::uint64_t> words(kRegionBytes / 8);
    std::memcpy(words.data(), bytes->data() + kRegionBytes, kRegionBytes);
    EXPECT_TRUE(holds(words, 0, kInsideSeed)) << "what was written inside is not what the provider has";
    const auto alarms = rig_->machine().alarms();
    ASSERT_TRUE(alarms);
    EXPECT_TRUE(alarms->empty()) << alarms->front();
}

constexpr std::string_view kBackendOfXvda = "vbd-$(xl domid inside)-51712", kBackendOfXvdb = "vbd-$(xl domid inside)-51728", kBackendOfCard = "vif-$(xl domid inside)-1";

// The number of the last look of this name that the console tells of.
int last_look(Rig& rig, std::string_view name) {
    const std::string said = rig.console(), before = std::format("PROBE {}-", name);
    for (auto at = said.rfind(before); at != std::string::npos && at > 0; at = said.rfind(before, at - 1))
        if (const int number = std::atoi(said.c_str() + at + before.size()); number > 0) return number;
    return 0;
}

// The disk and the card that were there from the start serve, from now on: the second look that begins after now is good. Or "card-alive": the card that came later.
void expect_well(Rig& rig, std::string_view name = "alive") { expect_done(rig.wait_said(std::format("PROBE {}-{} ok", name, last_look(rig, name) + 2))); }

// A disk and a card come and go, also when the provider asks nobody, and when their backends end and start again; a save is refused, and the machine lives on; a
// shutdown is honoured.
TEST_F(Uplink, WhatTheProviderAsksFor) {
    lab::Ssh& provider = rig_->provider();
    expect_done(rig_->start({.vcpus = 2, .dom0_vcpus = 2, .words = "reloads=0 hold=1 loglevel=7"}));
    expect_done(rig_->wait_said("PROBE waiting"));
    expect_done(provider.script("cp /root/rig/disk.img /root/rig/second.img; losetup /dev/loop6 /root/rig/second.img"));
    const Argv attach{"xl", "block-attach", "inside", "format=raw, vdev=xvdb, access=rw, script=/root/rig/block, target=/dev/loop6"};
    expect_done(provider.run(attach, minutes(2)));
    expect_done(rig_->wait_said("PROBE disk-attach-1 ok"));
    expect_done(provider.run({"xl", "block-detach", "inside", "xvdb"}, minutes(2)));
    expect_done(rig_->wait_said("PROBE disk-detach-1 ok"));
    const auto saved = provider.run_any({"xl", "save", "inside", "/root/rig/saved"}, minutes(4));
    expect_done(saved);
    EXPECT_NE(saved->status, 0) << "a blanket cannot be saved by its provider";
    expect_done(rig_->wait_said("not with virtual machines of our own inside"));
    expect_done(provider.run(attach, minutes(2)));
    expect_done(rig_->wait_said("PROBE disk-attach-2 ok"));
    // The backend's driver is taken from the device and given to it again, unseen by the frontend: what was asked meanwhile is answered then
    // (the probe reads it every 5 s, so that one read at least falls into the 8 s).
    const auto driver = [](std::string_view backend, std::string_view verb) { return std::format("echo {} >/sys/bus/xen-backend/drivers/{}/{}\n", backend, backend.substr(0, 3), verb); };
    expect_done(provider.script(driver(kBackendOfXvda, "unbind") + "sleep 8\n" + driver(kBackendOfXvda, "bind"), minutes(2)));
    expect_well(*rig_);
    // A backend that ends in order, and is made again by the toolstack: the frontend closes as well, and the same disk is there again by itself.
    expect_done(provider.script("id=$(xl domid inside)\nxenstore-write /local/domain/0/backend/vbd/$id/51728/state 5\n"
                                "for i in $(seq 60); do [ \"$(xenstore-read /local/domain/$id/device/vbd/51728/state)\" != 6 ] || break; sleep 1; done\n" +
                                    driver(kBackendOfXvdb, "unbind") + "xenstore-write /local/domain/$id/device/vbd/51728/state 1\n" + driver(kBackendOfXvdb, "bind"),
                                minutes(3)));
    expect_done(rig_->wait_said("PROBE disk-detach-2 ok"));
    expect_done(rig_->wait_said("PROBE disk-attach-3 ok"));
    // And away without asking.
    expect_done(provider.run({"xl", "block-detach", "--force", "inside", "xvdb"}, minutes(2)));
    expect_done(rig_->wait_said("PROBE disk-detach-3 ok"));
    expect_done(provider.run({"xl", "network-attach", "inside", "mac=00:16:3e:99:00:03", "script=/root/rig/vif"}, minutes(2)));
    expect_done(rig_->wait_said("PROBE card-attach-1 ok"));  // with bytes in both directions
    // The card's backend goes as the disk's did, until the guest has noticed, and comes again: it is a new interface of the provider's then, which nobody puts into the bridge but we.
    expect_done(provider.script(driver(kBackendOfCard, "unbind"), minutes(2)));
    expect_done(rig_->wait_said(std::format("PROBE card-alive-{} not", last_look(*rig_, "card-alive") + 2)));
    expect_done(provider.script(driver(kBackendOfCard, "bind") + "id=$(xl domid inside)\n"
                                "for i in $(seq 60); do [ ! -e /sys/class/net/vif$id.1 ] || break; sleep 1; done\n"
                                "ip link set vif$id.1 master rig0 up\nxenstore-write /local/domain/0/backend/vif/$id/1/hotplug-status connected\n",
                                minutes(3)));
    expect_well(*rig_, "card-alive");
    expect_done(provider.run({"xl", "network-detach", "inside", "00:16:3e:99:00:03"}, minutes(2)));
    expect_done(rig_->wait_said("PROBE card-detach-1 ok"));
    expect_done(provider.run({"xl", "shutdown", "inside"}, minutes(1)));
    expect_done(rig_->wait_gone());
    EXPECT_TRUE(rig_->console().contains("the provider asks: poweroff")) << rig_->console();
    expect_no_alarm(rig_->console());
}

// A provider whose backends and store lie: what they gave is lost, and nothing else.
TEST_F(Uplink, AProviderThatLies) {
    lab::Ssh& provider = rig_->provider();
    const auto rogue = [&](const std::string& what) { return provider.script(std::format("{} $(xl domid inside) {}", kRogue, what), minutes(3)); };
    const auto said_since = [&](const std::string& mark, const std::string& what) {
        return lab::wait_until(std::format("inside says '{}' after '{}'", what, mark), minutes(2), std::chrono::seconds(1), [&]() -> Result<bool> {
            const std::string said = rig_->console();
            const auto at = said.find(mark);
            return at != std::string::npos && said.find(what, at) != std::string::npos;
        });
    };
    expect_done(provider.script("modprobe -a xen-gntdev xen-evtchn 2>/dev/null || true"));  // not there where the kernel has them built in; rogue says if a device is missing
    expect_done(rig_->start({.words = "reloads=0 hold=1 loglevel=5"}));  // with warnings: some lies cost a packet, and not the card
    expect_done(rig_->wait_said("PROBE waiting"));
    int round = 0, cards = 0;
    for (const auto& [way, said] : {std::pair("id", "response has incorrect id"), {"twice", "references no pending request"}, {"none", "references no pending request"}, {"index", "illegal number of responses"}}) {
        expect_done(rogue(std::format("disk {}", way)));
        ++round;
        expect_done(rig_->wait_said(said));
        expect_done(rig_->wait_said("xvdc disabled for further use"));
        expect_done(rig_->wait_said(std::format("PROBE rogue-attach-{} ok", round)));
        expect_done(rig_->wait_said(std::format("PROBE rogue-detach-{} ok", round)));
    }
    expect_done(rogue("disk size"));
    expect_done(rogue("names"));
    expect_well(*rig_);
    for (const auto& [way, said, disabled] : {std::tuple("tx-id", "Response has incorrect id (48879)", true), {"tx-twice", "Response for inactive request", true}, {"tx-index", "Illegal number of responses", true},
                                              {"rx-id", "", false}, {"rx-size", "rx->offset: 0, size: 30000", false}, {"rx-index", "Illegal number of responses", false}}) {
        expect_done(rogue(std::format("card {}", way)));
        ++cards;
        const std::string up = std::format("PROBE rogue-card-up-{}", cards);
        expect_done(said_since(up, said));
        if (disabled) expect_done(said_since(up, "Disabled for further use"));
        expect_done(rig_->wait_said(std::format("PROBE rogue-card-attach-{} ok", cards)));
        expect_done(rig_->wait_said(std::format("PROBE rogue-card-detach-{} ok", cards)));
    }
    expect_well(*rig_);
    expect_done(provider.run({"xl", "network-attach", "inside", "mac=00:16:3e:99:00:03", "script=/root/rig/vif"}, minutes(2)));
    expect_done(rig_->wait_said("PROBE card-attach-1 ok"));
    expect_done(provider.run({"xl", "network-detach", "inside", "00:16:3e:99:00:03"}, minutes(2)));
    expect_done(rig_->wait_said("PROBE card-detach-1 ok"));
    expect_done(rogue("store noise"));
    expect_done(rogue("store index"));
    expect_done(rig_->wait_said("the provider's store is lost"));
    expect_well(*rig_);
    // All of it: what console() gives is the end of a long story.
    const auto alarms = provider.run_any({"grep", "-nE", "PROBE .* not: |PROBE .*FAILED|BUG:|Oops|Call Trace", "/root/rig/console.log"});
    EXPECT_TRUE(alarms && alarms->status == 1) << (alarms ? alarms->out : alarms.error().what);
    expect_done(provider.run({"xl", "destroy", "inside"}, minutes(1)));  // without a store it cannot be asked
}

// dom0 with fewer processors than its Xen, none of them pinned: an event of the provider comes in on whatever processor.
// Then dom0 calls the hypervisor 20,000 times with garbage, and a PV guest of dom0's calls it 5,000 times.
TEST_F(Uplink, FourProcessorsThreeOfThemDom0sAndGarbage) {
    const auto console = rig_->run({.vcpus = 4, .dom0_vcpus = 3, .words = "reloads=2 garbage=20000", .domu = true});
    expect_good(console);
    EXPECT_TRUE(console && console->contains("PROBE garbage ok"));
    EXPECT_TRUE(console && console->contains("PROBE domu xen 4.") && console->contains("PROBE domu 5000 calls, all -EPERM") && console->contains("PROBE domu ok")) << *console;
}

}  // namespace
}  // namespace blanket::rig
