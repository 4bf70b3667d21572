// SPDX-License-Identifier: GPL-2.0-or-later
// Every external command of the network as a value, built here and nowhere else; and the port through which they run.
// Secrets travel on standard input only. overlay_ovs.cpp uses them; tests/unit/net has a stateful fake of the port.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "toolstack/base/process.hpp"

namespace blanket::net {

struct Command {
    Argv argv;
    std::string input;  // standard input; may hold a key: never printed
    std::chrono::milliseconds deadline{20'000};
    // How SystemRunner does it without a process, where it can (switch_socket.hpp); argv is what it stands for.
    enum class Way : std::uint8_t { kProcess, kBundle, kRead } way = Way::kProcess;
};

// Runs a command to its end; a status other than 0 is an error. Thread safe.
class CommandRunner {
public:
    virtual ~CommandRunner() = default;
    virtual Result<std::string> run(const Command& command) = 0;
};

// The real one (base/process.hpp, switch_socket.hpp).
class SystemRunner final : public CommandRunner {
public:
    Result<std::string> run(const Command& command) override;
};

inline constexpr const char* kBridge = "br-int";
inline constexpr const char* kTunnelPort = "vxlan0";
inline constexpr const char* kWireGuardInterface = "wg-blanket";

namespace commands {
Command switch_read();                                // three JSON tables, one per line: Bridge, Port, Interface
Command switch_change(const std::vector<Argv>& steps);  // one OVSDB transaction
Command flows_read();                                 // entries with our cookie
Command flows_read_all();                             // everybody's
Command flows_change(const std::string& lines);       // one atomic OpenFlow bundle, lines on standard input
Command addresses_read();                             // JSON
Command addresses_change(const std::string& lines);   // `ip -batch`
Command wireguard_sync(const std::string& config);    // config with the private key, on standard input
Command wireguard_endpoints();                        // keys and endpoints of the peers
Command firewall_load(const std::string& rules);
Command firewall_read();                              // our table as nft prints it, without counters
Command dhcp_unit(std::string_view verb, std::uint32_t vni);  // reload | restart | stop
}  // namespace commands

}  // namespace blanket::net
