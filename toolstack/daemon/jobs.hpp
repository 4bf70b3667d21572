// SPDX-License-Identifier: GPL-2.0-or-later
// Jobs: long actions with an id, phases, messages and a result, each on a thread of its own. Used by the REST routes and the reconciler.
// A job is a file from its start on. One that was running when blanketd died is interrupted(): it is shown as running, phase "recover", until whoever
// puts in order what it left (the reconciler) says what became of it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/migrate/observer.hpp"
#include "toolstack/migrate/recovery.hpp"
#include "toolstack/migrate/resumable_link.hpp"

namespace blanket {

// What the job's own thread uses. All methods are thread safe.
class Job final : public migrate::Observer {
public:
    Job(std::string id, std::string verb, std::string subject, std::string uses = {});
    void phase(const std::string& name) override;
    void note(const std::string& text) override;
    void progress(double percent) override;
    bool cancelled() const override { return cancelled_; }
    void live(const migrate::LiveProgress& progress) override;
    void trace(const MoveTrace& trace) override;
    void link(const migrate::LinkLoss& loss);  // of a move: it is lost, for so long by now, or is there again
    void cancel() { cancelled_ = true; }

    [[nodiscard]] const std::string& id() const { return id_; }
    [[nodiscard]] Json to_json() const;
    [[nodiscard]] bool ended() const;
    [[nodiscard]] std::string take_trace();  // its text, once; empty: there is none
    // Until seq > after or the deadline; returns the seq.
    std::uint64_t wait(std::uint64_t after, std::chrono::milliseconds deadline) const;
    void finish(const Result<Json>& result);

private:
    struct Step {
        std::string name;
        std::int64_t start_ms = 0, end_ms = -1;
    };
    struct Line {
        std::int64_t ms = 0;
        std::string text;
    };
    [[nodiscard]] std::int64_t now_ms() const;
    void bump();

    const std::string id_, verb_, subject_, uses_, created_;
    const std::chrono::steady_clock::time_point start_;
    std::atomic<bool> cancelled_ = false;
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    std::uint64_t seq_ = 1;
    std::string state_ = "running", ended_;
    double percent_ = 0;
    std::optional<migrate::LiveProgress> live_;
    std::int64_t live_ms_ = 0;  // when that was so
    std::optional<migrate::LinkLoss> loss_;
    std::int64_t loss_ms_ = 0;  // when that was so
    std::string trace_;
    std::vector<Step> steps_;
    std::vector<Line> lines_;
    Json result_;
    std::optional<Error> error_;
};

class JobTable final {
public:
    using Work = std::function<Result<Json>(Job&)>;
    explicit JobTable(std::string folder);
    ~JobTable();  // waits for the running ones

    // kConflict when a running job has the same subject ("vm/web"), or a claim that does not end within seconds: one action at a time per VM.
    // `uses` ("net/lan", or nothing): what must stay while it runs; told in its JSON, kept by who would take that away (nets.hpp).
    Result<std::shared_ptr<Job>> start(const std::string& verb, const std::string& subject, Work work, const std::string& uses = {});
    [[nodiscard]] Result<Json> show(const std::string& id, std::uint64_t after, std::chrono::milliseconds wait);
    // What a migration left, written beside the job when it ended. kNotFound: no such job, or it left none.
    [[nodiscard]] Result<Json> trace(const std::string& id);
    [[nodiscard]] Json list();
    Result<void> cancel(const std::string& id);
    struct Interrupted {
        std::string id, verb, subject, created;
    };
    [[nodiscard]] std::vector<Interrupted> interrupted();
    void resolve(const std::string& id, const Result<Json>& how);  // no effect on others
    void forget_ended();  // `job cleanup`
    [[nodiscard]] bool idle();  // no job runs, nothing is claimed
    [[nodiscard]] bool busy(const std::string& subject);  // a job works on it, or somebody has claimed it
    // For what is not a job: the reconciler's action, a VM that comes in. Empty when the subject is busy. The table must outlive the claim.
    [[nodiscard]] std::unique_ptr<Claimed> claim(const std::string& subject);
    // Jobs that another site runs for a command given here: where `blanket job watch` finds them. Remembered until the restart.
    void remember(const std::string& id, const std::string& site);
    [[nodiscard]] std::string site_of(const std::string& id);  // empty = unknown

private:
    struct Entry {
        std::shared_ptr<Job> job;
        std::string subject;
        std::thread thread;
    };
    class Claim;
    void load();
    void reap();
    [[nodiscard]] std::string trace_path(const std::string& id) const;
    void remove_files(const std::string& id) const;
    [[nodiscard]] bool busy_now(const std::string& subject) const;  // with the mutex held
    const std::string folder_;
    std::mutex mutex_;
    std::map<std::string, Entry> running_;
    bool closing_ = false;  // a job that starts others (drain) starts none any more
    std::map<std::string, Json> ended_;  // by id; ids sort by time
    std::map<std::string, Json> interrupted_;
    std::condition_variable resolved_;
    std::map<std::string, std::string> elsewhere_;
    std::set<std::string> claimed_;
    std::condition_variable released_;  // a claim ended
};

}  // namespace blanket
