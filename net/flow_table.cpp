// SPDX-License-Identifier: GPL-2.0-or-later
// See flow_table.hpp.
#include "net/flow_table.hpp"

#include <algorithm>
#include <charconv>
#include <tuple>

#include "net/pipeline.hpp"

namespace blanket::net {
namespace {

std::string_view field_of_key(std::string_view key, std::string_view name) {  // name with comma and equal sign: ",metadata="
    const auto at = key.find(name);
    if (at == std::string_view::npos) return {};
    key.remove_prefix(at + name.size());
    return key.substr(0, key.find(','));
}

unsigned table_of_key(std::string_view key) {
    unsigned value = kTables;
    key.remove_prefix(std::min(key.size(), std::string_view("table=").size()));
    std::from_chars(key.data(), key.data() + key.size(), value);
    return value;
}

// `keys`: each once.
std::vector<FlowChange> changes_of(const PlannedTable& planned, const InstalledTable& installed, const std::vector<std::string>& keys) {
    std::vector<FlowChange> out, gone;
    for (const auto& key : keys) {
        const Flow* const want = planned.find(key);
        const InstalledTable::Entry* const have = installed.find(key);
        if (want == nullptr && have == nullptr) continue;
        const auto card = card_of_key(key);
        if (!card.empty())
            if (const auto epoch = planned.epoch_of(card); epoch && installed.epoch_of(card) > *epoch) continue;
        if (want == nullptr) {
            gone.push_back({key, {}});
            continue;
        }
        const std::uint64_t epoch = want->epoch & ~kCookieMask;
        if (have != nullptr) {
            // An entry that speaks for no card (an ARP answer, a port's network) may be that of another VM, which had the address or the port before: epochs of two
            // VMs say nothing about each other. It stays only where it does the same.
            const bool same = have->actions == actions_text(want->actions);
            if (have->epoch() > epoch ? same || !card.empty() : same && have->cookie == (kCookieMark | epoch)) continue;
        }
        out.push_back({key, *want});
    }
    std::ranges::sort(out, [](const FlowChange& a, const FlowChange& b) { return std::tie(a.add->table, b.add->priority, a.key) < std::tie(b.add->table, a.add->priority, b.key); });
    std::ranges::sort(gone, {}, &FlowChange::key);
    std::ranges::move(gone, std::back_inserter(out));
    return out;
}

template <typename Map>
void append_keys(const Map& map, std::vector<std::string>& out) {
    out.reserve(out.size() + map.size());
    for (const auto& [key, entry] : map) out.push_back(key);
}

}  // namespace

std::string card_of_key(std::string_view key) {
    const auto table = static_cast<Table>(table_of_key(key));
    std::string_view mac;
    if (table == Table::kRemote || table == Table::kLocal || table == Table::kGateway) mac = field_of_key(key, ",dl_dst=");
    if (table == Table::kTunnelIngress) mac = field_of_key(key, ",dl_src=");
    const std::string_view net = field_of_key(key, ",metadata=");
    return net.empty() || mac.empty() ? std::string() : std::format("{} {}", net, mac);
}

std::string card_name(std::uint32_t vni, Mac mac) { return std::format("{:#x} {}", vni, format_mac(mac)); }

void PlannedTable::give(Part& part, std::vector<Flow> flows, std::vector<std::string>& touched) {
    std::ranges::sort(part.nodes);
    part.nodes.erase(std::ranges::unique(part.nodes).begin(), part.nodes.end());
    for (Node* const node : part.nodes) {
        touched.push_back(node->first);
        std::erase_if(node->second, [&](const Given& given) { return given.part == &part; });
        if (!node->second.empty()) continue;
        by_card_.remove(*node);
        entries_.erase(entries_.find(node->first));
    }
    part.nodes.clear();
    for (auto& flow : flows) {
        const auto [at, made] = entries_.try_emplace(to_flow_text(flow).key());
        if (made) by_card_.add(*at);
        touched.push_back(at->first);
        part.nodes.push_back(&*at);
        auto& list = at->second;
        const auto before = std::ranges::find_if(list, [&](const Given& given) { return outranks(flow, given.flow); });
        list.insert(before, Given{&part, std::move(flow)});
    }
}

void PlannedTable::clear() {
    by_card_ = {};
    entries_.clear();
}

const Flow* PlannedTable::find(const std::string& key) const {
    const auto at = entries_.find(key);
    return at == entries_.end() ? nullptr : &at->second.front().flow;
}

std::optional<std::uint64_t> PlannedTable::epoch_of(const std::string& card) const {
    std::optional<std::uint64_t> out;
    for (const auto* node : by_card_.of(card)) out = std::max(out.value_or(0), node->second.front().flow.epoch & ~kCookieMask);
    return out;
}

void PlannedTable::keys_of(const std::string& card, std::vector<std::string>& out) const {
    for (const auto* node : by_card_.of(card)) out.push_back(node->first);
}

void PlannedTable::all_keys(std::vector<std::string>& out) const { append_keys(entries_, out); }

InstalledTable::InstalledTable(const std::vector<FlowText>& observed) {
    entries_.reserve(observed.size());
    for (const auto& flow : observed)
        if (const auto [at, made] = entries_.try_emplace(flow.key(), Entry{flow.cookie, flow.actions}); made) by_card_.add(*at);
}

void InstalledTable::put(const std::string& key, Entry entry) {
    const auto [at, made] = entries_.try_emplace(key);
    at->second = std::move(entry);
    if (made) by_card_.add(*at);
}

void InstalledTable::erase(const std::string& key) {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return;
    by_card_.remove(*at);
    entries_.erase(at);
}

void InstalledTable::disown(const std::string& card) {
    for (const auto* node : by_card_.of(card)) entries_.find(node->first)->second.cookie &= kCookieMask;
}

const InstalledTable::Entry* InstalledTable::find(const std::string& key) const {
    const auto at = entries_.find(key);
    return at == entries_.end() ? nullptr : &at->second;
}

std::uint64_t InstalledTable::epoch_of(const std::string& card) const {
    std::uint64_t out = 0;
    for (const auto* node : by_card_.of(card)) out = std::max(out, node->second.epoch());
    return out;
}

void InstalledTable::keys_of(const std::string& card, std::vector<std::string>& out) const {
    for (const auto* node : by_card_.of(card)) out.push_back(node->first);
}

void InstalledTable::all_keys(std::vector<std::string>& out) const { append_keys(entries_, out); }

std::string FlowChange::line() const { return add ? "flow add " + flow_text(*add) : "flow delete_strict " + key; }

std::vector<FlowChange> plan_changes(const PlannedTable& planned, const InstalledTable& installed, std::vector<std::string> keys) {
    for (std::size_t i = 0, end = keys.size(); i < end; ++i)  // what a card's epoch holds back or lets through are all of its entries
        if (const auto card = card_of_key(keys[i]); !card.empty()) {
            planned.keys_of(card, keys);
            installed.keys_of(card, keys);
        }
    std::ranges::sort(keys);
    keys.erase(std::ranges::unique(keys).begin(), keys.end());
    return changes_of(planned, installed, keys);
}

std::vector<FlowChange> plan_changes(const PlannedTable& planned, const InstalledTable& installed) {
    std::vector<std::string> keys, have;
    planned.all_keys(keys);
    installed.all_keys(have);
    for (auto& key : have)
        if (planned.find(key) == nullptr) keys.push_back(std::move(key));
    return changes_of(planned, installed, keys);
}

void take(InstalledTable& installed, const FlowChange& change) {
    if (change.add) installed.put(change.key, {kCookieMark | (change.add->epoch & ~kCookieMask), actions_text(change.add->actions)});
    else installed.erase(change.key);
}

}  // namespace blanket::net
