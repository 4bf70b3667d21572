// SPDX-License-Identifier: GPL-2.0-or-later
// See trace.hpp.
#include "net/trace.hpp"

#include <algorithm>
#include <unordered_map>

#include "net/anchors.hpp"
#include "net/ovs.hpp"
#include "net/trace_reason.hpp"
#include "net/walk.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

constexpr std::uint16_t kTraceClientPort = 40000, kArpType = 0x0806;
constexpr std::uint8_t kPing = 8, kPong = 0;
constexpr unsigned kMaxSites = 4;  // a redirect adds one to two

// What the planner of another site makes of the records, as far as we can tell: no move is under way there, and what is to run is plugged.
World seen_from(const World& here, const std::string& site) {
    World out{.site = site, .nets = here.nets, .vms = here.vms, .sites = here.sites, .ports = {}, .handovers = {}, .armed = {}, .released = {}};
    std::uint32_t number = 1;
    out.ports.tunnel = number++;
    for (const auto& net : here.nets) out.ports.gateways[net.vni] = number++;
    for (const auto& vm : here.vms) {
        if (vm.owner != site || vm.phase == Phase::kStopped || vm.phase == Phase::kDeleting) continue;
        for (const auto& nic : vm.nics)
            if (const auto mac = parse_mac(nic.mac)) out.ports.vms.push_back({vm.uuid, *mac, number++, "a port of VM '" + vm.name + "'"});
    }
    return out;
}

struct SiteView {
    World world;
    std::vector<Flow> flows;
    std::vector<Endpoint> endpoints;
    std::uint32_t address = 0;  // of its tunnel
};

struct Delivery {
    std::string site;
    std::uint32_t port = 0;
    Frame frame;
    bool answered = false;  // sent back to where it came from: ARP
};

class Tracer final {
public:
    Tracer(const World& here, const std::vector<FlowText>* installed) : here_(here), installed_(installed) {
        if (installed == nullptr) return;
        for (const auto& flow : *installed) present_.emplace(flow.key(), &flow);
    }

    SiteView& view(const std::string& site) {
        const auto known = views_.find(site);
        if (known != views_.end()) return known->second;
        SiteView out{.world = site == here_.site ? here_ : seen_from(here_, site), .flows = {}, .endpoints = {}};
        std::vector<std::string> quiet;
        out.address = plan_underlay(site, here_.sites, kUplinkMtu, quiet).address;
        if (out.address == 0) out.world.ports.tunnel = 0;
        out.flows = plan_flows(out.world, quiet);
        out.endpoints = resolve(out.world, quiet);
        return views_.emplace(site, std::move(out)).first->second;
    }

    // Follows one frame until somebody has it; nothing: it was dropped, and `drop` says why.
    std::optional<Delivery> follow(const std::string& way, std::string site, std::uint32_t port, Frame frame, const Endpoint& speaker) {
        std::string from_site;
        for (unsigned sites = 0; sites < kMaxSites; ++sites) {
            SiteView& at = view(site);
            std::vector<WalkStep> steps;
            const auto sent = walk(at.flows, frame, port, &steps);
            for (std::size_t i = 0; i < steps.size(); ++i) tell(way, at, steps[i], i + 1 < steps.size() ? &steps[i + 1] : nullptr, sent, port);
            if (sent.empty()) {
                drop = explain_drop(at.world, steps.back(), frame, at.endpoints, speaker, from_site);
                return std::nullopt;
            }
            const Sent& one = sent.front();
            if (at.world.ports.tunnel == 0 || one.port != at.world.ports.tunnel) return Delivery{site, one.port, one.frame, one.port == port};
            const std::string next = site_of(one.tun_dst);
            if (next.empty()) {
                drop = {std::format("site '{}' sends it to {}, where no site is", site, format_ipv4(one.tun_dst)), "blanket site list"};
                return std::nullopt;
            }
            frame = one.frame;
            frame.tun_id = one.tun_id;
            frame.tun_src = at.address;
            from_site = std::exchange(site, next);
            port = view(site).world.ports.tunnel;
        }
        drop = {"it is sent from site to site without an end", "blanket doctor at each of them"};
        return std::nullopt;
    }

