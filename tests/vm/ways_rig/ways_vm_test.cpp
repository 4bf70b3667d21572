// SPDX-License-Identifier: GPL-2.0-or-later
// Boots the ways rig's machine under QEMU and judges its verdicts. Label nightly.
#include <chrono>
#include <filesystem>
#include <format>
#include <gtest/gtest.h>
#include <set>

#include "toolstack/base/file.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;

TEST(WaysRig, EveryScenario) {
    char pattern[] = "/tmp/ways-rig-XXXXXX";
    const std::string folder = ::mkdtemp(pattern);
    const auto made = run({"bash", BLANKET_SOURCE_DIR "/tests/vm/ways_rig/make_initramfs.sh", WAYS_RIG_PROGRAM, folder}, {.deadline = 10min});
    ASSERT_TRUE(made) << made.error().what;
    auto machine = Child::spawn({"qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-m", "640", "-display", "none", "-nodefaults", "-no-reboot", "-kernel", folder + "/vmlinuz",
                                 "-initrd", folder + "/initramfs.gz", "-append", "console=ttyS0 panic=-1 quiet no_timer_check", "-serial", "file:" + folder + "/console", "-serial", "file:" + folder + "/verdict"},
                                {});
    ASSERT_TRUE(machine) << machine.error().what;
    const auto ended = machine->wait(20min);
    EXPECT_TRUE(ended) << ended.error().what;
    const std::string verdicts = read_file(folder + "/verdict").value_or(std::string());
    std::set<std::string> passed;
    for (const auto& line : split(verdicts, '\n'))
        if (const auto verdict = parse_json(line); verdict && verdict->is_object()) {
            EXPECT_TRUE(json_bool_or(*verdict, "ok", false)) << line;
            passed.insert(json_string_or(*verdict, "what", ""));
        }
    EXPECT_EQ(passed, (std::set<std::string>{"cones: heard at the hub", "cones: joined", "cones: punched", "cones: the relay rests", "symmetric: joined", "symmetric: by the relay", "symmetric: whole packets", "symmetric: it ends with the pair"}))
        << verdicts << read_file(folder + "/console").value_or(std::string());
    if (!HasFailure()) std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace blanket
