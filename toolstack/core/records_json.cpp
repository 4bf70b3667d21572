// SPDX-License-Identifier: GPL-2.0-or-later
// Records to JSON and back. What comes from the store is checked field by field: another site may run another version, or be hostile.
#include <limits>

#include "toolstack/base/text.hpp"
#include "toolstack/core/records.hpp"

namespace blanket {
namespace {

constexpr std::size_t kMaxList = 4096;

Result<std::vector<std::string>> string_list(const Json& object, std::string_view field) {
    std::vector<std::string> list;
    const auto it = object.find(field);
    if (it == object.end()) return list;
    if (!it->is_array() || it->size() > kMaxList) return fail(Kind::kInvalid, "field '{}' is not a list of up to {}", field, kMaxList);
    for (const auto& item : *it) {
        if (!item.is_string()) return fail(Kind::kInvalid, "field '{}' holds something other than text", field);
        list.push_back(item.get<std::string>());
    }
    return list;
}

Result<const Json*> object_list(const Json& object, std::string_view field) {
    static const Json kEmpty = Json::array();
    const auto it = object.find(field);
    if (it == object.end()) return &kEmpty;
    if (!it->is_array() || it->size() > kMaxList) return fail(Kind::kInvalid, "field '{}' is not a list of up to {}", field, kMaxList);
    return &*it;
}

Result<std::uint32_t> number32(const Json& object, std::string_view field, std::uint64_t max = std::numeric_limits<std::uint32_t>::max()) {
    BLANKET_TRY(const std::uint64_t value, json_number(object, field));
    if (value > max) return fail(Kind::kInvalid, "field '{}' is {}, more than {}", field, value, max);
    return static_cast<std::uint32_t>(value);
}

Result<std::string> uuid_field(const Json& value) {
    BLANKET_TRY(std::string uuid, json_string(value, "uuid"));
    BLANKET_CHECK(check_uuid(uuid));
    return uuid;
}

Result<std::string> name_field(const Json& object, std::string_view field) {
    BLANKET_TRY(std::string name, json_string(object, field));
    BLANKET_CHECK(check_name(name, field));
    return name;
}

Result<std::string> hash_field(const Json& object, std::string_view field) {
    BLANKET_TRY(std::string hash, json_string(object, field));
    if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos)
        return fail(Kind::kInvalid, "field '{}' is not a SHA-256", field);
    return hash;
}

}  // namespace

Json to_json(const VmRecord& vm) {
    Json value{{"uuid", vm.uuid},         {"name", vm.name},
               {"owner", vm.owner},       {"epoch", vm.epoch},
               {"phase", to_string(vm.phase)}, {"memory_mib", vm.memory_mib},
               {"vcpus", vm.vcpus},       {"definition", vm.definition},
               {"cpu_features", vm.cpu_features}, {"policy", vm.policy},
               {"created", vm.created},   {"nics", Json::array()},
               {"volumes", Json::array()}};
    for (const auto& fork : vm.forks) value["forks"].push_back({{"site", fork.site}, {"epoch", fork.epoch}, {"since", fork.since}});
    if (vm.standby) value["standby"] = {{"site", vm.standby->site}, {"epoch", vm.standby->epoch}, {"since", vm.standby->since}};
    if (vm.seed) value["seed"] = to_json(*vm.seed);
    if (vm.migration) value["migration"] = {{"id", vm.migration->id}, {"target", vm.migration->target}};
    for (const auto& nic : vm.nics) value["nics"].push_back({{"net", nic.net}, {"mac", nic.mac}, {"ip", nic.ip}});
    for (const auto& volume : vm.volumes)
        value["volumes"].push_back({{"id", volume.id}, {"image", volume.image}, {"size", volume.size}, {"target", volume.target}});
    return value;
}

