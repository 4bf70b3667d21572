// SPDX-License-Identifier: GPL-2.0-or-later
// grubenv as GRUB, boot-tries and we read and write it.
#include "toolstack/update/boot_env.hpp"

#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::update {
namespace {

TEST(BootEnv, ComesBackAsItWasWritten) {
    for (const auto& env : {BootEnv{}, BootEnv{.slot = 'b', .tries = 2, .trial = 'a', .armed = true}, BootEnv{.slot = 'a', .tries = 3, .trial = 'b', .armed = false}}) {
        const std::string text = format_boot_env(env);
        ASSERT_EQ(text.size(), kBootEnvSize);
        const BootEnv again = parse_boot_env(text);
        EXPECT_EQ(again.slot, env.slot);
        EXPECT_EQ(again.tries, env.tries);
        EXPECT_EQ(again.trial, env.trial);
        EXPECT_EQ(again.armed, env.armed);
    }
}

TEST(BootEnv, DamageCountsAsSlotA) {
    std::string text = format_boot_env({.slot = 'b', .tries = 1, .trial = 'a', .armed = true});
    EXPECT_EQ(parse_boot_env("").slot, 'a');
    EXPECT_EQ(parse_boot_env(text.substr(0, 1023)).slot, 'a');
    text[0] = 'x';
    EXPECT_EQ(parse_boot_env(text).slot, 'a');
    std::string odd = "# GRUB Environment Block\nslot=c\ntrial=ab\narmed=yes\ntries=9\nother=1\nslot";
    odd.resize(kBootEnvSize, '#');
    const BootEnv env = parse_boot_env(odd);
    EXPECT_EQ(env.slot, 'a');
    EXPECT_EQ(env.trial, 0);
    EXPECT_FALSE(env.armed);
    EXPECT_EQ(env.tries, 0u);
}

// GRUB's own tool and the image's script agree with us on the same file.
TEST(BootEnv, GrubAndBootTriesUnderstandIt) {
    const FakeRoot root;
    const std::string path = root.path() + "/grubenv";
    root.file("/grubenv", std::string(kBootEnvSize, '#'));
    ASSERT_TRUE(write_boot_env(path, {.slot = 'b', .tries = 2, .trial = 'a', .armed = true}));
    const auto listed = run({"grub-editenv", path, "list"});
    ASSERT_TRUE(listed) << listed.error().what;
    EXPECT_TRUE(listed->contains("slot=b\n") && listed->contains("tries=2\n") && listed->contains("trial=a\n") && listed->contains("armed=1\n")) << *listed;
    const std::string script = "sed 's|^file=.*|file=" + path + "|' " BLANKET_SOURCE_DIR "/image-builder/extra/usr/libexec/blanket/boot-tries | bash -s -- ";
    EXPECT_EQ(trim(run({"bash", "-c", script}).value_or("?")), "2");
    ASSERT_TRUE(run({"bash", "-c", script + "0"}));
    const auto text = read_file(path);
    ASSERT_TRUE(text && text->size() == kBootEnvSize);
    const BootEnv env = parse_boot_env(*text);
    EXPECT_EQ(env.slot, 'b');
    EXPECT_EQ(env.trial, 'a');
    EXPECT_TRUE(env.armed);
    EXPECT_EQ(env.tries, 0u);
    ASSERT_TRUE(run({"grub-editenv", path, "set", "armed=0", "tries=3"}));
    EXPECT_FALSE(parse_boot_env(read_file(path).value_or("")).armed);
    EXPECT_EQ(parse_boot_env(read_file(path).value_or("")).tries, 3u);
}

}  // namespace
}  // namespace blanket::update