    [[nodiscard]] std::string name_of(const SiteView& at, std::uint32_t port) const {
        const auto vm_name = [&](const std::string& uuid) {
            const auto vm = std::ranges::find(at.world.vms, uuid, &VmRecord::uuid);
            return vm == at.world.vms.end() ? uuid : vm->name;
        };
        for (const auto& one : at.world.ports.vms)
            if (one.port == port) return std::format("VM '{}'", vm_name(one.uuid));
        for (const auto& one : at.world.ports.holds)
            if (one.port == port) return std::format("the queue of frames that wait for VM '{}'", vm_name(one.uuid));
        for (const auto& [vni, number] : at.world.ports.gateways)
            if (number == port) return std::format("the host '{}' ({})", at.world.site, gateway_name(vni));
        return std::format("port {}", port);
    }

    DropReason drop;
    std::vector<TraceHop> hops;

private:
    [[nodiscard]] std::string site_of(std::uint32_t address) const {
        std::vector<std::string> quiet;
        for (const auto& site : here_.sites)
            if (plan_underlay(site.name, here_.sites, kUplinkMtu, quiet).address == address) return site.name;
        return {};
    }

    void tell(const std::string& way, const SiteView& at, const WalkStep& step, const WalkStep* next, const std::vector<Sent>& sent, std::uint32_t in_port) {
        TraceHop hop{.way = way, .site = at.world.site, .table = std::string(table_name(step.table)), .entry = "-", .verdict = "dropped", .installed = {}};
        if (next != nullptr) hop.verdict = std::format("goes on to {}", table_name(next->table));
        else if (!sent.empty()) hop.verdict = verdict_of(at, sent.front(), in_port);
        if (step.flow != nullptr) {
            const FlowText text = to_flow_text(*step.flow);
            const std::string match = match_text(step.flow->match);
            hop.entry = std::format("{}{}", match.empty() ? "everything else" : match, match.empty() ? "" : std::format(" (priority {})", text.priority));
            if (at.world.site == here_.site && installed_ != nullptr) {
                const auto found = present_.find(text.key());
                hop.installed = found == present_.end() ? "missing" : found->second->actions == text.actions ? "yes" : "differs";
            }
        }
        hops.push_back(std::move(hop));
    }

    [[nodiscard]] std::string verdict_of(const SiteView& at, const Sent& sent, std::uint32_t in_port) const {
        if (sent.port == in_port && sent.frame.ether_type == kArpType) return std::format("answered: {} is at {}", format_ipv4(sent.frame.arp_spa), format_mac(sent.frame.arp_sha));
        if (at.world.ports.tunnel != 0 && sent.port == at.world.ports.tunnel) {
            const std::string to = site_of(sent.tun_dst);
            return std::format("by the tunnel to site '{}'", to.empty() ? format_ipv4(sent.tun_dst) : to);
        }
        return "to " + name_of(at, sent.port);
    }

    const World& here_;
    const std::vector<FlowText>* installed_;
    std::unordered_map<std::string, const FlowText*> present_;
    std::map<std::string, SiteView> views_;
};

Result<Endpoint> find_source(const World& here, const TraceQuery& query) {
    std::vector<std::string> warnings;
    const auto all = resolve(here, warnings);
    const auto target = parse_ipv4(query.to);
    const auto net_of = [&](const Endpoint& one) { return std::ranges::find(here.nets, one.vni, &Net::vni); };
    const auto address = parse_ipv4(query.from);
    std::vector<const Endpoint*> found;
    for (const auto& one : all)
        if (address ? one.ip == *address : one.name == query.from || one.uuid == query.from) found.push_back(&one);
    if (found.empty()) {
        for (const auto& vm : here.vms)
            if (vm.name == query.from || vm.uuid == query.from)
                return fail_hint(Kind::kInvalid, std::format("VM '{}' has no network card that can be used{}{}", vm.name, warnings.empty() ? "" : ": ", warnings.empty() ? "" : warnings.front()),
                                 std::format("blanket vm show {}", vm.name));
        return fail_hint(Kind::kNotFound, std::format("there is no VM with the name or address '{}'", query.from.substr(0, 70)), "blanket vm list shows all");
    }
    if (address && found.size() > 1)
        return fail_hint(Kind::kInvalid, std::format("{} is the address of VM '{}' and of VM '{}', in different networks", query.from, found[0]->name, found[1]->name), "name the VM instead of its address");
    for (const auto* one : found)  // of several cards the one whose network the target is in
        if (const auto net = net_of(*one); target && net != here.nets.end())
            if (const auto cidr = parse_cidr(net->cidr); cidr && inside(*cidr, *target)) return *one;
    return *found.front();
}

