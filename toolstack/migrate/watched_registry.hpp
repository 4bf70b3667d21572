// SPDX-License-Identifier: GPL-2.0-or-later
// The registry as the logic of one site uses it: whatever record it is about to write, the guard hears of it first, and again when it is written. So a VM of the
// policy `pause` is watched before anything in the registry says that it may run here, and confirmed by it. Thread safe as the registry behind it.
#pragma once

#include "toolstack/migrate/guard.hpp"

namespace blanket {

class WatchedRegistry final : public Registry {
public:
    WatchedRegistry(Registry& registry, Guard& guard) : registry_(registry), guard_(guard) {}

    Result<Snapshot> snapshot() override { return registry_.snapshot(); }
    Result<std::optional<Versioned<VmRecord>>> vm(const std::string& uuid) override { return registry_.vm(uuid); }
    Result<std::uint64_t> create_vm(const VmRecord& vm) override {
        return tell(vm, [&] { return registry_.create_vm(vm); });
    }
    Result<std::uint64_t> update_vm(const VmRecord& vm, std::uint64_t expected_revision) override {
        return tell(vm, [&] { return registry_.update_vm(vm, expected_revision); });
    }
    Result<void> remove_vm(const VmRecord& vm, std::uint64_t expected_revision) override { return registry_.remove_vm(vm, expected_revision); }
    Result<std::optional<Gone>> gone(const std::string& uuid) override { return registry_.gone(uuid); }
    Result<void> beat(const std::string& site, bool leaving) override { return registry_.beat(site, leaving); }
    Result<std::optional<Beat>> last_beat(const std::string& site) override { return registry_.last_beat(site); }
    Result<std::uint64_t> take_over_vm(const VmRecord& vm, std::uint64_t expected_revision, const std::string& silent, std::uint64_t beat) override {
        return tell(vm, [&] { return registry_.take_over_vm(vm, expected_revision, silent, beat); });
    }
    Result<std::uint64_t> put(const std::string& key, const Json& value, std::uint64_t expected_revision) override { return registry_.put(key, value, expected_revision); }
    Result<std::optional<Versioned<Json>>> get(const std::string& key) override { return registry_.get(key); }
    Result<void> remove(const std::string& key, std::uint64_t expected_revision = 0) override { return registry_.remove(key, expected_revision); }

private:
    template <typename Write>
    Result<std::uint64_t> tell(const VmRecord& vm, Write write) {
        const auto asked_ms = guard_.expect(vm);
        auto revision = write();
        if (revision) guard_.wrote(vm, asked_ms);
        return revision;
    }
    Registry& registry_;
    Guard& guard_;
};

}  // namespace blanket
