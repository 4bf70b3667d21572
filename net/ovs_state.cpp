// SPDX-License-Identifier: GPL-2.0-or-later
// Reading OVSDB tables as ovs-vsctl prints them; see ovs.hpp.
#include <algorithm>
#include <set>

#include "net/hold.hpp"
#include "net/ovs.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

constexpr std::size_t kMaxBytes = 64u << 20;
constexpr std::size_t kMaxRows = 100'000;

// One table: rows addressed by column name. A cell of another type reads as empty.
class Rows {
public:
    static Result<Rows> parse(std::string_view line) {
        BLANKET_TRY(Json json, parse_json(line, kMaxBytes));
        if (!json.is_object() || !json.contains("data") || !json.contains("headings") || !json["data"].is_array() ||
            !json["headings"].is_array() || json["data"].size() > kMaxRows)
            return fail(Kind::kInvalid, "'{}' is not a table of ovs-vsctl", line.substr(0, 80));
        Rows rows;
        for (const auto& heading : json["headings"]) {
            if (!heading.is_string()) return fail(Kind::kInvalid, "a heading of an ovs-vsctl table is not a string");
            if (!rows.columns_.emplace(heading.get<std::string>(), rows.columns_.size()).second) return fail(Kind::kInvalid, "two columns of an ovs-vsctl table have one name");
        }
        rows.data_ = std::move(json["data"]);
        for (const auto& row : rows.data_)
            if (!row.is_array() || row.size() != rows.columns_.size()) return fail(Kind::kInvalid, "a row of an ovs-vsctl table has the wrong length");
        return rows;
    }
    [[nodiscard]] std::size_t size() const { return data_.size(); }
    [[nodiscard]] const Json& cell(std::size_t row, const std::string& column) const {
        static const Json kNone;
        const auto it = columns_.find(column);
        return it == columns_.end() ? kNone : data_[row][it->second];
    }
    [[nodiscard]] std::string text(std::size_t row, const std::string& column) const {
        const Json& value = cell(row, column);
        return value.is_string() ? value.get<std::string>() : std::string();
    }

private:
    std::map<std::string, std::size_t> columns_;
    Json data_;
};

bool is_tagged(const Json& value, std::string_view tag) {
    return value.is_array() && value.size() == 2 && value[0].is_string() && value[0].get_ref<const std::string&>() == tag;
}

// A column of UUIDs: ["uuid",x] or ["set",[["uuid",x],...]].
std::set<std::string> uuids(const Json& value) {
    std::set<std::string> out;
    if (is_tagged(value, "uuid") && value[1].is_string()) out.insert(value[1].get<std::string>());
    if (is_tagged(value, "set") && value[1].is_array())
        for (const auto& item : value[1])
            if (is_tagged(item, "uuid") && item[1].is_string()) out.insert(item[1].get<std::string>());
    return out;
}

std::map<std::string, std::string> text_map(const Json& value) {
    std::map<std::string, std::string> out;
    if (is_tagged(value, "map") && value[1].is_array())
        for (const auto& pair : value[1])
            if (pair.is_array() && pair.size() == 2 && pair[0].is_string() && pair[1].is_string())
                out[pair[0].get<std::string>()] = pair[1].get<std::string>();
    return out;
}

std::string only(const std::set<std::string>& items) { return items.size() == 1 ? *items.begin() : std::string(); }

// vif<domid>.<n> -> domid
std::optional<std::uint64_t> domain_of(std::string_view name) {
    if (!name.starts_with("vif")) return std::nullopt;
    name.remove_prefix(3);
    const auto id = parse_number(name.substr(0, name.find('.')), 0, 65535, "domain id");
    return id ? std::optional(*id) : std::nullopt;
}

}  // namespace

