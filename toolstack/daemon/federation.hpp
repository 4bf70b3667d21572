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
#include "toolstack/daemon/ca_rotation.hpp"
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

    // The federation's CA is replaced by a new one, while everything goes on (federation_ca.cpp; ca_rotation.hpp). Only at the site that holds its key. `how`: what the caller
    // wants to see and say; this site's own part of it is put in here. Harmless to repeat; it goes on where it was.
    Result<std::vector<std::string>> plan_rotate_ca(const std::vector<std::string>& without);
    Result<Json> rotate_ca(CaRotation how);
    // This site's part in it (ca_trust.hpp): call it when the registry's "ca" changes, every second while ca_changing(), and now and then. Answers what it waits for.
    Result<std::string> follow_ca();
    [[nodiscard]] bool ca_changing() const;
    [[nodiscard]] bool ca_rotation_waits() const;  // one that began here has not ended
    // Asks the other sites for a new CA that this one has missed. Call it when the registry does not answer; seconds at most for each of them.
    void ask_ca();
    [[nodiscard]] Json ca_statements() const;  // GET /1.0/peer/ca, for whoever asks
    // kDenied, with the next command: the CA was replaced while this site was away, and nobody takes its certificate. join() with a token of its name brings it back.
    [[nodiscard]] Result<void> refuse_behind() const;
    // At the holder of the CA's key, from a site that was left behind: {id, secret, name, role, address, csr}. Answers {ca, cert}. The token names the site.
    Result<Json> handle_readmit(const Json& body);
    void on_identity(std::function<Result<void>()> reload) { on_identity_ = std::move(reload); }  // listeners read the files anew; before the first use; from any thread
    void reach_by(std::function<std::string(const Site&)> address) { reach_ = std::move(address); }  // where a site's ports are reached, if not at its record's address; as above

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
    void make_follower();
    Result<std::vector<Site>> judged_sites();
    Result<void> steady_ca() const;
    Result<void> prove_ca(const Site& site, const CaStatement& statement);
    Result<void> sign_revocations_anew();
    Result<void> come_back(const JoinToken& token, const Progress& progress);

    FederationOptions options_;
    Renewal renewal_;
    std::unique_ptr<EtcdRunner> runner_;
    std::shared_ptr<EtcdClient> etcd_;
    std::shared_ptr<Registry> registry_;
    std::shared_ptr<Revocations> revocations_;
    CaStore ca_;
    std::unique_ptr<CaFollower> follower_;  // under following_
    mutable std::mutex following_;          // taken before change_
    std::function<Result<void>()> on_identity_;
    std::function<std::string(const Site&)> reach_ = [](const Site& site) { return site.address; };
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
