// SPDX-License-Identifier: GPL-2.0-or-later
// Seeds at a site, and the hypervisor that provides them, over fakes: when a device is there, what it is made of, and when it goes.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <sys/stat.h>

#include "tests/unit/fakes/fake_registry.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/seeded_domains.hpp"
#include "toolstack/daemon/vm_actions.hpp"

namespace blanket {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSeeded = "6f6c2d3e-11aa-4b0c-9e52-0c5d8f3f7a01";
const std::string kSeededXml = std::format("<domain><source dev='{}'/></domain>", seed_device(kSeeded));

// Domains that remember their definition, as libvirt does.
struct RememberingSite final : fakes::FakeSite {
    using FakeSite::FakeSite;
    std::map<std::string, std::string> xml;
    Result<std::string> definition(const std::string& uuid) override { return xml.contains(uuid) ? xml[uuid] : std::string("<domain/>"); }
};

struct SeedRig {
    std::string folder = fs::temp_directory_path() / ("seeds-" + random_hex(4));
    std::vector<std::string> attached, detached;
    bool no_loops = false;
    fakes::FakeRegistry registry;
    RememberingSite site{"east"};
    std::unique_ptr<Seeds> seeds;
    std::unique_ptr<SeededDomains> domains;

    SeedRig() { start(); }
    ~SeedRig() { fs::remove_all(folder); }
    void start() {  // also: again
        LoopDevices loops{[this](const std::string& file) -> Result<std::string> {
                              if (no_loops) return fail(Kind::kIo, "no loop devices");
                              attached.push_back(file);
                              return std::string("/dev/loop7");
                          },
                          [this](const std::string& device) -> Result<void> {
                              detached.push_back(device);
                              return {};
                          }};
        seeds = std::make_unique<Seeds>(registry, folder + "/seeds", loops, folder + "/dev");
        domains = std::make_unique<SeededDomains>(site, site, *seeds);
    }
    void tell(const std::string& user_data) {
        const auto now = registry.get(seed_key(kSeeded)).value();
        ASSERT_TRUE(registry.put(seed_key(kSeeded), to_json(Seed{.hostname = "web", .user_data = user_data, .ssh_keys = {}}), now ? now->revision : 0));
    }
    [[nodiscard]] std::string link() const { return folder + "/dev/seed-" + kSeeded; }
    [[nodiscard]] std::string file() const { return folder + "/seeds/" + kSeeded + ".iso"; }
    [[nodiscard]] bool there() const { return fs::is_symlink(link()) && fs::exists(file()); }
    [[nodiscard]] bool nothing_left() const { return !fs::is_symlink(link()) && !fs::exists(file()); }
};

TEST(Seeds, ADefinitionBringsItAndItsEndTakesItAway) {
    SeedRig host;
    host.tell("#cloud-config\n");
    ASSERT_TRUE(host.domains->define(kSeededXml));
    EXPECT_TRUE(host.there());
    EXPECT_EQ(fs::read_symlink(host.link()), "/dev/loop7");
    EXPECT_EQ(read_file(host.file()).value(), seed_image(kSeeded, {.hostname = "web", .user_data = "#cloud-config\n", .ssh_keys = {}}));
    struct stat info{};
    ASSERT_EQ(::stat(host.file().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0600u);
    ASSERT_EQ(::stat((host.folder + "/seeds").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0700u);
    ASSERT_TRUE(host.domains->undefine(kSeeded));
    EXPECT_TRUE(host.nothing_left());
    EXPECT_EQ(host.detached, std::vector<std::string>{"/dev/loop7"});
    ASSERT_TRUE(host.domains->undefine(kSeeded));  // absent is fine
}

TEST(Seeds, AVmWithoutOneNeedsNothing) {
    SeedRig host;
    host.no_loops = true;
    host.registry.down = true;
    ASSERT_TRUE(host.domains->define("<domain/>"));
    ASSERT_TRUE(host.domains->start(kSeeded));
    EXPECT_TRUE(host.nothing_left());
}

TEST(Seeds, AStartMakesItAnewWhenTheRegistryHasAnotherOne) {
    SeedRig host;
    host.site.xml[kSeeded] = kSeededXml;
    host.tell("#cloud-config\n");
    ASSERT_TRUE(host.domains->start(kSeeded));
    ASSERT_TRUE(host.domains->start(kSeeded));
    EXPECT_TRUE(host.detached.empty());  // the same one: its device stays
    host.tell("#!/bin/sh\n");
    ASSERT_TRUE(host.domains->start(kSeeded));
    EXPECT_EQ(host.detached.size(), 1u);
    EXPECT_TRUE(read_file(host.file())->contains("#!/bin/sh"));
}

TEST(Seeds, WithoutOneNoDomainBegins) {
    SeedRig host;
    host.site.xml[kSeeded] = kSeededXml;
    const auto started = host.domains->start(kSeeded);
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().kind, Kind::kNotFound);
    EXPECT_FALSE(started.error().hint.empty());
    EXPECT_FALSE(host.site.runs(kSeeded));
    EXPECT_FALSE(host.domains->define(kSeededXml));
    // What is in the store is input like any other, and the error says nothing of it.
    ASSERT_TRUE(host.registry.put(seed_key(kSeeded), Json{{"hostname", "web"}, {"user_data", std::string(kMaxUserData + 1, 's')}}, 0));
    const auto damaged = host.domains->start(kSeeded);
    ASSERT_FALSE(damaged);
    EXPECT_EQ(damaged.error().kind, Kind::kInvalid);
    EXPECT_FALSE(damaged.error().what.contains("sss"));
    host.tell("#cloud-config\n");
    host.site.fail_at = {};
    host.no_loops = true;
    EXPECT_FALSE(host.domains->start(kSeeded));
    EXPECT_FALSE(host.site.runs(kSeeded));
}

TEST(Seeds, TheFileOfBeforeHelpsWhileTheRegistryIsAway) {
    SeedRig host;
    host.tell("#cloud-config\n");
    ASSERT_TRUE(host.domains->define(kSeededXml));
    host.site.xml[kSeeded] = kSeededXml;
    host.registry.down = true;
    EXPECT_TRUE(host.domains->start(kSeeded));
    EXPECT_TRUE(host.site.runs(kSeeded));
}

TEST(Seeds, ARestartOfTheHostBringsTheDevicesBack) {
    SeedRig host;
    host.tell("#cloud-config\n");
    ASSERT_TRUE(host.domains->define(kSeededXml));
    fs::remove_all(host.folder + "/dev");  // device nodes do not outlive a boot
    ASSERT_TRUE(write_file(host.folder + "/seeds/README", "none of ours"));
    host.attached.clear();
    host.start();
    host.seeds->attach_all();
    EXPECT_TRUE(host.there());
    EXPECT_EQ(host.attached, std::vector<std::string>{host.file()});
}

TEST(Seeds, AMoveHasItAtTheTargetBeforeMemoryComes) {
    SeedRig host;
    host.tell("#cloud-config\n");
    bool asked = false;
    const ByteSource stream = [&](std::span<std::byte> out) -> Result<std::size_t> {
        EXPECT_TRUE(host.there());
        if (asked) return 0;
        asked = true;
        const auto text = as_bytes("memoryEND");
        std::ranges::copy(text, out.begin());
        return text.size();
    };
    ASSERT_TRUE(host.domains->restore_paused(kSeeded, kSeededXml, stream));
    EXPECT_TRUE(host.there());
    ASSERT_TRUE(host.domains->discard_target(kSeeded));
    EXPECT_TRUE(host.nothing_left());
    // A restore that fails leaves nothing.
    asked = false;
    host.site.fail_at = {"restore"};
    EXPECT_FALSE(host.domains->restore_paused(kSeeded, kSeededXml, stream));
    EXPECT_TRUE(host.nothing_left());
    // The source's copy goes with its definition.
    host.site.fail_at = {};
    ASSERT_TRUE(host.domains->define(kSeededXml));
    ASSERT_TRUE(host.domains->destroy_source(kSeeded));
    EXPECT_TRUE(host.nothing_left());
}

TEST(Seeds, TheRequestIsChecked) {
    const Json good{{"name", "web"}, {"image", "debian"}, {"net", "lan"}, {"memory_mib", 256}, {"seed", {{"hostname", "web"}, {"user_data", "#cloud-config\n"}}}};
    const auto request = parse_create(good);
    ASSERT_TRUE(request) << request.error().what;
    ASSERT_TRUE(request->seed);
    EXPECT_EQ(request->seed->user_data, "#cloud-config\n");
    Json bad = good;
    bad["seed"]["user_data"] = std::string(kMaxUserData + 1, 'a');
    EXPECT_EQ(parse_create(bad).error().kind, Kind::kInvalid);
    bad["seed"] = 3;
    EXPECT_FALSE(parse_create(bad));
    bad.erase("seed");
    EXPECT_FALSE(parse_create(bad)->seed);
}

}  // namespace
}  // namespace blanket
