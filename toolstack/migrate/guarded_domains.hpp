// SPDX-License-Identifier: GPL-2.0-or-later
// The hypervisor as the logic of one site uses it: whatever lets a domain run asks the guard first, and keeps it waiting meanwhile (Guard::let_run). Thread
// safe as the hypervisor behind it. The guard itself has the hypervisor directly.
// Not asked: a live save that fails wakes its guest up by itself. While a move is on nobody takes a VM over (failover.hpp), and the guard pauses what woke up
// within a second.
#pragma once

#include "toolstack/migrate/guard.hpp"

namespace blanket {

class GuardedDomains final : public Hypervisor, public MigrationEnds {
public:
    GuardedDomains(Hypervisor& hypervisor, MigrationEnds& ends, Guard& guard) : hypervisor_(hypervisor), ends_(ends), guard_(guard) {}

    Result<void> start(const std::string& uuid) override {
        return guard_.let_run(uuid, [&] { return hypervisor_.start(uuid); });
    }
    Result<void> unpause(const std::string& uuid) override {
        return guard_.let_run(uuid, [&] { return hypervisor_.unpause(uuid); });
    }
    Result<void> resume_source(const std::string& uuid) override {
        return guard_.let_run(uuid, [&] { return ends_.resume_source(uuid); });
    }
    Result<void> resume_target(const std::string& uuid) override {
        return guard_.let_run(uuid, [&] { return ends_.resume_target(uuid); });
    }

    Result<HostFacts> facts() override { return hypervisor_.facts(); }
    Result<std::vector<DomainInfo>> list() override { return hypervisor_.list(); }
    Result<void> define(const std::string& xml) override { return hypervisor_.define(xml); }
    Result<void> undefine(const std::string& uuid) override { return hypervisor_.undefine(uuid); }
    Result<void> stop(const std::string& uuid, StopMode mode, std::chrono::seconds deadline) override { return hypervisor_.stop(uuid, mode, deadline); }
    Result<void> pause(const std::string& uuid) override { return hypervisor_.pause(uuid); }
    Result<std::string> definition(const std::string& uuid) override { return hypervisor_.definition(uuid); }
    Result<std::uint32_t> watchdog(std::uint32_t id, std::chrono::seconds time) override { return hypervisor_.watchdog(id, time); }
    Result<void> save_live(const std::string& uuid, const SaveLimits& limits, const ByteSink& sink, const std::function<bool(const SaveProgress&)>& on_progress) override {
        return ends_.save_live(uuid, limits, sink, on_progress);
    }
    Result<void> destroy_source(const std::string& uuid) override { return ends_.destroy_source(uuid); }
    Result<void> restore_paused(const std::string& uuid, const std::string& xml, const ByteSource& source) override { return ends_.restore_paused(uuid, xml, source); }
    Result<void> discard_target(const std::string& uuid) override { return ends_.discard_target(uuid); }

private:
    Hypervisor& hypervisor_;
    MigrationEnds& ends_;
    Guard& guard_;
};

}  // namespace blanket