Result<std::uint32_t> find_target(const World& here, const std::string& to, const Endpoint& source) {
    if (const auto address = parse_ipv4(to)) return *address;
    std::vector<std::string> quiet;
    for (const auto& one : resolve(here, quiet))
        if (one.vni == source.vni && (one.name == to || one.uuid == to)) return one.ip;
    return fail_hint(Kind::kInvalid, std::format("'{}' is neither an IPv4 address nor a VM in the network of VM '{}'", to.substr(0, 70), source.name), "give --to an address like 10.42.0.3");
}

std::uint32_t port_of(const World& world, const Endpoint& endpoint) {
    for (const auto& port : world.ports.vms)
        if (port.uuid == endpoint.uuid && port.mac == endpoint.mac) return port.port;
    return 0;
}

Frame first_frame(const TraceQuery& query, const Endpoint& source, std::uint32_t target, Mac target_mac) {
    Frame frame{.eth_src = source.mac, .eth_dst = target_mac, .ip_src = source.ip, .ip_dst = target, .ip_proto = static_cast<std::uint8_t>(query.proto),
                .l4_src = kTraceClientPort, .l4_dst = query.port, .icmp_type = kPing};
    frame.syn = query.proto == IpProto::kTcp;
    return frame;
}

Frame answer_to(Frame frame) {
    std::swap(frame.eth_src, frame.eth_dst);
    std::swap(frame.ip_src, frame.ip_dst);
    std::swap(frame.l4_src, frame.l4_dst);
    frame.icmp_type = kPong;
    frame.ack = frame.syn;
    frame.tun_id = 0;
    frame.tun_src = 0;
    return frame;
}

void give_up(Trace& out, DropReason why) {
    out.verdict = "dropped";
    out.reason = std::move(why.reason);
    out.next = std::move(why.next);
}

// There and back. `net`: the source's.
void run(Trace& out, Tracer& tracer, const TraceQuery& query, const Net& net, const std::string& owner, const Endpoint& source, std::uint32_t target) {
    SiteView& start = tracer.view(owner);
    const auto cidr = parse_cidr(net.cidr);
    if (!cidr || !inside(*cidr, target))
        return give_up(out, {std::format("{} is no host's address in network '{}' ({}), and a network has no way out yet: the guest has no route to it", format_ipv4(target), net.name, net.cidr), "blanket net list; give the VM a card in that network"});
    if (target == source.ip) return give_up(out, {std::format("{} is the VM's own address: the packet does not leave it", format_ipv4(target)), "give --to another address"});
    const std::uint32_t port = port_of(start.world, source);
    if (port == 0) return give_up(out, explain_unplugged(start.world, source));

    const Frame ask{.eth_src = source.mac, .eth_dst = kBroadcastMac, .ether_type = kArpType, .arp_spa = source.ip, .arp_tpa = target, .arp_sha = source.mac};
    const auto resolved = tracer.follow("arp", owner, port, ask, source);
    if (!resolved || !resolved->answered) return give_up(out, tracer.drop);
    const Frame there = first_frame(query, source, target, resolved->frame.arp_sha);
    const auto got = tracer.follow("there", owner, port, there, source);
    if (!got) return give_up(out, tracer.drop);
    SiteView& end = tracer.view(got->site);
    out.verdict = "delivered";
    out.reason = std::format("{} at '{}' gets it", tracer.name_of(end, got->port), got->site);

    Endpoint receiver = source;  // the host's gateway, unless a VM has the address
    receiver.name = "gateway";
    receiver.uuid.clear();
    for (const auto& one : end.endpoints)
        if (one.vni == source.vni && one.ip == target) receiver = one;
    if (!receiver.uuid.empty() && port_of(end.world, receiver) != got->port) return;  // it waits in a queue
    if (tracer.follow("back", got->site, got->port, answer_to(there), receiver)) {
        out.answer = "delivered";
        return;
    }
    out.answer = "dropped";
    out.reason += std::format(", but the answer does not come back: {}", tracer.drop.reason);
    out.next = tracer.drop.next;
}

