// SPDX-License-Identifier: GPL-2.0-or-later
// What both rig machines do alike: the pool on /dev/vda, the base image that both have, and reading a volume as a whole.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "toolstack/storage/thin_move.hpp"

namespace blanket::rig {

inline constexpr const char* kSourceIp = "10.99.0.1";
inline constexpr const char* kTargetIp = "10.99.0.2";
inline constexpr std::uint16_t kRpcPort = 9000;
inline constexpr std::uint64_t kImageSize = (24u << 20) + 512;  // not a multiple of 64 KiB, on purpose

int run_source();  // the scenarios; prints one JSON line each
int run_target();  // serves until told to stop

// What the appliance's first boot does: an empty volume group on the disk. The store makes the rest.
Result<void> make_group();
Result<std::unique_ptr<storage::ThinStore>> open_store();
std::vector<std::byte> image_content();  // the same at both ends
std::string image_hash();
Result<void> import(storage::ThinStore& store);
Result<std::vector<std::byte>> read_device(const std::string& name, std::uint64_t size);
std::string hash_of(const std::vector<std::byte>& content);

}  // namespace blanket::rig
