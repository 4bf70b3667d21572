// SPDX-License-Identifier: GPL-2.0-or-later
// The Registry port over etcd: JSON values under /blanket/v1/ (core/records). Used by daemon/ and migrate/ through the port. Thread safe.
//
// kUnavailable from a change: no quorum or a lost answer, the outcome is unknown; it may even be applied later. Repeat it (the compare makes that
// safe) or win another compare-and-swap on the same record before you act on "it did not happen".
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "toolstack/core/ports.hpp"
#include "toolstack/registry/etcd_client.hpp"

namespace blanket {

inline constexpr std::string_view kRegistryPrefix = "/blanket/v1/";
inline constexpr std::string_view kBeatPrefix = "/blanket/beats/";  // beside it: every few seconds a new one, that no watcher wants to see
inline constexpr std::string_view kSeedPrefix = "/blanket/seeds/";  // beside it too: up to 64 KiB each, which no snapshot needs (core/seed.hpp)

class EtcdRegistry final : public Registry {
public:
    explicit EtcdRegistry(std::shared_ptr<EtcdClient> client) : client_(std::move(client)) {}

    Result<Snapshot> snapshot() override;  // see Malformed; other malformed records are left out and logged
    Result<std::optional<Versioned<VmRecord>>> vm(const std::string& uuid) override;
    Result<std::uint64_t> create_vm(const VmRecord& vm) override;
    Result<std::uint64_t> update_vm(const VmRecord& vm, std::uint64_t expected_revision) override;
    Result<void> remove_vm(const VmRecord& vm, std::uint64_t expected_revision) override;
    Result<std::optional<Gone>> gone(const std::string& uuid) override;
    Result<void> beat(const std::string& site, bool leaving) override;
    Result<std::optional<Beat>> last_beat(const std::string& site) override;
    Result<std::uint64_t> take_over_vm(const VmRecord& vm, std::uint64_t expected_revision, const std::string& silent, std::uint64_t beat) override;
    Result<std::uint64_t> put(const std::string& key, const Json& value, std::uint64_t expected_revision) override;
    Result<std::optional<Versioned<Json>>> get(const std::string& key) override;
    Result<void> remove(const std::string& key, std::uint64_t expected_revision = 0) override;

private:
    struct Write {
        std::vector<EtcdCompare> compares;
        std::vector<EtcdOp> ops;
    };
    std::optional<EtcdKv> last_good(const EtcdKv& kv);  // the last version before it that makes sense, as of its revision
    Result<std::optional<EtcdKv>> get_good(const std::string& key);
    Result<std::vector<EtcdCompare>> nets_that_take(const VmRecord& vm);
    Result<std::uint64_t> commit(const Write& write, const std::function<Error()>& lost);
    Error changed_meanwhile(const VmRecord& vm, std::uint64_t expected_revision);
    std::shared_ptr<EtcdClient> client_;
};

// Takes the next number of a counter ("site", "vni"): 1, 2, ... by compare-and-swap on seq/<name>.
Result<std::uint64_t> next_number(Registry& registry, const std::string& name);

// Calls back after any change below /blanket/v1/: once when the watch stands and after each reconnection, with no events: all is to be read; then with what has changed since
// (many at once = one call), in order and without a gap. The callback runs on the watcher's thread, never twice at the same time.
class Watcher final {
public:
    using OnChange = std::function<void(std::span<const EtcdEvent> events)>;
    Watcher(std::shared_ptr<EtcdClient> client, OnChange on_change);
    ~Watcher();  // stops and joins; not from the callback

private:
    struct State;
    std::shared_ptr<State> state_;
    std::jthread reader_, caller_;
};

}  // namespace blanket
