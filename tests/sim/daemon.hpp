// SPDX-License-Identifier: GPL-2.0-or-later
// One life of blanketd at one site: the real Source, Target, Recovery and their helpers over the simulated ports; only the queue of looks and the
// claims are made anew here, as they are threads and locks in real life.
#pragma once

#include <memory>
#include <set>

#include "tests/sim/ports.hpp"
#include "toolstack/migrate/failover.hpp"
#include "toolstack/migrate/guard.hpp"
#include "toolstack/migrate/guarded_domains.hpp"
#include "toolstack/migrate/observer.hpp"
#include "toolstack/migrate/recovery.hpp"
#include "toolstack/migrate/watched_registry.hpp"

namespace blanket::sim {

class Daemon final : private RecoveryHost {
public:
    Daemon(World& world, int site);
    void boot();  // spawns its main loop
    void look(const std::string& uuid, Cause cause, Time wait);
    // What `blanket vm migrate` does at the owner; nothing when this site does not own the VM or is busy with it.
    void migrate(Daemon& target);
    void serve(std::shared_ptr<SimLink::Wire> wire);  // an incoming connection
    // What the commands of these names do at this site; nothing when it is busy with the VM.
    void recover(bool accept_loss);
    void start_by_order();
    void stop_by_order();
    bool delete_by_order();
    [[nodiscard]] bool idle() const { return claims_.empty(); }
    [[nodiscard]] bool stopping() const { return world_.stopping[static_cast<std::size_t>(site_)]; }
    [[nodiscard]] bool dead() const { return life_ != world_.lives[static_cast<std::size_t>(site_)]; }

private:
    struct Item {
        std::string uuid;
        Cause cause;
        Time due;
        unsigned failed;
    };
    class Claim;
    void loop();
    void guard_loop();
    void failover_loop();
    bool as_job(std::function<void()> work);  // with a claim on the VM; false: busy
    SitePorts ports() { return {watched_, domains_, domains_, storage_, storage_, net_, time_}; }

    std::unique_ptr<Claimed> claim(const std::string& vm) override;
    void tell(const std::string&, const std::string&) override {}
    Result<void> adopt(const DomainInfo&) override { return {}; }
    Result<void> start(const VmRecord& vm) override;
    Result<void> finish_delete(const VmRecord&) override;
    void look_again(const std::string& uuid, Cause cause) override { look(uuid, cause, 0); }

    World& world_;
    const int site_;
    const unsigned life_;
    SimTime time_;
    SimRegistry registry_;
    SimHypervisor hypervisor_;
    SimStorage storage_;
    SimNet net_;
    Guard guard_;
    WatchedRegistry watched_;
    GuardedDomains domains_;
    Recovery recovery_;
    Failover failover_;
    std::vector<VmRecord> known_;  // the newest snapshot that it has seen
    std::vector<Item> queue_;
    Signal wake_;
    std::set<std::string> claims_;
    unsigned starts_failed_ = 0;
};

}  // namespace blanket::sim