std::string_view name_of(IpProto proto) { return proto == IpProto::kUdp ? "udp" : "tcp"; }

// From outside to a public port, and the answer. The first and the last hop are those of the anchor's host.
Result<Trace> run_public(const World& here, Tracer& tracer, const TraceQuery& query) {
    std::vector<std::string> warnings;
    const auto endpoints = resolve(here, warnings);
    warnings.clear();
    const auto anchors = plan_anchors(here, endpoints, warnings);
    const AnchorPoint* anchor = nullptr;
    const AnchorPort* port = nullptr;
    std::string all;
    for (const auto& one : anchors)
        for (const auto& item : one.ports) {
            if (item.vm != query.from && item.uuid != query.from) continue;
            all += std::format("{}{}:{} at '{}'", all.empty() ? "" : ", ", name_of(item.proto), item.port, one.site);
            if (port == nullptr && item.proto == query.proto && item.port == query.port && (query.at.empty() || query.at == one.site)) {
                anchor = &one;
                port = &item;
            }
        }
    if (port == nullptr)
        return fail_hint(Kind::kNotFound, std::format("VM '{}' has no public port {}:{}{}{}{}", query.from.substr(0, 70), name_of(query.proto), query.port, query.at.empty() ? "" : " at '" + query.at + "'",
                                                      all.empty() ? "" : "; it has " + all, warnings.empty() ? "" : "; " + warnings.front()),
                         std::format("blanket net expose {} --public --port {}:{}", query.from.substr(0, 70), name_of(query.proto), query.port));
    Trace out{.net = anchor->net, .from = "outside", .from_ip = format_ipv4(anchor->ip), .to_ip = format_ipv4(port->ip), .verdict = {}, .answer = {}, .reason = {}, .next = {}, .hops = {}, .differences = {}};
    SiteView& start = tracer.view(anchor->site);
    const auto gateway = start.world.ports.gateways.find(anchor->vni);
    if (gateway == start.world.ports.gateways.end()) {
        give_up(out, {std::format("site '{}' has no gateway port {} yet", anchor->site, gateway_name(anchor->vni)), "blanket doctor there"});
        return out;
    }
    const std::string proto(name_of(port->proto));
    tracer.hops.push_back({"there", anchor->site, "host", std::format("{} dport {} on the host's address (nftables, public_in and public_out)", proto, port->port),
                           std::format("to {}:{}, as from {}, by {}", format_ipv4(port->ip), port->to, format_ipv4(anchor->ip), gateway_name(anchor->vni)), {}});
    Frame there{.eth_src = gateway_mac(anchor->vni), .eth_dst = port->mac, .ip_src = anchor->ip, .ip_dst = port->ip, .ip_proto = static_cast<std::uint8_t>(port->proto), .l4_src = kTraceClientPort, .l4_dst = port->to};
    there.syn = port->proto == IpProto::kTcp;
    Endpoint outside{.vni = anchor->vni, .mac = anchor->mac, .ip = anchor->ip, .uuid = {}, .name = "the outside world", .port = {}, .hold = {}};
    const auto got = tracer.follow("there", anchor->site, gateway->second, there, outside);
    if (!got) {
        give_up(out, tracer.drop);
        return out;
    }
    SiteView& end = tracer.view(got->site);
    out.verdict = "delivered";
    out.reason = std::format("{} at '{}' gets it", tracer.name_of(end, got->port), got->site);
    const auto vm = std::ranges::find_if(end.endpoints, [&](const Endpoint& one) { return one.vni == anchor->vni && one.uuid == port->uuid; });
    if (vm == end.endpoints.end() || port_of(end.world, *vm) != got->port) return out;  // it waits in a queue
    if (tracer.follow("back", got->site, got->port, answer_to(got->frame), *vm)) {
        out.answer = "delivered";
        tracer.hops.push_back({"back", anchor->site, "host", "the same connection, the other way (connection tracking)", std::format("to the client, from the host's address and port {}", port->port), {}});
        return out;
    }
    out.answer = "dropped";
    out.reason += std::format(", but the answer does not come back: {}", tracer.drop.reason);
    out.next = tracer.drop.next;
    return out;
}

