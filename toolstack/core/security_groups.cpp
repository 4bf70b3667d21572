// SPDX-License-Identifier: GPL-2.0-or-later
// See security_groups.hpp.
#include "toolstack/core/security_groups.hpp"

#include <algorithm>
#include <array>
#include <format>

#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

struct ProtoWord {
    RuleProto proto;
    std::string_view word;
};
constexpr std::array<ProtoWord, 4> kProtoWords{{{RuleProto::kAny, "any"}, {RuleProto::kIcmp, "icmp"}, {RuleProto::kTcp, "tcp"}, {RuleProto::kUdp, "udp"}}};

std::string_view word_of(RuleProto proto) { return std::ranges::find(kProtoWords, proto, &ProtoWord::proto)->word; }

std::string ports_text(const SecurityRule& rule) {
    if (rule.first_port == 0) return {};
    return rule.first_port == rule.last_port ? std::format("{}", rule.first_port) : std::format("{}-{}", rule.first_port, rule.last_port);
}

Result<void> parse_ports(SecurityRule& rule, const std::string& text) {
    if (text.empty()) return {};
    if (rule.proto != RuleProto::kTcp && rule.proto != RuleProto::kUdp)
        return fail_hint(Kind::kInvalid, std::format("a rule of protocol {} has no ports", word_of(rule.proto)), "add --proto tcp or --proto udp");
    const auto dash = text.find('-');
    BLANKET_TRY(const auto first, parse_number(text.substr(0, dash), 1, 65535, "port"));
    auto last = first;
    if (dash != std::string::npos) {
        BLANKET_TRY(last, parse_number(text.substr(dash + 1), 1, 65535, "port"));
    }
    if (last < first) return fail_hint(Kind::kInvalid, std::format("the port range {} ends before it begins", text.substr(0, 20)), std::format("write {}-{}", last, first));
    rule.first_port = static_cast<std::uint16_t>(first);
    rule.last_port = static_cast<std::uint16_t>(last);
    return {};
}

Result<SecurityGroup> parse_group(const Json& value) {
    SecurityGroup group;
    BLANKET_TRY(group.name, json_string(value, "name"));
    BLANKET_CHECK(check_name(group.name, "security group"));
    group.everybody = json_bool_or(value, "everybody", false);
    const auto rules = value.find("rules"), vms = value.find("vms");
    if (rules != value.end()) {
        if (!rules->is_array() || rules->size() > kMaxGroupRules) return fail(Kind::kInvalid, "security group '{}' has no list of up to {} rules", group.name, kMaxGroupRules);
        for (const auto& item : *rules) {
            BLANKET_TRY(SecurityRule rule, parse_rule(item));
            group.rules.push_back(std::move(rule));
        }
    }
    if (vms == value.end()) return group;
    if (!vms->is_array() || vms->size() > kMaxGroupVms) return fail(Kind::kInvalid, "security group '{}' has no list of up to {} VMs", group.name, kMaxGroupVms);
    for (const auto& item : *vms) {
        if (!item.is_string()) return fail(Kind::kInvalid, "security group '{}' names a VM by something other than text", group.name);
        group.vms.push_back(item.get<std::string>());
        BLANKET_CHECK(check_uuid(group.vms.back()));
    }
    return group;
}

}  // namespace

Result<Cidr> parse_remote(std::string_view text) {
    const auto slash = text.find('/');
    BLANKET_TRY(const std::uint32_t base, parse_ipv4(text.substr(0, slash)));
    std::uint64_t prefix = 32;
    if (slash != std::string_view::npos) {
        BLANKET_TRY(prefix, parse_number(text.substr(slash + 1), 0, 32, "prefix length"));
    }
    const std::uint32_t mask = prefix == 0 ? 0 : 0xffff'ffffu << (32 - prefix);
    if ((base & ~mask) != 0)
        return fail_hint(Kind::kInvalid, std::format("'{}' has host bits set", text.substr(0, 30)), std::format("did you mean {}/{}?", format_ipv4(base & mask), prefix));
    return Cidr{base, static_cast<unsigned>(prefix)};
}

