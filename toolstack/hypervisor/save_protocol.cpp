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
    case SaveLine::What::kProgress: json = {{"round", line.round}, {"bytes", line.bytes}}; break;
    case SaveLine::What::kStopping: json = {{"stopping", true}, {"round", line.round}, {"bytes", line.bytes}}; break;
    case SaveLine::What::kSuspended: json = {{"suspended", true}, {"round", line.round}, {"bytes", line.bytes}}; break;
    case SaveLine::What::kDone: json = {{"done", true}, {"round", line.round}, {"bytes", line.bytes}}; break;
    case SaveLine::What::kError: json = {{"error", line.error}, {"cancelled", line.cancelled}}; break;
    }
    return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<SaveLine> parse_line(std::string_view text) {
    BLANKET_TRY(const Json json, parse_json(text, 64 * 1024));
    if (!json.is_object()) return fail(Kind::kInvalid, "a line of blanket-save is not an object");
    SaveLine line;
    line.round = static_cast<std::uint32_t>(json_number_or(json, "round", 0));
    line.bytes = json_number_or(json, "bytes", 0);
    line.cancelled = json_bool_or(json, "cancelled", false);
    if (json.contains("error")) {
        line.what = SaveLine::What::kError;
        line.error = json_string_or(json, "error", "unknown");
    } else if (json_bool_or(json, "done", false)) {
        line.what = SaveLine::What::kDone;
    } else if (json_bool_or(json, "suspended", false)) {
        line.what = SaveLine::What::kSuspended;
    } else if (json_bool_or(json, "stopping", false)) {
        line.what = SaveLine::What::kStopping;
    } else if (!json.contains("round")) {
        return fail(Kind::kInvalid, "a line of blanket-save has none of its fields");
    }
    return line;
}

Result<std::uint32_t> parse_round(std::string_view progress_text) {
    constexpr std::string_view kPrefix = "Frames iteration ";
    if (!progress_text.starts_with(kPrefix)) return fail(Kind::kInvalid, "'{}' names no round", progress_text);
    BLANKET_TRY(const auto round, parse_number(progress_text.substr(kPrefix.size()), 0, 1'000'000, "round"));
    return static_cast<std::uint32_t>(round);
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