Result<VmRecord> parse_vm(const Json& value) {
    VmRecord vm;
    BLANKET_TRY(vm.uuid, uuid_field(value));
    BLANKET_TRY(vm.name, name_field(value, "name"));
    BLANKET_TRY(vm.owner, name_field(value, "owner"));
    BLANKET_TRY(vm.epoch, json_number(value, "epoch"));
    BLANKET_TRY(const std::string phase, json_string(value, "phase"));
    BLANKET_TRY(vm.phase, parse_phase(phase));
    BLANKET_TRY(vm.memory_mib, number32(value, "memory_mib", 16u << 20));
    BLANKET_TRY(vm.vcpus, number32(value, "vcpus", 512));
    vm.definition = json_string_or(value, "definition", "");
    BLANKET_TRY(vm.cpu_features, string_list(value, "cpu_features"));
    vm.policy = json_string_or(value, "policy", kKeepRunning);
    BLANKET_CHECK(check_policy(vm.policy));
    if (const auto it = value.find("forks"); it != value.end()) {
        BLANKET_TRY(const Json* forks, object_list(value, "forks"));
        for (const auto& item : *forks) {
            Fork fork;
            BLANKET_TRY(fork.site, name_field(item, "site"));
            BLANKET_TRY(fork.epoch, json_number(item, "epoch"));
            fork.since = json_string_or(item, "since", "");
            if (fork.site == vm.owner) return fail(Kind::kInvalid, "record of VM '{}' names its owner '{}' as a fork", vm.name, fork.site);
            if (std::ranges::find(vm.forks, fork.site, &Fork::site) != vm.forks.end()) return fail(Kind::kInvalid, "record of VM '{}' names two forks at '{}'", vm.name, fork.site);
            vm.forks.push_back(fork);
        }
    }
    if (const auto it = value.find("standby"); it != value.end()) {
        Standby standby;
        BLANKET_TRY(standby.site, name_field(*it, "site"));
        BLANKET_TRY(standby.epoch, json_number(*it, "epoch"));
        standby.since = json_string_or(*it, "since", "");
        if (standby.site == vm.owner) return fail(Kind::kInvalid, "record of VM '{}' names its owner '{}' as its standby", vm.name, standby.site);
        vm.standby = standby;
    }
    if (const auto it = value.find("seed"); it != value.end()) {
        BLANKET_TRY(vm.seed, parse_seed_facts(*it));
    }
    vm.created = json_string_or(value, "created", "");
    if (const auto it = value.find("migration"); it != value.end() && it->is_object()) {
        Migration migration;
        BLANKET_TRY(migration.id, json_string(*it, "id"));
        BLANKET_TRY(migration.target, name_field(*it, "target"));
        vm.migration = migration;
    }
    if (vm.migration.has_value() != (vm.phase == Phase::kMigrating))
        return fail(Kind::kInvalid, "record of VM '{}' names a migration in phase '{}'", vm.name, phase);
    BLANKET_TRY(const Json* nics, object_list(value, "nics"));
    for (const auto& item : *nics) {
        Nic nic;
        BLANKET_TRY(nic.net, name_field(item, "net"));
        BLANKET_TRY(nic.mac, json_string(item, "mac"));
        BLANKET_CHECK(check_mac(nic.mac));
        BLANKET_TRY(nic.ip, json_string(item, "ip"));
        BLANKET_CHECK(parse_ipv4(nic.ip));
        vm.nics.push_back(nic);
    }
    BLANKET_TRY(const Json* volumes, object_list(value, "volumes"));
    for (const auto& item : *volumes) {
        Volume volume;
        BLANKET_TRY(volume.id, name_field(item, "id"));
        if (!json_string_or(item, "image", "").empty()) {
            BLANKET_TRY(volume.image, hash_field(item, "image"));
        }
        BLANKET_TRY(volume.size, json_number(item, "size"));
        if (volume.size == 0 || volume.size % 65536 != 0 || volume.size > (std::uint64_t{1} << 50))
            return fail(Kind::kInvalid, "volume '{}' has a size of {} bytes; it must be a multiple of 64 KiB up to 1 PiB", volume.id, volume.size);
        BLANKET_TRY(volume.target, name_field(item, "target"));
        vm.volumes.push_back(volume);
    }
    return vm;
}

Json to_json(const Gone& gone) { return {{"uuid", gone.uuid}, {"name", gone.name}, {"volumes", gone.volumes}, {"since", gone.since}}; }

Result<Gone> parse_gone(const Json& value) {
    Gone gone;
    BLANKET_TRY(gone.uuid, uuid_field(value));
    BLANKET_TRY(gone.name, name_field(value, "name"));
    BLANKET_TRY(gone.volumes, string_list(value, "volumes"));
    for (const auto& id : gone.volumes) BLANKET_CHECK(check_name(id, "volume"));
    BLANKET_TRY(gone.since, json_string(value, "since"));
    return gone;
}

Gone gone_of(const VmRecord& vm, const std::string& now) {
    Gone gone{vm.uuid, vm.name, {}, now};
    for (const auto& volume : vm.volumes) gone.volumes.push_back(volume.id);
    return gone;
}