std::vector<SecurityRule> default_rules() {
    SecurityRule out, answers;
    out.ingress = false;
    answers.proto = RuleProto::kTcp;
    answers.established = true;
    return {out, answers};
}

Json to_json(const SecurityRule& rule) {
    return {{"direction", rule.ingress ? "ingress" : "egress"}, {"proto", word_of(rule.proto)}, {"ports", ports_text(rule)}, {"established", rule.established},
            {"remote", rule.remote}, {"remote_group", rule.remote_group}};
}

Json to_json(const SecurityGroup& group) {
    Json rules = Json::array();
    for (const auto& rule : group.rules) rules.push_back(to_json(rule));
    return {{"name", group.name}, {"everybody", group.everybody}, {"rules", rules}, {"vms", group.vms}};
}

std::string to_text(const SecurityRule& rule) {
    std::string text = std::format("{} {}", rule.ingress ? "ingress" : "egress", word_of(rule.proto));
    if (const auto ports = ports_text(rule); !ports.empty()) text += " " + ports;
    if (rule.established) text += " established";
    const char* way = rule.ingress ? "from" : "to";
    if (!rule.remote_group.empty()) return text + std::format(" {} group {}", way, rule.remote_group);
    return text + std::format(" {} {}", way, rule.remote.empty() ? "anybody" : rule.remote);
}

Result<SecurityRule> parse_rule(const Json& value) {
    SecurityRule rule;
    BLANKET_TRY(const std::string direction, json_string(value, "direction"));
    if (direction != "ingress" && direction != "egress")
        return fail_hint(Kind::kInvalid, std::format("'{}' is no direction of a rule", direction.substr(0, 30)), "use ingress (to the VM) or egress (from the VM)");
    rule.ingress = direction == "ingress";
    const std::string proto = json_string_or(value, "proto", "any");
    const auto known = std::ranges::find(kProtoWords, proto, &ProtoWord::word);
    if (known == kProtoWords.end())
        return fail_hint(Kind::kInvalid, std::format("'{}' is no protocol of a rule", proto.substr(0, 30)), "use any, icmp, tcp or udp");
    rule.proto = known->proto;
    BLANKET_CHECK(parse_ports(rule, json_string_or(value, "ports", "")));
    rule.established = json_bool_or(value, "established", false);
    if (rule.established && rule.proto != RuleProto::kTcp)
        return fail_hint(Kind::kInvalid, "only TCP tells a packet of an established connection from a first one", "add --proto tcp");
    rule.remote = json_string_or(value, "remote", "");
    rule.remote_group = json_string_or(value, "remote_group", "");
    if (!rule.remote.empty() && !rule.remote_group.empty())
        return fail_hint(Kind::kInvalid, "a rule has one remote end, addresses or a group", "make two rules");
    if (!rule.remote.empty()) BLANKET_CHECK(parse_remote(rule.remote));
    if (!rule.remote_group.empty()) BLANKET_CHECK(check_name(rule.remote_group, "security group"));
    return rule;
}

Result<std::vector<SecurityGroup>> parse_groups(const Json& list) {
    std::vector<SecurityGroup> groups;
    if (!list.is_array() || list.size() > kMaxGroups) return fail(Kind::kInvalid, "not a list of up to {} security groups", kMaxGroups);
    for (const auto& item : list) {
        BLANKET_TRY(SecurityGroup group, parse_group(item));
        if (std::ranges::find(groups, group.name, &SecurityGroup::name) != groups.end()) return fail(Kind::kInvalid, "two security groups have the name '{}'", group.name);
        groups.push_back(std::move(group));
    }
    for (const auto& group : groups)
        for (const auto& rule : group.rules)
            if (!rule.remote_group.empty() && std::ranges::find(groups, rule.remote_group, &SecurityGroup::name) == groups.end())
                return fail(Kind::kInvalid, "a rule of security group '{}' names the group '{}', which is not there", group.name, rule.remote_group);
    return groups;
}

}  // namespace blanket
