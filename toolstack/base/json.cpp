// SPDX-License-Identifier: GPL-2.0-or-later
// See json.hpp.
#include "toolstack/base/json.hpp"

namespace blanket {
namespace {

constexpr int kMaxDepth = 64;

const Json* find(const Json& object, std::string_view field) {
    if (!object.is_object()) return nullptr;
    const auto it = object.find(field);
    return it == object.end() ? nullptr : &*it;
}

}  // namespace

Result<Json> parse_json(std::string_view text, std::size_t max_bytes) {
    if (text.size() > max_bytes) return fail(Kind::kInvalid, "JSON of {} bytes is longer than {}", text.size(), max_bytes);
    int depth = 0;
    bool quoted = false, escaped = false;
    for (const char c : text) {  // depth first, so that the recursive parser cannot be driven deep
        if (quoted) {
            if (escaped) escaped = false;
            else if (c == '\\') escaped = true;
            else if (c == '"') quoted = false;
            continue;
        }
        if (c == '"') quoted = true;
        else if (c == '{' || c == '[') {
            if (++depth > kMaxDepth) return fail(Kind::kInvalid, "JSON is nested deeper than {}", kMaxDepth);
        } else if (c == '}' || c == ']') --depth;
    }
    Json value = Json::parse(text, nullptr, false);
    if (value.is_discarded()) return fail(Kind::kInvalid, "malformed JSON: '{}'", text.substr(0, 60));
    return value;
}

Result<std::string> json_string(const Json& object, std::string_view field) {
    const Json* value = find(object, field);
    if (value == nullptr || !value->is_string()) return fail(Kind::kInvalid, "field '{}' is missing or not a string", field);
    return value->get<std::string>();
}

Result<std::uint64_t> json_number(const Json& object, std::string_view field) {
    const Json* value = find(object, field);
    if (value == nullptr || !value->is_number_unsigned())
        return fail(Kind::kInvalid, "field '{}' is missing or not a whole number", field);
    return value->get<std::uint64_t>();
}

std::string json_string_or(const Json& object, std::string_view field, std::string_view fallback) {
    const Json* value = find(object, field);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string(fallback);
}

std::uint64_t json_number_or(const Json& object, std::string_view field, std::uint64_t fallback) {
    const Json* value = find(object, field);
    return value != nullptr && value->is_number_unsigned() ? value->get<std::uint64_t>() : fallback;
}

bool json_bool_or(const Json& object, std::string_view field, bool fallback) {
    const Json* value = find(object, field);
    return value != nullptr && value->is_boolean() ? value->get<bool>() : fallback;
}

Json to_json(const Error& error) {
    return {{"error", {{"kind", to_string(error.kind)}, {"what", error.what}, {"hint", error.hint}}}};
}

Error error_from_json(const Json& body) {
    const Json* inner = find(body, "error");
    if (inner == nullptr) return {Kind::kInternal, "the answer is neither a value nor an error", {}};
    return {kind_from_string(json_string_or(*inner, "kind", "internal")), json_string_or(*inner, "what", "no text"),
            json_string_or(*inner, "hint", "")};
}

}  // namespace blanket
