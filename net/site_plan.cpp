// SPDX-License-Identifier: GPL-2.0-or-later
// See site_plan.hpp.
#include "net/site_plan.hpp"

#include <algorithm>
#include <tuple>

namespace blanket::net {

// One card of a record that is good by itself. It is accepted unless an older VM has one of its addresses.
struct SitePlan::Card {
    Endpoint endpoint;
    std::string created;
    bool accepted = false;
    PlannedTable::Part part;
};

bool SitePlan::Older::operator()(const Card* a, const Card* b) const {  // resolve()'s order
    return std::tie(a->created, a->endpoint.uuid, a->endpoint.nic) < std::tie(b->created, b->endpoint.uuid, b->endpoint.nic);
}

struct SitePlan::Network {
    Net net;
    GatewayPort gateway;
    Membership groups;
    std::unordered_map<Mac, Cards> by_mac;  // who claims an address
    std::unordered_map<std::uint32_t, Cards> by_ip;
    std::set<Card*> cards, offered;  // accepted; and of them those that DHCP answers go to
    std::size_t business = 0;        // cards that bring the network here
    bool here = false;
    std::vector<AnchorPoint> anchors;
    PlannedTable::Part own_part, offer_part, anchor_part;
};

// What a settle() has to do yet.
struct SitePlan::Work {
    std::set<std::pair<std::uint32_t, Mac>> macs;  // claims that were made or given up
    std::set<std::pair<std::uint32_t, std::uint32_t>> ips;
    struct InNetwork {
        std::set<Card*> cards;  // accepted and new or changed
        bool offers = false;
    };
    std::map<std::uint32_t, InNetwork> networks;
};

SitePlan::SitePlan(std::string site) : world_{.site = std::move(site), .nets = {}, .vms = {}, .sites = {}, .ports = {}, .handovers = {}, .armed = {}, .released = {}} {}
SitePlan::~SitePlan() = default;

// ---------------------------------------------------------------- what is so
void SitePlan::records(const std::vector<Net>& nets, const std::vector<Site>& sites) {
    const auto counts = [](const Site& a, const Site& b) {  // what else a site's record says is not in its neighbours' flows
        return a.name == b.name && a.index == b.index && a.role == b.role && a.state == b.state;
    };
    everything_ = everything_ || nets != world_.nets || !std::ranges::equal(sites, world_.sites, counts);
    world_.nets = nets;
    world_.sites = sites;
}

void SitePlan::put(const VmRecord& vm) {
    const auto [at, made] = at_.try_emplace(vm.uuid, world_.vms.size());
    if (made) world_.vms.push_back(vm);
    else if (world_.vms[at->second] == vm) return;
    else world_.vms[at->second] = vm;
    dirty_.insert(vm.uuid);
}

void SitePlan::forget(const std::string& uuid) {
    const auto at = at_.find(uuid);
    if (at == at_.end()) return;
    const std::size_t place = at->second;
    at_.erase(at);
    if (place + 1 != world_.vms.size()) {
        world_.vms[place] = std::move(world_.vms.back());
        at_[world_.vms[place].uuid] = place;
    }
    world_.vms.pop_back();
    dirty_.insert(uuid);
}

void SitePlan::ports(LocalPorts ports) {
    everything_ = everything_ || ports.tunnel != world_.ports.tunnel || ports.gateways != world_.ports.gateways;
    const auto compare = [&](const std::vector<VmPort>& before, const std::vector<VmPort>& now) {
        const auto order = [](const VmPort& a, const VmPort& b) { return std::tie(a.uuid, a.mac, a.port, a.name) < std::tie(b.uuid, b.mac, b.port, b.name); };
        std::vector<VmPort> one = before, other = now, differ;
        std::ranges::sort(one, order);
        std::ranges::sort(other, order);
        std::ranges::set_symmetric_difference(one, other, std::back_inserter(differ), order);
        for (const auto& port : differ) dirty_.insert(port.uuid);
    };
    compare(world_.ports.vms, ports.vms);
    compare(world_.ports.holds, ports.holds);
    world_.ports = std::move(ports);
}

void SitePlan::handovers(std::vector<Handover> handovers) {
    const auto lacks = [](const std::vector<Handover>& list, const Handover& one) {
        return std::ranges::none_of(list, [&](const Handover& other) { return other.uuid == one.uuid && other.site == one.site && other.way == one.way; });
    };
    for (const auto& one : handovers)
        if (lacks(world_.handovers, one)) dirty_.insert(one.uuid);
    for (const auto& one : world_.handovers)
        if (lacks(handovers, one)) dirty_.insert(one.uuid);
    world_.handovers = std::move(handovers);
}

void SitePlan::arm(const std::string& uuid, bool armed) {
    if (armed ? world_.armed.insert(uuid).second : world_.armed.erase(uuid) > 0) dirty_.insert(uuid);
}

void SitePlan::release(const std::string& uuid, bool released) {
    if (released ? world_.released.insert(uuid).second : world_.released.erase(uuid) > 0) dirty_.insert(uuid);
}

void SitePlan::plan_everything() { everything_ = true; }

// ---------------------------------------------------------------- what follows
const VmRecord* SitePlan::find(const std::string& uuid) const {
    const auto at = at_.find(uuid);
    return at == at_.end() ? nullptr : &world_.vms[at->second];
}

Touched SitePlan::take_touched() { return std::exchange(touched_, {}); }

bool SitePlan::is(const std::vector<Flow>& plan) const {
    return table_.size() == plan.size() && std::ranges::all_of(plan, [&](const Flow& flow) {
        const Flow* const kept = table_.find(to_flow_text(flow).key());
        return kept != nullptr && *kept == flow;
    });
}

std::vector<Endpoint> SitePlan::endpoints_of_vm(const std::string& uuid) const {
    std::vector<Endpoint> out;
    if (const auto at = cards_.find(uuid); at != cards_.end())
        for (const auto& card : at->second)
            if (card->accepted) out.push_back(card->endpoint);
    return out;
}

std::vector<Endpoint> SitePlan::connected(std::uint32_t vni) const {
    std::vector<Endpoint> out;
    if (const auto network = networks_.find(vni); network != networks_.end())
        for (const Card* card : network->second->offered) out.push_back(card->endpoint);
    return out;
}

void SitePlan::give(PlannedTable::Part& part, std::vector<Flow> flows) { table_.give(part, std::move(flows), touched_.keys); }

void SitePlan::begin_anew() {
    std::vector<std::string> quiet;  // resolve() tells the warnings
    table_.clear();
    site_part_.nodes.clear();
    cards_.clear();
    networks_.clear();
    around_ = surroundings(world_.nets, world_.sites, quiet);
    claims_ = anchor_claims(world_.nets);
    std::map<std::uint32_t, GatewayPort> gateways;
    for (auto& gateway : plan_gateways(world_.nets, quiet)) gateways.emplace(gateway.vni, std::move(gateway));
    for (const auto& net : world_.nets) {
        const auto gateway = gateways.find(net.vni);
        if (gateway == gateways.end()) continue;
        auto made = std::make_unique<Network>();
        made->net = net;
        made->gateway = gateway->second;
        made->groups = membership(net);
        networks_[net.vni] = std::move(made);
    }
    give(site_part_, site_flows(world_.ports.tunnel));
    for (const auto& vm : world_.vms) dirty_.insert(vm.uuid);
}

void SitePlan::settle() {
    Work work;
    if (everything_) {
        begin_anew();
        for (const auto& [vni, network] : networks_) work.networks[vni];
    }
    for (const auto& uuid : dirty_) {
        withdraw(uuid, work);
        if (const VmRecord* const vm = find(uuid); vm != nullptr) enter(*vm, work);
    }
    dirty_.clear();
    judge_claims(work);
    for (auto& [vni, todo] : work.networks) plan_network(*networks_.at(vni), todo.offers, todo.cards);
    if (!std::exchange(everything_, false)) return;
    touched_.everything = true;
    touched_.keys.clear();
}

void SitePlan::withdraw(const std::string& uuid, Work& work) {
    const auto at = cards_.find(uuid);
    if (at == cards_.end()) return;
    for (const auto& card : at->second) {
        const Endpoint& endpoint = card->endpoint;
        refuse(*card, work);
        Network& network = *networks_.at(endpoint.vni);
        const auto leave = [&](auto& index, const auto& address) {
            const auto claim = index.find(address);
            claim->second.erase(card.get());
            if (claim->second.empty()) index.erase(claim);
        };
        leave(network.by_mac, endpoint.mac);
        leave(network.by_ip, endpoint.ip);
        work.macs.emplace(endpoint.vni, endpoint.mac);
        work.ips.emplace(endpoint.vni, endpoint.ip);
    }
    cards_.erase(at);
}

void SitePlan::enter(const VmRecord& vm, Work& work) {
    std::vector<std::string> quiet;
    auto endpoints = endpoints_of(vm, around_, world_, quiet);
    if (endpoints.empty()) return;
    auto& cards = cards_[vm.uuid];
    for (auto& endpoint : endpoints) {
        auto card = std::make_unique<Card>();
        card->endpoint = std::move(endpoint);
        card->created = vm.created;
        Network& network = *networks_.at(card->endpoint.vni);
        network.by_mac[card->endpoint.mac].insert(card.get());
        network.by_ip[card->endpoint.ip].insert(card.get());
        work.macs.emplace(card->endpoint.vni, card->endpoint.mac);
        work.ips.emplace(card->endpoint.vni, card->endpoint.ip);
        cards.push_back(std::move(card));
    }
}

// Cards that claim one address depend on each other, and so on along their other addresses: whoever is in such a chain with a changed claim is judged anew.
void SitePlan::judge_claims(Work& work) {
    Cards chain;
    std::vector<Card*> reached;
    const auto reach = [&](const auto& index, const auto& address) {
        if (const auto claim = index.find(address); claim != index.end())
            for (Card* const card : claim->second)
                if (chain.insert(card).second) reached.push_back(card);
    };
    for (const auto& [vni, mac] : work.macs) reach(networks_.at(vni)->by_mac, mac);
    for (const auto& [vni, ip] : work.ips) reach(networks_.at(vni)->by_ip, ip);
    while (!reached.empty()) {
        const Card& card = *reached.back();
        reached.pop_back();
        const Network& network = *networks_.at(card.endpoint.vni);
        reach(network.by_mac, card.endpoint.mac);
        reach(network.by_ip, card.endpoint.ip);
    }
    std::set<std::pair<std::uint32_t, Mac>> macs;
    std::set<std::pair<std::uint32_t, std::uint32_t>> ips;
    for (Card* const card : chain) {  // as resolve() does it
        const Endpoint& endpoint = card->endpoint;
        if (macs.contains({endpoint.vni, endpoint.mac}) || ips.contains({endpoint.vni, endpoint.ip})) {
            refuse(*card, work);
            continue;
        }
        macs.insert({endpoint.vni, endpoint.mac});
        ips.insert({endpoint.vni, endpoint.ip});
        accept(*card, work);
    }
}

void SitePlan::accept(Card& card, Work& work) {
    if (card.accepted) return;
    card.accepted = true;
    Network& network = *networks_.at(card.endpoint.vni);
    auto& todo = work.networks[card.endpoint.vni];
    todo.cards.insert(&card);
    network.cards.insert(&card);
    if (brings_network(card.endpoint)) ++network.business;
    if (gets_offers(card.endpoint)) {
        network.offered.insert(&card);
        todo.offers = true;
    }
}

void SitePlan::refuse(Card& card, Work& work) {
    if (!card.accepted) return;
    card.accepted = false;
    Network& network = *networks_.at(card.endpoint.vni);
    auto& todo = work.networks[card.endpoint.vni];
    todo.cards.erase(&card);
    network.cards.erase(&card);
    if (brings_network(card.endpoint)) --network.business;
    if (network.offered.erase(&card) > 0) todo.offers = true;
    give(card.part, {});
}

std::vector<AnchorPoint> SitePlan::anchors_now(const Network& network) const {
    if (network.net.anchors.empty()) return {};
    Cards cards;  // all that can matter to them
    const auto add = [&](Card* card) {
        if (card->accepted) cards.insert(card);
    };
    for (const auto& anchor : network.net.anchors) {
        if (const auto ip = parse_ipv4(anchor.ip); ip)
            if (const auto claim = network.by_ip.find(*ip); claim != network.by_ip.end()) std::ranges::for_each(claim->second, add);
        if (const auto site = std::ranges::find(world_.sites, anchor.site, &Site::name); site != world_.sites.end())
            if (const auto claim = network.by_mac.find(anchor_mac(site->index)); claim != network.by_mac.end()) std::ranges::for_each(claim->second, add);
        for (const auto& port : anchor.ports)
            if (const auto vm = cards_.find(port.vm); vm != cards_.end())
                for (const auto& card : vm->second)
                    if (card->endpoint.vni == network.net.vni) add(card.get());
    }
    std::vector<Endpoint> endpoints;
    for (const Card* card : cards) endpoints.push_back(card->endpoint);
    std::vector<std::string> quiet;
    return anchors_of(network.net, world_, around_, claims_, endpoints, quiet);
}

void SitePlan::plan_network(Network& network, bool offers, const std::set<Card*>& cards) {
    const std::uint32_t vni = network.net.vni;
    const auto port = world_.ports.gateways.find(vni);
    const std::optional<std::uint32_t> gateway = port == world_.ports.gateways.end() ? std::nullopt : std::optional(port->second);
    network.anchors = anchors_now(network);
    const bool was = std::exchange(network.here, network.business > 0 || std::ranges::any_of(network.anchors, &AnchorPoint::local));
    const auto plan_card = [&](Card* card) { give(card->part, network.here ? endpoint_flows(card->endpoint, world_.ports.tunnel, gateway, network.groups) : std::vector<Flow>{}); };
    if (was != network.here) {
        give(network.own_part, network.here ? network_flows(network.net, network.gateway, gateway) : std::vector<Flow>{});
        std::ranges::for_each(network.cards, plan_card);
        offers = true;
    } else if (network.here) {
        std::ranges::for_each(cards, plan_card);
    }
    if (offers) {
        std::vector<std::uint32_t> ports;
        if (network.here && gateway)
            for (const Card* card : network.offered) ports.push_back(*card->endpoint.port);
        give(network.offer_part, offer_flows(vni, std::move(ports)));
    }
    if (network.net.anchors.empty()) return;
    std::vector<Flow> flows;
    if (network.here)
        for (const auto& anchor : network.anchors) std::ranges::move(anchor_flows(anchor, world_.ports.tunnel, gateway), std::back_inserter(flows));
    give(network.anchor_part, std::move(flows));
}

}  // namespace blanket::net
