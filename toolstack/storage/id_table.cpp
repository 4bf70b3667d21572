// SPDX-License-Identifier: GPL-2.0-or-later
// See id_table.hpp.
#include "toolstack/storage/id_table.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "toolstack/base/text.hpp"
#include "toolstack/storage/names.hpp"

namespace blanket::storage {
namespace {

constexpr std::uint32_t kMaxThinId = (1u << 24) - 1;
constexpr std::array<std::string_view, 4> kKinds{"image", "volume", "meta", "snapshot"};
constexpr std::array<std::string_view, 3> kStates{"making", "ready", "removing"};

template <typename E, std::size_t N>
Result<E> parse_word(const std::array<std::string_view, N>& words, const std::string& text, std::string_view what) {
    const auto at = std::ranges::find(words, text);
    if (at == words.end()) return fail(Kind::kInvalid, "{} '{}' is unknown", what, text.substr(0, 40));
    return static_cast<E>(at - words.begin());
}

Result<ThinEntry> parse_entry(const Json& value) {
    ThinEntry entry;
    BLANKET_TRY(const auto id, json_number(value, "id"));
    BLANKET_TRY(const auto kind, json_string(value, "kind"));
    BLANKET_TRY(const auto state, json_string(value, "state"));
    BLANKET_TRY(entry.size, json_number(value, "size"));
    BLANKET_TRY(entry.kind, parse_word<ThinKind>(kKinds, kind, "kind"));
    BLANKET_TRY(entry.state, parse_word<ThinState>(kStates, state, "state"));
    if (id == 0 || id > kMaxThinId) return fail(Kind::kInvalid, "thin id {} is out of range", id);
    if (entry.size == 0 || entry.size % kBlock != 0 || entry.size > kMaxVolume) return fail(Kind::kInvalid, "size {} is out of range", entry.size);
    entry.id = static_cast<std::uint32_t>(id);
    entry.sha256 = json_string_or(value, "sha256", "");
    if (!entry.sha256.empty()) BLANKET_CHECK(check_sha256(entry.sha256));
    entry.raw_size = json_number_or(value, "raw_size", 0);
    entry.epoch = json_number_or(value, "epoch", 0);
    entry.first = std::max<std::uint64_t>(1, json_number_or(value, "first", 1));
    if (const auto mirror = value.find("mirror"); mirror != value.end()) {
        MirrorFacts facts;
        BLANKET_TRY(const auto minor, json_number(*mirror, "minor"));
        BLANKET_TRY(const auto port, json_number(*mirror, "port"));
        BLANKET_TRY(facts.local, json_string(*mirror, "local"));
        BLANKET_TRY(facts.peer, json_string(*mirror, "peer"));
        if (minor > 255 || port == 0 || port > 65535) return fail(Kind::kInvalid, "mirror minor {} or port {} is out of range", minor, port);
        facts.minor = static_cast<std::uint32_t>(minor);
        facts.port = static_cast<std::uint16_t>(port);
        entry.mirror = facts;
    }
    return entry;
}

}  // namespace

Result<ThinEntry> IdTable::allocate(const std::string& key, ThinEntry entry) {
    if (entries.contains(key)) return fail(Kind::kConflict, "'{}' exists already", key);
    if (next_id > kMaxThinId) return fail_hint(Kind::kConflict, "all 16.7 million thin ids have been used", "make a new pool and move the volumes to it");
    entry.id = next_id++;
    entry.state = ThinState::kMaking;
    entries.emplace(key, entry);
    return entry;
}

const ThinEntry* IdTable::find(const std::string& key) const {
    const auto at = entries.find(key);
    return at == entries.end() ? nullptr : &at->second;
}

std::vector<std::string> IdTable::garbage() const {
    std::vector<std::string> keys;
    for (const auto& [key, entry] : entries)
        if (entry.state != ThinState::kReady || entry.kind == ThinKind::kSnapshot) keys.push_back(key);
    return keys;
}

std::vector<std::string> IdTable::snapshots_of(std::string_view volume_id) const {
    std::vector<std::string> keys;
    const std::string prefix = std::format("snap-{}-", volume_id);
    for (const auto& [key, entry] : entries) {
        if (entry.kind != ThinKind::kSnapshot || !key.starts_with(prefix)) continue;
        const auto number = std::string_view(key).substr(prefix.size());  // digits only: "snap-web-1" is not volume "web-1"'s
        if (!number.empty() && number.find_first_not_of("0123456789") == number.npos) keys.push_back(key);
    }
    return keys;
}

Json to_json(const IdTable& table) {
    Json devices = Json::object();
    for (const auto& [key, entry] : table.entries) {
        Json value{{"id", entry.id}, {"kind", kKinds[static_cast<std::size_t>(entry.kind)]}, {"state", kStates[static_cast<std::size_t>(entry.state)]}, {"size", entry.size}};
        if (!entry.sha256.empty()) value["sha256"] = entry.sha256;
        if (entry.raw_size != 0) value["raw_size"] = entry.raw_size;
        if (entry.epoch != 0) value["epoch"] = entry.epoch;
        if (entry.first != 1) value["first"] = entry.first;
        if (entry.mirror)
            value["mirror"] = {{"minor", entry.mirror->minor}, {"local", entry.mirror->local}, {"peer", entry.mirror->peer}, {"port", entry.mirror->port}};
        devices[key] = std::move(value);
    }
    return {{"version", 1}, {"next_id", table.next_id}, {"devices", std::move(devices)}};
}

Result<IdTable> parse_id_table(std::string_view text) {
    BLANKET_TRY(const Json value, parse_json(text, 64u << 20));
    BLANKET_TRY(const auto version, json_number(value, "version"));
    if (version != 1) return fail_hint(Kind::kInvalid, std::format("the id table has version {}, this program knows 1", version), "run the blanketd that wrote it");
    IdTable table;
    BLANKET_TRY(const auto next, json_number(value, "next_id"));
    if (next == 0 || next > kMaxThinId + 1) return fail(Kind::kInvalid, "next_id {} is out of range", next);
    table.next_id = static_cast<std::uint32_t>(next);
    const auto devices = value.find("devices");
    if (devices == value.end() || !devices->is_object()) return fail(Kind::kInvalid, "the id table has no 'devices'");
    std::set<std::uint32_t> seen;
    for (const auto& [key, item] : devices->items()) {
        auto entry = parse_entry(item);
        if (!entry) return std::unexpected(std::move(entry).error().context(key.substr(0, 100)));
        if (entry->id >= table.next_id || !seen.insert(entry->id).second) return fail(Kind::kInvalid, "{}: thin id {} is used twice or was never given out", key, entry->id);
        table.entries.emplace(key, std::move(*entry));
    }
    return table;
}

}  // namespace blanket::storage
