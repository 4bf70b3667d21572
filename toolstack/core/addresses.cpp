// SPDX-License-Identifier: GPL-2.0-or-later
// See addresses.hpp.
#include "toolstack/core/addresses.hpp"

#include <algorithm>
#include <format>

#include "toolstack/base/text.hpp"

namespace blanket {

Result<void> check_mac(std::string_view mac) {
    bool good = mac.size() == 17;
    for (std::size_t i = 0; good && i < mac.size(); ++i) {
        const char c = mac[i];
        good = i % 3 == 2 ? c == ':' : (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    }
    constexpr std::string_view kUnicastSecond = "02468ace";
    if (!good || !kUnicastSecond.contains(mac[1]))
        return fail(Kind::kInvalid, "'{}' is not a unicast MAC address in lower case", mac.substr(0, 20));
    return {};
}

Result<std::uint32_t> parse_ipv4(std::string_view text) {
    const auto parts = split(text, '.');
    if (parts.size() != 4) return fail(Kind::kInvalid, "'{}' is not an IPv4 address", text.substr(0, 20));
    std::uint32_t address = 0;
    for (const auto& part : parts) {
        if (part.size() > 1 && part.front() == '0') return fail(Kind::kInvalid, "'{}' is not an IPv4 address", text.substr(0, 20));
        BLANKET_TRY(const std::uint64_t octet, parse_number(part, 0, 255, "IPv4 octet"));
        address = address << 8 | static_cast<std::uint32_t>(octet);
    }
    return address;
}

std::string format_ipv4(std::uint32_t address) {
    return std::format("{}.{}.{}.{}", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

Result<Ipv4Port> parse_ipv4_port(std::string_view text) {
    const auto colon = text.find(':');
    if (colon == std::string_view::npos) return fail(Kind::kInvalid, "'{}' is not an IPv4 address with a port", text.substr(0, 30));
    BLANKET_TRY(const std::uint32_t ip, parse_ipv4(text.substr(0, colon)));
    BLANKET_TRY(const std::uint64_t port, parse_number(text.substr(colon + 1), 1, 65535, "port"));
    return Ipv4Port{ip, static_cast<std::uint16_t>(port)};
}

std::string format_ipv4_port(const Ipv4Port& endpoint) { return std::format("{}:{}", format_ipv4(endpoint.ip), endpoint.port); }

bool is_host_address(std::uint32_t ip) {
    const std::uint32_t first = ip >> 24;
    return first != 0 && first != 127 && first < 224 && ip >> 16 != (169u << 8 | 254u);
}

bool is_private_address(std::uint32_t ip) {
    return ip >> 24 == 10 || ip >> 20 == (172u << 4 | 1u) || ip >> 16 == (192u << 8 | 168u) || ip >> 22 == (100u << 2 | 1u);  // 100.64.0.0/10
}

bool is_tunnel_address(std::uint32_t ip) { return ip >> 16 == (10u << 8 | 213u); }

Result<Cidr> parse_cidr(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos)
        return fail_hint(Kind::kInvalid, std::format("'{}' is not a network in CIDR form", text.substr(0, 30)), "write it like 10.42.0.0/24");
    BLANKET_TRY(const std::uint32_t base, parse_ipv4(text.substr(0, slash)));
    BLANKET_TRY(const std::uint64_t prefix, parse_number(text.substr(slash + 1), 8, 30, "prefix length"));
    if ((base & (0xffffffffu >> prefix)) != 0)
        return fail_hint(Kind::kInvalid, std::format("'{}' has host bits set", text.substr(0, 30)),
                         std::format("did you mean {}/{}?", format_ipv4(base & ~(0xffffffffu >> prefix)), prefix));
    return Cidr{base, static_cast<unsigned>(prefix)};
}

bool overlap(const Cidr& a, const Cidr& b) {
    const unsigned shorter = std::min(a.prefix, b.prefix);
    return shorter == 0 || (a.base ^ b.base) >> (32 - shorter) == 0;
}

bool inside(const Cidr& cidr, std::uint32_t ip) {
    const std::uint32_t host = 0xffff'ffffu >> cidr.prefix;
    return (ip & ~host) == cidr.base && (ip & host) != 0 && (ip & host) != host;
}

}  // namespace blanket
