// SPDX-License-Identifier: GPL-2.0-or-later
// See text.hpp.
#include "toolstack/base/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/random.h>

namespace blanket {
namespace {

constexpr bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

void fill_random(std::span<std::uint8_t> out) {
    while (!out.empty()) {
        const ssize_t got = ::getrandom(out.data(), out.size(), 0);
        if (got < 0) continue;  // only EINTR is possible with flags 0
        out = out.subspan(static_cast<std::size_t>(got));
    }
}

}  // namespace

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    for (;;) {
        const auto at = text.find(separator);
        parts.emplace_back(text.substr(0, at));
        if (at == std::string_view::npos) return parts;
        text.remove_prefix(at + 1);
    }
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n";
    const auto first = text.find_first_not_of(kSpace);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t min, std::uint64_t max, std::string_view what) {
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || end != text.data() + text.size() || value < min || value > max)
        return fail(Kind::kInvalid, "{} '{}' is not a number from {} to {}", what, text.substr(0, 40), min, max);
    return value;
}

Result<std::uint64_t> parse_size(std::string_view text, std::string_view what) {
    constexpr std::string_view kSuffixes = "KMGT";
    unsigned shift = 0;
    if (!text.empty())
        if (const auto at = kSuffixes.find(text.back()); at != std::string_view::npos) {
            shift = 10 * static_cast<unsigned>(at + 1);
            text.remove_suffix(1);
        }
    BLANKET_TRY(const std::uint64_t value, parse_number(text, 0, (std::uint64_t{1} << 62) >> shift, what));
    return value << shift;
}

Result<void> check_name(std::string_view name, std::string_view what) {
    const auto inner = [](char c) { return is_lower_alnum(c) || c == '-' || c == '.' || c == '_'; };
    if (name.empty() || name.size() > 63 || !is_lower_alnum(name.front()) || !is_lower_alnum(name.back()) ||
        !std::ranges::all_of(name, inner))
        return fail_hint(Kind::kInvalid, std::format("{} name '{}' is not allowed", what, name.substr(0, 70)),
                         "use 1 to 63 characters a-z 0-9 . _ -, starting and ending with a letter or digit");
    return {};
}

Result<void> check_uuid(std::string_view uuid) {
    bool good = uuid.size() == 36;
    for (std::size_t i = 0; good && i < uuid.size(); ++i) {
        const char c = uuid[i];
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        good = dash ? c == '-' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    }
    if (!good) return fail(Kind::kInvalid, "'{}' is not a UUID", uuid.substr(0, 40));
    return {};
}

std::string random_hex(std::size_t bytes) {
    std::vector<std::uint8_t> data(bytes);
    fill_random(data);
    return to_hex(data);
}

std::string make_uuid() {
    std::array<std::uint8_t, 16> data{};
    fill_random(data);
    data[6] = static_cast<std::uint8_t>((data[6] & 0x0f) | 0x40);
    data[8] = static_cast<std::uint8_t>((data[8] & 0x3f) | 0x80);
    const std::string hex = to_hex(data);
    return std::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4), hex.substr(16, 4), hex.substr(20));
}

std::string to_hex(std::span<const std::uint8_t> data) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(data.size() * 2);
    for (const auto byte : data) {
        text += kDigits[byte >> 4];
        text += kDigits[byte & 15];
    }
    return text;
}

std::string sha256_hex(std::string_view data) {
    std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
    SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(), digest.data());
    return to_hex(digest);
}

bool is_utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const auto first = static_cast<unsigned char>(text[i]);
        const std::size_t length = first < 0x80 ? 1 : first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xf0 && first < 0xf5 ? 4 : 0;
        if (length == 0 || text.size() - i < length) return false;
        std::uint32_t code = length == 1 ? first : first & (0xffu >> (length + 1));
        for (std::size_t k = 1; k < length; ++k) {
            const auto next = static_cast<unsigned char>(text[i + k]);
            if ((next & 0xc0) != 0x80) return false;
            code = code << 6 | (next & 0x3f);
        }
        if ((length == 3 && code < 0x800) || (length == 4 && code < 0x10000) || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return false;
        i += length;
    }
    return true;
}

Result<std::string> base64_decode(std::string_view text) {
    std::string out(text.size() / 4 * 3, '\0');
    if (text.size() % 4 != 0) return fail(Kind::kInvalid, "base64 text of {} characters is not a multiple of 4", text.size());
    if (text.empty()) return out;
    const int got = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                                    static_cast<int>(text.size()));
    if (got < 0) return fail(Kind::kInvalid, "text is not base64");
    std::size_t padding = 0;
    for (std::size_t i = text.size(); i-- > 0 && text[i] == '=' && padding < 2;) ++padding;
    out.resize(static_cast<std::size_t>(got) - padding);
    // OpenSSL also takes blanks around it, '=' anywhere and bits that nothing stands for. Keys are compared as text and written into files: one text for one value.
    if (base64_encode(out) != text) return fail(Kind::kInvalid, "text is not base64 in its only form");
    return out;
}

std::string base64_encode(std::string_view data) {
    std::string out((data.size() + 2) / 3 * 4 + 1, '\0');
    const int got = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(data.data()),
                                    static_cast<int>(data.size()));
    out.resize(static_cast<std::size_t>(got));
    return out;
}

std::string format_bytes(std::uint64_t bytes) {
    constexpr std::array<std::string_view, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    return unit == 0 ? std::format("{} B", bytes) : std::format("{:.1f} {}", value, kUnits[unit]);
}

std::string rfc3339(std::chrono::system_clock::time_point time) { return std::format("{:%FT%TZ}", std::chrono::floor<std::chrono::milliseconds>(time)); }
std::string rfc3339_now() { return rfc3339(std::chrono::system_clock::now()); }

}  // namespace blanket
