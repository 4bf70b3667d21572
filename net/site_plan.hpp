// SPDX-License-Identifier: GPL-2.0-or-later
// A site's table, kept as plan_flows() would give it, record by record: a change plans anew what depends on it and nothing else. What depends on a VM's record:
// the entries of its cards, those of cards that claim the same addresses, the DHCP answers and public ports of its networks, and, with the first or last
// business that a network has at this site, the network. A change of networks, sites or the tunnel's port plans everything.
// plan_flows() stays the judge (tests, and OvsOverlay at every comparison with the switch). No I/O, no clock. Not thread safe.
#pragma once

#include <memory>

#include "net/flow_table.hpp"
#include "net/pipeline.hpp"

namespace blanket::net {

// What a settle() may have changed.
struct Touched {
    bool everything = false;
    std::vector<std::string> keys;  // unsorted, may repeat
};

class SitePlan final {
public:
    explicit SitePlan(std::string site);
    ~SitePlan();
    SitePlan(const SitePlan&) = delete;
    SitePlan& operator=(const SitePlan&) = delete;

    // What is so from now on. Nothing is planned before settle(); what is as it was costs nothing then. The UUID names a record.
    void records(const std::vector<Net>& nets, const std::vector<Site>& sites);
    void put(const VmRecord& vm);
    void forget(const std::string& uuid);
    void ports(LocalPorts ports);
    void handovers(std::vector<Handover> handovers);
    void arm(const std::string& uuid, bool armed);
    void release(const std::string& uuid, bool released);

    [[nodiscard]] const World& world() const { return world_; }
    [[nodiscard]] const VmRecord* find(const std::string& uuid) const;

    void settle();
    // What settle() has touched since this was asked last.
    Touched take_touched();
    // As of the last settle().
    [[nodiscard]] const PlannedTable& table() const { return table_; }
    [[nodiscard]] bool is(const std::vector<Flow>& plan) const;       // the table is exactly that
    [[nodiscard]] std::vector<Endpoint> endpoints_of_vm(const std::string& uuid) const;
    [[nodiscard]] std::vector<Endpoint> connected(std::uint32_t vni) const;  // endpoints of a network that are local and have a port
    void plan_everything();  // at the next settle()

private:
    struct Card;
    struct Older {
        bool operator()(const Card* a, const Card* b) const;
    };
    using Cards = std::set<Card*, Older>;
    struct Network;
    struct Work;

    void begin_anew();
    void withdraw(const std::string& uuid, Work& work);
    void enter(const VmRecord& vm, Work& work);
    void judge_claims(Work& work);
    void accept(Card& card, Work& work);
    void refuse(Card& card, Work& work);
    void plan_network(Network& network, bool offers, const std::set<Card*>& cards);
    [[nodiscard]] std::vector<AnchorPoint> anchors_now(const Network& network) const;
    void give(PlannedTable::Part& part, std::vector<Flow> flows);

    World world_;
    std::unordered_map<std::string, std::size_t> at_;  // UUID -> its place in world_.vms
    std::set<std::string> dirty_;                      // UUIDs
    bool everything_ = true;

    Surroundings around_;
    AnchorClaims claims_;
    std::map<std::uint32_t, std::unique_ptr<Network>> networks_;                    // by VNI
    std::unordered_map<std::string, std::vector<std::unique_ptr<Card>>> cards_;  // by UUID
    PlannedTable table_;
    PlannedTable::Part site_part_;
    Touched touched_;
};

}  // namespace blanket::net
