// SPDX-License-Identifier: GPL-2.0-or-later
// A network that remembers what it was told.
#pragma once

#include <set>

#include "toolstack/core/ports.hpp"

namespace blanket::fakes {

class FakeOverlay final : public Overlay {
public:
    std::set<std::string> redirected, active;  // VM names
    std::set<std::string> held;                // uuids
    int applied = 0;
    Result<void> apply(const std::vector<Net>&, const std::vector<VmRecord>&, const std::vector<Site>&) override {
        ++applied;
        return {};
    }
    Result<void> redirect(const VmRecord& vm, const Site&) override {
        redirected.insert(vm.name);
        return {};
    }
    Result<void> undo_redirect(const VmRecord& vm) override {
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
