// SPDX-License-Identifier: GPL-2.0-or-later
// What can be done to a VM that this site owns. Each begins a job and returns it; with dry_run it returns the steps and changes nothing.
#pragma once

#include "toolstack/daemon/app.hpp"
#include "toolstack/migrate/lifecycle.hpp"
#include "toolstack/migrate/resumable_link.hpp"
#include "toolstack/stream/features.hpp"

namespace blanket {

struct CreateRequest {
    std::string name, image, net;
    std::uint64_t memory_mib = 256, disk_bytes = 0;  // 0 = the image's size
    std::uint32_t vcpus = 1;
    std::string policy = kKeepRunning;
    std::optional<Seed> seed;  // what the guest's cloud-init is told
};
Result<CreateRequest> parse_create(const Json& body);

struct Answer {  // of an action: a job, or the steps of a dry run
    std::shared_ptr<Job> job;
    std::vector<std::string> steps;
};

Result<Answer> create_vm(App& app, const CreateRequest& request, bool dry_run);
Result<Answer> start_vm(App& app, const VmRecord& vm, bool dry_run);
Result<Answer> stop_vm(App& app, const VmRecord& vm, StopMode mode, std::chrono::seconds deadline, bool dry_run);
Result<Answer> delete_vm(App& app, const VmRecord& vm, bool dry_run);
Result<Json> set_policy(App& app, const VmRecord& vm, const std::string& policy, bool dry_run);
struct MoveLimits {
    SaveLimits save;
    std::uint64_t bandwidth = 0;  // bytes per second while the VM runs; 0: no limit
    stream::Features features;
    std::chrono::milliseconds patience = migrate::kDefaultPatience;  // with a lost link, while the VM runs
    unsigned streams = migrate::kDefaultStreams;                     // connections at once
};
// downtime_target_ms, max_downtime_ms, max_time_ms, bandwidth_mbit, patience_ms, streams, without: ["references", "store", "versions", "compression", "measuring", "policy", "throttle"], each optional
Result<MoveLimits> parse_move_limits(const Json& body);
Result<Answer> migrate_vm(App& app, const VmRecord& vm, const std::string& target, const MoveLimits& limits, bool dry_run);
// At any site, for a VM whose owner is lost or whose record went back (migrate/takeover.hpp).
Result<Answer> recover_vm(App& app, const Versioned<VmRecord>& vm, bool accept_loss, bool dry_run);
Result<Json> disk_epochs(App& app, const Json& body);  // for a peer that asks: the epochs of the volumes that it names
Result<Answer> drop_fork(App& app, const VmRecord& vm, bool dry_run);
Result<Json> drop_standby(App& app, const std::string& uuid);  // for the owner that deletes it: this site's disk goes
Result<Answer> import_vm(App& app, const Json& body, bool dry_run);

// Used by several of them.
Result<Json> start_now(App& app, const std::string& uuid, Job* job, StartFailure failure = StartFailure::kStop);  // record first, then the disk, then the domain
std::string timestamp();

}  // namespace blanket
