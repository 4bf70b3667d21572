// SPDX-License-Identifier: GPL-2.0-or-later
// Our services' exposure, as systemd-analyze counts it from the unit files alone: 0 is a service that can do nothing, 10 one that can do all. What stays open, and why: image-builder/README.md.
#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"

namespace blanket {
namespace {

Output exposure(const std::string& unit, const std::string& change, int threshold) {
    const FakeRoot root;
    const std::string script = "mkdir -p usr/lib/systemd usr/bin usr/sbin etc; cp -r " BLANKET_SOURCE_DIR "/image-builder/extra/usr/lib/systemd/system usr/lib/systemd/; "
                               "for f in usr/sbin/blanketd usr/bin/etcd usr/sbin/dnsmasq; do : >$f; chmod 755 $f; done; " + change +
                               "; systemd-analyze security --no-pager --offline=true --root=. --threshold=" + std::to_string(threshold) + " " + unit;
    auto ran = run_any({"bash", "-euc", "cd " + root.path() + "; " + script});
    return ran ? *ran : Output{-1, "", ran.error().what};
}

// Tenths, as --threshold takes them: one that is above it makes systemd-analyze fail.
TEST(Units, ExposureStaysWithinWhatTheyNeed) {
    for (const auto& [unit, threshold] : {std::pair{"blanketd.service", 45}, std::pair{"blanket-etcd.service", 20}, std::pair{"blanket-dhcp@.service", 30}}) {
        const auto said = exposure(unit, "true", threshold);
        EXPECT_EQ(said.status, 0) << said.out.substr(said.out.size() > 200 ? said.out.size() - 200 : 0) << said.err;
        EXPECT_TRUE(said.out.contains("Overall exposure level")) << said.out << said.err;
    }
}

TEST(Units, AUnitThatIsOpenedIsNoticed) {
    for (const char* line : {"NoNewPrivileges", "SystemCallFilter", "CapabilityBoundingSet", "RestrictNamespaces", "ProtectSystem"})
        EXPECT_EQ(exposure("blanketd.service", std::string("sed -i /^") + line + "=/d usr/lib/systemd/system/blanketd.service", 45).status, 1) << line;
}

}  // namespace
}  // namespace blanket