Json to_json(const Site& site) {
    Json value{{"name", site.name}, {"index", site.index}, {"address", site.address}, {"wireguard_key", site.wireguard_key},
               {"role", site.role}, {"version", site.version}, {"member", std::to_string(site.member)}, {"state", site.state}};
    if (!site.provider.empty()) value["provider"] = site.provider;
    if (!site.path_mtu.empty()) value["path_mtu"] = site.path_mtu;
    if (site.ca) value["ca"] = {{"to", site.ca->to}, {"step", site.ca->step}};
    for (const auto& [name, heard] : site.heard) {
        Json& one = value["heard"][name] = Json::object();
        if (!heard.from.empty()) one["from"] = heard.from;
        if (heard.rtt_ms != 0) one["rtt_ms"] = heard.rtt_ms;
    }
    return value;
}

namespace {

constexpr std::size_t kLongestProvider = 120;  // bytes

// A measurement that makes no sense is none: the site does without it, rather than without its tunnels.
std::map<std::string, std::uint32_t> path_mtu_of(const Json& value) {
    constexpr std::size_t kMost = 254;  // sites
    std::map<std::string, std::uint32_t> out;
    const auto paths = value.find("path_mtu");
    if (paths == value.end() || !paths->is_object()) return out;
    for (const auto& [site, mtu] : paths->items())
        if (out.size() < kMost && check_name(site, "site") && mtu.is_number_unsigned() && mtu >= kSmallestPathMtu && mtu <= kLargestPathMtu) out[site] = mtu.get<std::uint32_t>();
    return out;
}

// The same. Nobody is sent to an address that no machine has, nor into the tunnels.
std::map<std::string, Heard> heard_of(const Json& value) {
    constexpr std::size_t kMost = 254;               // sites
    constexpr std::uint64_t kLongestTrip = 10'000;   // ms
    std::map<std::string, Heard> out;
    const auto list = value.find("heard");
    if (list == value.end() || !list->is_object()) return out;
    for (const auto& [site, said] : list->items()) {
        if (out.size() == kMost || !check_name(site, "site") || !said.is_object()) continue;
        Heard& heard = out[site];
        if (const auto from = parse_ipv4_port(json_string_or(said, "from", "")); from && is_host_address(from->ip) && !is_tunnel_address(from->ip)) heard.from = format_ipv4_port(*from);
        if (const std::uint64_t rtt = json_number_or(said, "rtt_ms", 0); rtt <= kLongestTrip) heard.rtt_ms = static_cast<std::uint32_t>(rtt);
    }
    return out;
}

// One that makes no sense is none: the site is waited for, as if it had said nothing.
std::optional<CaMark> ca_mark_of(const Json& value) {
    constexpr std::uint64_t kLastStep = 3;
    const auto mark = value.find("ca");
    if (mark == value.end() || !mark->is_object()) return std::nullopt;
    const auto to = hash_field(*mark, "to");
    const auto step = number32(*mark, "step", kLastStep);
    if (!to || !step) return std::nullopt;
    return CaMark{*to, *step};
}

}  // namespace

Result<Site> parse_site(const Json& value) {
    Site site;
    BLANKET_TRY(site.name, name_field(value, "name"));
    BLANKET_TRY(site.index, number32(value, "index", 254));
    BLANKET_TRY(site.address, json_string(value, "address"));
    BLANKET_CHECK(parse_ipv4(site.address));
    site.wireguard_key = json_string_or(value, "wireguard_key", "");
    if (!site.wireguard_key.empty()) {
        BLANKET_TRY(const std::string key, base64_decode(site.wireguard_key));
        if (key.size() != 32) return fail(Kind::kInvalid, "site '{}' has a WireGuard key of {} bytes", site.name, key.size());
    }
    site.role = json_string_or(value, "role", "client");
    site.version = json_string_or(value, "version", "");
    BLANKET_TRY(site.member, parse_number(json_string_or(value, "member", "0"), 0, std::numeric_limits<std::uint64_t>::max(), "member id"));
    site.state = json_string_or(value, "state", "joined");
    site.provider = json_string_or(value, "provider", "");
    if (site.provider.size() > kLongestProvider) site.provider.clear();  // as with a measurement that makes no sense
    site.path_mtu = path_mtu_of(value);
    site.ca = ca_mark_of(value);
    site.heard = heard_of(value);
    return site;
}

Json to_json(const Net& net) {
    Json value{{"name", net.name}, {"vni", net.vni}, {"cidr", net.cidr}, {"gateway", net.gateway}, {"mtu", net.mtu}};
    for (const auto& group : net.groups) value["groups"].push_back(to_json(group));
    if (net.deleting) value["deleting"] = true;
    for (const auto& anchor : net.anchors) value["anchors"].push_back(to_json(anchor));
    return value;
}

