// SPDX-License-Identifier: GPL-2.0-or-later
// See group_edits.hpp.
#include "toolstack/core/group_edits.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"
#include "toolstack/core/net_rules.hpp"

namespace blanket {

Result<SecurityGroup*> find_group(Net& net, const std::string& name) {
    std::string known;
    for (auto& group : net.groups) {
        if (group.name == name) return &group;
        known += (known.empty() ? "" : ", ") + group.name;
    }
    return fail_hint(Kind::kNotFound, std::format("network '{}' has no security group '{}'", net.name, name.substr(0, 70)),
                     known.empty() ? std::format("it has none yet: blanket security-group create {} NAME", net.name) : "it has: " + known);
}

Result<void> add_group(Net& net, const std::string& name, bool everybody) {
    BLANKET_CHECK(check_name(name, "security group"));
    if (std::ranges::find(net.groups, name, &SecurityGroup::name) != net.groups.end())
        return fail_hint(Kind::kConflict, std::format("network '{}' has a security group '{}' already", net.name, name), std::format("blanket security-group show {} {}", net.name, name));
    if (net.groups.size() >= kMaxGroups)
        return fail_hint(Kind::kConflict, std::format("network '{}' has {} security groups, which is the most", net.name, kMaxGroups), "put rules of the same VMs into one group");
    net.groups.push_back({.name = name, .everybody = everybody, .rules = default_rules(), .vms = {}});
    return {};
}

Result<void> remove_group(Net& net, const std::string& name) {
    BLANKET_CHECK(find_group(net, name));
    for (const auto& group : net.groups)
        if (group.name != name)
            for (std::size_t i = 0; i < group.rules.size(); ++i)
                if (group.rules[i].remote_group == name)
                    return fail_hint(Kind::kConflict, std::format("rule {} of security group '{}' names the group '{}'", i + 1, group.name, name),
                                     std::format("blanket security-group remove-rule {} {} {}", net.name, group.name, i + 1));
    std::erase_if(net.groups, [&](const SecurityGroup& group) { return group.name == name; });
    return {};
}

Result<void> add_rule(Net& net, const std::string& group_name, const SecurityRule& rule) {
    BLANKET_TRY(SecurityGroup* const group, find_group(net, group_name));
    if (!rule.remote_group.empty()) BLANKET_CHECK(find_group(net, rule.remote_group));
    if (!rule.remote.empty()) {
        BLANKET_TRY(const Cidr remote, parse_remote(rule.remote));
        BLANKET_TRY(const Cidr cidr, parse_cidr(net.cidr));
        if (!overlap(cidr, remote))
            return fail_hint(Kind::kInvalid, std::format("{} is outside of network '{}' ({}), from which nothing else comes", rule.remote, net.name, net.cidr), "leave --remote out for anybody, or name addresses of the network");
    }
    if (std::ranges::find(group->rules, rule) != group->rules.end())
        return fail_hint(Kind::kConflict, std::format("security group '{}' has the rule '{}' already", group_name, to_text(rule)), std::format("blanket security-group show {} {}", net.name, group_name));
    if (group->rules.size() >= kMaxGroupRules)
        return fail_hint(Kind::kConflict, std::format("security group '{}' has {} rules, which is the most", group_name, kMaxGroupRules), "join ports to ranges and addresses to prefixes, or make a second group for the same VMs");
    group->rules.push_back(rule);
    return {};
}

Result<void> remove_rule(Net& net, const std::string& group_name, std::size_t number) {
    BLANKET_TRY(SecurityGroup* const group, find_group(net, group_name));
    if (number < 1 || number > group->rules.size())
        return fail_hint(Kind::kNotFound, std::format("security group '{}' has {} rules, and none with the number {}", group_name, group->rules.size(), number),
                         std::format("blanket security-group show {} {}", net.name, group_name));
    group->rules.erase(group->rules.begin() + static_cast<std::ptrdiff_t>(number - 1));
    return {};
}

Result<void> add_member(Net& net, const std::string& group_name, const VmRecord& vm) {
    BLANKET_TRY(SecurityGroup* const group, find_group(net, group_name));
    if (std::ranges::find(vm.nics, net.name, &Nic::net) == vm.nics.end())
        return fail_hint(Kind::kInvalid, std::format("VM '{}' has no card in network '{}'", vm.name, net.name), std::format("blanket vm show {}", vm.name));
    if (std::ranges::find(group->vms, vm.uuid) != group->vms.end()) return fail_hint(Kind::kConflict, std::format("VM '{}' is in security group '{}' already", vm.name, group_name), std::format("blanket security-group show {} {}", net.name, group_name));
    if (group->vms.size() >= kMaxGroupVms) return fail_hint(Kind::kConflict, std::format("security group '{}' has {} VMs, which is the most", group_name, kMaxGroupVms), "make another group with the same rules");
    group->vms.push_back(vm.uuid);
    return {};
}

Result<void> remove_member(Net& net, const std::string& group_name, const VmRecord& vm) {
    BLANKET_TRY(SecurityGroup* const group, find_group(net, group_name));
    if (std::erase(group->vms, vm.uuid) == 0)
        return fail_hint(Kind::kNotFound, std::format("VM '{}' was not put into security group '{}'", vm.name, group_name),
                         group->everybody ? "all VMs of the network are in it, for it was made so" : std::format("blanket security-group show {} {}", net.name, group_name));
    return {};
}

}  // namespace blanket
