// SPDX-License-Identifier: GPL-2.0-or-later
// See net_rules.hpp.
#include "toolstack/core/net_rules.hpp"

#include <algorithm>
#include <array>

#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

struct Reserved {
    Cidr cidr;
    std::string_view why;
};
constexpr std::uint32_t base_of(std::uint32_t a, std::uint32_t b) { return a << 24 | b << 16; }
constexpr std::array<Reserved, 4> kReserved{{{{base_of(0, 0), 8}, "means no address"},
                                             {{base_of(10, 213), 16}, "is the sites' own, inside of the tunnels"},
                                             {{base_of(127, 0), 8}, "is each machine's own"},
                                             {{base_of(224, 0), 3}, "is for multicast and reserved"}}};

std::string cidr_text(const Cidr& cidr) { return std::format("{}/{}", format_ipv4(cidr.base), cidr.prefix); }

}  // namespace

Result<void> check_new_net(const Net& net, const std::vector<Net>& nets, const std::vector<Site>& sites, bool same_addresses) {
    constexpr const char* kChoose = "choose another private range, as in --cidr 10.42.0.0/24";
    BLANKET_CHECK(check_name(net.name, "network"));
    BLANKET_TRY(const Cidr cidr, parse_cidr(net.cidr));
    for (const auto& reserved : kReserved)
        if (overlap(cidr, reserved.cidr))
            return fail_hint(Kind::kInvalid, std::format("{} overlaps {}, which {}", net.cidr, cidr_text(reserved.cidr), reserved.why), kChoose);
    for (const Cidr& metadata : kMetadataAddresses)
        if (overlap(cidr, metadata))
            return fail_hint(Kind::kInvalid, std::format("{} overlaps {}, where providers' metadata services answer", net.cidr, cidr_text(metadata)), kChoose);
    for (const auto& site : sites)
        if (const auto address = parse_ipv4(site.address); address && overlap(cidr, {*address, 32}))
            return fail_hint(Kind::kInvalid, std::format("{} holds {}, the address of site '{}': its host would look for it among the VMs", net.cidr, site.address, site.name), kChoose);
    if (same_addresses) return {};
    for (const auto& other : nets)
        if (const auto taken = parse_cidr(other.cidr); taken && overlap(cidr, *taken))
            return fail_hint(Kind::kConflict, std::format("{} overlaps network '{}' ({})", net.cidr, other.name, other.cidr),
                             "choose another range; or, for a tenant that must have these addresses, add --same-addresses: isolated, but a host reaches the VMs of only one of the two");
    return {};
}

}  // namespace blanket