Result<SwitchState> parse_switch(std::string_view text) {
    if (text.size() > kMaxBytes) return fail(Kind::kInvalid, "ovs-vsctl printed {} bytes, more than {}", text.size(), kMaxBytes);
    const auto lines = split(trim(text), '\n');
    if (lines.size() != 3) return fail(Kind::kInvalid, "ovs-vsctl printed {} tables instead of 3", lines.size());
    BLANKET_TRY(const Rows bridges, Rows::parse(lines[0]));
    BLANKET_TRY(const Rows ports, Rows::parse(lines[1]));
    BLANKET_TRY(const Rows interfaces, Rows::parse(lines[2]));
    SwitchState state;
    if (bridges.size() == 0) return state;
    state.bridge = true;
    state.datapath = bridges.text(0, "datapath_type");
    state.fail_mode = bridges.text(0, "fail_mode");
    const auto ours = uuids(bridges.cell(0, "ports"));
    std::set<std::string> members;
    for (std::size_t row = 0; row < ports.size(); ++row)
        if (ours.contains(only(uuids(ports.cell(row, "_uuid"))))) members.merge(uuids(ports.cell(row, "interfaces")));
    for (std::size_t row = 0; row < interfaces.size(); ++row) {
        if (!members.contains(only(uuids(interfaces.cell(row, "_uuid"))))) continue;
        Interface out{.name = interfaces.text(row, "name"), .type = interfaces.text(row, "type"), .mac = interfaces.text(row, "mac"),
                      .error = interfaces.text(row, "error"), .ids = text_map(interfaces.cell(row, "external_ids")),
                      .options = text_map(interfaces.cell(row, "options"))};
        if (const Json& port = interfaces.cell(row, "ofport"); port.is_number_integer()) out.port = port.get<std::int64_t>();
        if (const Json& mtu = interfaces.cell(row, "mtu_request"); mtu.is_number_unsigned()) out.mtu = mtu.get<std::uint64_t>();
        state.interfaces.push_back(std::move(out));
    }
    std::ranges::sort(state.interfaces, {}, &Interface::name);
    return state;
}

LocalPorts local_ports(const SwitchState& state) {
    LocalPorts out;
    struct Vif {
        std::uint64_t domain = 0;
        std::uint32_t port = 0;
        std::string name;
    };
    std::map<std::pair<std::string, Mac>, Vif> vifs;
    for (const auto& interface : state.interfaces) {
        if (interface.port <= 0 || interface.port > 65279) continue;  // reserved numbers begin at 0xff00
        const auto port = static_cast<std::uint32_t>(interface.port);
        if (interface.name == kTunnelPort && interface.type == "vxlan") out.tunnel = port;
        if (const auto id = interface.ids.find("blanket-gateway"); id != interface.ids.end() && interface.name.starts_with("gw"))
            if (const auto vni = parse_number(id->second, 1, 0xff'ffff, "VNI"); vni && interface.name == gateway_name(static_cast<std::uint32_t>(*vni)))
                out.gateways[static_cast<std::uint32_t>(*vni)] = port;
        const auto uuid = interface.ids.find("vm-uuid"), mac = interface.ids.find("vm-mac");
        if (const auto hold = interface.ids.find("blanket-hold"); hold != interface.ids.end() && interface.name.starts_with(kHoldPrefix) &&
                                                                  mac != interface.ids.end() && check_uuid(hold->second)) {
            if (const auto address = parse_mac(mac->second); address) out.holds.push_back({hold->second, *address, port, interface.name});
            continue;
        }
        const auto domain = domain_of(interface.name);
        if (uuid == interface.ids.end() || mac == interface.ids.end() || !domain || !check_uuid(uuid->second)) continue;
        const auto address = parse_mac(mac->second);
        if (!address) continue;
        auto& slot = vifs[{uuid->second, *address}];
        if (slot.name.empty() || slot.domain < *domain) slot = {*domain, port, interface.name};
    }
    for (const auto& [key, value] : vifs) out.vms.push_back({key.first, key.second, value.port, value.name});
    return out;
}

}  // namespace blanket::net