Result<Net> parse_net(const Json& value) {
    Net net;
    BLANKET_TRY(net.name, name_field(value, "name"));
    BLANKET_TRY(net.vni, number32(value, "vni", 0xffffff));
    BLANKET_TRY(net.cidr, json_string(value, "cidr"));
    BLANKET_TRY(const Cidr cidr, parse_cidr(net.cidr));
    BLANKET_TRY(net.gateway, json_string(value, "gateway"));
    BLANKET_TRY(const std::uint32_t gateway, parse_ipv4(net.gateway));
    if ((gateway & ~(0xffffffffu >> cidr.prefix)) != cidr.base)
        return fail(Kind::kInvalid, "gateway {} is outside of network {}", net.gateway, net.cidr);
    BLANKET_TRY(net.mtu, number32(value, "mtu", 9000));
    if (net.mtu < 576) return fail(Kind::kInvalid, "MTU {} of network '{}' is below 576", net.mtu, net.name);
    if (const auto groups = value.find("groups"); groups != value.end()) {
        BLANKET_TRY(net.groups, parse_groups(*groups));
    }
    net.deleting = json_bool_or(value, "deleting", false);
    if (const auto anchors = value.find("anchors"); anchors != value.end()) {
        BLANKET_TRY(net.anchors, parse_anchors(*anchors, net));
    }
    return net;
}

Json to_json(const Image& image) {
    return {{"name", image.name}, {"sha256", image.sha256}, {"size", image.size}, {"sites", image.sites}};
}

Result<Image> parse_image(const Json& value) {
    Image image;
    BLANKET_TRY(image.name, name_field(value, "name"));
    BLANKET_TRY(image.sha256, hash_field(value, "sha256"));
    BLANKET_TRY(image.size, json_number(value, "size"));
    BLANKET_TRY(image.sites, string_list(value, "sites"));
    return image;
}

Json to_json(const Token& token) {
    return {{"id", token.id}, {"secret_sha256", token.secret_sha256}, {"role", token.role},
            {"name", token.name}, {"expires", token.expires}, {"used", token.used}};
}

Result<Token> parse_token(const Json& value) {
    Token token;
    BLANKET_TRY(token.id, name_field(value, "id"));
    BLANKET_TRY(token.secret_sha256, hash_field(value, "secret_sha256"));
    BLANKET_TRY(token.role, json_string(value, "role"));
    token.name = json_string_or(value, "name", "");
    BLANKET_TRY(token.expires, json_number(value, "expires"));
    token.used = json_bool_or(value, "used", false);
    return token;
}

// Every field in a line of its own, and none of them can hold a newline (parse_revocation).
std::string Revocation::text() const {
    std::string out = std::format("blanket revocation 1\n{}\n{}\n{}\n{}\n", site, address, by, since);
    for (const auto& key : wireguard_keys) out += key + "\n";
    return out;
}

Json to_json(const Revocation& revocation) {
    return {{"site", revocation.site}, {"wireguard_keys", revocation.wireguard_keys}, {"address", revocation.address}, {"by", revocation.by},
            {"since", revocation.since}, {"cert", revocation.cert}, {"signature", revocation.signature}};
}

Result<Revocation> parse_revocation(const Json& value) {
    constexpr std::size_t kMostKeys = 8, kLongestCert = 4096, kLongestSignature = 400;
    Revocation revocation;
    BLANKET_TRY(revocation.site, name_field(value, "site"));
    BLANKET_TRY(revocation.wireguard_keys, string_list(value, "wireguard_keys"));
    if (revocation.wireguard_keys.size() > kMostKeys) return fail(Kind::kInvalid, "a revocation names {} WireGuard keys", revocation.wireguard_keys.size());
    for (const auto& text : revocation.wireguard_keys) {
        BLANKET_TRY(const std::string key, base64_decode(text));
        if (key.size() != 32 || text.size() != 44) return fail(Kind::kInvalid, "a revocation names a WireGuard key of {} bytes", key.size());
    }
    revocation.address = json_string_or(value, "address", "");
    if (!revocation.address.empty()) BLANKET_CHECK(parse_ipv4(revocation.address));
    BLANKET_TRY(revocation.by, name_field(value, "by"));
    BLANKET_TRY(revocation.since, json_string(value, "since"));
    if (revocation.since.size() > 40 || revocation.since.find_first_not_of("0123456789-:.TZ") != std::string::npos) return fail(Kind::kInvalid, "a revocation has no time");
    BLANKET_TRY(revocation.cert, json_string(value, "cert"));
    BLANKET_TRY(revocation.signature, json_string(value, "signature"));
    if (revocation.cert.size() > kLongestCert || revocation.signature.size() > kLongestSignature) return fail(Kind::kInvalid, "a revocation's certificate or signature is too long");
    return revocation;
}

}  // namespace blanket
