// SPDX-License-Identifier: GPL-2.0-or-later
// A move's trace as JSON and back; see move_trace.hpp.
#include "toolstack/core/move_trace.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace blanket {
namespace {

constexpr std::uint64_t kMostNumber = std::uint64_t{1} << 53;  // what every reader of JSON can hold
constexpr std::size_t kMostText = 256;
constexpr std::array<std::string_view, 3> kClocks{"source", "target", "both"};

// What has no value has no key.
void put(Json& json, const char* key, const auto& value) {
    if (value) json[key] = *value;
}

// Bytes per second of something that took a while.
void put_rate(Json& json, std::uint64_t bytes, std::optional<std::int64_t> ms) {
    if (ms && *ms > 0) json["wire_bytes_per_s"] = static_cast<std::uint64_t>(static_cast<double>(bytes) * 1000 / static_cast<double>(*ms));
}

Json classes_json(const TraceClasses& classes) {
    return {{"zero", classes.zero}, {"same", classes.same}, {"delta", classes.delta}, {"reference", classes.reference}, {"store", classes.store}, {"store_delta", classes.store_delta}, {"raw", classes.raw}};
}

void put_coded(Json& json, const std::optional<TraceCoded>& coded) {
    if (!coded) return;
    json["bytes"] = coded->bytes;
    json["wire_bytes"] = coded->wire_bytes;
    json["classes"] = classes_json(coded->pages);
    json["class_bytes"] = classes_json(coded->class_bytes);
}

Json round_json(const TraceMemoryRound& round) {
    Json json{{"round", round.round}};
    if (round.to_round != round.round) json["to_round"] = round.to_round;
    if (round.suspended) json["suspended"] = true;
    put(json, "start_ms", round.start_ms);
    put(json, "ms", round.ms);
    put(json, "pages", round.pages);
    put(json, "dirty", round.dirty);
    put(json, "processor_percent", round.processor_percent);
    put_coded(json, round.coded);
    if (round.coded && !round.suspended) put_rate(json, round.coded->wire_bytes, round.ms);
    return json;
}

Json round_json(const TraceDiskRound& round) {
    Json json{{"volume", round.volume}, {"round", round.round}, {"start_ms", round.start_ms}, {"ms", round.ms}, {"bytes", round.bytes}, {"wire_bytes", round.wire_bytes}};
    put(json, "held_ms", round.held_ms);
    put_rate(json, round.wire_bytes, round.ms);
    return json;
}

// ---------------------------------------------------------------- back
const Json* find(const Json& json, const char* key) {
    const auto at = json.find(key);
    return at == json.end() ? nullptr : &*at;
}

Result<void> read(const Json& json, const char* key, std::uint64_t& into) {
    const Json* const value = find(json, key);
    if (value == nullptr || !value->is_number_integer() || (!value->is_number_unsigned() && value->get<std::int64_t>() < 0) || value->get<std::uint64_t>() > kMostNumber)
        return fail(Kind::kInvalid, "'{}' of a trace is missing, or not a whole number from 0 to 2^53", key);
    into = value->get<std::uint64_t>();
    return {};
}

Result<void> read(const Json& json, const char* key, std::int64_t& into) {
    std::uint64_t value = 0;
    BLANKET_CHECK(read(json, key, value));
    into = static_cast<std::int64_t>(value);
    return {};
}

Result<void> read(const Json& json, const char* key, std::string& into) {
    BLANKET_TRY(into, json_string(json, key));
    if (into.size() > kMostText) return fail(Kind::kInvalid, "'{}' of a trace has {} bytes, at most {}", key, into.size(), kMostText);
    return {};
}

template <typename T>
Result<void> read(const Json& json, const char* key, std::optional<T>& into) {
    if (find(json, key) == nullptr) return {};
    return read(json, key, into.emplace());
}

Result<void> read(const Json& json, const char* key, bool& into) {
    const Json* const value = find(json, key);
    if (value != nullptr && !value->is_boolean()) return fail(Kind::kInvalid, "'{}' of a trace is neither true nor false", key);
    into = value != nullptr && value->get<bool>();
    return {};
}

// `one(entry, json)` for each entry of the list.
template <typename T>
Result<void> read_entries(const Json& list, const char* key, std::vector<T>& into, Result<void> (*one)(T&, const Json&)) {
    if (!list.is_array() || list.size() > kMaxTraceList) return fail(Kind::kInvalid, "'{}' of a trace is not a list of at most {}", key, kMaxTraceList);
    for (const Json& entry : list) {
        if (!entry.is_object()) return fail(Kind::kInvalid, "'{}' of a trace holds something that is not an object", key);
        BLANKET_CHECK(one(into.emplace_back(), entry));
    }
    return {};
}

template <typename T>
Result<void> read_list(const Json& json, const char* key, std::vector<T>& into, Result<void> (*one)(T&, const Json&)) {
    const Json* const list = find(json, key);
    if (list == nullptr) return fail(Kind::kInvalid, "a trace has no '{}'", key);
    return read_entries(*list, key, into, one);
}

Result<const Json*> object_of(const Json& json, const char* key) {
    const Json* const value = find(json, key);
    if (value == nullptr || !value->is_object()) return fail(Kind::kInvalid, "'{}' of a trace is not an object", key);
    return value;
}

Result<void> read_classes(const Json& json, const char* key, TraceClasses& into) {
    BLANKET_TRY(const Json* const classes, object_of(json, key));
    BLANKET_CHECK(read(*classes, "zero", into.zero));
    BLANKET_CHECK(read(*classes, "same", into.same));
    BLANKET_CHECK(read(*classes, "delta", into.delta));
    BLANKET_CHECK(read(*classes, "reference", into.reference));
    if (find(*classes, "store") != nullptr) BLANKET_CHECK(read(*classes, "store", into.store));  // traces of before these have none
    if (find(*classes, "store_delta") != nullptr) BLANKET_CHECK(read(*classes, "store_delta", into.store_delta));
    return read(*classes, "raw", into.raw);
}

Result<void> read_coded(const Json& json, std::optional<TraceCoded>& into) {
    if (find(json, "classes") == nullptr) return {};
    TraceCoded& coded = into.emplace();
    BLANKET_CHECK(read(json, "bytes", coded.bytes));
    BLANKET_CHECK(read(json, "wire_bytes", coded.wire_bytes));
    BLANKET_CHECK(read_classes(json, "classes", coded.pages));
    return read_classes(json, "class_bytes", coded.class_bytes);
}

Result<void> read_phase(TracePhase& phase, const Json& json) {
    BLANKET_CHECK(read(json, "name", phase.name));
    BLANKET_CHECK(read(json, "start_ms", phase.start_ms));
    BLANKET_CHECK(read(json, "end_ms", phase.end_ms));
    if (phase.end_ms < phase.start_ms) return fail(Kind::kInvalid, "a phase of a trace ends before it begins");
    return {};
}

Result<void> read_disk_round(TraceDiskRound& round, const Json& json) {
    BLANKET_CHECK(read(json, "volume", round.volume));
    BLANKET_CHECK(read(json, "round", round.round));
    BLANKET_CHECK(read(json, "start_ms", round.start_ms));
    BLANKET_CHECK(read(json, "ms", round.ms));
    BLANKET_CHECK(read(json, "bytes", round.bytes));
    BLANKET_CHECK(read(json, "wire_bytes", round.wire_bytes));
    return read(json, "held_ms", round.held_ms);
}

Result<void> read_memory_round(TraceMemoryRound& round, const Json& json) {
    BLANKET_CHECK(read(json, "round", round.round));
    round.to_round = round.round;
    if (find(json, "to_round") != nullptr) BLANKET_CHECK(read(json, "to_round", round.to_round));
    if (round.to_round < round.round) return fail(Kind::kInvalid, "rounds {} to {} of a trace are none", round.round, round.to_round);
    BLANKET_CHECK(read(json, "suspended", round.suspended));
    BLANKET_CHECK(read(json, "start_ms", round.start_ms));
    BLANKET_CHECK(read(json, "ms", round.ms));
    BLANKET_CHECK(read(json, "pages", round.pages));
    BLANKET_CHECK(read(json, "dirty", round.dirty));
    BLANKET_CHECK(read(json, "processor_percent", round.processor_percent));
    return read_coded(json, round.coded);
}

Result<void> read_part(TracePart& part, const Json& json) {
    BLANKET_CHECK(read(json, "name", part.name));
    BLANKET_CHECK(read(json, "start_ms", part.start_ms));
    BLANKET_CHECK(read(json, "ms", part.ms));
    const std::string clock = json_string_or(json, "clock", "");
    const auto* const at = std::ranges::find(kClocks, clock);
    if (at == kClocks.end()) return fail(Kind::kInvalid, "a part of a trace's downtime has no known clock");
    part.clock = static_cast<TraceClock>(at - kClocks.begin());
    return {};
}

Result<void> read_downtime(const Json& json, std::optional<TraceDowntime>& into) {
    if (find(json, "downtime") == nullptr) return {};
    BLANKET_TRY(const Json* const found, object_of(json, "downtime"));
    TraceDowntime& downtime = into.emplace();
    BLANKET_CHECK(read(*found, "start_ms", downtime.start_ms));
    BLANKET_CHECK(read(*found, "ms", downtime.ms));
    BLANKET_CHECK(read_list(*found, "parts", downtime.parts, read_part));
    if (downtime.unexplained_ms() < 0) return fail(Kind::kInvalid, "the parts of a trace's downtime are longer than the whole");
    return {};
}

Result<void> read_target(const Json& json, std::optional<TraceTarget>& into) {
    if (find(json, "target") == nullptr) return {};
    BLANKET_TRY(const Json* const found, object_of(json, "target"));
    TraceTarget& target = into.emplace();
    BLANKET_CHECK(read_list(*found, "phases", target.phases, read_phase));
    BLANKET_CHECK(read(*found, "ahead_error_ms", target.ahead_error_ms));
    const Json* const ahead = find(*found, "ahead_ms");
    if (ahead == nullptr) return {};
    if (!ahead->is_number_integer() || ahead->is_number_float() || std::abs(ahead->get<double>()) > static_cast<double>(kMostNumber))
        return fail(Kind::kInvalid, "'ahead_ms' of a trace is not a time");
    target.ahead_ms = ahead->get<std::int64_t>();
    return {};
}

Result<void> read_link(const Json& json, std::optional<TraceLink>& into) {
    if (find(json, "link") == nullptr) return {};
    BLANKET_TRY(const Json* const found, object_of(json, "link"));
    TraceLink& link = into.emplace();
    BLANKET_CHECK(read(*found, "cuts", link.cuts));
    BLANKET_CHECK(read(*found, "lost_ms", link.lost_ms));
    BLANKET_CHECK(read(*found, "again_bytes", link.again_bytes));
    if (find(*found, "streams") != nullptr) BLANKET_CHECK(read(*found, "streams", link.streams));
    if (find(*found, "congestion") != nullptr) BLANKET_CHECK(read(*found, "congestion", link.congestion));
    return {};
}

}  // namespace