void compare(Trace& out, const std::vector<Flow>& planned, const std::vector<FlowText>* installed) {
    if (installed == nullptr) return;
    for (auto& line : plan_bundle(planned, *installed)) {
        if (out.differences.size() == kMaxDifferences) break;
        constexpr std::string_view kAdd = "flow add ", kDelete = "flow delete_strict ";
        if (line.starts_with(kAdd)) out.differences.push_back("planned, but not so in the switch: " + line.substr(kAdd.size()));
        else if (line.starts_with(kDelete)) out.differences.push_back("in the switch, but not planned: " + line.substr(kDelete.size()));
    }
}

}  // namespace

Result<TraceQuery> parse_public_query(const std::string& vm, const std::string& port, const std::string& site) {
    if (vm.empty() || vm.size() > 64) return fail_hint(Kind::kInvalid, "a connection from outside goes to a VM", "blanket net trace VM --public tcp:80");
    if (!site.empty()) BLANKET_CHECK(check_name(site, "site"));
    BLANKET_TRY(const PublicPort wanted, parse_public_port(port));
    return TraceQuery{.from = vm, .to = {}, .proto = static_cast<IpProto>(wanted.proto), .port = wanted.port, .outside = true, .at = site};
}

Result<TraceQuery> parse_trace_query(const std::string& from, const std::string& to, const std::string& proto, const std::string& port) {
    TraceQuery query{.from = from, .to = to};
    if (from.empty() || to.empty() || from.size() > 64 || to.size() > 64)
        return fail_hint(Kind::kInvalid, "a trace goes from a VM to an address", "blanket net trace VM --to IP");
    if (proto == "tcp") query.proto = IpProto::kTcp;
    else if (proto == "udp") query.proto = IpProto::kUdp;
    else if (proto != "icmp") return fail_hint(Kind::kInvalid, std::format("'{}' is no protocol that can be traced", proto.substr(0, 30)), "use --proto tcp, udp or icmp");
    if (query.proto == IpProto::kIcmp) {
        if (!port.empty()) return fail_hint(Kind::kInvalid, "ICMP has no ports", "leave --port out, or add --proto tcp or --proto udp");
        return query;
    }
    if (port.empty()) return fail_hint(Kind::kInvalid, std::format("a {} packet goes to a port", proto), "add --port N");
    BLANKET_TRY(const auto number, parse_number(port, 1, 65535, "port"));
    query.port = static_cast<std::uint16_t>(number);
    return query;
}

Result<Trace> trace(const World& here, const std::vector<FlowText>* installed, const TraceQuery& query) {
    if (query.outside) {
        Tracer tracer(here, installed);
        BLANKET_TRY(Trace out, run_public(here, tracer, query));
        out.hops = std::move(tracer.hops);
        compare(out, tracer.view(here.site).flows, installed);
        return out;
    }
    BLANKET_TRY(const Endpoint source, find_source(here, query));
    BLANKET_TRY(const std::uint32_t target, find_target(here, query.to, source));
    const auto net = std::ranges::find(here.nets, source.vni, &Net::vni);
    const auto record = std::ranges::find(here.vms, source.uuid, &VmRecord::uuid);
    if (net == here.nets.end() || record == here.vms.end()) return fail(Kind::kInternal, "an endpoint of VM '{}' has no network", source.name);
    Trace out{.net = net->name, .from = source.name, .from_ip = format_ipv4(source.ip), .to_ip = format_ipv4(target), .verdict = {}, .answer = {}, .reason = {}, .next = {}, .hops = {}, .differences = {}};
    Tracer tracer(here, installed);
    run(out, tracer, query, *net, record->owner, source, target);
    out.hops = std::move(tracer.hops);
    compare(out, tracer.view(here.site).flows, installed);
    return out;
}

Json to_json(const Trace& trace) {
    Json hops = Json::array();
    for (const auto& hop : trace.hops)
        hops.push_back({{"way", hop.way}, {"site", hop.site}, {"table", hop.table}, {"entry", hop.entry}, {"verdict", hop.verdict}, {"installed", hop.installed}});
    return {{"net", trace.net}, {"from", trace.from}, {"from_ip", trace.from_ip}, {"to_ip", trace.to_ip}, {"verdict", trace.verdict}, {"answer", trace.answer},
            {"reason", trace.reason}, {"next", trace.next}, {"hops", hops}, {"differences", trace.differences}};
}

}  // namespace blanket::net
