// SPDX-License-Identifier: GPL-2.0-or-later
// See commands.hpp.
#include "net/commands.hpp"

#include "net/flow.hpp"
#include "net/switch_socket.hpp"

namespace blanket::net {

Result<std::string> SystemRunner::run(const Command& command) {
    if (command.way == Command::Way::kRead) return read_tables(kBridge, command.deadline);
    if (command.way == Command::Way::kBundle) {
        const auto sent = send_bundle(kBridge, command.input, command.deadline);
        if (sent) return std::string();
        if (sent.error().kind != Kind::kPrecondition) return std::unexpected(sent.error());  // else: words of another version, which ovs-ofctl knows
    }
    return blanket::run(command.argv, {.deadline = command.deadline, .input = command.input, .max_output = 256u << 20, .env = {}});
}

namespace commands {

Command switch_read() {
    return {.argv = {"ovs-vsctl", "--timeout=15", "--format=json", "--columns=_uuid,name,ports,datapath_type,fail_mode", "find", "Bridge",
                     std::string("name=") + kBridge, "--", "--columns=_uuid,name,interfaces", "list", "Port", "--",
                     "--columns=_uuid,name,type,ofport,external_ids,options,mac,mtu_request,error", "list", "Interface"},
            .input = {},
            .way = Command::Way::kRead};
}

Command switch_change(const std::vector<Argv>& steps) {
    Command command{.argv = {"ovs-vsctl", "--timeout=15"}, .input = {}};
    for (const auto& step : steps) {
        command.argv.emplace_back("--");
        command.argv.insert(command.argv.end(), step.begin(), step.end());
    }
    return command;
}

Command flows_read_all() { return {.argv = {"ovs-ofctl", "--timeout=15", "-O", "OpenFlow14", "--no-names", "--no-stats", "dump-flows", kBridge}, .input = {}}; }

Command flows_read() {
    Command command = flows_read_all();
    command.argv.push_back(std::format("cookie={:#x}/{:#x}", kCookieMark, kCookieMask));
    return command;
}

Command flows_change(const std::string& lines) {
    return {.argv = {"ovs-ofctl", "--timeout=15", "-O", "OpenFlow14", "bundle", kBridge, "-"}, .input = lines, .way = Command::Way::kBundle};
}

Command addresses_read() { return {.argv = {"ip", "-json", "address", "show"}, .input = {}}; }

Command addresses_change(const std::string& lines) { return {.argv = {"ip", "-batch", "-"}, .input = lines}; }

Command wireguard_sync(const std::string& config) { return {.argv = {"wg", "syncconf", kWireGuardInterface, "/dev/stdin"}, .input = config}; }

Command wireguard_endpoints() { return {.argv = {"wg", "show", kWireGuardInterface, "endpoints"}, .input = {}}; }

Command firewall_load(const std::string& rules) { return {.argv = {"nft", "-f", "-"}, .input = rules}; }

Command firewall_read() { return {.argv = {"nft", "--stateless", "list", "table", "inet", "blanket_net"}, .input = {}}; }

Command dhcp_unit(std::string_view verb, std::uint32_t vni) {
    return {.argv = {"systemctl", std::string(verb), std::format("blanket-dhcp@{}.service", vni)}, .input = {}, .deadline = std::chrono::seconds(40)};
}

}  // namespace commands
}  // namespace blanket::net
