// SPDX-License-Identifier: GPL-2.0-or-later
// Boots the storage rig's two machines under QEMU with a link of 50 ms round trip between them and judges their verdicts. Label vm.
#include <chrono>
#include <filesystem>
#include <format>
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <sstream>
#include <thread>

#include "toolstack/base/json.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
}

class Rig : public testing::Test {
protected:
    void SetUp() override {
        char pattern[] = "/tmp/storage-rig-XXXXXX";
        folder_ = ::mkdtemp(pattern);
        const auto made = run({"bash", BLANKET_SOURCE_DIR "/tests/vm/storage_rig/make_initramfs.sh", STORAGE_RIG_PROGRAM, folder_.string()}, {.deadline = 10min});
        ASSERT_TRUE(made) << made.error().what;
    }
    void TearDown() override {
        if (!HasFailure()) {
            fs::remove_all(folder_);
            return;
        }
        const fs::path kept = "/cache/storage-rig-failed";
        std::error_code ignored;
        fs::remove_all(kept, ignored);
        fs::create_directories(kept, ignored);
        for (const auto* file : {"source.console", "source.verdict", "target.console", "target.verdict"}) fs::copy_file(folder_ / file, kept / file, ignored);
        std::printf("the machines' consoles and verdicts are kept in %s\n", kept.c_str());
        fs::remove_all(folder_);
    }

    Result<Child> boot(const std::string& role, const std::string& ip, const std::string& server) {
        const auto file = [&](const std::string& name) { return (folder_ / (role + name)).string(); };
        std::ofstream(file(".img")).close();
        fs::resize_file(file(".img"), 1u << 30);
        return Child::spawn({"qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-m", "640", "-display", "none", "-nodefaults", "-no-reboot",
                             "-kernel", (folder_ / "vmlinuz").string(), "-initrd", (folder_ / "initramfs.gz").string(), "-append",
                             std::format("console=ttyS0 panic=-1 quiet no_timer_check rig.role={} rig.ip={} rig.delay=25", role, ip), "-drive",
                             std::format("file={},if=virtio,format=raw,cache=writeback", file(".img")), "-netdev",
                             std::format("stream,id=n0,server={},addr.type=unix,addr.path={}", server, (folder_ / "link").string()), "-device",
                             std::format("virtio-net-pci,netdev=n0,mac=02:00:00:00:00:0{},romfile=", ip.back()), "-serial", "file:" + file(".console"), "-serial",
                             "file:" + file(".verdict")},
                            {});
    }

    fs::path folder_;
};

TEST_F(Rig, EveryScenario) {
    auto target = boot("target", "10.99.0.2", "on");
    ASSERT_TRUE(target) << target.error().what;
    for (int i = 0; i < 100 && !fs::exists(folder_ / "link"); ++i) std::this_thread::sleep_for(50ms);
    auto source = boot("source", "10.99.0.1", "off");
    ASSERT_TRUE(source) << source.error().what;
    const auto ended = source->wait(12min);
    EXPECT_TRUE(ended) << ended.error().what;

    std::set<std::string> passed;
    for (const auto& line : split(slurp(folder_ / "source.verdict"), '\n')) {
        const auto verdict = parse_json(line);
        if (!verdict) continue;
        std::printf("%s\n", line.c_str());
        const auto name = json_string_or(*verdict, "scenario", "?");
        EXPECT_TRUE(json_bool_or(*verdict, "ok", false)) << name << ": " << json_string_or(*verdict, "why", "no reason");
        if (json_bool_or(*verdict, "ok", false)) passed.insert(name);
    }
    EXPECT_EQ(passed, (std::set<std::string>{"first-start", "images", "wrong-image", "host-restarts", "fencing", "move", "move-unprepared", "move-blank", "abort-in-rounds", "abort-mirrored", "abort-drained",
                                             "daemon-dies-mirrored", "peer-dies", "end"}));
    for (const auto* console : {"source.console", "target.console"})
        for (const auto* word : {"BUG:", "Oops", "general protection", "blocked for more than", "Kernel panic", "Call Trace"})
            EXPECT_EQ(slurp(folder_ / console).find(word), std::string::npos) << word << " on " << console;
}

}  // namespace
}  // namespace blanket
