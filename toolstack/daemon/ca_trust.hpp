// SPDX-License-Identifier: GPL-2.0-or-later
// A member's side of a new CA for the federation (core/ca_rollover.hpp): what it has accepted, kept on its own disk, and following it. Used by Federation and by
// blanket-witness; the holder of the CA's key says its statements through the same file (ca_rotation.hpp).
//
//   <root>/pki/ca.crt       the CAs that are trusted: one, or two while one takes the other's place
//   <root>/pki/ca.json      the statements so far, each signed by the CA before; and which of them etcd has been started with
//   <root>/pki/ca.next.*    only at the holder, until the rollover has ended: the new CA's certificate and key (0600)
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "toolstack/core/ca_rollover.hpp"
#include "toolstack/core/ports.hpp"
#include "toolstack/peer/ca_bundle.hpp"
#include "toolstack/registry/etcd_process.hpp"

namespace blanket {

struct CaFiles {
    std::string bundle, statements, next_cert, next_key;
    static CaFiles in(const std::string& root) { return {root + "/pki/ca.crt", root + "/pki/ca.json", root + "/pki/ca.next.crt", root + "/pki/ca.next.key"}; }
};

// Thread safe.
class CaStore final {
public:
    explicit CaStore(std::string root) : root_(std::move(root)) {}

    // kInvalid: the file makes no sense; then nothing is followed.
    [[nodiscard]] Result<std::vector<CaStatement>> statements() const;  // oldest first
    [[nodiscard]] std::optional<CaStatement> last() const;              // empty also when the file makes no sense
    // Takes in what is news and rightly signed. True: it was. kDenied: not signed by a CA that this member trusts.
    Result<bool> accept(const CaStatement& statement);
    [[nodiscard]] CaStep etcd_has_read(const CaStatement& statement) const;
    Result<void> etcd_reads(const CaStatement& statement, CaStep step);

private:
    struct Kept {
        std::vector<CaStatement> statements;
        CaMark etcd;
    };
    [[nodiscard]] Result<Kept> read() const;     // with mutex_
    Result<void> write(const Kept& kept) const;  // with mutex_
    std::string root_;
    mutable std::mutex mutex_;
};

// The pair that signs here now; kNotFound: this member does not hold the CA's key.
Result<CertAndKey> ca_signer(const std::string& root);
// The federation's CA was replaced while this member was away: its certificate is of a CA that nobody trusts any more. What it knows of that.
std::optional<CaStatement> left_behind(const std::string& root);
// {"statements":[..]}, what GET /1.0/peer/ca answers, and back.
Json ca_statements_json(const std::vector<CaStatement>& statements);
Result<std::vector<CaStatement>> parse_ca_statements(const Json& answer);
// Asks a site for them, without a certificate at either end: nothing of the answer is believed before its signatures are checked.
Result<std::vector<CaStatement>> ask_ca_statements(const std::string& host, std::uint16_t rest_port);

// The registry goes on without this member of etcd; kPrecondition: not now.
Result<void> others_are_well(EtcdClient& client, const EtcdTls& tls, const std::string& own_endpoint, const std::vector<std::string>& without);
// Ends it and starts it; `wait`: until it knows a leader, 30 s at most.
Result<void> start_etcd_again(EtcdRunner& runner, const EtcdConfig& config, bool wait);

// Does what the statements ask of this member. One thread at a time.
class CaFollower final {
public:
    struct Hooks {
        std::function<Result<std::vector<Site>>()> sites;      // as they stand now, revoked ones as such
        std::function<Result<void>()> reload;                   // what shows certificates, or checks them, reads the files anew; nothing that is open ends
        std::function<bool()> has_etcd;
        std::function<Result<void>(bool wait)> restart_etcd;    // `wait`: until it is well
        std::function<Result<void>(const std::vector<std::string>& without)> may_restart;  // the others are well enough; else why not
        std::function<Result<void>()> renew;                    // this member's certificate, with the same key
    };
    CaFollower(std::string root, std::string site, CaStore& store, Hooks hooks) : root_(std::move(root)), site_(std::move(site)), store_(store), hooks_(std::move(hooks)) {}

    // Reads the registry's statement, does all that can be done now, and says so in this member's record. Answers what it waits for; empty: for nothing.
    Result<std::string> follow(Registry& registry);
    // What can be done without the registry, which a member that was away may not reach before: trusts the new CA, starts etcd with it. True: something was done.
    Result<bool> catch_up();
    [[nodiscard]] bool on() const;  // a rollover has not ended yet, as far as this member knows

private:
    Result<CaHere> look(const CaStatement& statement, CaStep said) const;
    Result<void> trust_both(const CaStatement& statement);
    Result<void> trust_new(const CaStatement& statement);
    Result<void> restart(const CaStatement& statement, CaStep step, bool wait);
    Result<void> say(Registry& registry, const CaStatement& statement) const;
    std::string root_, site_;
    CaStore& store_;
    Hooks hooks_;
    bool reload_ = false;   // is still to be done
    std::string followed_;  // the statement that all was done for
};

}  // namespace blanket
