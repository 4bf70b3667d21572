// SPDX-License-Identifier: GPL-2.0-or-later
// See etcd_registry.hpp.
#include "toolstack/registry/etcd_registry.hpp"

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/net_rules.hpp"
#include "toolstack/registry/snapshot_changes.hpp"

namespace blanket {
namespace {

constexpr int kCreateTries = 8;    // while the networks' records change
constexpr int kOlderVersions = 8;  // of a record that makes no sense, that are looked at

std::string full(std::string_view key) {
    constexpr std::string_view kSeeds = "seeds/";
    if (key.starts_with(kSeeds)) return std::string(kSeedPrefix) + std::string(key.substr(kSeeds.size()));
    return std::string(kRegistryPrefix) + std::string(key);
}
std::string vm_key(const std::string& uuid) { return full("vms/" + uuid); }
std::string name_key(const std::string& name) { return full("names/vm/" + name); }
std::string gone_key(const std::string& uuid) { return full("gone/" + uuid); }
std::string beat_key(const std::string& site) { return std::string(kBeatPrefix) + site; }
constexpr std::string_view kLeaving = "leaving";
std::string text_of(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Keys that callers choose: printable path components, bounded.
Result<void> check_key(const std::string& key) {
    for (const auto& part : split(key, '/')) BLANKET_CHECK(check_name(part, "registry key part"));
    return {};
}

}  // namespace

Result<Snapshot> EtcdRegistry::snapshot() {
    BLANKET_TRY(const EtcdRange range, client_->range_prefix(std::string(kRegistryPrefix)));
    Snapshot snapshot;
    snapshot.revision = range.revision;
    for (const auto& kv : range.kvs) {
        const std::string_view key = std::string_view(kv.key).substr(std::min(kRegistryPrefix.size(), kv.key.size()));
        if (auto put = put_into(snapshot, kv); !put) {
            if (!key.starts_with("vms/") && !key.starts_with("nets/") && !key.starts_with("sites/")) {
                log::warning("registry", "record {} is malformed and left out: {}", kv.key, put.error().what);
                continue;
            }
            const auto good = last_good(kv);
            snapshot.malformed.push_back({std::string(key), put.error().what, good && put_into(snapshot, *good)});
        } else if (key == "federation") {
            if (const auto value = parse_json(kv.value)) {
                snapshot.federation_name = json_string_or(*value, "name", "");
                snapshot.federation_id = json_string_or(*value, "id", "");
            }
        }
    }
    return snapshot;
}

Result<std::optional<Versioned<VmRecord>>> EtcdRegistry::vm(const std::string& uuid) {
    BLANKET_CHECK(check_uuid(uuid));
    BLANKET_TRY(const auto kv, client_->get(vm_key(uuid)));
    if (!kv) return std::nullopt;
    auto record = parse_vm_kv(*kv);
    if (!record) {
        const Error error = record.error();
        const auto good = last_good(*kv);
        if (!good) return fail_hint(error.kind, std::format("record {} makes no sense: {}", kv->key, error.what), "write a good version of it to etcd, or restore etcd's last snapshot");
        BLANKET_TRY(record, parse_vm_kv(*good));
    }
    return Versioned<VmRecord>{std::move(*record), kv->mod_revision};
}

// Who edits a record by hand into nonsense has changed nothing. A compare-and-swap compares with the present revision all the same.
std::optional<EtcdKv> EtcdRegistry::last_good(const EtcdKv& kv) {
    std::uint64_t before = kv.mod_revision;
    for (int left = kOlderVersions; left > 0 && before > 1; --left) {
        auto older = client_->get(kv.key, before - 1);
        if (!older || !*older) break;
        before = (*older)->mod_revision;
        if (Snapshot alone; !put_into(alone, **older)) continue;
        log::debug("registry", "record {} makes no sense; its version of revision {} is taken", kv.key, before);
        (*older)->mod_revision = kv.mod_revision;
        return std::move(**older);
    }
    return std::nullopt;
}

// As the snapshot has it: of a network or site the last version that makes sense. One that never did is given as it is.
Result<std::optional<EtcdKv>> EtcdRegistry::get_good(const std::string& key) {
    BLANKET_TRY(auto kv, client_->get(key));
    if (!kv || !(key.starts_with(full("nets/")) || key.starts_with(full("sites/")))) return kv;
    Snapshot alone;
    const auto makes_sense = put_into(alone, *kv);
    if (makes_sense) return kv;
    auto good = last_good(*kv);
    if (!good) return kv;
    log::warning("registry", "record {} makes no sense ({}); its last good version counts", key, makes_sense.error().what);
    return good;
}

// Done, or lost. When an earlier attempt's answer was lost, the first operation's key tells whether that attempt did it: its value is ours.
Result<std::uint64_t> EtcdRegistry::commit(const Write& write, const std::function<Error()>& lost) {
    BLANKET_TRY(const EtcdTxnReply reply, client_->txn(write.compares, write.ops));
    if (reply.succeeded) return reply.revision;
    if (reply.retried) {
        const EtcdOp& first = write.ops.front();
        BLANKET_TRY(const auto now, client_->get(first.key));
        if (first.value ? now && now->value == *first.value : !now) return now ? now->mod_revision : reply.revision;
    }
    return std::unexpected(lost());
}

Result<std::uint64_t> EtcdRegistry::create_vm(const VmRecord& vm) {
    BLANKET_CHECK(check_uuid(vm.uuid));
    BLANKET_CHECK(check_name(vm.name, "VM"));
    for (int attempt = 1;; ++attempt) {
        BLANKET_TRY(auto compares, nets_that_take(vm));
        compares.insert(compares.end(), {{vm_key(vm.uuid), 0}, {name_key(vm.name), 0}});
        bool refused = false;
        auto created = commit({compares, {{vm_key(vm.uuid), text_of(to_json(vm))}, {name_key(vm.name), vm.uuid}}}, [&] {
            refused = true;
            return Error{Kind::kConflict, std::format("a VM named '{}' or with UUID {} exists already", vm.name, vm.uuid),
                         "choose another name, or delete that VM: blanket vm delete " + vm.name};
        });
        if (!refused) return created;
        BLANKET_TRY(const auto same_uuid, client_->get(vm_key(vm.uuid)));
        BLANKET_TRY(const auto same_name, client_->get(name_key(vm.name)));
        if (same_uuid || same_name) return created;
        if (attempt == kCreateTries) return fail_hint(Kind::kConflict, std::format("the networks of VM '{}' change too often", vm.name), "try again");
    }
}

// They are as they were read here when the VM's record is written, or it is not written.
Result<std::vector<EtcdCompare>> EtcdRegistry::nets_that_take(const VmRecord& vm) {
    std::vector<EtcdCompare> compares;
    for (const auto& nic : vm.nics) {
        BLANKET_CHECK(check_name(nic.net, "network"));
        const std::string key = full("nets/" + nic.net);
        BLANKET_TRY(const auto kv, get_good(key));
        if (!kv) {
            BLANKET_CHECK(check_card(nic, nullptr));
            continue;
        }
        BLANKET_TRY(const Json value, parse_json(kv->value));
        BLANKET_TRY(const Net net, parse_net(value));
        BLANKET_CHECK(check_card(nic, &net));
        compares.push_back({key, kv->mod_revision});
    }
    return compares;
}

Error EtcdRegistry::changed_meanwhile(const VmRecord& vm, std::uint64_t expected_revision) {
    const auto now = this->vm(vm.uuid);
    if (now && *now)
        return {Kind::kConflict,
                std::format("the record of VM '{}' changed meanwhile: owner '{}', epoch {}, {} (revision {}, expected {})", vm.name, (*now)->value.owner, (*now)->value.epoch,
                            to_string((*now)->value.phase), (*now)->revision, expected_revision),
                "look at it and try again: blanket vm show " + vm.name};
    if (now) return {Kind::kConflict, std::format("VM '{}' has been deleted meanwhile", vm.name), {}};
    return {Kind::kConflict, std::format("the record of VM '{}' changed meanwhile", vm.name), {}};
}

Result<std::uint64_t> EtcdRegistry::update_vm(const VmRecord& vm, std::uint64_t expected_revision) {
    BLANKET_CHECK(check_uuid(vm.uuid));
    return commit({{{vm_key(vm.uuid), expected_revision}}, {{vm_key(vm.uuid), text_of(to_json(vm))}}}, [&] { return changed_meanwhile(vm, expected_revision); });
}

Result<void> EtcdRegistry::beat(const std::string& site, bool leaving) {
    BLANKET_CHECK(check_name(site, "site"));
    BLANKET_TRY(const EtcdTxnReply reply, client_->txn({}, {{beat_key(site), leaving ? std::string(kLeaving) : std::string("here")}}));
    static_cast<void>(reply);
    return {};
}

Result<std::optional<Beat>> EtcdRegistry::last_beat(const std::string& site) {
    BLANKET_CHECK(check_name(site, "site"));
    BLANKET_TRY(const auto kv, client_->get(beat_key(site)));
    if (!kv) return std::nullopt;
    return Beat{kv->mod_revision, kv->value == kLeaving};
}

Result<std::uint64_t> EtcdRegistry::take_over_vm(const VmRecord& vm, std::uint64_t expected_revision, const std::string& silent, std::uint64_t beat) {
    BLANKET_CHECK(check_uuid(vm.uuid));
    BLANKET_CHECK(check_name(silent, "site"));
    return commit({{{vm_key(vm.uuid), expected_revision}, {beat_key(silent), beat}}, {{vm_key(vm.uuid), text_of(to_json(vm))}}}, [&] {
        return Error{Kind::kConflict, std::format("site '{}' is not silent any more, or the record of VM '{}' changed meanwhile", silent, vm.name), "blanket vm show " + vm.name};
    });
}

Result<void> EtcdRegistry::remove_vm(const VmRecord& vm, std::uint64_t expected_revision) {
    BLANKET_CHECK(check_uuid(vm.uuid));
    const std::string gone = text_of(to_json(gone_of(vm, rfc3339_now())));
    BLANKET_CHECK(commit({{{vm_key(vm.uuid), expected_revision}}, {{vm_key(vm.uuid), std::nullopt}, {name_key(vm.name), std::nullopt}, {gone_key(vm.uuid), gone}}}, [&] {
        return Error{Kind::kConflict, std::format("the record of VM '{}' changed meanwhile and was not deleted", vm.name), "try again"};
    }));
    return {};
}

Result<std::optional<Gone>> EtcdRegistry::gone(const std::string& uuid) {
    BLANKET_CHECK(check_uuid(uuid));
    BLANKET_TRY(const auto kv, client_->get(gone_key(uuid)));
    if (!kv) return std::nullopt;
    BLANKET_TRY(const Json value, parse_json(kv->value));
    BLANKET_TRY(Gone gone, parse_gone(value));
    if (gone.uuid != uuid) return fail(Kind::kInvalid, "what is left of VM {} names the UUID {}", uuid, gone.uuid);
    return gone;
}

Result<std::uint64_t> EtcdRegistry::put(const std::string& key, const Json& value, std::uint64_t expected_revision) {
    BLANKET_CHECK(check_key(key));
    return commit({{{full(key), expected_revision}}, {{full(key), text_of(value)}}}, [&] {
        return Error{Kind::kConflict,
                     expected_revision == 0 ? std::format("'{}' exists already", key) : std::format("'{}' changed meanwhile (expected revision {})", key, expected_revision),
                     "look at it and try again"};
    });
}

Result<std::optional<Versioned<Json>>> EtcdRegistry::get(const std::string& key) {
    BLANKET_CHECK(check_key(key));
    BLANKET_TRY(const auto kv, get_good(full(key)));
    if (!kv) return std::nullopt;
    if (key.starts_with("names/")) return Versioned<Json>{Json(kv->value), kv->mod_revision};  // plain text
    BLANKET_TRY(Json value, parse_json(kv->value));
    return Versioned<Json>{std::move(value), kv->mod_revision};
}

Result<void> EtcdRegistry::remove(const std::string& key, std::uint64_t expected_revision) {
    BLANKET_CHECK(check_key(key));
    if (expected_revision != 0) {
        BLANKET_CHECK(commit({{{full(key), expected_revision}}, {{full(key), std::nullopt}}}, [&] {
            return Error{Kind::kConflict, std::format("'{}' changed meanwhile (expected revision {})", key, expected_revision), "look at it and try again"};
        }));
        return {};
    }
    BLANKET_TRY(const EtcdTxnReply reply, client_->txn({}, {{full(key), std::nullopt}}));
    static_cast<void>(reply);
    return {};
}

Result<std::uint64_t> next_number(Registry& registry, const std::string& name) {
    for (int attempt = 0; attempt < 20; ++attempt) {
        BLANKET_TRY(const auto now, registry.get("seq/" + name));
        std::uint64_t value = 0;
        if (now) {
            BLANKET_TRY(value, json_number(now->value, "last"));
        }
        // The nonce tells our write from another's of the same number, should an answer be lost.
        const auto done = registry.put("seq/" + name, {{"last", value + 1}, {"by", random_hex(8)}}, now ? now->revision : 0);
        if (done) return value + 1;
        if (done.error().kind != Kind::kConflict) return std::unexpected(done.error());
    }
    return fail(Kind::kConflict, "the counter '{}' changes too often", name);
}

}  // namespace blanket
