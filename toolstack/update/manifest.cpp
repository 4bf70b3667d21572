// SPDX-License-Identifier: GPL-2.0-or-later
// See manifest.hpp.
#include "toolstack/update/manifest.hpp"

#include <algorithm>
#include <array>

#include "toolstack/base/json.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::update {
namespace {

using Version = std::array<std::uint64_t, 4>;

Result<Version> numbers_of(std::string_view text) {
    Version version{};
    const auto parts = split(text, '.');
    if (parts.size() > version.size()) return fail(Kind::kInvalid, "'{}' is no version", text.substr(0, 40));
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto number = parse_number(parts[i], 0, 1'000'000'000, "version");
        if (!number) return fail(Kind::kInvalid, "'{}' is no version", text.substr(0, 40));
        version[i] = *number;
    }
    return version;
}

bool is_hex(std::string_view text, std::size_t least, std::size_t most) {
    return text.size() >= least && text.size() <= most && std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

Result<Manifest> parse_manifest(std::string_view text) {
    BLANKET_TRY(const Json json, parse_json(text, 64u << 10));
    BLANKET_TRY(const std::string name, json_string(json, "name"));
    BLANKET_TRY(const std::uint64_t format, json_number(json, "format"));
    BLANKET_TRY(const std::string architecture, json_string(json, "architecture"));
    if (name != "blanket") return fail(Kind::kInvalid, "the manifest is of '{}', not of blanket", name.substr(0, 40));
    if (format != 1) return fail_hint(Kind::kInvalid, std::format("the update has format {}, and this version knows format 1", format), "install an update between the two first");
    if (architecture != "amd64") return fail(Kind::kInvalid, "the update is for {}, and this machine is amd64", architecture.substr(0, 40));
    Manifest manifest;
    BLANKET_TRY(manifest.version, json_string(json, "version"));
    BLANKET_TRY(manifest.min_version, json_string(json, "min_version"));
    BLANKET_CHECK(numbers_of(manifest.version));
    BLANKET_CHECK(numbers_of(manifest.min_version));
    BLANKET_TRY(manifest.id, json_string(json, "id"));
    if (!is_hex(manifest.id, 1, 64)) return fail(Kind::kInvalid, "the manifest's 'id' is not a hexadecimal number");
    BLANKET_TRY(manifest.tree_bytes, json_number(json, "tree_bytes"));
    BLANKET_TRY(manifest.unpacked_bytes, json_number(json, "unpacked_bytes"));
    constexpr std::uint64_t kMost = 64ull << 30;
    if (manifest.tree_bytes == 0 || manifest.tree_bytes > kMost || manifest.unpacked_bytes == 0 || manifest.unpacked_bytes > kMost) return fail(Kind::kInvalid, "the manifest's sizes are not those of an update");
    BLANKET_TRY(manifest.tree_sha256, json_string(json, "tree_sha256"));
    if (!is_hex(manifest.tree_sha256, 64, 64)) return fail(Kind::kInvalid, "the manifest's 'tree_sha256' is no SHA-256");
    return manifest;
}

Result<int> compare_versions(std::string_view a, std::string_view b) {
    BLANKET_TRY(const Version left, numbers_of(a));
    BLANKET_TRY(const Version right, numbers_of(b));
    return left < right ? -1 : left == right ? 0 : 1;
}

Result<void> check_follows(const Manifest& manifest, std::string_view running, bool any_version) {
    BLANKET_TRY(const int enough, compare_versions(running, manifest.min_version));
    if (enough < 0)
        return fail_hint(Kind::kPrecondition, std::format("update {} is for machines that run {} or newer, and this one runs {}", manifest.version, manifest.min_version, running),
                         std::format("install an update to {} first", manifest.min_version));
    BLANKET_TRY(const int newer, compare_versions(manifest.version, running));
    if (newer > 0 || any_version) return {};
    return fail_hint(Kind::kConflict, std::format("the update's version is {}, and this machine runs {}", manifest.version, running), "to install it all the same: --any-version");
}

}  // namespace blanket::update
