// SPDX-License-Identifier: GPL-2.0-or-later
// The federation's CA is replaced by a new one while everything goes on: what is said about it, and what each member does next. Pure.
// The holder of the CA's key says one statement per step (daemon/ca_rotation.hpp); every member follows it (daemon/ca_trust.hpp) and says so in its record.
//
//   trust   both CAs are trusted, by etcd too, which reads the file at its start only: the voters start it again in turn
//   issue   the new CA signs; every member has a certificate of it
//   drop    the old CA is trusted no more; the voters start etcd again in turn
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "toolstack/core/records.hpp"

namespace blanket {

enum class CaStep : std::uint32_t { kNone = 0, kTrust = 1, kIssue = 2, kDrop = 3 };
std::string_view to_string(CaStep step);  // "trust", "issue", "drop"

// Signed by the old CA's key, so that only its holder can say it; anybody may hand it on. JSON {"from","to","cert","step","serial","without":[],"by","since","signature"}.
struct CaStatement {
    std::string from, to;              // fingerprints of the old CA's certificate and of the new one's
    std::string cert;                  // PEM of the new one
    CaStep step = CaStep::kTrust;
    std::uint64_t serial = 0;          // grows with each statement of the holder
    std::vector<std::string> without;  // Site.name, sorted: nobody waits for them
    std::string by, since;             // Site.name of the holder; RFC 3339, UTC
    std::string signature;             // base64
    bool operator==(const CaStatement&) const = default;
    [[nodiscard]] std::string text() const;  // what is signed
};
inline constexpr const char* kCaKey = "ca";           // of the present or last statement, in the registry
inline constexpr std::size_t kMostCaStatements = 8;   // that a member keeps, for those that were away
Json to_json(const CaStatement& statement);
Result<CaStatement> parse_ca_statement(const Json& value);  // its form and bounds; not whether its signature is right

// What a member makes of a statement, before it checks the signature: `last` is what it goes by now, `trusts` are the fingerprints of the CAs that it trusts.
enum class CaNews : std::uint8_t { kOld, kNew, kStranger };  // known or outdated; to be checked, and followed if it is right; of a CA that it does not trust
CaNews judge_ca_news(const CaStatement& statement, const CaStatement* last, const std::vector<std::string>& trusts);

// What one member has of the statement that it goes by.
struct CaHere {
    bool trusts_from = false, trusts_to = false;  // its bundle
    bool shows_to = false;                        // its certificate is of the new CA
    CaStep etcd = CaStep::kNone;                  // the step whose bundle its etcd has read; kDrop where there is no etcd
    CaStep said = CaStep::kNone;                  // in its record, of this rollover
};
enum class CaAct : std::uint8_t { kNothing, kTrustBoth, kRestartEtcd, kRenew, kTrustNew, kSay };
CaAct next_ca_act(CaStep step, const CaHere& here);

// Members that are waited for, sorted: not revoked, not left out, and not there yet by their records.
std::vector<std::string> lagging(const CaStatement& statement, const std::vector<Site>& sites);
// Whose etcd starts again is in the order of names: who of the voters before `self` has not said `step` yet; empty: it is its turn.
std::string waits_for_turn(const CaStatement& statement, CaStep step, const std::vector<Site>& sites, const std::string& self);
// Whether etcd may miss one of `voters`, given how many of the others are well, and how many are left behind: it goes on; or everybody else that is to be there is, so that
// it stands still for that moment and no longer (two voters, or three of which one is lost).
bool may_miss_one(std::size_t voters, std::size_t others_well, std::size_t left_out);

// The names of `without` exist and are not the holder; sorted, each once. kInvalid, kNotFound otherwise.
Result<std::vector<std::string>> check_without(std::vector<std::string> without, const std::vector<Site>& sites, const std::string& holder);

}  // namespace blanket
