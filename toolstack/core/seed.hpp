// SPDX-License-Identifier: GPL-2.0-or-later
// What a VM is told at its first boot: a NoCloud seed for the guest's cloud-init, on a small read-only disk of its own. Pure. It may hold secrets: its content
// lies in the registry beside the records (key "seeds/UUID"), never in a record, a definition, a log or a command line. Each site makes the same disk from it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"

namespace blanket {

inline constexpr std::size_t kMaxUserData = 64 * 1024;  // bytes; providers take 16 to 64 KiB
inline constexpr std::size_t kMaxSshKeys = 16, kMaxSshKey = 8 * 1024;
inline constexpr const char* kSeedTarget = "xvdz";  // out of the way of the VM's own disks

struct Seed {
    std::string hostname;
    std::string user_data;              // empty = none
    std::vector<std::string> ssh_keys;  // public ones, one line each
    bool operator==(const Seed&) const = default;
};

// What everybody may know of it; part of the record.
struct SeedFacts {
    std::string hostname;
    std::string sha256;      // of the user-data; empty = there is none
    std::uint64_t size = 0;  // of the user-data, bytes
    std::uint64_t ssh_keys = 0;
    bool operator==(const SeedFacts&) const = default;
};

Result<void> check_seed(const Seed& seed);  // kInvalid: too long, not text, a private key, no host name
// Why cloud-init would not know what to do with it; nothing when it would.
std::optional<std::string> doubt_user_data(std::string_view user_data);
// The public keys in a file such as id_ed25519.pub or authorized_keys: one a line, empty lines and comments left out.
Result<std::vector<std::string>> parse_ssh_keys(std::string_view text);

SeedFacts facts_of(const Seed& seed);
Json to_json(const Seed& seed);
Json to_json(const SeedFacts& facts);
Result<Seed> parse_seed(const Json& value);
Result<SeedFacts> parse_seed_facts(const Json& value);

std::string seed_key(const std::string& uuid);     // in the registry: "seeds/UUID"
std::string seed_device(const std::string& uuid);  // the block device at each site: "/dev/blanket/seed-UUID"
// The disk, labelled `cidata`: user-data and meta-data, whose instance-id is the VM's UUID, so that a move is no first boot.
std::string seed_image(const std::string& uuid, const Seed& seed);

}  // namespace blanket
