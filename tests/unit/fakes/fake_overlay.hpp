// SPDX-License-Identifier: GPL-2.0-or-later
// A network that remembers what it was told.
#pragma once

#include <functional>
#include <set>

#include "toolstack/core/ports.hpp"

namespace blanket::fakes {

class FakeOverlay final : public Overlay {
public:
    std::set<std::string> diverted, redirected, active;  // VM names
    std::set<std::string> held;                // uuids
    std::set<std::string> unserved;            // networks that this host cannot serve
    int applied = 0;
    std::function<bool()> running;  // the VM that moves, for diverted_before_the_stop
    bool diverted_before_the_stop = false;
    Result<void> apply(const std::vector<Net>&, const std::vector<VmRecord>&, const std::vector<Site>&) override {
        ++applied;
        return {};
    }
    Result<void> check_net(const Net& net) override {
        if (unserved.contains(net.name)) return fail_hint(Kind::kPrecondition, std::format("this host needs addresses of network '{}' itself", net.name), "another site");
        return {};
    }
    Result<void> divert(const VmRecord& vm, const Site&) override {
        diverted.insert(vm.name);
        diverted_before_the_stop = running && running();
        return {};
    }
    Result<void> redirect(const VmRecord& vm, const Site&) override {
        redirected.insert(vm.name);
        return {};
    }
    Result<void> undo_redirect(const VmRecord& vm) override {
        diverted.erase(vm.name);
        redirected.erase(vm.name);
        return {};
    }
    Result<void> activate(const VmRecord& vm) override {
        active.insert(vm.name);
        return {};
    }
    Result<void> hold_frames(const VmRecord& vm) override {
        held.insert(vm.uuid);
        return {};
    }
    void arm(const VmRecord&) override {}
    Result<void> release_frames(const VmRecord& vm) override {
        held.erase(vm.uuid);
        return activate(vm);
    }
    Result<void> drop_frames(const std::string& uuid) override {
        held.erase(uuid);
        return {};
    }
};

}  // namespace blanket::fakes
