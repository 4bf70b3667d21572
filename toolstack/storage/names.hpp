// SPDX-License-Identifier: GPL-2.0-or-later
// The names of everything that storage/ makes, from a volume's id or an image's hash. Pure; used by the plans and by whoever looks for a device.
//
//   volume "web-xvda":  bs-web-xvda-top    dm-linear, what libvirt's XML names; over -vol, or over DRBD while a move is on
//                       bs-web-xvda-vol    dm-thin, the content                        (key in the id table: vol-web-xvda)
//                       bs-web-xvda-under  dm-linear over -vol, what DRBD claims        (only while a move is on)
//                       bs-web-xvda-meta   dm-thin, DRBD's metadata                     (meta-web-xvda; only while a move is on)
//                       bs-web-xvda-snap   dm-thin, read-only, the last round's snapshot (snap-web-xvda-N)
//   image sha256 ab..:  bs-img-<24 hex>    dm-thin, read-only once verified             (img-<24 hex>)
//   pool "blanket/pool": LVs blanket/pool-data and blanket/pool-meta, dm-thin-pool bs-pool
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket::storage {

inline constexpr std::uint64_t kBlock = 64 * 1024;  // bytes; the pool's block and the unit of every Extent
inline constexpr std::uint64_t kSector = 512;
inline constexpr std::uint64_t kMaxVolume = 16ull << 40;  // bytes

Result<void> check_volume_id(std::string_view id);  // [a-z0-9-], 1..63, not beginning or ending with '-'
Result<void> check_sha256(std::string_view hex);    // 64 lower-case hex digits

struct PoolName {
    std::string group, pool;  // "blanket", "pool"
    [[nodiscard]] std::string data_lv() const { return pool + "-data"; }
    [[nodiscard]] std::string meta_lv() const { return pool + "-meta"; }
    [[nodiscard]] std::string device() const { return "bs-" + pool; }
    // LVM's own name of a volume in /dev/mapper: dashes inside a name are doubled.
    [[nodiscard]] std::string lv_path(std::string_view lv) const;
};
Result<PoolName> parse_pool_name(std::string_view text);  // "group/pool"

inline std::string top_device(std::string_view id) { return std::format("bs-{}-top", id); }
inline std::string volume_device(std::string_view id) { return std::format("bs-{}-vol", id); }
inline std::string under_device(std::string_view id) { return std::format("bs-{}-under", id); }
inline std::string meta_device(std::string_view id) { return std::format("bs-{}-meta", id); }
inline std::string snapshot_device(std::string_view id) { return std::format("bs-{}-snap", id); }
inline std::string image_device(std::string_view sha256) { return std::format("bs-img-{}", sha256.substr(0, 24)); }
inline std::string mapper(std::string_view device) { return std::format("/dev/mapper/{}", device); }

inline std::string volume_key(std::string_view id) { return std::format("vol-{}", id); }
inline std::string meta_key(std::string_view id) { return std::format("meta-{}", id); }
inline std::string snapshot_key(std::string_view id, std::uint32_t number) { return std::format("snap-{}-{}", id, number); }
inline std::string image_key(std::string_view sha256) { return std::format("img-{}", sha256.substr(0, 24)); }

// Owner's mark in the device's UUID: "BLANKET-" + name. Nothing without it is touched.
inline std::string device_uuid(std::string_view device) { return std::format("BLANKET-{}", device); }

// DRBD 8.4 names: the resource is the top's name without its suffix.
inline std::string resource_name(std::string_view id) { return std::format("bs-{}", id); }
inline std::string drbd_device(std::uint32_t minor) { return std::format("/dev/drbd{}", minor); }
inline constexpr std::uint32_t kDrbdMajor = 147;

}  // namespace blanket::storage
