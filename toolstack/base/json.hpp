// SPDX-License-Identifier: GPL-2.0-or-later
// JSON from outside: parsed without exceptions, bounded in size and depth, fields read with checks.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket {

using Json = nlohmann::json;

// At most `max_bytes` long and 64 levels deep; kInvalid otherwise.
Result<Json> parse_json(std::string_view text, std::size_t max_bytes = 4u << 20);

// Required fields of an object; kInvalid names the field when it is absent or of another type.
Result<std::string> json_string(const Json& object, std::string_view field);
Result<std::uint64_t> json_number(const Json& object, std::string_view field);
// Optional fields.
std::string json_string_or(const Json& object, std::string_view field, std::string_view fallback);
std::uint64_t json_number_or(const Json& object, std::string_view field, std::uint64_t fallback);
bool json_bool_or(const Json& object, std::string_view field, bool fallback);

Json to_json(const Error& error);         // {"error":{"kind","what","hint"}}
Error error_from_json(const Json& body);  // the reverse; a body of another form becomes kInternal

}  // namespace blanket
