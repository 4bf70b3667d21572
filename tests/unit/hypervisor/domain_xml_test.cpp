// SPDX-License-Identifier: GPL-2.0-or-later
// A record's XML against the golden file, and back through the importer.
#include "toolstack/hypervisor/domain_xml.hpp"

#include <gtest/gtest.h>

#include "toolstack/base/file.hpp"
#include "toolstack/hypervisor/import.hpp"

namespace blanket {
namespace {

VmRecord web() {
    VmRecord vm;
    vm.uuid = "6f6c2d3e-11aa-4b0c-9e52-0c5d8f3f7a01";
    vm.name = "web";
    vm.memory_mib = 256;
    vm.nics = {{.net = "lan", .mac = "02:00:00:00:00:05", .ip = "10.1.0.5"}};
    vm.volumes = {{.id = "web-0", .image = "", .size = 2ull << 30, .target = "xvda"}};
    return vm;
}

TEST(DomainXml, Golden) {
    const auto xml = build_domain_xml(web());
    ASSERT_TRUE(xml) << xml.error().what;
    EXPECT_EQ(*xml, read_file(BLANKET_SOURCE_DIR "/tests/golden/hypervisor/record.xml.expected").value());
}

TEST(DomainXml, WhatWeBuildCanBeAdopted) {
    const auto vm = parse_libvirt_xml(build_domain_xml(web()).value());
    ASSERT_TRUE(vm) << vm.error().what;
    EXPECT_EQ(vm->memory_mib, 256u);
    EXPECT_EQ(vm->nics.at(0).mac, "02:00:00:00:00:05");
    EXPECT_TRUE(check_adoptable(*vm));
    EXPECT_TRUE(vm->notes.empty());
}

TEST(DomainXml, ASeedIsAReadOnlyDiskBesideTheOthers) {
    VmRecord vm = web();
    vm.seed = SeedFacts{.hostname = "web", .sha256 = {}, .size = 0, .ssh_keys = 1};
    const auto xml = build_domain_xml(vm);
    ASSERT_TRUE(xml) << xml.error().what;
    EXPECT_TRUE(xml->contains("<source dev=\"/dev/blanket/seed-" + vm.uuid + "\" />\n      <target dev=\"xvdz\" bus=\"xen\" />\n      <readonly />")) << *xml;
    EXPECT_FALSE(build_domain_xml(web())->contains("readonly"));
}

TEST(DomainXml, RefusesTextThatIsNoName) {
    VmRecord vm = web();
    vm.name = "a</name>";
    EXPECT_FALSE(build_domain_xml(vm));
    vm = web();
    vm.volumes[0].id = "../x";
    EXPECT_FALSE(build_domain_xml(vm));
    vm = web();
    vm.nics[0].mac = "zz";
    EXPECT_FALSE(build_domain_xml(vm));
}

}  // namespace
}  // namespace blanket
