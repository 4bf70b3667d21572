// SPDX-License-Identifier: GPL-2.0-or-later
// The hypervisor with the VMs' seeds: before a domain whose definition names its seed is defined, started or restored, the seed is made a block device here;
// when its definition goes, the seed goes too. So everything that starts, moves, takes over or deletes a VM has it right. Thread safe as what is behind it.
#pragma once

#include "toolstack/base/log.hpp"
#include "toolstack/daemon/seeds.hpp"

namespace blanket {

class SeededDomains final : public Hypervisor, public MigrationEnds {
public:
    SeededDomains(Hypervisor& hypervisor, MigrationEnds& ends, Seeds& seeds) : hypervisor_(hypervisor), ends_(ends), seeds_(seeds) {}

    Result<void> define(const std::string& xml) override {
        if (const std::string uuid = seed_in(xml); !uuid.empty()) BLANKET_CHECK(seeds_.provide(uuid));
        return hypervisor_.define(xml);
    }
    Result<void> start(const std::string& uuid) override {
        BLANKET_TRY(const std::string xml, hypervisor_.definition(uuid));
        if (seed_in(xml) == uuid) BLANKET_CHECK(seeds_.provide(uuid));
        return hypervisor_.start(uuid);
    }
    Result<void> restore_paused(const std::string& uuid, const std::string& xml, const ByteSource& source) override {
        const bool seeded = seed_in(xml) == uuid;
        if (seeded) BLANKET_CHECK(seeds_.provide(uuid));
        auto restored = ends_.restore_paused(uuid, xml, source);
        if (!restored && seeded) release(uuid);  // on error nothing is left
        return restored;
    }
    Result<void> undefine(const std::string& uuid) override { return and_release(uuid, hypervisor_.undefine(uuid)); }
    Result<void> destroy_source(const std::string& uuid) override { return and_release(uuid, ends_.destroy_source(uuid)); }
    Result<void> discard_target(const std::string& uuid) override { return and_release(uuid, ends_.discard_target(uuid)); }

    Result<HostFacts> facts() override { return hypervisor_.facts(); }
    Result<std::vector<DomainInfo>> list() override { return hypervisor_.list(); }
    Result<void> stop(const std::string& uuid, StopMode mode, std::chrono::seconds deadline) override { return hypervisor_.stop(uuid, mode, deadline); }
    Result<void> pause(const std::string& uuid) override { return hypervisor_.pause(uuid); }
    Result<void> unpause(const std::string& uuid) override { return hypervisor_.unpause(uuid); }
    Result<std::string> definition(const std::string& uuid) override { return hypervisor_.definition(uuid); }
    Result<std::uint32_t> watchdog(std::uint32_t id, std::chrono::seconds time) override { return hypervisor_.watchdog(id, time); }
    Result<void> save_live(const std::string& uuid, const SaveLimits& limits, const ByteSink& sink, const std::function<bool(const SaveProgress&)>& on_progress) override {
        return ends_.save_live(uuid, limits, sink, on_progress);
    }
    Result<void> resume_source(const std::string& uuid) override { return ends_.resume_source(uuid); }
    Result<void> resume_target(const std::string& uuid) override { return ends_.resume_target(uuid); }

private:
    // The UUID in the seed's device that a definition names; empty = none.
    static std::string seed_in(const std::string& xml) {
        const std::string prefix = seed_device("");
        const auto at = xml.find(prefix);
        return at == std::string::npos ? std::string() : xml.substr(at + prefix.size(), 36);
    }
    void release(const std::string& uuid) {
        if (auto released = seeds_.release(uuid); !released) log::error("seed", "VM {}: {}", uuid, released.error().what);
    }
    Result<void> and_release(const std::string& uuid, Result<void> done) {
        if (done) release(uuid);
        return done;
    }

    Hypervisor& hypervisor_;
    MigrationEnds& ends_;
    Seeds& seeds_;
};

}  // namespace blanket
