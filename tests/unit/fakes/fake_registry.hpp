// SPDX-License-Identifier: GPL-2.0-or-later
// A registry in memory with true compare-and-swap, revisions, and the two failures that matter: no quorum, and an answer that is lost after the write.
#pragma once

#include <atomic>
#include <map>
#include <mutex>

#include "toolstack/core/net_rules.hpp"
#include "toolstack/core/ports.hpp"
#include "toolstack/core/transitions.hpp"

namespace blanket::fakes {

class FakeRegistry final : public Registry {
public:
    std::atomic<bool> down = false;  // no quorum: nothing is read or written
    bool down_after_lost = false;    // with a lost answer the quorum goes
    std::atomic<int> reads_put_off = 0;  // so many reads of a VM's record find no quorum
    int lose_answers = 0;        // so many updates succeed but answer kUnavailable
    std::vector<VmRecord> history;  // every accepted VM record, in order

    Result<Snapshot> snapshot() override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        Snapshot now;
        now.revision = revision_;
        for (const auto& [uuid, vm] : vms_) now.vms.push_back(vm);
        for (const auto& [uuid, gone] : gone_) now.gone.push_back(gone);
        for (const auto& [key, value] : others_) {
            if (key.starts_with("sites/")) now.sites.push_back({*parse_site(value.value), value.revision});
            if (key.starts_with("nets/")) now.nets.push_back({*parse_net(value.value), value.revision});
            if (key.starts_with("images/")) now.images.push_back({*parse_image(value.value), value.revision});
        }
        return now;
    }
    Result<std::optional<Versioned<VmRecord>>> vm(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        if (reads_put_off > 0) {
            --reads_put_off;
            return fail(Kind::kUnavailable, "no quorum");
        }
        const auto it = vms_.find(uuid);
        return it == vms_.end() ? std::nullopt : std::optional(it->second);
    }
    Result<std::uint64_t> create_vm(const VmRecord& vm) override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        for (const auto& [uuid, other] : vms_)
            if (uuid == vm.uuid || other.value.name == vm.name) return fail(Kind::kConflict, "VM '{}' exists", vm.name);
        for (const auto& nic : vm.nics) {
            const auto it = others_.find("nets/" + nic.net);
            const auto net = it == others_.end() ? std::nullopt : std::optional(*parse_net(it->second.value));
            BLANKET_CHECK(check_card(nic, net ? &*net : nullptr));
        }
        vms_[vm.uuid] = {vm, ++revision_};
        history.push_back(vm);
        return revision_;
    }
    Result<std::uint64_t> update_vm(const VmRecord& vm, std::uint64_t expected) override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        const auto it = vms_.find(vm.uuid);
        if (it == vms_.end() || it->second.revision != expected) return fail(Kind::kConflict, "revision {} is not the present one", expected);
        if (!allowed(it->second.value, vm)) return fail(Kind::kInternal, "no transition from {} to {} of '{}' (core/transitions.hpp)", to_string(it->second.value.phase), to_string(vm.phase), vm.name);
        it->second = {vm, ++revision_};
        history.push_back(vm);
        if (lose_answers > 0) {
            --lose_answers;
            if (down_after_lost) down = true;
            return fail(Kind::kUnavailable, "the answer was lost");
        }
        return revision_;
    }
    void edit(const VmRecord& vm) {  // as an operator does with etcdctl
        const std::lock_guard lock(mutex_);
        vms_[vm.uuid] = {vm, ++revision_};
    }
    Result<void> remove_vm(const VmRecord& vm, std::uint64_t expected) override {
        const std::lock_guard lock(mutex_);
        const auto it = vms_.find(vm.uuid);
        if (it == vms_.end() || it->second.revision != expected) return fail(Kind::kConflict, "revision {} is not the present one", expected);
        gone_[vm.uuid] = gone_of(vm, "2026-01-01T00:00:00Z");
        vms_.erase(it);
        ++revision_;
        return {};
    }
    Result<std::optional<Gone>> gone(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        const auto it = gone_.find(uuid);
        return it == gone_.end() ? std::nullopt : std::optional(it->second);
    }
    Result<void> beat(const std::string& site, bool leaving) override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        beats_[site] = {++revision_, leaving};
        return {};
    }
    Result<std::optional<Beat>> last_beat(const std::string& site) override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        const auto at = beats_.find(site);
        return at == beats_.end() ? std::nullopt : std::optional(at->second);
    }
    Result<std::uint64_t> take_over_vm(const VmRecord& vm, std::uint64_t expected, const std::string& silent, std::uint64_t beat) override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        const auto at = beats_.find(silent);
        if ((at == beats_.end() ? 0 : at->second.revision) != beat) return fail(Kind::kConflict, "'{}' has beaten since", silent);
        return update_vm(vm, expected);
    }
    Result<std::uint64_t> put(const std::string& key, const Json& value, std::uint64_t expected) override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        const auto it = others_.find(key);
        if ((it == others_.end() ? 0 : it->second.revision) != expected) return fail(Kind::kConflict, "key '{}' moved on", key);
        others_[key] = {value, ++revision_};
        return revision_;
    }
    Result<std::optional<Versioned<Json>>> get(const std::string& key) override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        const auto it = others_.find(key);
        return it == others_.end() ? std::nullopt : std::optional(it->second);
    }
    Result<void> remove(const std::string& key, std::uint64_t expected = 0) override {
        const std::lock_guard lock(mutex_);
        if (down) return fail(Kind::kUnavailable, "no quorum");
        const auto it = others_.find(key);
        if (expected != 0 && (it == others_.end() || it->second.revision != expected)) return fail(Kind::kConflict, "key '{}' moved on", key);
        others_.erase(key);
        ++revision_;
        return {};
    }

private:
    std::recursive_mutex mutex_;
    std::uint64_t revision_ = 1;
    std::map<std::string, Versioned<VmRecord>> vms_;
    std::map<std::string, Gone> gone_;
    std::map<std::string, Versioned<Json>> others_;
    std::map<std::string, Beat> beats_;
};

}  // namespace blanket::fakes
