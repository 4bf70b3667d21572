// SPDX-License-Identifier: GPL-2.0-or-later
// Join tokens, as an operator pastes them: the text, or a body whose checksum and base64 are right.
#include <algorithm>

#include "tests/fuzz/fuzz.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/peer/join_token.hpp"

namespace blanket::fuzz {

const std::size_t target::kHeap = 512u << 10;

namespace {

const JoinToken kToken{.ca_sha256 = std::string(64, 'a'), .endpoints = {"192.0.2.1:7443", "east.example.org:65535"}, .id = "0123456789abcdef", .secret = std::string(64, '5')};

std::string packed(Json body) {
    if (body.is_object()) {
        body.erase("sum");
        body["sum"] = sha256_hex(body.dump(-1, ' ', false, Json::error_handler_t::replace)).substr(0, 8);
    }
    std::string text = base64_encode(body.dump(-1, ' ', false, Json::error_handler_t::replace));
    std::erase(text, '=');
    std::ranges::replace(text, '+', '-');
    std::ranges::replace(text, '/', '_');
    return "blanket1." + text;
}

}  // namespace

std::vector<std::string> target::seeds() {
    const Json body{{"v", 1}, {"ca_sha256", kToken.ca_sha256}, {"endpoints", kToken.endpoints}, {"id", kToken.id}, {"secret", kToken.secret}};
    return {"t" + format_token(kToken), "j" + body.dump(), "h192.0.2.1:7443", "hhost.name-1:0", "h:1", "bAA==", "b+/8="};
}

void target::run(Input input) {
    const std::uint8_t way = input.byte();
    const std::string text = input.rest_text();
    if (way == 'h') {
        const auto parsed = parse_host_port(text);
        require_refusal(parsed, "parse_host_port");
        if (parsed) require(text.starts_with(parsed->host + ":") && parsed->port != 0 && parsed->host.find_first_of(" /:\n") == std::string::npos, "a host that the text does not have");
        return;
    }
    if (way == 'b') {
        require(base64_decode(base64_encode(text)).value_or("") == text, "base64 of bytes");
        const auto bytes = base64_decode(text);
        require_refusal(bytes, "base64_decode");
        if (bytes) require(base64_encode(*bytes) == text, "two base64 texts of the same bytes");
        return;
    }
    const auto body = way == 'j' ? parse_json(text) : Result<Json>(Json());
    if (!body) return;
    const auto token = parse_token_text(way == 'j' ? packed(*body) : text);
    require_refusal(token, "parse_token_text");
    if (!token) return;
    require(!token->endpoints.empty() && token->endpoints.size() <= 8, "endpoints out of bounds");
    const auto again = parse_token_text(format_token(*token));
    require_value(again, "a token that was printed");
    require(*again == *token, "another token after printing");
}

}  // namespace blanket::fuzz
