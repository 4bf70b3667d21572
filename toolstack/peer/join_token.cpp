// SPDX-License-Identifier: GPL-2.0-or-later
// See join_token.hpp. "sum" in the JSON catches a mistyped or cut token before anything is sent; it protects nothing else.
#include "toolstack/peer/join_token.hpp"

#include <algorithm>

#include "toolstack/base/json.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

constexpr std::string_view kPrefix = "blanket1.";
constexpr std::string_view kHint = "copy the whole text that `blanket site token` printed, or make a new one";

bool is_hex(std::string_view text, std::size_t size) {
    return text.size() == size && std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Json body_of(const JoinToken& token) {
    return {{"v", 1}, {"ca_sha256", token.ca_sha256}, {"endpoints", token.endpoints}, {"id", token.id}, {"secret", token.secret}};
}

std::string sum_of(const JoinToken& token) { return sha256_hex(body_of(token).dump()).substr(0, 8); }

std::unexpected<Error> bad(std::string_view why) { return fail_hint(Kind::kInvalid, std::format("the join token is not usable: {}", why), std::string(kHint)); }

Result<std::string> decode_url(std::string_view text) {
    std::string plain;
    for (const char c : text) {
        const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        if (!good) return bad("it contains a character that is not base64url");
        plain += c == '-' ? '+' : c == '_' ? '/' : c;
    }
    plain.resize((plain.size() + 3) / 4 * 4, '=');
    auto decoded = base64_decode(plain);
    if (!decoded) return bad(decoded.error().what);
    return decoded;
}

}  // namespace

std::string format_token(const JoinToken& token) {
    Json body = body_of(token);
    body["sum"] = sum_of(token);
    std::string text = base64_encode(body.dump());
    while (!text.empty() && text.back() == '=') text.pop_back();
    std::ranges::replace(text, '+', '-');
    std::ranges::replace(text, '/', '_');
    return std::string(kPrefix) + text;
}

Result<JoinToken> parse_token_text(std::string_view text) {
    text = trim(text);
    if (text.size() > 4096) return bad("it is too long");
    if (!text.starts_with(kPrefix)) return bad("it does not start with 'blanket1.'");
    BLANKET_TRY(const std::string decoded, decode_url(text.substr(kPrefix.size())));
    const auto body = parse_json(decoded);
    if (!body || !body->is_object()) return bad("its content is cut or changed");
    if (json_number_or(*body, "v", 0) != 1) return bad("it has another version");
    JoinToken token;
    token.ca_sha256 = json_string_or(*body, "ca_sha256", "");
    token.id = json_string_or(*body, "id", "");
    token.secret = json_string_or(*body, "secret", "");
    const auto endpoints = body->find("endpoints");
    if (endpoints == body->end() || !endpoints->is_array() || endpoints->empty() || endpoints->size() > 8) return bad("it names no endpoint");
    for (const auto& endpoint : *endpoints) {
        if (!endpoint.is_string() || !parse_host_port(endpoint.get<std::string>())) return bad("an endpoint is not host:port");
        token.endpoints.push_back(endpoint.get<std::string>());
    }
    if (!is_hex(token.ca_sha256, 64) || !is_hex(token.id, 16) || !is_hex(token.secret, 64)) return bad("a field has another form");
    if (json_string_or(*body, "sum", "") != sum_of(token)) return bad("its content is changed");
    return token;
}

Result<HostPort> parse_host_port(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0 || colon > 253) return fail(Kind::kInvalid, "'{}' is not host:port", text.substr(0, 60));
    const std::string_view host = text.substr(0, colon);
    const auto good = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
    if (!std::ranges::all_of(host, good)) return fail(Kind::kInvalid, "'{}' is not host:port", text.substr(0, 60));
    BLANKET_TRY(const std::uint64_t port, parse_number(text.substr(colon + 1), 1, 65535, "port"));
    return HostPort{std::string(host), static_cast<std::uint16_t>(port)};
}

}  // namespace blanket
