// SPDX-License-Identifier: GPL-2.0-or-later
// See names.hpp.
#include "toolstack/storage/names.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"

namespace blanket::storage {
namespace {

bool lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool plain_name(std::string_view text, std::size_t max) {
    return !text.empty() && text.size() <= max && text.front() != '-' && text.back() != '-' &&
           std::ranges::all_of(text, [](char c) { return lower_alnum(c) || c == '-'; });
}

}  // namespace

Result<void> check_volume_id(std::string_view id) {
    if (plain_name(id, 63)) return {};
    return fail_hint(Kind::kInvalid, std::format("'{}' cannot be a volume's id", id.substr(0, 80)), "1 to 63 of a-z, 0-9 and '-', not beginning or ending with '-'");
}

Result<void> check_sha256(std::string_view hex) {
    if (hex.size() == 64 && std::ranges::all_of(hex, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); })) return {};
    return fail(Kind::kInvalid, "'{}' is not a SHA-256 in 64 lower-case hex digits", hex.substr(0, 80));
}

std::string PoolName::lv_path(std::string_view lv) const {
    std::string path = "/dev/mapper/";
    const auto add = [&](std::string_view part) {
        for (const char c : part) path.append(c == '-' ? 2 : 1, c);
    };
    add(group);
    path += '-';
    add(lv);
    return path;
}

Result<PoolName> parse_pool_name(std::string_view text) {
    const auto parts = split(text, '/');
    if (parts.size() != 2 || !plain_name(parts[0], 40) || !plain_name(parts[1], 40))
        return fail_hint(Kind::kInvalid, std::format("'{}' is not a pool's name", text.substr(0, 100)), "set [storage] pool = \"group/pool\", for example \"blanket/pool\"");
    return PoolName{parts[0], parts[1]};
}

}  // namespace blanket::storage
