// SPDX-License-Identifier: GPL-2.0-or-later
// Names of the records' states, and the address allocator; the JSON form is in records_json.cpp, address syntax in addresses.cpp.
#include "toolstack/core/records.hpp"

#include <algorithm>
#include <array>
#include <format>
#include <set>

#include "toolstack/core/ports.hpp"

namespace blanket {

Result<void> check_policy(std::string_view policy) {
    if (policy == kKeepRunning || policy == kPause) return {};
    return fail_hint(Kind::kInvalid, std::format("'{}' is no policy", policy.substr(0, 40)), std::format("give {} or {}", kKeepRunning, kPause));
}
namespace {

constexpr std::array<std::pair<Phase, std::string_view>, 5> kPhases{{
    {Phase::kStopped, "stopped"}, {Phase::kRunning, "running"}, {Phase::kSettling, "settling"}, {Phase::kMigrating, "migrating"}, {Phase::kDeleting, "deleting"}}};

constexpr std::array<std::pair<DomainState, std::string_view>, 6> kStates{{
    {DomainState::kRunning, "running"}, {DomainState::kPaused, "paused"}, {DomainState::kShutoff, "shutoff"},
    {DomainState::kCrashed, "crashed"}, {DomainState::kSuspended, "suspended"}, {DomainState::kDying, "dying"}}};

}  // namespace

std::string_view to_string(Phase phase) {
    for (const auto& [value, name] : kPhases)
        if (value == phase) return name;
    return "unknown";
}

Result<Phase> parse_phase(std::string_view text) {
    for (const auto& [value, name] : kPhases)
        if (name == text) return value;
    return fail(Kind::kInvalid, "'{}' is not a phase of a VM", text.substr(0, 40));
}

std::string_view to_string(DomainState state) {
    for (const auto& [value, name] : kStates)
        if (value == state) return name;
    return "unknown";
}

Result<std::string> allocate_ip(const Net& net, const std::vector<VmRecord>& vms) {
    BLANKET_TRY(const Cidr cidr, parse_cidr(net.cidr));
    std::set<std::uint32_t> used;
    for (const auto& vm : vms)
        for (const auto& nic : vm.nics)
            if (nic.net == net.name)
                if (const auto ip = parse_ipv4(nic.ip)) used.insert(*ip);
    BLANKET_TRY(const std::uint32_t gateway, parse_ipv4(net.gateway));
    used.insert(gateway);
    for (const auto& anchor : net.anchors)
        if (const auto ip = parse_ipv4(anchor.ip)) used.insert(*ip);
    const std::uint32_t broadcast = cidr.base | (0xffffffffu >> cidr.prefix);
    for (std::uint32_t ip = cidr.base + 1; ip < broadcast; ++ip)
        if (!used.contains(ip)) return format_ipv4(ip);
    return fail_hint(Kind::kConflict, std::format("network '{}' ({}) has no free address", net.name, net.cidr),
                     "delete VMs of this network or create a larger one: blanket net create");
}

}  // namespace blanket
