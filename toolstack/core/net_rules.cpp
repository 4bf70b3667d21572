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
    for (const auto& other : nets)
        if (const auto taken = parse_cidr(other.cidr); taken && !other.anchors.empty() && overlap(cidr, *taken))
            return fail_hint(Kind::kConflict, std::format("{} overlaps network '{}' ({}), of which VMs are public: a host has one routing table, and could not tell the two apart", net.cidr, other.name, other.cidr), kChoose);
    if (same_addresses) return {};
    for (const auto& other : nets)
        if (const auto taken = parse_cidr(other.cidr); taken && overlap(cidr, *taken))
            return fail_hint(Kind::kConflict, std::format("{} overlaps network '{}' ({})", net.cidr, other.name, other.cidr),
                             "choose another range; or, for a tenant that must have these addresses, add --same-addresses: isolated, but a host reaches the VMs of only one of the two");
    return {};
}

Result<void> check_open(const Net& net) {
    if (!net.deleting) return {};
    return fail_hint(Kind::kConflict, std::format("network '{}' is being deleted", net.name), std::format("choose another one (blanket net list), or finish that first: blanket net delete {}", net.name));
}

Result<void> check_card(const Nic& nic, const Net* net) {
    if (net == nullptr) return fail_hint(Kind::kNotFound, std::format("there is no network '{}' any more", nic.net), "blanket net list shows all");
    BLANKET_CHECK(check_open(*net));
    BLANKET_TRY(const Cidr cidr, parse_cidr(net->cidr));
    BLANKET_TRY(const std::uint32_t address, parse_ipv4(nic.ip));
    if (std::ranges::find(net->anchors, nic.ip, &Anchor::ip) != net->anchors.end())
        return fail_hint(Kind::kConflict, std::format("{} is the anchor's of network '{}' at a site, for what its VMs show to the outside world", nic.ip, net->name), "choose another address: blanket net show " + net->name);
    if (inside(cidr, address) && nic.ip != net->gateway) return {};
    return fail_hint(Kind::kInvalid, std::format("{} is no VM's address in network '{}' ({})", nic.ip, net->name, net->cidr), "was the network made anew meanwhile? try again");
}

Result<void> check_unused(const std::string& net, const std::vector<VmRecord>& vms) {
    constexpr std::size_t kNamed = 5;
    std::vector<std::string> users;
    for (const auto& vm : vms)
        if (std::ranges::find(vm.nics, net, &Nic::net) != vm.nics.end()) users.push_back(vm.name);
    if (users.empty()) return {};
    std::ranges::sort(users);
    std::string named;
    for (std::size_t i = 0; i < std::min(users.size(), kNamed); ++i) named += (i == 0 ? "" : ", ") + users[i];
    if (users.size() > kNamed) named += std::format(" and {} more", users.size() - kNamed);
    return fail_hint(Kind::kConflict, std::format("network '{}' is used by {} VM{}: {}", net, users.size(), users.size() == 1 ? "" : "s", named),
                     std::format("delete what is no longer wanted, then try again: blanket vm delete {}", users.front()));
}

}  // namespace blanket
