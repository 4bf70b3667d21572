// SPDX-License-Identifier: GPL-2.0-or-later
// MAC and IPv4 addresses and ranges, as text and as numbers. They go into flows, XML and configuration files: nothing but the canonical form is taken. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket {

Result<void> check_mac(std::string_view mac);
Result<std::uint32_t> parse_ipv4(std::string_view text);  // host byte order
std::string format_ipv4(std::uint32_t address);

// A UDP endpoint: "203.0.113.7:51820".
struct Ipv4Port {
    std::uint32_t ip = 0;  // host byte order
    std::uint16_t port = 0;
    bool operator==(const Ipv4Port&) const = default;
};
Result<Ipv4Port> parse_ipv4_port(std::string_view text);  // the port from 1 on
std::string format_ipv4_port(const Ipv4Port& endpoint);
// Whether one machine somewhere may have it as its address: no loopback, link-local, multicast, broadcast or 0.x.
bool is_host_address(std::uint32_t ip);
bool is_private_address(std::uint32_t ip);  // RFC 1918, and RFC 6598: behind a provider's own NAT
bool is_tunnel_address(std::uint32_t ip);   // of a site inside WireGuard (wireguard_address(), records.hpp): 10.213.0.0/16

struct Cidr {
    std::uint32_t base = 0;  // host byte order, host bits zero
    unsigned prefix = 0;     // 0..32
    bool operator==(const Cidr&) const = default;
};
Result<Cidr> parse_cidr(std::string_view text);  // of a net: 8..30
bool overlap(const Cidr& a, const Cidr& b);
bool inside(const Cidr& cidr, std::uint32_t ip);  // as a host's address: neither the first nor the last

// Where providers' metadata services answer: a machine's keys and credentials are there, and no VM may ask for them. (EC2's fd00:ec2::254 is IPv6, which the
// overlay does not carry.)
inline constexpr std::array kMetadataAddresses{Cidr{169u << 24 | 254u << 16, 16},                      // link-local: nearly all of them
                                               Cidr{168u << 24 | 63u << 16 | 129u << 8 | 16u, 32},     // Azure's host
                                               Cidr{100u << 24 | 100u << 16 | 100u << 8 | 200u, 32}};  // Alibaba Cloud

}  // namespace blanket
