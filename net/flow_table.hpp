// SPDX-License-Identifier: GPL-2.0-or-later
// The planned and the installed entries by what names them in the switch, so that a change is compared with what it touches and not with the whole table.
// No I/O. Not thread safe.
#pragma once

#include <string_view>
#include <unordered_map>

#include "net/flow.hpp"

namespace blanket::net {

// The network card that an entry of the destination or ingress tables speaks for, from its key (FlowText::key); empty for other entries.
std::string card_of_key(std::string_view key);
std::string card_name(std::uint32_t vni, Mac mac);  // the same of a card

// Keys by the card that they speak for.
template <typename Entry>
class ByCard {
public:
    using Node = std::pair<const std::string, Entry>;
    void add(const Node& node) {
        if (auto card = card_of_key(node.first); !card.empty()) nodes_[std::move(card)].push_back(&node);
    }
    void remove(const Node& node) {
        const auto at = nodes_.find(card_of_key(node.first));
        if (at == nodes_.end()) return;
        std::erase(at->second, &node);
        if (at->second.empty()) nodes_.erase(at);
    }
    [[nodiscard]] const std::vector<const Node*>& of(const std::string& card) const {
        static const std::vector<const Node*> kNone;
        const auto at = nodes_.find(card);
        return at == nodes_.end() ? kNone : at->second;
    }

private:
    std::unordered_map<std::string, std::vector<const Node*>> nodes_;
};

// What is to be there. Several parts of the plan may give an entry with one key; then the one that outranks() the others counts.
class PlannedTable final {
public:
    struct Given {
        const void* part = nullptr;
        Flow flow;
    };
    using Node = std::pair<const std::string, std::vector<Given>>;  // the one that counts first; never empty
    // One part of a plan, and where its entries are. The table keeps its address: give() it nothing before it goes, or clear() the table.
    struct Part {
        std::vector<Node*> nodes;
        Part() = default;
        Part(const Part&) = delete;
        Part& operator=(const Part&) = delete;
        Part(Part&&) = delete;
        Part& operator=(Part&&) = delete;
        ~Part() = default;
    };

    // `flows` instead of what the part gave before. The keys of both are added to `touched`.
    void give(Part& part, std::vector<Flow> flows, std::vector<std::string>& touched);
    void clear();
    [[nodiscard]] const Flow* find(const std::string& key) const;
    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    // Highest epoch of the entries for this card; nothing when there are none.
    [[nodiscard]] std::optional<std::uint64_t> epoch_of(const std::string& card) const;
    void keys_of(const std::string& card, std::vector<std::string>& out) const;
    void all_keys(std::vector<std::string>& out) const;

private:
    std::unordered_map<std::string, std::vector<Given>> entries_;
    ByCard<std::vector<Given>> by_card_;
};

// What the switch holds, as far as we know.
class InstalledTable final {
public:
    struct Entry {
        std::uint64_t cookie = 0;
        std::string actions;
        [[nodiscard]] std::uint64_t epoch() const { return cookie & ~kCookieMask; }
    };
    InstalledTable() = default;
    explicit InstalledTable(const std::vector<FlowText>& observed);  // of two with one key the first
    void put(const std::string& key, Entry entry);
    void erase(const std::string& key);
    // The VM that had this card is no more: the epochs of what is there for the card say nothing of who has its address next, and hold nothing back.
    void disown(const std::string& card);
    [[nodiscard]] const Entry* find(const std::string& key) const;
    [[nodiscard]] std::size_t size() const { return entries_.size(); }
    [[nodiscard]] std::uint64_t epoch_of(const std::string& card) const;  // highest, 0 when there are none
    void keys_of(const std::string& card, std::vector<std::string>& out) const;
    void all_keys(std::vector<std::string>& out) const;

private:
    std::unordered_map<std::string, Entry> entries_;
    ByCard<Entry> by_card_;
};

// One change of the switch. Its line is in the form of a bundle (commands.hpp, flows_change).
struct FlowChange {
    std::string key;
    std::optional<Flow> add;  // nothing: the entry is deleted
    [[nodiscard]] std::string line() const;
};

// What makes the switch as planned, as far as `keys` and the cards that they speak for go; first what is new, by table and falling priority, then what goes. An
// entry that is right is not touched; one of a card under a higher epoch is neither replaced, nor deleted, nor shadowed on behalf of a lower one.
std::vector<FlowChange> plan_changes(const PlannedTable& planned, const InstalledTable& installed, std::vector<std::string> keys);
std::vector<FlowChange> plan_changes(const PlannedTable& planned, const InstalledTable& installed);  // of everything
// The switch has taken it.
void take(InstalledTable& installed, const FlowChange& change);

}  // namespace blanket::net
