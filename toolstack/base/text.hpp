// SPDX-License-Identifier: GPL-2.0-or-later
// Text that comes from people and peers: splitting, numbers, names, hex, UUIDs, random tokens, SHA-256.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket {

std::vector<std::string> split(std::string_view text, char separator);  // keeps empty parts
std::string_view trim(std::string_view text);
// Decimal number within [min, max]; anything else is kInvalid naming `what`.
Result<std::uint64_t> parse_number(std::string_view text, std::uint64_t min, std::uint64_t max, std::string_view what);
// "512M", "2G", "4096" (bytes) -> bytes; suffixes K M G T are powers of 1024.
Result<std::uint64_t> parse_size(std::string_view text, std::string_view what);
// Names of VMs, sites, networks, images: [a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?, so that they are safe in paths, keys and argv.
Result<void> check_name(std::string_view name, std::string_view what);
Result<void> check_uuid(std::string_view uuid);  // 8-4-4-4-12 lower-case hex
std::string make_uuid();                          // random, version 4
std::string random_hex(std::size_t bytes);        // from getrandom(2)
bool is_utf8(std::string_view text);  // well-formed: no overlong forms, no surrogates
std::string to_hex(std::span<const std::uint8_t> data);
std::string sha256_hex(std::string_view data);
Result<std::string> base64_decode(std::string_view text);  // with its padding, without blanks: what base64_encode() gives, and nothing else
std::string base64_encode(std::string_view data);
std::string format_bytes(std::uint64_t bytes);    // "12.3 MiB"
std::string rfc3339(std::chrono::system_clock::time_point time);  // "2026-11-21T19:20:21.123Z"
std::string rfc3339_now();

}  // namespace blanket