std::int64_t TraceDowntime::unexplained_ms() const {
    std::int64_t rest = ms;
    for (const auto& part : parts) rest -= part.ms;
    return rest;
}

std::string_view to_string(TraceClock clock) { return kClocks[static_cast<std::size_t>(clock)]; }

Json to_json(const std::vector<TracePhase>& phases) {
    Json list = Json::array();
    for (const auto& phase : phases) list.push_back({{"name", phase.name}, {"start_ms", phase.start_ms}, {"end_ms", phase.end_ms}});
    return list;
}

Result<std::vector<TracePhase>> parse_trace_phases(const Json& list) {
    std::vector<TracePhase> phases;
    BLANKET_CHECK(read_entries(list, "phases", phases, read_phase));
    return phases;
}

Json to_json(const MoveTrace& trace) {
    Json json{{"version", kTraceVersion}, {"vm", trace.vm}, {"from", trace.from}, {"to", trace.to}, {"begun", trace.begun}, {"moved", trace.moved},
              {"memory_mib", trace.memory_mib}, {"ms", trace.ms}, {"stopped_because", trace.stopped_because}, {"phases", to_json(trace.phases)}};
    put(json, "rtt_ms", trace.rtt_ms);
    put(json, "forecast_ms", trace.forecast_ms);
    json["disk_rounds"] = json["memory_rounds"] = Json::array();
    for (const auto& round : trace.disk_rounds) json["disk_rounds"].push_back(round_json(round));
    for (const auto& round : trace.memory_rounds) json["memory_rounds"].push_back(round_json(round));
    if (trace.memory) put_coded(json["memory"], trace.memory);
    if (trace.downtime) {
        Json parts = Json::array();
        for (const auto& part : trace.downtime->parts) parts.push_back({{"name", part.name}, {"start_ms", part.start_ms}, {"ms", part.ms}, {"clock", to_string(part.clock)}});
        json["downtime"] = {{"start_ms", trace.downtime->start_ms}, {"ms", trace.downtime->ms}, {"parts", parts}, {"unexplained_ms", trace.downtime->unexplained_ms()}};
    }
    if (trace.target) {
        json["target"] = {{"phases", to_json(trace.target->phases)}};
        put(json["target"], "ahead_ms", trace.target->ahead_ms);
        put(json["target"], "ahead_error_ms", trace.target->ahead_error_ms);
    }
    if (trace.link) {
        json["link"] = {{"cuts", trace.link->cuts}, {"lost_ms", trace.link->lost_ms}, {"again_bytes", trace.link->again_bytes}, {"streams", trace.link->streams}};
        if (!trace.link->congestion.empty()) json["link"]["congestion"] = trace.link->congestion;
    }
    if (trace.left_out > 0) json["left_out"] = trace.left_out;
    return json;
}

