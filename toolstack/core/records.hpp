// SPDX-License-Identifier: GPL-2.0-or-later
// The registry's records as plain values, and their JSON form. Pure. Everybody reads these; only registry/ moves them to and from etcd.
// JSON from the store is input like any other: parse_* checks every field's bounds.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"
#include "toolstack/core/addresses.hpp"
#include "toolstack/core/exposures.hpp"
#include "toolstack/core/security_groups.hpp"
#include "toolstack/core/seed.hpp"

namespace blanket {

// Who answers for a VM at this moment and what is being done to it (ARCHITECTURE.md, "The record").
enum class Phase : std::uint8_t {
    kStopped,    // defined, owned by `owner`, not running by intent
    kRunning,    // runs at `owner` (or is to be started there after a crash of the host)
    kSettling,   // `owner` has it by a commit or took it back; not everything is in place there yet, perhaps it is still paused
    kMigrating,  // runs at `owner`; `migration` names the target, which holds a suspended copy at most
    kDeleting,   // its parts are being removed at `owner`
};
std::string_view to_string(Phase phase);
Result<Phase> parse_phase(std::string_view text);

// What happens to a VM at a site that does not reach the registry.
inline constexpr const char* kKeepRunning = "keep-running-no-failover";  // it runs on, and nobody takes it over without an operator's word (migrate/takeover.hpp)
inline constexpr const char* kPause = "pause";  // it is suspended until the registry says that it still belongs there (migrate/guard.hpp); its standby may take it over

Result<void> check_policy(std::string_view policy);

struct Nic {
    std::string net;  // Net.name
    std::string mac;  // 02:... lower case
    std::string ip;   // dotted IPv4
    bool operator==(const Nic&) const = default;
};

struct Volume {
    std::string id;          // [a-z0-9-]; thin LV `vol-<id>`, guest-visible device `bs-<id>-top`
    std::string image;       // sha256 of the base image, empty = blank disk
    std::uint64_t size = 0;  // bytes, multiple of 64 KiB
    std::string target;      // "xvda"
    bool operator==(const Volume&) const = default;
};

struct Migration {
    std::string id;      // the job's id
    std::string target;  // Site.name
    bool operator==(const Migration&) const = default;
};

// A copy that a site was left with when another one took the VM over without it: stopped, kept for inspection, never merged, never resumed.
struct Fork {
    std::string site;         // Site.name
    std::uint64_t epoch = 0;  // under which it ran there
    std::string since;        // RFC 3339, UTC: when it was taken over
    bool operator==(const Fork&) const = default;
};

// A site that kept its disk when the VM moved away: with the policy `pause` it takes the VM over by itself when the owner falls silent (migrate/failover.hpp).
struct Standby {
    std::string site;         // Site.name
    std::uint64_t epoch = 0;  // its disk is the state at the end of this epoch
    std::string since;        // RFC 3339, UTC: when that ended, so how old the state is
    bool operator==(const Standby&) const = default;
};

struct VmRecord {
    std::string uuid, name;
    std::string owner;        // Site.name
    std::uint64_t epoch = 1;  // + 1 with each change of the owner; the fencing token
    Phase phase = Phase::kStopped;
    std::optional<Migration> migration;  // present exactly in kMigrating
    std::uint64_t memory_mib = 0;
    std::uint32_t vcpus = 1;
    std::string definition;                 // libvirt domain XML, as given to virDomainDefineXML
    std::vector<std::string> cpu_features;  // sorted; what the VM has seen, empty until its first start
    std::vector<Nic> nics;
    std::vector<Volume> volumes;
    std::string policy = kKeepRunning;  // or kPause: what happens where the registry is out of reach
    std::vector<Fork> forks;            // one per site at most
    std::optional<Standby> standby;     // only with the policy `pause`: where the VM was last
    std::optional<SeedFacts> seed;      // what its cloud-init is told at the first boot; the content is apart (seed.hpp)
    std::string created;                // RFC 3339, UTC
    bool operator==(const VmRecord&) const = default;
};

// What stays of a deleted VM's record. That a record is missing proves nothing, as etcd may have been restored; by this a site that was away knows that what it
// still has of the VM may go.
struct Gone {
    std::string uuid, name;
    std::vector<std::string> volumes;  // Volume.id
    std::string since;                 // RFC 3339, UTC
    bool operator==(const Gone&) const = default;
};
inline constexpr int kGoneDays = 90;  // then it is forgotten

// Bytes of an IPv4 packet. Below the smallest nothing is tried: IPv6 asks every link for that much.
inline constexpr std::uint32_t kSmallestPathMtu = 1280, kLargestPathMtu = 65535;

// How far a member has followed when the federation's CA is replaced (core/ca_rollover.hpp), in its own words.
struct CaMark {
    std::string to;          // fingerprint of the new CA's certificate
    std::uint32_t step = 0;  // of CaStep
    bool operator==(const CaMark&) const = default;
};

// Another site as one hears it by WireGuard, not through a relay (net/ways.hpp).
struct Heard {
    std::string from;          // "203.0.113.7:40123", where its packets come from; empty: from its address and WireGuard's port, or from an address that nobody else is told
    std::uint32_t rtt_ms = 0;  // through the tunnel, coarse; 0: not measured
    bool operator==(const Heard&) const = default;
};

struct Site {
    std::string name;
    std::uint32_t index = 0;     // 1..254; WireGuard address 10.213.<index>.1
    std::string address;         // uplink address that the other sites reach
    std::string wireguard_key;   // public key, base64
    std::string role = "voter";  // voter | client | witness
    std::string version;         // of blanketd
    std::uint64_t member = 0;    // etcd member id, 0 for a client
    std::string state = "joined";
    std::string provider = {};   // what it runs on, in its own words; for people
    std::map<std::string, std::uint32_t> path_mtu;  // by the other site's name: the largest IPv4 packet that passes to it outside of the tunnel, as this site found
    std::optional<CaMark> ca = {};  // of the last rollover of the CA that it took part in
    std::map<std::string, Heard> heard = {};  // by the other site's name: those that this site hears. Empty: it does not tell
    bool operator==(const Site&) const = default;
};

struct Net {
    std::string name;
    std::uint32_t vni = 0;   // 24 bit
    std::string cidr;        // 10.1.0.0/24
    std::string gateway;     // 10.1.0.1
    std::uint32_t mtu = 1390;  // the most that guests get (net/path_mtu.hpp)
    std::vector<SecurityGroup> groups;
    bool deleting = false;  // no VM comes into it any more; once none is left in it, the record goes
    std::vector<Anchor> anchors = {};  // one per site at most: which of its VMs' ports the outside world reaches there
    bool operator==(const Net&) const = default;
};

struct Image {
    std::string name;
    std::string sha256;      // of the raw content: the identity
    std::uint64_t size = 0;  // bytes of the raw content
    std::vector<std::string> sites;  // where it is present
    bool operator==(const Image&) const = default;
};

struct Token {
    std::string id;
    std::string secret_sha256;
    std::string role;           // site | witness
    std::string name;           // the name that the newcomer gets, empty = its own
    std::uint64_t expires = 0;  // Unix seconds
    bool used = false;
    bool operator==(const Token&) const = default;
};

// A site is cut off for good: its name, its certificates and its WireGuard keys are refused from then on, whatever other records say. Signed by the site whose
// operator said so, so that it can be handed on by anybody (peer/revocations.hpp checks it). Nothing takes it back.
struct Revocation {
    std::string site;                         // the name
    std::vector<std::string> wireguard_keys;  // of it, as far as known
    std::string address;                      // its last one, empty: not known. Only for cleaning up: another machine may get it
    std::string by, since;                    // Site.name; RFC 3339, UTC
    std::string cert, signature;              // of `by`: PEM; base64
    bool operator==(const Revocation&) const = default;
    [[nodiscard]] std::string text() const;  // what is signed
};
inline constexpr const char* kRevoked = "revoked";  // Site.state, as every site shows it by itself

Json to_json(const VmRecord& value);
Json to_json(const Gone& value);
Json to_json(const Site& value);
Json to_json(const Net& value);
Json to_json(const Image& value);
Json to_json(const Token& value);
Json to_json(const Revocation& value);
Result<VmRecord> parse_vm(const Json& value);
Result<Gone> parse_gone(const Json& value);
Gone gone_of(const VmRecord& vm, const std::string& now);
Result<Site> parse_site(const Json& value);
Result<Net> parse_net(const Json& value);
Result<Image> parse_image(const Json& value);
Result<Token> parse_token(const Json& value);
Result<Revocation> parse_revocation(const Json& value);  // its form; not whether its signature is right

// Lowest free host address of the net (gateway and broadcast excluded), given those in use; kConflict when it is full.
Result<std::string> allocate_ip(const Net& net, const std::vector<VmRecord>& vms);

inline std::string wireguard_address(std::uint32_t site_index) { return std::format("10.213.{}.1", site_index); }

}  // namespace blanket
