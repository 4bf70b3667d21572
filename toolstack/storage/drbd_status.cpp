// SPDX-License-Identifier: GPL-2.0-or-later
// See drbd_status.hpp. The form (drivers/block/drbd/drbd_proc.c):
//    0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate A r-----
//       ns:12 nr:0 dw:12 dr:700 al:2 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:0
#include "toolstack/storage/drbd_status.hpp"

#include <charconv>
#include <optional>

#include "toolstack/base/text.hpp"

namespace blanket::storage {
namespace {

constexpr std::uint64_t kMaxMinor = 1u << 20;

Result<std::pair<std::string, std::string>> parse_pair(std::string_view text, std::string_view what) {
    const auto parts = split(text, '/');
    if (parts.size() != 2 || parts[0].empty() || parts[1].empty()) return fail(Kind::kInvalid, "{} '{}' is not local/peer", what, text.substr(0, 40));
    return std::pair(parts[0], parts[1]);
}

Result<DrbdStatus> parse_device(std::string_view line) {
    DrbdStatus status;
    for (const auto& word : split(line, ' ')) {
        if (word.empty()) continue;
        const std::string_view value = std::string_view(word).substr(std::min<std::size_t>(3, word.size()));
        if (word.starts_with("cs:")) {
            status.connection = value;
        } else if (word.starts_with("ro:")) {
            BLANKET_TRY(auto pair, parse_pair(value, "ro"));
            std::tie(status.role, status.peer_role) = std::move(pair);
        } else if (word.starts_with("ds:")) {
            BLANKET_TRY(auto pair, parse_pair(value, "ds"));
            std::tie(status.disk, status.peer_disk) = std::move(pair);
        } else if (word.size() == 1) {
            status.protocol = word[0];
        } else {
            status.suspended_io |= word[0] == 's';
        }
    }
    if (status.connection.empty()) return fail(Kind::kInvalid, "'{}' has no connection state", line.substr(0, 80));
    if (status.connection != "Unconfigured" && (status.role.empty() || status.disk.empty())) return fail(Kind::kInvalid, "'{}' has no role or disk state", line.substr(0, 80));
    return status;
}

Result<void> parse_counters(std::string_view line, DrbdStatus& status) {
    for (const auto& word : split(line, ' ')) {
        const auto colon = word.find(':');
        if (colon == word.npos) continue;
        const auto name = word.substr(0, colon);
        std::uint64_t* field = name == "lo" ? &status.local_pending : name == "pe" ? &status.pending : name == "ua" ? &status.unacked
                             : name == "ap" ? &status.applying : name == "oos" ? &status.out_of_sync_kib : nullptr;
        if (field == nullptr) continue;
        BLANKET_TRY(*field, parse_number(word.substr(colon + 1), 0, UINT64_MAX, name));
    }
    return {};
}

}  // namespace

Result<std::map<std::uint32_t, DrbdStatus>> parse_proc_drbd(std::string_view text) {
    std::map<std::uint32_t, DrbdStatus> devices;
    DrbdStatus* current = nullptr;
    for (const auto& raw : split(text, '\n')) {
        const auto line = trim(raw);
        const auto colon = line.find(": cs:");
        if (colon != line.npos) {
            BLANKET_TRY(const auto minor, parse_number(line.substr(0, colon), 0, kMaxMinor, "minor"));
            BLANKET_TRY(auto status, parse_device(line.substr(colon + 2)));
            current = &devices.insert_or_assign(static_cast<std::uint32_t>(minor), std::move(status)).first->second;
        } else if (current != nullptr && line.starts_with("ns:")) {
            BLANKET_CHECK(parse_counters(line, *current));
        }
    }
    return devices;
}

std::string describe(const DrbdStatus& status) {
    return std::format("{}, {}/{}, {}/{}, {} KiB out of sync", status.connection, status.role, status.peer_role, status.disk, status.peer_disk, status.out_of_sync_kib);
}

}  // namespace blanket::storage