Result<MoveTrace> parse_move_trace(const Json& json) {
    if (!json.is_object()) return fail(Kind::kInvalid, "a trace is not an object");
    if (const auto version = json_number_or(json, "version", 0); version != kTraceVersion)
        return fail_hint(Kind::kInvalid, std::format("a trace of version {}, where {} is known", version, kTraceVersion), "use a blanket of the same version as blanketd");
    MoveTrace trace;
    BLANKET_CHECK(read(json, "vm", trace.vm));
    BLANKET_CHECK(read(json, "from", trace.from));
    BLANKET_CHECK(read(json, "to", trace.to));
    BLANKET_CHECK(read(json, "begun", trace.begun));
    BLANKET_CHECK(read(json, "moved", trace.moved));
    BLANKET_CHECK(read(json, "memory_mib", trace.memory_mib));
    BLANKET_CHECK(read(json, "ms", trace.ms));
    BLANKET_CHECK(read(json, "rtt_ms", trace.rtt_ms));
    BLANKET_CHECK(read(json, "forecast_ms", trace.forecast_ms));
    BLANKET_CHECK(read(json, "stopped_because", trace.stopped_because));
    BLANKET_CHECK(read_list(json, "phases", trace.phases, read_phase));
    BLANKET_CHECK(read_list(json, "disk_rounds", trace.disk_rounds, read_disk_round));
    BLANKET_CHECK(read_list(json, "memory_rounds", trace.memory_rounds, read_memory_round));
    if (find(json, "memory") != nullptr) {
        BLANKET_TRY(const Json* const memory, object_of(json, "memory"));
        BLANKET_CHECK(read_coded(*memory, trace.memory));
    }
    BLANKET_CHECK(read_downtime(json, trace.downtime));
    BLANKET_CHECK(read_target(json, trace.target));
    BLANKET_CHECK(read_link(json, trace.link));
    if (find(json, "left_out") != nullptr) BLANKET_CHECK(read(json, "left_out", trace.left_out));
    return trace;
}

}  // namespace blanket
