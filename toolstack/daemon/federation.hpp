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
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "toolstack/core/ports.hpp"
#include "toolstack/daemon/newcomer.hpp"
#include "toolstack/daemon/renewal.hpp"
#include "toolstack/peer/tls_context.hpp"
#include "toolstack/registry/etcd_registry.hpp"

namespace blanket {

struct FederationOptions {
    std::string site;           // name
    std::string address;        // uplink IPv4
    std::string version;        // of blanketd, "0.1.0"
    std::string provider = {};  // what this site runs on, for people (provider_summary)
    std::string wireguard_key;  // public, base64; empty = not known yet (see ensure_local)
    std::string root = "/var/lib/blanket";
    std::string listen;         // address for etcd to bind, empty = address
    std::uint16_t client_port = 2379, peer_port = 2380, rest_port = 7443;
    bool loopback = true;       // etcd serves 127.0.0.1 too
    std::uint32_t heartbeat_ms = 500, election_ms = 5000;  // of etcd; the same at all sites
    std::chrono::seconds join_deadline{240};  // for a newcomer's etcd to become a voter
    std::chrono::milliseconds ask{1500};      // at a revocation: a member whether it is well
    std::chrono::seconds tell{4};             // one other site of it
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

    // Cuts a site off everywhere and for good (revocation.cpp). Answers {"revoked":{site, since, by, ms, confirmed:[..], open:[{site, why}], ..}}: `open` are sites that
    // could not be told; they hear of it from the registry, without which they let nobody in that asks for anything in it. kPrecondition: the registry would lose
    // its quorum, or the site holds the CA's key. Repeating it is harmless. Its record may be missing or say anything; kNotFound only for a name that this site has
    // never seen either, unless `unknown` says that it is meant. `member_removed`: its member of etcd really went; `unclaimed`: members that no site's record names.
    Result<Json> revoke(const std::string& name, const Progress& progress, bool unknown = false);
    Result<std::vector<std::string>> plan_revoke(const std::string& name, bool unknown = false);
    // Another site's word that a third one is cut off: believed by its signature. kDenied otherwise.
    Result<void> accept_revocation(const Json& body);
    // {"revoked": the statement about that site, or null}; for one that wonders why nobody talks to it.
    [[nodiscard]] Json standing(const std::string& name) const;
    // Asks the other sites whether this one is cut off. Call it when the registry does not answer; seconds at most for each of them.
    void ask_standing();
    [[nodiscard]] std::optional<Revocation> revoked() const;  // the statement about this site
    [[nodiscard]] std::shared_ptr<Revocations> revocations() const { return revocations_; }
    // Takes in what the snapshot says about revoked sites, writes back what it lacks, and shows their records as what they are, whatever they say.
    void judge(Snapshot& snapshot);
    void mark(Snapshot& snapshot) const;  // only the last of these
    void on_revoked(std::function<void(const Revocation&)> listener) { on_revoked_ = std::move(listener); }  // before the first use; from any thread

    // This site's record names that WireGuard key from now on. When the registry does not take it, it is tried again by publish_again(), which the daemon calls now and then.
    Result<void> publish_wireguard_key(const std::string& pub);
    Result<void> publish_again();

    // Lets this site's certificate be signed anew, with the same key, once half of its life is over: by ourselves or by the site that holds the CA's key (renewal.cpp).
    // True: it was, and listeners are to be opened again. `now`: Unix seconds. Asks once an hour at most.
    Result<bool> renew_if_due(std::int64_t now);
    // At the holder of the CA's key: body {csr} of POST /1.0/peer/renew from `peer`, as its verified certificate says. Answers {cert}. kDenied: its record has another
    // address than that certificate, or one that another site's record has too.
    Result<Json> handle_renew(const Subject& peer, const Json& body);
    Result<Json> handle_renew(const std::string& peer, const Json& body);  // of whom only the name is known
    [[nodiscard]] Result<std::int64_t> certificate_expires() const;  // Unix seconds

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
    Result<void> check_certificate(const Progress& progress);
    Result<void> write_site();
    Result<void> write_key();
    void use(const LocalState& state);
    Result<Versioned<Token>> check_token(const std::string& id, const std::string& secret);
    void finish_join(const std::stop_token& stop, std::uint64_t member, const std::string& name);
    void finish_joins(std::vector<std::pair<std::uint64_t, std::string>> members);
    Result<void> resume_admissions();
    Result<bool> waits_for_start(std::uint64_t member, const std::string& url);
    [[nodiscard]] Newcomer self() const;
    [[nodiscard]] std::string wireguard_key() const;
    struct Cut;
    Result<Cut> plan_cut(const std::string& name, bool unknown);
    Result<std::vector<std::string>> unclaimed_members();
    Result<void> pin_founder(const std::string& name);
    Result<void> accept(const Revocation& statement);
    Result<void> publish(const Revocation& statement);
    static Result<void> drop_tokens(EtcdClient& client);
    [[nodiscard]] std::string known_ca() const;

    FederationOptions options_;
    Renewal renewal_;
    std::unique_ptr<EtcdRunner> runner_;
    std::shared_ptr<EtcdClient> etcd_;
    std::shared_ptr<Registry> registry_;
    std::shared_ptr<Revocations> revocations_;
    std::atomic<bool> tokens_stale_ = false;  // some may be those of a site that was cut off while the registry was away
    std::function<void(const Revocation&)> on_revoked_;
    std::atomic<bool> federated_ = false;
    std::mutex revoking_;        // one revoke(); taken before change_
    std::mutex change_;          // init, join, handle_join
    mutable std::mutex state_mutex_;
    LocalState state_;          // under state_mutex_
    std::string wireguard_key_;  // under state_mutex_
    std::atomic<bool> key_unpublished_ = false;  // set and cleared under change_
    std::set<std::string> known_;  // under state_mutex_: sites that have had a record since we started
    std::set<std::string> told_;  // under state_mutex_: statements that were not believed
    std::string sites_seen_;    // under state_mutex_: what refresh_endpoints() last acted on
    std::atomic<bool> admitting_ = false;
    std::vector<std::pair<std::uint64_t, std::string>> admissions_;  // what promoter_ was given; under change_
    std::jthread promoter_;     // last: ends before what it uses
};

}  // namespace blanket
