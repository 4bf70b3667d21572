// SPDX-License-Identifier: GPL-2.0-or-later
// This site's membership: its identity and etcd from the first start, naming the federation, tokens, admission of newcomers, joining. Used by blanketd's
// main and REST routes. Thread safe: one change at a time (an inner mutex); accessors never wait for a change.
//
//   first start:  private CA + site certificate + one-member etcd + own Site record           (ensure_local)
//   init NAME:    federation record; from then on the caller opens the TLS listeners          (init, federated)
//   join TOKEN:   the local CA and etcd data are replaced by the federation's                 (join)
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "toolstack/core/ports.hpp"
#include "toolstack/daemon/newcomer.hpp"
#include "toolstack/peer/tls_context.hpp"
#include "toolstack/registry/etcd_registry.hpp"

namespace blanket {

struct FederationOptions {
    std::string site;           // name
    std::string address;        // uplink IPv4
    std::string version;        // of blanketd, "0.1.0"
    std::string wireguard_key;  // public, base64; empty = not known yet (see ensure_local)
    std::string root = "/var/lib/blanket";
    std::string listen;         // address for etcd to bind, empty = address
    std::uint16_t client_port = 2379, peer_port = 2380, rest_port = 7443;
    bool loopback = true;       // etcd serves 127.0.0.1 too
    std::uint32_t heartbeat_ms = 500, election_ms = 5000;  // of etcd; the same at all sites
    std::chrono::seconds join_deadline{240};  // for a newcomer's etcd to become a voter
};

class Federation final {
public:
    static Result<std::unique_ptr<Federation>> create(FederationOptions options, std::unique_ptr<EtcdRunner> runner);
    ~Federation();

    // At each start of blanketd: makes (first time) or loads identity and etcd, starts etcd, writes or refreshes our Site record (address, version,
    // WireGuard key). Idempotent. kUnavailable when the cluster has no quorum now: identity and registry() are usable, call again later.
    Result<void> ensure_local(const Progress& progress);

    // kConflict at the second. Answers as show().
    Result<Json> init(const std::string& name);
    // {"federation":{name,id,sites:[..],members:[{name,role,healthy,leader}]}}; kNotFound before init or join.
    Result<Json> show();
    // {"token":"blanket1..."}; role site | witness; name may be empty. kPrecondition before init.
    Result<Json> make_token(const std::string& role, const std::string& name, std::chrono::seconds ttl);
    // As the newcomer. kConflict when this site has a federation or VMs already.
    Result<void> join(const std::string& token, const Progress& progress);
    // The steps of join() as text, for --dry-run. Checks what can be checked without a change.
    Result<std::vector<std::string>> plan_join(const std::string& token);
    // At the signing site: body of POST /1.0/peer/join (the open route). Answers {ca, cert, initial_cluster, endpoints, index, role, federation, member}.
    Result<Json> handle_join(const Json& body);

    // Adapts the etcd endpoints to the registry's sites; cheap, call it at changes (Watcher).
    Result<void> refresh_endpoints(const std::vector<Versioned<Site>>& sites);
    // Moves the etcd leader to that site's member if it is a voter; before a migration, so that the commit costs the least.
    Result<void> move_leader_to(const std::string& site);

    [[nodiscard]] bool federated() const { return federated_; }  // known after ensure_local
    [[nodiscard]] Result<TlsContext> tls() const;                // load anew after join
    [[nodiscard]] std::shared_ptr<EtcdClient> etcd() const { return etcd_; }          // the same object for life
    [[nodiscard]] std::shared_ptr<Registry> registry() const { return registry_; }    // the same object for life
    [[nodiscard]] LocalState local() const;

private:
    Federation(FederationOptions options, std::unique_ptr<EtcdRunner> runner);
    Result<void> make_local(const Progress& progress);
    Result<void> move_address(const Progress& progress);
    Result<void> write_site();
    void use(const LocalState& state);
    Result<Versioned<Token>> check_token(const std::string& id, const std::string& secret);
    void finish_join(const std::stop_token& stop, std::uint64_t member, const std::string& name);
    [[nodiscard]] Newcomer self() const;

    FederationOptions options_;
    std::unique_ptr<EtcdRunner> runner_;
    std::shared_ptr<EtcdClient> etcd_;
    std::shared_ptr<Registry> registry_;
    std::atomic<bool> federated_ = false;
    std::mutex change_;          // init, join, handle_join
    mutable std::mutex state_mutex_;
    LocalState state_;          // under state_mutex_
    std::string sites_seen_;    // under state_mutex_: what refresh_endpoints() last acted on
    std::atomic<bool> admitting_ = false;
    std::jthread promoter_;     // last: ends before what it uses
};

}  // namespace blanket
