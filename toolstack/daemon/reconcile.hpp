// SPDX-License-Identifier: GPL-2.0-or-later
// When Recovery (migrate/recovery.hpp) looks at which VM: after libvirt's events, after changes of records, after a restart, and again when the registry
// did not answer.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "toolstack/daemon/app.hpp"
#include "toolstack/migrate/recovery.hpp"

namespace blanket {

class Reconciler final : private RecoveryHost {
public:
    explicit Reconciler(App& app);
    ~Reconciler() override;
    // Looks at one VM soon (by UUID), or at all of them (empty). Thread safe, returns at once.
    void look(const std::string& uuid, Cause cause);
    // Ends the thread; a start job that still runs may go on using this object. Call it before the job table goes.
    void stop();

private:
    using Clock = std::chrono::steady_clock;
    struct Item {
        std::string uuid;
        Cause cause = Cause::kEvent;
        Clock::time_point due;
        unsigned failed = 0;  // looks in a row that could not decide or act
    };
    void loop(const std::stop_token& stop);
    void look_now(const std::string& uuid, Cause cause, unsigned failed);
    void push(const std::string& uuid, Cause cause, Clock::duration wait, unsigned failed);
    void resolve_jobs(const std::string& name, const std::optional<VmRecord>& record);
    void resolve_jobs_without_vm();
    Result<VmRecord> record_of(const DomainInfo& domain, const std::string& xml);

    std::unique_ptr<Claimed> claim(const std::string& vm) override;
    void tell(const std::string& vm, const std::string& text) override;
    Result<void> adopt(const DomainInfo& domain) override;
    Result<void> start(const VmRecord& vm) override;
    Result<void> finish_delete(const VmRecord& vm) override;
    void look_again(const std::string& uuid, Cause cause) override;

    App& app_;
    Recovery recovery_;
    std::mutex mutex_;
    std::condition_variable_any wake_;
    std::vector<Item> queue_;
    std::map<std::string, unsigned> starts_failed_;  // in a row, by UUID
    std::vector<std::string> refused_;  // out-of-band VMs that were refused once: said once
    std::jthread thread_;
};

}  // namespace blanket
