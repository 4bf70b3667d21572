// SPDX-License-Identifier: GPL-2.0-or-later
// Client of etcd v3's JSON gateway over HTTPS with a client certificate and fail-over between endpoints. Used by etcd_registry, watcher and
// daemon/federation. Source: etcd 3.5 api/etcdserverpb/rpc.proto. Thread safe; calls block at most `deadline`.
//
// Reads are linearizable. Errors: kUnavailable = no quorum or no endpoint answers; for a change this means that the outcome is unknown (it may still
// happen). Every change here is guarded by a compare or idempotent, so repeating it is safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"

namespace blanket {

struct EtcdTls {
    std::string ca_cert, cert, key;  // files
    std::string crl = {};  // for a member: the list of revoked certificates, which it reads at each handshake; empty = none
};

struct EtcdKv {
    std::string key, value;
    std::uint64_t mod_revision = 0;
};

struct EtcdCompare {  // mod_revision 0 = the key must not exist
    std::string key;
    std::uint64_t mod_revision = 0;
};

struct EtcdOp {
    std::string key;
    std::optional<std::string> value;  // absent = delete the key
};

struct EtcdTxnReply {
    bool succeeded = false;      // all compares held, so all operations were done
    std::uint64_t revision = 0;  // of the store after it
    bool retried = false;        // an earlier attempt's answer was lost: `succeeded == false` may mean that the earlier one did it
};

struct EtcdEvent {
    EtcdKv kv;  // of a deleted key: no value
    bool deleted = false;
};

struct EtcdRange {
    std::uint64_t revision = 0;  // of the store
    std::vector<EtcdKv> kvs;
};

struct EtcdMember {
    std::uint64_t id = 0;
    std::string name;  // empty: has not started yet
    std::vector<std::string> peer_urls, client_urls;
    bool learner = false;
};

struct EtcdStatus {
    std::uint64_t member = 0, leader = 0;  // leader 0 = none
    std::uint64_t revision = 0, raft_index = 0, db_size = 0;
    bool learner = false;
};

class EtcdClient final {
public:
    // Endpoints "host:port", tried in this order.
    EtcdClient(std::vector<std::string> endpoints, EtcdTls tls, std::chrono::milliseconds deadline = std::chrono::seconds(15));
    ~EtcdClient();
    EtcdClient(const EtcdClient&) = delete;
    EtcdClient& operator=(const EtcdClient&) = delete;

    // The cluster or our identity changed (a join); running calls finish with the old ones.
    void configure(std::vector<std::string> endpoints, EtcdTls tls);
    [[nodiscard]] std::vector<std::string> endpoints() const;

    // `revision` of the store: as it was then; 0 = now. kNotFound when that is so long ago that it was compacted.
    Result<std::optional<EtcdKv>> get(const std::string& key, std::uint64_t revision = 0);
    Result<EtcdRange> range_prefix(const std::string& prefix);  // at most 64 MiB
    Result<EtcdTxnReply> txn(const std::vector<EtcdCompare>& compares, const std::vector<EtcdOp>& then);

    Result<std::vector<EtcdMember>> members();
    Result<std::uint64_t> member_add(const std::string& peer_url, bool learner);  // the new member's id; kConflict when it is one already
    Result<void> member_promote(std::uint64_t id);  // kPrecondition: not in sync yet, try again
    Result<void> member_remove(std::uint64_t id);   // absent is fine
    Result<void> member_update(std::uint64_t id, const std::string& peer_url);  // its address changed
    Result<EtcdStatus> status(const std::string& endpoint);  // of one endpoint, without quorum
    Result<void> move_leader(std::uint64_t member);  // fine when it leads already

    // Streams changes below `prefix` until `stop` or an error. `on_events` is called once at the start with none (the watch stands: from now on nothing is missed), then with
    // those of each message, in their order; all of one revision come together.
    Result<void> watch(const std::string& prefix, std::stop_token stop, const std::function<void(std::span<const EtcdEvent>)>& on_events);

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace blanket
