// SPDX-License-Identifier: GPL-2.0-or-later
// See yaml.hpp. Every scalar that a reader could take for something else is quoted as JSON, which is YAML too.
#include "toolstack/cli/yaml.hpp"

#include <algorithm>
#include <array>

namespace blanket::cli {
namespace {

std::string json_text(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

bool plain(std::string_view text) {
    constexpr std::array<std::string_view, 11> kWords{"true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan"};
    constexpr std::string_view kFirst = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/";
    constexpr std::string_view kRest = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/.,()+=@ -";
    if (text.empty() || text.back() == ' ' || !kFirst.contains(text.front())) return false;
    if (text.find_first_not_of(kRest) != std::string_view::npos) return false;
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return std::ranges::find(kWords, lower) == kWords.end();
}

// Several lines without surprises go as a block, so that XML stays readable.
bool block(std::string_view text) {
    if (!text.contains('\n') || text.front() == ' ' || text.front() == '\n') return false;
    if (text.ends_with("\n\n")) return false;
    return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x20 ? c != 0x7f : c == '\n'; });
}

std::string scalar(const Json& value, std::size_t indent) {
    if (!value.is_string()) return json_text(value);
    const auto& text = value.get_ref<const std::string&>();
    if (plain(text)) return text;
    if (!block(text)) return json_text(value);
    std::string out = text.ends_with('\n') ? "|" : "|-";
    std::size_t at = 0;
    while (at < text.size()) {
        const auto end = std::min(text.find('\n', at), text.size());
        out += "\n";
        if (end > at) out += std::string(indent, ' ') + text.substr(at, end - at);
        at = end + 1;
    }
    return out;
}

bool nested(const Json& value) { return (value.is_object() || value.is_array()) && !value.empty(); }

void emit(const Json& value, std::size_t indent, bool in_item, std::string& out) {
    bool first = in_item;  // the first line follows "- " on its line
    const auto begin = [&] {
        if (!first) out += std::string(indent, ' ');
        first = false;
    };
    if (value.is_object() && !value.empty()) {
        for (const auto& [key, child] : value.items()) {
            begin();
            out += (plain(key) ? key : json_text(key)) + ":";
            if (nested(child)) {
                out += "\n";
                emit(child, indent + 2, false, out);
            } else out += " " + scalar(child, indent + 2) + "\n";
        }
    } else if (value.is_array() && !value.empty()) {
        for (const auto& child : value) {
            begin();
            out += "- ";
            if (nested(child)) emit(child, indent + 2, true, out);
            else out += scalar(child, indent + 2) + "\n";
        }
    } else {
        begin();
        out += scalar(value, indent + 2) + "\n";
    }
}

}  // namespace

std::string to_yaml(const Json& value) {
    std::string out;
    emit(value, 0, false, out);
    return out;
}

}  // namespace blanket::cli
