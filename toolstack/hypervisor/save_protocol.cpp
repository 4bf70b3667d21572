// SPDX-License-Identifier: GPL-2.0-or-later
// Lines of blanket-save and libvirt's save header; see save_protocol.hpp.
#include "toolstack/hypervisor/save_protocol.hpp"

#include <array>
#include <cstring>

#include "toolstack/base/json.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {

std::string format_line(const SaveLine& line) {
    Json json;
    switch (line.what) {
    case SaveLine::What::kProgress: json = {{"round", line.round}, {"bytes", line.bytes}, {"sending", line.sending}, {"forecast_ms", line.forecast_ms}}; break;
    case SaveLine::What::kRound:
        json = {{"ended", {{"round", line.ended.round}, {"pages", line.ended.pages}, {"ms", line.ended.ms}, {"dirty", line.ended.dirty}, {"begin_ms", line.ended.begin_ms}, {"percent", line.ended.percent}}},
                {"round", line.round}, {"bytes", line.bytes}};
        break;
    case SaveLine::What::kStopping: json = {{"stopping", true}, {"round", line.round}, {"bytes", line.bytes}, {"why", line.why}, {"forecast_ms", line.forecast_ms}}; break;
    case SaveLine::What::kSuspended:
        json = {{"suspended", true}, {"round", line.round}, {"bytes", line.bytes}, {"asked_ms", line.asked_ms}, {"suspended_ms", line.suspended_ms}};
        break;
    case SaveLine::What::kDone: json = {{"done", true}, {"round", line.round}, {"bytes", line.bytes}}; break;
    case SaveLine::What::kError: json = {{"error", line.error}, {"hint", line.hint}, {"cancelled", line.cancelled}}; break;
    }
    return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<SaveLine> parse_line(std::string_view text) {
    BLANKET_TRY(const Json json, parse_json(text, 64 * 1024));
    if (!json.is_object()) return fail(Kind::kInvalid, "a line of blanket-save is not an object");
    const auto ms = [](const Json& from, std::string_view key) { return static_cast<std::int64_t>(json_number_or(from, key, 0)); };
    SaveLine line;
    line.round = static_cast<std::uint32_t>(json_number_or(json, "round", 0));
    line.bytes = json_number_or(json, "bytes", 0);
    line.cancelled = json_bool_or(json, "cancelled", false);
    if (json.contains("error")) {
        line.what = SaveLine::What::kError;
        line.error = json_string_or(json, "error", "unknown");
        line.hint = json_string_or(json, "hint", "");
    } else if (json_bool_or(json, "done", false)) {
        line.what = SaveLine::What::kDone;
    } else if (json_bool_or(json, "suspended", false)) {
        line.what = SaveLine::What::kSuspended;
        line.asked_ms = ms(json, "asked_ms");
        line.suspended_ms = ms(json, "suspended_ms");
    } else if (json_bool_or(json, "stopping", false)) {
        line.what = SaveLine::What::kStopping;
        line.why = json_string_or(json, "why", "");
        line.forecast_ms = ms(json, "forecast_ms");
    } else if (const Json ended = json.value("ended", Json()); ended.is_object()) {
        line.what = SaveLine::What::kRound;
        line.ended = {.round = json_number_or(ended, "round", 0), .pages = json_number_or(ended, "pages", 0), .ms = ms(ended, "ms"), .dirty = json_number_or(ended, "dirty", 0),
                      .begin_ms = ms(ended, "begin_ms"), .percent = json_number_or(ended, "percent", 100)};
    } else if (!json.contains("round")) {
        return fail(Kind::kInvalid, "a line of blanket-save has none of its fields");
    } else {
        line.sending = json_number_or(json, "sending", 0);
        line.forecast_ms = ms(json, "forecast_ms");
    }
    return line;
}

std::string format_limits(const SaveLimits& limits) {
    return std::format("{},{},{},{},{},{}", limits.downtime_target_ms, limits.max_downtime_ms, limits.max_time_ms, limits.fixed_ms, limits.rounds, limits.throttle ? 1 : 0);
}

Result<SaveLimits> parse_limits(std::string_view text) {
    constexpr std::uint64_t kDay = 86'400'000;
    std::array<std::int64_t, 6> values{};
    for (std::size_t i = 0; i < values.size(); ++i) {
        const auto comma = text.find(',');
        if ((comma == std::string_view::npos) != (i + 1 == values.size())) return fail(Kind::kInvalid, "limits are six numbers with commas between");
        BLANKET_TRY(const std::uint64_t value, parse_number(text.substr(0, comma), 0, kDay, "limit"));
        values[i] = static_cast<std::int64_t>(value);
        text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    }
    return SaveLimits{.downtime_target_ms = values[0], .max_downtime_ms = values[1], .max_time_ms = values[2], .fixed_ms = values[3], .rounds = values[4], .throttle = values[5] != 0};
}

Result<std::vector<std::byte>> encode_save_header(std::string_view xml) {
    constexpr std::size_t kMaxXml = 1u << 20, kHeader = 64;
    if (xml.empty() || xml.size() > kMaxXml || xml.contains('\0'))
        return fail(Kind::kInvalid, "a domain XML of {} bytes cannot go into a save image (1..{} bytes, no NUL)", xml.size(), kMaxXml);
    constexpr std::array<char, 16> kMagic{'l', 'i', 'b', 'v', 'i', 'r', 't', '-', 'x', 'm', 'l', '\n', ' ', '\0', ' ', '\r'};
    const std::uint32_t version = 2, length = static_cast<std::uint32_t>(xml.size() + 1);
    std::vector<std::byte> out(kHeader + length);  // zero filled: reserved words and the NUL
    std::memcpy(out.data(), kMagic.data(), kMagic.size());
    std::memcpy(out.data() + 16, &version, sizeof version);  // host byte order, as libvirt reads it
    std::memcpy(out.data() + 20, &length, sizeof length);
    std::memcpy(out.data() + kHeader, xml.data(), xml.size());
    return out;
}

}  // namespace blanket
