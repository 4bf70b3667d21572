// SPDX-License-Identifier: GPL-2.0-or-later
#include "toolstack/daemon/machine_identity.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

namespace fs = std::filesystem;

struct Root {
    std::string path = fs::temp_directory_path() / ("machine-" + random_hex(4));
    ~Root() { fs::remove_all(path); }
    void file(const std::string& at, const std::string& text) const {
        fs::create_directories(fs::path(path + at).parent_path());
        ASSERT_TRUE(write_file(path + at, text));
    }
};

const MachineFacts kEast{"4c4c4544-0035-4b10-8053-b3c04f463532", {"52:54:00:77:00:0b"}}, kWest{"4c4c4544-0035-4b10-8053-b3c04f463533", {"52:54:00:77:00:0c"}};

TEST(MachineIdentity, IsReadFromTheFirmwareAndThePhysicalCards) {
    const Root root;
    EXPECT_EQ(read_machine(root.path), MachineFacts{});
    root.file("/sys/class/dmi/id/product_uuid", "4C4C4544-0035-4B10-8053-B3C04F463532\n");
    root.file("/sys/class/net/ens3/address", "52:54:00:77:00:0B\n");
    root.file("/sys/class/net/ens3/device/vendor", "0x1af4\n");
    root.file("/sys/class/net/vif1.0/address", "fe:ff:ff:ff:ff:ff\n");
    root.file("/sys/class/net/br-int/address", "52:54:00:99:99:99\n");
    EXPECT_EQ(read_machine(root.path), kEast);
    for (const char* nothing : {"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "Not Specified"}) {
        root.file("/sys/class/dmi/id/product_uuid", nothing);
        EXPECT_EQ(read_machine(root.path).system_uuid, "") << nothing;
    }
}

TEST(MachineIdentity, ACardOrTheSystemInCommonIsEnough) {
    EXPECT_TRUE(same_machine(kEast, kEast));
    EXPECT_FALSE(same_machine(kEast, kWest));
    EXPECT_TRUE(same_machine(kEast, {kEast.system_uuid, {"52:54:00:00:00:01"}}));  // a new card
    EXPECT_TRUE(same_machine(kEast, {kWest.system_uuid, kEast.macs}));             // defined anew
    EXPECT_FALSE(same_machine({"", kEast.macs}, {"", kWest.macs}));
    EXPECT_TRUE(same_machine({}, kEast));  // nothing was known
}

TEST(MachineIdentity, ACopiedDiskIsRefusedWithWhatToDo) {
    const Root root;
    const std::string path = root.path + "/state/machine.json";
    fs::create_directories(root.path + "/state");
    ASSERT_TRUE(check_machine(path, kEast));
    ASSERT_TRUE(check_machine(path, kEast));
    const auto copied = check_machine(path, kWest);
    ASSERT_FALSE(copied);
    EXPECT_EQ(copied.error().kind, Kind::kPrecondition);
    EXPECT_NE(copied.error().hint.find("rm " + path), std::string::npos) << copied.error().hint;
    ASSERT_TRUE(check_machine(path, kEast));  // a refusal changes nothing
    ASSERT_TRUE(check_machine(path, {kEast.system_uuid, {"52:54:00:00:00:01"}}));
    ASSERT_TRUE(check_machine(path, {"", {"52:54:00:00:00:01"}}));  // the new card was remembered
    ASSERT_TRUE(write_file(path, "{", 0600));
    EXPECT_FALSE(check_machine(path, kEast));  // torn: nothing is guessed
}

}  // namespace
}  // namespace blanket
