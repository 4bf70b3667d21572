// SPDX-License-Identifier: GPL-2.0-or-later
// A VM's seed: what is refused, what everybody may know of it, and its disk as another program reads it.
#include "toolstack/core/seed.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "toolstack/base/file.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/records.hpp"

namespace blanket {
namespace {

constexpr const char* kSeedUuid = "6f6c2d3e-11aa-4b0c-9e52-0c5d8f3f7a01";
constexpr const char* kKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3nYnRiw4uVQZ3lJcYgFZ6nq0n0mTq1oYw2f8m1w0aB me@desk";

Seed sample_seed() { return {.hostname = "web", .user_data = "#cloud-config\npackages: [nginx]\n", .ssh_keys = {kKey}}; }

TEST(Seed, ThereAndBack) {
    const auto back = parse_seed(to_json(sample_seed()));
    ASSERT_TRUE(back) << back.error().what;
    EXPECT_EQ(*back, sample_seed());
    const SeedFacts facts = facts_of(sample_seed());
    EXPECT_EQ(facts.sha256, sha256_hex(sample_seed().user_data));
    EXPECT_EQ(parse_seed_facts(to_json(facts)).value(), facts);
    EXPECT_EQ(facts_of({.hostname = "web", .user_data = {}, .ssh_keys = {}}).sha256, "");
}

TEST(Seed, WhatIsRefused) {
    struct Case {
        void (*make)(Seed&);
        std::string text;
    };
    const std::vector<Case> cases{
        {[](Seed& seed) { seed.user_data.assign(kMaxUserData + 1, 'a'); }, "user-data of 65537 bytes is longer than 65536"},
        {[](Seed& seed) { seed.user_data = std::string("a\0b", 3); }, "not text"},
        {[](Seed& seed) { seed.user_data = "\xff\xfe"; }, "not text"},
        {[](Seed& seed) { seed.user_data = "\x1f\x8b\x08"; }, "not text"},
        {[](Seed& seed) { seed.hostname = "two words"; }, "no host name"},
        {[](Seed& seed) { seed.hostname = ""; }, "no host name"},
        {[](Seed& seed) { seed.hostname = "-web"; }, "no host name"},
        {[](Seed& seed) { seed.hostname = "a..b"; }, "no host name"},
        {[](Seed& seed) { seed.ssh_keys = {"-----BEGIN OPENSSH PRIVATE KEY-----"}; }, "private key"},
        {[](Seed& seed) { seed.ssh_keys = {"hunter2"}; }, "no public ssh key"},
        {[](Seed& seed) { seed.ssh_keys = {"ssh-ed25519 ??"}; }, "no public ssh key"},
        {[](Seed& seed) { seed.ssh_keys = {std::string(kKey) + "\nssh-rsa x"}; }, "not text"},
        {[](Seed& seed) { seed.ssh_keys.assign(kMaxSshKeys + 1, kKey); }, "17 ssh keys"},
    };
    for (const auto& one : cases) {
        Seed seed = sample_seed();
        one.make(seed);
        const auto checked = check_seed(seed);
        ASSERT_FALSE(checked) << one.text;
        EXPECT_EQ(checked.error().kind, Kind::kInvalid);
        EXPECT_NE(checked.error().what.find(one.text), std::string::npos) << checked.error().what;
        EXPECT_FALSE(checked.error().hint.empty());
    }
    Seed most = sample_seed();
    most.user_data.assign(kMaxUserData, 'a');
    EXPECT_TRUE(check_seed(most));
    // No error says anything of what it refuses.
    EXPECT_FALSE(check_seed({.hostname = "web", .user_data = {}, .ssh_keys = {"hunter2"}}).error().what.contains("hunter2"));
    EXPECT_FALSE(parse_seed_facts({{"hostname", "web"}, {"sha256", "12"}}));
    EXPECT_FALSE(parse_seed_facts(Json(3)));
    for (const Json& bad : {Json(3), Json{{"hostname", 3}}, Json{{"hostname", "web"}, {"ssh_keys", "x"}}, Json{{"hostname", "web"}, {"ssh_keys", {1}}}, Json{{"hostname", "web"}, {"ssh_keys", {"hunter2"}}}})
        EXPECT_FALSE(parse_seed(bad)) << bad.dump();
}

TEST(Seed, DoubtsAreTold) {
    for (const char* good : {"#cloud-config\na: 1\n", "#!/bin/sh\n", "#include\nhttps://x\n", "Content-Type: multipart/mixed\n", "MIME-VERSION: 1.0\n", "## template: jinja\n#cloud-config\n", "#cloud-boothook\n"})
        EXPECT_FALSE(doubt_user_data(good)) << good;
    for (const char* bad : {"packages: [nginx]\n", "", "\n\n", " #cloud-config\n", "#cloudconfig\n"}) EXPECT_TRUE(doubt_user_data(bad)) << bad;
}

TEST(Seed, KeysOfAFile) {
    const auto keys = parse_ssh_keys(std::format("# mine\n\n{}\r\n{}\n", kKey, kKey));
    ASSERT_TRUE(keys) << keys.error().what;
    EXPECT_EQ(*keys, (std::vector<std::string>{kKey, kKey}));
    EXPECT_FALSE(parse_ssh_keys("# nothing\n"));
    EXPECT_FALSE(parse_ssh_keys("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n"));
}

TEST(Seed, TheRecordTellsOnlyFacts) {
    VmRecord vm;
    vm.uuid = kSeedUuid;
    vm.name = vm.owner = "web";
    vm.memory_mib = 256;
    vm.seed = facts_of(sample_seed());
    const Json json = to_json(vm);
    EXPECT_FALSE(json.dump().contains("nginx"));
    const auto back = parse_vm(json);
    ASSERT_TRUE(back) << back.error().what;
    EXPECT_EQ(*back, vm);
    Json damaged = json;
    damaged["seed"] = "x";
    EXPECT_FALSE(parse_vm(damaged));
}

TEST(Seed, TheSameDiskEverywhere) {
    // Changed bytes would mean another disk after an update of one site: then a VM's seed would change in a move.
    EXPECT_EQ(sha256_hex(seed_image(kSeedUuid, sample_seed())), "0c1b72eaeaf967ae1c496217af97da5a8f882db5d22796cc5123ea2445ff8e77");
    EXPECT_NE(seed_image(kSeedUuid, sample_seed()), seed_image("6f6c2d3e-11aa-4b0c-9e52-0c5d8f3f7a02", sample_seed()));
}

// xorriso is what others make such disks with: it must find the same files in ours.
TEST(Seed, AnotherProgramReadsTheDisk) {
    std::string folder = std::filesystem::temp_directory_path() / "seed.XXXXXX";
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    Seed seed = sample_seed();
    for (const std::size_t size : {std::size_t{0}, std::size_t{2048}, std::size_t{2049}, kMaxUserData}) {
        seed.user_data = std::string("#cloud-config\n").append(size, 'x').substr(0, size);
        const std::string image = folder + "/seed.iso", out = std::format("{}/{}", folder, size);
        ASSERT_TRUE(write_file(image, seed_image(kSeedUuid, seed)));
        const auto read = run_any({"xorriso", "-abort_on", "WARNING", "-osirrox", "on", "-indev", image, "-extract", "/", out}, {.deadline = std::chrono::seconds(60)});
        ASSERT_TRUE(read) << read.error().what;
        ASSERT_EQ(read->status, 0) << read->err;
        EXPECT_TRUE(read->err.contains("Volume id    : 'cidata'")) << read->err;
        EXPECT_EQ(read_file(out + "/user-data").value(), seed.user_data);
        const auto meta = parse_json(read_file(out + "/meta-data").value());
        ASSERT_TRUE(meta);
        EXPECT_EQ((*meta)["instance-id"], kSeedUuid);
        EXPECT_EQ((*meta)["local-hostname"], "web");
        EXPECT_EQ((*meta)["public-keys"], Json::array({kKey}));
        EXPECT_EQ(std::distance(std::filesystem::directory_iterator(out), {}), 2);
    }
    ASSERT_TRUE(run_any({"chmod", "-R", "u+w", folder}));
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace blanket
