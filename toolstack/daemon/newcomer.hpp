// SPDX-License-Identifier: GPL-2.0-or-later
// The newcomer's side of joining a federation, shared by blanketd (federation.cpp) and blanket-witness. ARCHITECTURE.md draws the sequence.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/peer/join_token.hpp"
#include "toolstack/peer/pki.hpp"
#include "toolstack/peer/revocations.hpp"
#include "toolstack/registry/etcd_process.hpp"

namespace blanket {

using Progress = std::function<void(std::string)>;

// What a machine knows about its own place in the cluster, kept in <root>/state/federation.json (no secret).
struct LocalState {
    std::string site, address, role;     // role voter | client | witness
    std::uint32_t index = 0;             // 0 for a witness
    std::vector<std::string> endpoints;  // etcd clients "host:port", our own first
    std::string initial_cluster;         // of etcd.conf.yml
    bool existing = false;
    std::string founder = {};            // holds the CA's key; pinned when this site made the federation or joined it
    bool operator==(const LocalState&) const = default;
};
Json to_json(const LocalState& state);
Result<LocalState> parse_local_state(const Json& value);

struct Newcomer {
    std::string name, address, role;  // role site | witness
    std::string version, wireguard_key;
    std::string root;    // "/var/lib/blanket": pki/, etcd/, state/
    std::string listen;  // as in EtcdConfig
    std::uint16_t client_port = 2379, peer_port = 2380;
    bool loopback = true;
    // Where this machine reaches its own etcd: its address, but behind NAT that is somebody else's here.
    [[nodiscard]] std::string own_etcd() const { return std::format("{}:{}", listen.empty() || !loopback ? address : "127.0.0.1", client_port); }
    std::uint32_t heartbeat_ms = 500, election_ms = 5000;  // as in EtcdConfig
    std::chrono::seconds deadline{240};
};

// The file below root/state; kNotFound at the first start.
Result<LocalState> load_local_state(const std::string& root);
Result<void> save_local_state(const std::string& root, const LocalState& state);
// The site that holds the CA's key, by this machine's own disk: every member can write anything into etcd. Empty: not known.
std::string ca_holder(const std::string& root);
EtcdTls etcd_tls(const std::string& root);
EtcdConfig etcd_config(const Newcomer& self, const LocalState& state);

// {role, name, address, version, time, csr, ...}: what the founder's handle_join() reads.
Json join_request(const Newcomer& self, const JoinToken& token, const std::string& csr);

// Asks the signing site for admission, replaces the local PKI and etcd by those of the federation, starts etcd and waits until it votes. On any error
// the old identity and data are back, our member is removed again, and the old etcd runs (if there was one). The token stays used: the error says so.
Result<LocalState> join_federation(const Newcomer& self, const JoinToken& token, EtcdRunner& runner, const Progress& progress);

// What the registry says about revoked sites is taken in; true when one was new. For a member without blanketd: the witness.
Result<bool> take_revocations(EtcdClient& client, Revocations& revocations, const std::string& root);

}  // namespace blanket
