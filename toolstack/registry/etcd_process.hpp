// SPDX-License-Identifier: GPL-2.0-or-later
// The local etcd member: its configuration file, and how it is started and stopped (systemd unit, or a child of the witness or a test).
// Used by daemon/federation and blanket-witness. render_* and plan_* are pure. Not thread safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/process.hpp"
#include "toolstack/base/result.hpp"
#include "toolstack/registry/etcd_client.hpp"

namespace blanket {

struct EtcdConfig {
    std::string name;             // member name = site name
    std::string dir;              // holds etcd.conf.yml and data/
    std::string address;          // uplink address: what is advertised
    std::string listen;           // address to bind, empty = `address` (behind NAT they differ)
    std::uint16_t client_port = 2379, peer_port = 2380;
    bool loopback = true;         // serve clients on 127.0.0.1 too
    EtcdTls tls;                  // the same identity for clients and peers
    std::string initial_cluster;  // "east=https://a:2380,west=https://b:2380"; empty = only us
    bool existing = false;        // joins a running cluster
    // Slow CPUs (emulation) and a WAN of 50 ms RTT: ten missed beats, and a beat is ten RTTs.
    std::uint32_t heartbeat_ms = 500, election_ms = 5000;
    [[nodiscard]] std::string file() const { return dir + "/etcd.conf.yml"; }
    [[nodiscard]] std::string data() const { return dir + "/data"; }
    [[nodiscard]] std::string peer_url() const { return std::format("https://{}:{}", address, peer_port); }
    [[nodiscard]] std::string endpoint() const { return std::format("{}:{}", address, client_port); }
    // Where this machine reaches its own one: its address, but behind NAT that is somebody else's here.
    [[nodiscard]] std::string own_endpoint() const { return listen.empty() || !loopback ? endpoint() : std::format("127.0.0.1:{}", client_port); }
};

std::string render_etcd_config(const EtcdConfig& config);
Result<void> write_etcd_config(const EtcdConfig& config);  // makes dir (0700) and the file (0600)

// Starting and stopping; start() of a running one restarts it.
class EtcdRunner {
public:
    virtual ~EtcdRunner() = default;
    virtual Result<void> start(const EtcdConfig& config) = 0;
    virtual Result<void> stop() = 0;
    virtual Result<bool> running() = 0;
};
std::unique_ptr<EtcdRunner> make_unit_runner();   // systemctl ... blanket-etcd.service
std::unique_ptr<EtcdRunner> make_child_runner();  // `etcd --config-file` as our child, its log in <dir>/etcd.log; ends with the object, and with the thread that called start()

// Ends every connection that the member has accepted, of clients and of peers: whoever comes back shows its certificate to the list of revoked ones anew. An error
// when the kernel does not (no CONFIG_INET_DIAG_DESTROY, no right to it): then only a restart of etcd does it.
Result<void> end_etcd_connections(const EtcdConfig& config);
// The lines of `ss -Htn` as "local remote"; pure.
std::vector<std::string> parse_connections(std::string_view text);

// Waits until the member answers and knows a leader (or is a learner); kTimeout otherwise.
Result<EtcdStatus> wait_for_etcd(EtcdClient& client, const std::string& endpoint, std::chrono::milliseconds deadline);

}  // namespace blanket
