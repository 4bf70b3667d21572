// SPDX-License-Identifier: GPL-2.0-or-later
// The registry's records from JSON: what another site, of another version or hostile, has written. Parsed, printed and parsed again they are the same. The first
// byte says which record it is.
#include "toolstack/core/records.hpp"

#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/fakes/sample_trace.hpp"
#include "toolstack/core/ca_rollover.hpp"
#include "toolstack/core/group_edits.hpp"
#include "toolstack/core/move_trace.hpp"
#include "toolstack/core/net_rules.hpp"

namespace blanket::fuzz {

const std::size_t target::kHeap = 2u << 20;

namespace {

constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

VmRecord sample_vm() {
    VmRecord vm;
    vm.uuid = kUuid;
    vm.name = "web";
    vm.owner = "east";
    vm.epoch = 3;
    vm.phase = Phase::kMigrating;
    vm.migration = Migration{"job-1", "west"};
    vm.memory_mib = 256;
    vm.definition = "<domain type='xen'/>";
    vm.cpu_features = {"avx", "sse2"};
    vm.nics = {{"lan", "02:00:00:00:00:01", "10.1.0.2"}};
    vm.volumes = {{"web-1", std::string(64, 'a'), 1u << 20, "xvda"}, {"web-2", "", 65536, "xvdb"}};
    vm.policy = kPause;
    vm.forks = {{"south", 2, "2026-11-21T19:20:21.123Z"}};
    vm.standby = Standby{"west", 2, "2026-11-21T19:20:21.123Z"};
    vm.seed = facts_of({"web.example.org", "#cloud-config\n", {}});
    vm.created = "2026-11-21T19:20:21.123Z";
    return vm;
}

Net sample_net() {
    Net net{"lan", 101, "10.1.0.0/24", "10.1.0.1", 1390, {{"web", false, default_rules(), {kUuid}}, {"all", true, {}, {}}}, true};
    net.groups[0].rules.push_back({true, RuleProto::kUdp, 80, 443, false, "10.1.0.0/25", ""});
    net.groups[0].rules.push_back({false, RuleProto::kTcp, 22, 22, true, "", "all"});
    net.groups[1].rules.push_back({true, RuleProto::kIcmp, 0, 0, false, "10.1.0.7/32", ""});
    return net;
}

Site sample_site() {
    Site site{.name = "east", .index = 1, .address = "192.0.2.1", .wireguard_key = std::string(43, 'A') + "=", .role = "voter", .version = "0.1.0", .member = ~std::uint64_t{0}};
    site.path_mtu = {{"west", 1420}};
    site.heard = {{"west", {"203.0.113.7:40123", 32}}, {"home", {}}};
    site.ca = CaMark{std::string(64, 'd'), 2};
    return site;
}

CaStatement sample_ca_statement() {
    CaStatement statement;
    statement.from = std::string(64, 'd');
    statement.to = std::string(64, 'e');
    statement.cert = "-----BEGIN CERTIFICATE-----\n";
    statement.step = CaStep::kIssue;
    statement.serial = 7;
    statement.without = {"north", "west"};
    statement.by = "east";
    statement.since = "2026-11-21T19:20:21.123Z";
    statement.signature = "c2lnbmVk";
    return statement;
}

template <typename T>
void check(const Json& value, Result<T> (*parse)(const Json&)) {
    const auto record = parse(value);
    require_refusal(record, "a record");
    if (!record) return;
    const Json printed = to_json(*record);
    const auto again = parse(printed);
    require_value(again, "a record that was printed");
    require(*again == *record, "another record after printing: " + printed.dump());
    require(to_json(*again) == printed, "another text after printing");
    const auto text = parse_json(printed.dump());
    require_value(text, "a record's text");
    const auto by_text = parse(*text);
    require_value(by_text, "a record by its text");
    require(*by_text == *record, "another record by its text: " + printed.dump());
}

Result<std::vector<SecurityGroup>> groups_of(const Json& value) { return parse_groups(value); }

void check_net_rules(const Json& value) {
    const auto net = parse_net(value);
    if (!net) return;
    require_refusal(check_new_net(*net, {sample_net()}, {sample_site()}, false), "check_new_net", Kind::kConflict);
    const auto free = allocate_ip(*net, {sample_vm()});
    require_refusal(free, "allocate_ip", Kind::kConflict);
    if (free) {
        const auto cidr = parse_cidr(net->cidr);
        require_value(cidr, "the range of a network");
        require(inside(*cidr, parse_ipv4(*free).value()) && *free != net->gateway, "an address that is not free: " + *free);
        require_refusal(check_card({net->name, "02:00:00:00:00:09", *free}, &*net), "check_card", Kind::kConflict);
    }
    for (const auto& group : net->groups)
        for (const auto& rule : group.rules) require(!to_text(rule).empty() && !to_text(rule).contains('\n'), "a rule in words");
}

}  // namespace

std::vector<std::string> target::seeds() {
    Json groups = Json::array();
    for (const auto& group : sample_net().groups) groups.push_back(to_json(group));
    const Seed seed{"web.example.org", "#cloud-config\npackages: [nginx]\n", {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me@here"}};
    VmRecord plain = sample_vm();
    plain.phase = Phase::kStopped;
    plain.migration.reset();
    plain.standby.reset();
    std::string trace = "t" + to_json(fakes::sample_trace()).dump();
    if (trace.size() > 4096) trace = "t" + to_json(MoveTrace{}).dump();
    return {"v" + to_json(sample_vm()).dump(), "v" + to_json(plain).dump(), "g" + to_json(gone_of(sample_vm(), "2026-11-21T19:20:21.123Z")).dump(),
            "s" + to_json(sample_site()).dump(), "c" + to_json(sample_ca_statement()).dump(), "n" + to_json(sample_net()).dump(), "G" + groups.dump(),
            "i" + to_json(Image{"debian", std::string(64, 'b'), 1u << 30, {"east", "west"}}).dump(),
            "T" + to_json(Token{"0123456789abcdef", std::string(64, 'c'), "site", "west", 1'800'000'000, true}).dump(), "e" + to_json(seed).dump(),
            "f" + to_json(facts_of(seed)).dump(), "r" + to_json(sample_net().groups[0].rules.back()).dump(), trace,
            "p" + to_json(std::vector<TracePhase>{{"greet", 1, 2}, {"commit", 3, 9}}).dump(),
            "R" + Json{{"direction", "ingress"}, {"proto", "tcp"}, {"ports", "80-443"}, {"remote", "10.0.0.0/8"}}.dump(), "k" + seed.ssh_keys[0] + "\n# none\n\n"};
}

void target::run(Input input) {
    const char which = static_cast<char>(input.byte());
    const std::string text = input.rest_text();
    if (which == 'k') {
        const auto keys = parse_ssh_keys(text);
        require_refusal(keys, "parse_ssh_keys");
        if (keys)
            for (const auto& key : *keys) require(key.find_first_of(std::string("\n\r\0", 3)) == std::string::npos, "a key of two lines");
        (void)doubt_user_data(text);
        return;
    }
    const auto value = parse_json(text);
    if (!value) return;
    switch (which) {
        case 'v': check<VmRecord>(*value, parse_vm); break;
        case 'g': check<Gone>(*value, parse_gone); break;
        case 's': check<Site>(*value, parse_site); break;
        case 'c': check<CaStatement>(*value, parse_ca_statement); break;
        case 'n':
            check<Net>(*value, parse_net);
            check_net_rules(*value);
            break;
        case 'i': check<Image>(*value, parse_image); break;
        case 'T': check<Token>(*value, parse_token); break;
        case 'e': check<Seed>(*value, parse_seed); break;
        case 'f': check<SeedFacts>(*value, parse_seed_facts); break;
        case 'r':
        case 'R': check<SecurityRule>(*value, parse_rule); break;
        case 't': check<MoveTrace>(*value, parse_move_trace); break;
        case 'p': check<std::vector<TracePhase>>(*value, parse_trace_phases); break;
        case 'G': require_refusal(groups_of(*value), "parse_groups"); break;
        default: break;
    }
}

}  // namespace blanket::fuzz
