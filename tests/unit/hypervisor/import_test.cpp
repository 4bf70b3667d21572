// SPDX-License-Identifier: GPL-2.0-or-later
// Every definition in tests/golden/hypervisor against the JSON beside it: the imported VM, or the error's class and a part of its text.
#include "toolstack/hypervisor/import.hpp"

#include <algorithm>
#include <filesystem>
#include <gtest/gtest.h>

#include "toolstack/base/file.hpp"

// libxlutil's own parser forgets a token when a definition ends in a syntax error: a few bytes in a process that refuses a file, not ours to free.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:xlu__cfg_string_mk\nleak:xlu__cfgl_\n"; }

namespace blanket {
namespace {

const std::string kFolder = BLANKET_SOURCE_DIR "/tests/golden/hypervisor";

TEST(Import, Golden) {
    int cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
        const std::string path = entry.path().string();
        if (!path.ends_with(".cfg") && !path.ends_with(".xml")) continue;
        SCOPED_TRACE(path);
        ++cases;
        const std::string text = read_file(path).value();
        const auto vm = path.ends_with(".cfg") ? parse_xl_config(text) : parse_libvirt_xml(text);
        const Json expected = parse_json(read_file(path + ".json").value()).value();
        if (expected.contains("error")) {
            ASSERT_FALSE(vm);
            EXPECT_EQ(to_string(vm.error().kind), expected["error"].get<std::string>()) << vm.error().what;
            EXPECT_TRUE(vm.error().what.contains(expected["says"].get<std::string>())) << vm.error().what;
        } else {
            ASSERT_TRUE(vm) << vm.error().what;
            EXPECT_EQ(to_json(*vm), expected);
        }
    }
    EXPECT_GE(cases, 11);
}

// blanketd has the parser in a process of its own: what comes through it is the same, and what goes wrong there is told.
TEST(Import, XlConfigInItsOwnProcess) {
    const std::string text = read_file(kFolder + "/web.cfg").value();
    const auto direct = parse_xl_config(text), through = read_xl_config(text, BLANKET_XL_CONFIG);
    ASSERT_TRUE(direct);
    ASSERT_TRUE(through) << through.error().what;
    EXPECT_EQ(*through, *direct);
    for (const std::string& bad : {std::string("name = "), std::string("name='A B'\nmemory=64\ndisk=['phy:/dev/a,xvda,w']"), std::string(300 * 1024, '#'), std::string()}) {
        const auto want = bad.empty() ? Kind::kInvalid : parse_xl_config(bad).error().kind;
        const auto refused = read_xl_config(bad, BLANKET_XL_CONFIG);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().kind, want) << refused.error().what;
    }
    EXPECT_EQ(read_xl_config(text, "/nowhere/blanket-xl-config").error().kind, Kind::kNotFound);
    const auto silent = read_xl_config(text, "/bin/false");
    ASSERT_FALSE(silent);
    EXPECT_TRUE(silent.error().what.contains("ended with status 1"));
    Json lie = to_json(*direct);  // a parser that was taken over cannot smuggle in what the checks refuse
    lie["memory_mib"] = 1u;
    EXPECT_FALSE(imported_from_json(lie));
    lie.erase("disks");
    EXPECT_FALSE(imported_from_json(lie));
}

// A definition cut anywhere, or with a byte changed, gives a VM or an error, never a crash or a hang.
TEST(Import, DamagedDefinitions) {
    for (const char* name : {"/web.cfg", "/virt-install.xml"}) {
        const std::string text = read_file(kFolder + name).value();
        const bool cfg = std::string_view(name).ends_with(".cfg");
        for (std::size_t i = 0; i < text.size(); i += 3) {
            std::string changed = text;
            changed[i] = static_cast<char>(changed[i] ^ 0x15);
            for (const std::string& bad : {text.substr(0, i), changed}) {
                const auto vm = cfg ? parse_xl_config(bad) : parse_libvirt_xml(bad);
                EXPECT_TRUE(vm || !vm.error().what.empty());
            }
        }
    }
}

TEST(Import, Bounds) {
    EXPECT_FALSE(parse_libvirt_xml(std::string(300 * 1024, ' ')));
    EXPECT_FALSE(parse_xl_config(std::string(300 * 1024, '#')));
    std::string deep = "<domain>";
    for (int i = 0; i < 20'000; ++i) deep += "<a>";
    EXPECT_FALSE(parse_libvirt_xml(deep));
    EXPECT_FALSE(parse_libvirt_xml("<domain type='xen'><name>a</name><memory unit='GiB'>99999999999</memory><os><type>linux</type></os></domain>"));
    EXPECT_FALSE(parse_xl_config("name='a'\nmemory=99999999999\ndisk=['phy:/dev/a,xvda,w']"));
    EXPECT_FALSE(parse_xl_config("name='a'\nmemory=-5\ndisk=['phy:/dev/a,xvda,w']"));
    EXPECT_FALSE(parse_xl_config("name='A B'\nmemory=64\ndisk=['phy:/dev/a,xvda,w']"));
}

TEST(Import, OnlyOurVolumesCanBeAdopted) {
    ImportedVm vm{.name = "a", .uuid = "", .memory_mib = 64, .vcpus = 1, .disks = {{.target = "xvda", .kind = DiskSource::kBlock, .path = "/dev/vg/a", .readonly = false}}, .nics = {}, .notes = {}};
    const auto refused = check_adoptable(vm);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kPrecondition);
    EXPECT_TRUE(refused.error().what.contains("/dev/vg/a"));
    vm.disks[0].path = "/dev/mapper/bs-a-0-top";
    EXPECT_TRUE(check_adoptable(vm));
}

}  // namespace
}  // namespace blanket
