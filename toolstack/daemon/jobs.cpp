// SPDX-License-Identifier: GPL-2.0-or-later
// See jobs.hpp.
#include "toolstack/daemon/jobs.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

constexpr std::size_t kMaxLines = 2000;  // of one job's messages; older ones go
constexpr std::size_t kMaxEnded = 500;   // jobs that are remembered
constexpr std::size_t kMaxRunning = 64;
constexpr auto kClaimPatience = std::chrono::seconds(10);
constexpr std::string_view kTraceEnd = ".trace";  // of the name of its file

Json progress_json(const std::string& phase, double percent, const std::optional<migrate::LiveProgress>& live, std::int64_t live_ms, const std::optional<migrate::LinkLoss>& loss,
                   std::int64_t loss_ms) {
    Json json{{"phase", phase}, {"percent", percent}};
    if (loss) {  // nothing is copied: the other figures would be of another time
        json["ms"] = loss_ms;
        json["link_lost_ms"] = std::max<std::int64_t>(loss->lost_ms, 0);
        json["link_patience_ms"] = std::max<std::int64_t>(loss->patience_ms, 0);
        return json;
    }
    if (!live) return json;
    const auto put = [&](const char* key, const auto& value) {
        if (value) json[key] = *value;
    };
    json["ms"] = live_ms;
    json["round"] = live->round;
    put("pages_left", live->pages_left);
    put("bytes_left", live->bytes_left);
    put("bytes_per_s", live->bytes_per_s);
    put("wire_bytes_per_s", live->wire_bytes_per_s);
    put(live->round_only ? "round_left_ms" : "left_ms", live->left_ms);
    put("forecast_ms", live->forecast_ms);
    return json;
}

}  // namespace

Job::Job(std::string id, std::string verb, std::string subject, std::string uses)
    : id_(std::move(id)), verb_(std::move(verb)), subject_(std::move(subject)), uses_(std::move(uses)), created_(rfc3339_now()), start_(std::chrono::steady_clock::now()) {}

std::int64_t Job::now_ms() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start_).count();
}

void Job::bump() {  // with the mutex held
    ++seq_;
    changed_.notify_all();
}

void Job::phase(const std::string& name) {
    const std::lock_guard lock(mutex_);
    if (!steps_.empty() && steps_.back().end_ms < 0) steps_.back().end_ms = now_ms();
    steps_.push_back({name, now_ms(), -1});
    percent_ = 0;
    live_.reset();
    bump();
}

void Job::note(const std::string& text) {
    log::info("job", "{} {}: {}", id_, subject_, text);
    const std::lock_guard lock(mutex_);
    if (lines_.size() >= kMaxLines) lines_.erase(lines_.begin());
    lines_.push_back({now_ms(), text});
    bump();
}

void Job::progress(double percent) {
    percent = std::clamp(percent, 0.0, 100.0);
    const std::lock_guard lock(mutex_);
    if (percent - percent_ < 1.0 && percent >= percent_) return;  // watchers need no more
    percent_ = percent;
    bump();
}

void Job::live(const migrate::LiveProgress& progress) {
    const std::lock_guard lock(mutex_);
    live_ = progress;
    live_ms_ = now_ms();
    bump();
}

void Job::link(const migrate::LinkLoss& loss) {
    const bool back = loss.lost_ms < 0;
    bool news = back;
    {
        const std::lock_guard lock(mutex_);
        news = back || !loss_;
        loss_ = back ? std::nullopt : std::optional(loss);
        loss_ms_ = now_ms();
        bump();
    }
    if (!news) return;
    if (back) note(std::format("the link is back after {:.1f} s; {} are sent again", static_cast<double>(loss.was_ms) / 1000, format_bytes(loss.again_bytes)));
    else note(std::format("the link is lost: {}; trying again for up to {} s", loss.why, loss.patience_ms / 1000));
}

void Job::trace(const MoveTrace& trace) {
    std::string text = blanket::to_json(trace).dump(-1, ' ', false, Json::error_handler_t::replace);
    if (text.size() > kMaxTraceBytes) return log::warning("job", "{}: a trace of {} bytes is not kept", id_, text.size());
    const std::lock_guard lock(mutex_);
    trace_ = std::move(text);
}

std::string Job::take_trace() {
    const std::lock_guard lock(mutex_);
    return std::exchange(trace_, {});
}

bool Job::ended() const {
    const std::lock_guard lock(mutex_);
    return state_ != "running";
}

void Job::finish(const Result<Json>& result) {
    const std::lock_guard lock(mutex_);
    if (!steps_.empty() && steps_.back().end_ms < 0) steps_.back().end_ms = now_ms();
    ended_ = rfc3339_now();
    live_.reset();
    loss_.reset();
    if (result) {
        state_ = "done";
        result_ = *result;
        percent_ = 100;
    } else {
        state_ = result.error().kind == Kind::kCancelled ? "cancelled" : "failed";
        error_ = result.error();
        log::warning("job", "{} {} {}: {}", id_, verb_, subject_, result.error().what);
    }
    bump();
}

Json Job::to_json() const {
    const std::lock_guard lock(mutex_);
    Json phases = Json::array(), messages = Json::array();
    for (const auto& step : steps_)
        phases.push_back({{"name", step.name}, {"start_ms", step.start_ms}, {"end_ms", step.end_ms < 0 ? Json(nullptr) : Json(step.end_ms)}});
    for (const auto& line : lines_) messages.push_back({{"ms", line.ms}, {"text", line.text}});
    return {{"id", id_}, {"verb", verb_}, {"subject", subject_}, {"uses", uses_}, {"state", state_}, {"seq", seq_}, {"created", created_}, {"ended", ended_},
            {"progress", progress_json(steps_.empty() ? "" : steps_.back().name, percent_, live_, live_ms_, loss_, loss_ms_)},
            {"phases", phases}, {"messages", messages}, {"result", result_},
            {"error", error_ ? blanket::to_json(*error_)["error"] : Json(nullptr)}};
}

std::uint64_t Job::wait(std::uint64_t after, std::chrono::milliseconds deadline) const {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, deadline, [&] { return seq_ > after || state_ != "running"; });
    return seq_;
}

JobTable::JobTable(std::string folder) : folder_(std::move(folder)) { load(); }

JobTable::~JobTable() {
    std::map<std::string, Entry> running;
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
        running.swap(running_);
    }
    for (auto& [id, entry] : running) {
        entry.job->cancel();
        entry.thread.join();
    }
}

void JobTable::load() {
    std::error_code code;
    std::vector<std::string> traces;
    for (const auto& file : std::filesystem::directory_iterator(folder_, code)) {
        if (file.path().extension() == kTraceEnd) traces.push_back(file.path().stem().string());
        if (file.path().extension() == ".new") (void)remove_file(file.path().string());  // write_file's, of a life that ended in it
        if (file.path().extension() != ".json") continue;
        const auto text = read_file(file.path().string(), 1u << 20);
        const auto job = text ? parse_json(*text) : Result<Json>(fail(Kind::kIo, "unreadable"));
        if (!job || !job->is_object()) {
            (void)remove_file(file.path().string());
            continue;
        }
        Json entry = *job;
        const std::string id = file.path().stem().string();
        if (json_string_or(entry, "state", "") != "running") {
            ended_[id] = std::move(entry);
            continue;
        }
        entry["progress"] = {{"phase", "recover"}, {"percent", 0}};
        interrupted_[id] = std::move(entry);
    }
    for (const auto& id : traces)
        if (!ended_.contains(id) && !interrupted_.contains(id)) (void)remove_file(trace_path(id));
}

std::vector<JobTable::Interrupted> JobTable::interrupted() {
    const std::lock_guard lock(mutex_);
    std::vector<Interrupted> all;
    for (const auto& [id, job] : interrupted_)
        all.push_back({id, json_string_or(job, "verb", ""), json_string_or(job, "subject", ""), json_string_or(job, "created", "")});
    return all;
}

void JobTable::resolve(const std::string& id, const Result<Json>& how) {
    const std::lock_guard lock(mutex_);
    const auto at = interrupted_.find(id);
    if (at == interrupted_.end()) return;
    Json job = std::move(at->second);
    interrupted_.erase(at);
    job["state"] = how ? "done" : "failed";
    job["ended"] = rfc3339_now();
    job["seq"] = json_number_or(job, "seq", 0) + 1;
    if (how) job["result"] = *how;
    else job["error"] = blanket::to_json(how.error())["error"];
    if (const auto written = write_file(std::format("{}/{}.json", folder_, id), job.dump(), 0600); !written) log::error("job", "{}", written.error().what);
    ended_[id] = std::move(job);
    resolved_.notify_all();
}

std::string JobTable::trace_path(const std::string& id) const { return std::format("{}/{}{}", folder_, id, kTraceEnd); }

void JobTable::remove_files(const std::string& id) const {
    (void)remove_file(std::format("{}/{}.json", folder_, id));
    (void)remove_file(trace_path(id));
}

void JobTable::forget_ended() {
    const std::lock_guard lock(mutex_);
    reap();
    for (const auto& [id, job] : ended_) remove_files(id);
    ended_.clear();
}

void JobTable::reap() {  // with the mutex held
    for (auto it = running_.begin(); it != running_.end();) {
        if (!it->second.job->ended()) {
            ++it;
            continue;
        }
        it->second.thread.join();
        ended_[it->first] = it->second.job->to_json();
        it = running_.erase(it);
    }
    while (ended_.size() > kMaxEnded) {
        remove_files(ended_.begin()->first);
        ended_.erase(ended_.begin());
    }
}

Result<std::shared_ptr<Job>> JobTable::start(const std::string& verb, const std::string& subject, Work work, const std::string& uses) {
    std::unique_lock lock(mutex_);
    released_.wait_for(lock, kClaimPatience, [&] { return !claimed_.contains(subject); });  // a VM that has just come in is being tidied up after
    if (closing_) return fail_hint(Kind::kUnavailable, "blanketd is being ended", "try again when it runs again");
    reap();
    for (const auto& [id, entry] : running_)
        if (entry.subject == subject)
            return fail_hint(Kind::kConflict, std::format("job {} works on {} already", id, subject), std::format("blanket job watch {}", id));
    if (claimed_.contains(subject))
        return fail_hint(Kind::kConflict, std::format("blanketd itself is at work on {} (it comes in from another site, or is being recovered)", subject), "try again in a moment: blanket events");
    if (running_.size() >= kMaxRunning) return fail_hint(Kind::kConflict, std::format("{} jobs run already, which is as many as may", running_.size()), "blanket job list; try again when one has ended");
    const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    std::string id;
    do id = std::format("{:x}-{}", now, random_hex(2));  // two of one millisecond may draw the same number
    while (running_.contains(id) || ended_.contains(id) || interrupted_.contains(id));
    auto job = std::make_shared<Job>(id, verb, subject, uses);
    const std::string path = std::format("{}/{}.json", folder_, job->id());
    BLANKET_CHECK(write_file(path, job->to_json().dump(), 0600));
    std::thread thread([job, path, trace_path = trace_path(job->id()), work = std::move(work)] {
        Result<Json> result = work(*job);
        if (const std::string trace = job->take_trace(); !trace.empty())  // first: who sees that the job has ended finds it
            if (const auto written = write_file(trace_path, trace, 0600); !written) log::error("job", "{}", written.error().what);
        job->finish(result);
        if (const auto written = write_file(path, job->to_json().dump(), 0600); !written) log::error("job", "{}", written.error().what);
    });
    running_[job->id()] = Entry{job, subject, std::move(thread)};
    return job;
}

Result<Json> JobTable::show(const std::string& id, std::uint64_t after, std::chrono::milliseconds wait) {
    std::shared_ptr<Job> job;
    {
        std::unique_lock lock(mutex_);
        if (const auto it = interrupted_.find(id); it != interrupted_.end()) {
            const Json now = it->second;
            if (json_number_or(now, "seq", 0) > after || resolved_.wait_for(lock, wait, [&] { return !interrupted_.contains(id); }) == false) return now;
        }
        if (const auto it = running_.find(id); it != running_.end()) job = it->second.job;
        else if (const auto old = ended_.find(id); old != ended_.end()) return old->second;
    }
    if (!job) return fail_hint(Kind::kNotFound, std::format("there is no job '{}'", id.substr(0, 40)), "blanket job list");
    if (wait.count() > 0) job->wait(after, wait);
    return job->to_json();
}

Result<Json> JobTable::trace(const std::string& id) {
    {
        const std::lock_guard lock(mutex_);  // only ids that are known become part of a path
        if (!ended_.contains(id) && !interrupted_.contains(id) && !running_.contains(id)) return fail_hint(Kind::kNotFound, std::format("there is no job '{}'", id.substr(0, 40)), "blanket job list");
    }
    const auto text = read_file(trace_path(id), kMaxTraceBytes);
    if (!text && text.error().kind == Kind::kNotFound)
        return fail_hint(Kind::kNotFound, std::format("job {} has left no trace: migrations do, when they end", id), "blanket job show " + id);
    BLANKET_CHECK(text);
    return parse_json(*text, kMaxTraceBytes);
}

Json JobTable::list() {
    const std::lock_guard lock(mutex_);
    reap();
    Json jobs = Json::array();
    for (const auto& [id, job] : ended_) jobs.push_back(job);
    for (const auto& [id, job] : interrupted_) jobs.push_back(job);
    for (const auto& [id, entry] : running_) jobs.push_back(entry.job->to_json());
    return jobs;
}

Result<void> JobTable::cancel(const std::string& id) {
    const std::lock_guard lock(mutex_);
    const auto it = running_.find(id);
    if (it == running_.end()) return fail_hint(Kind::kNotFound, std::format("no running job '{}'", id.substr(0, 40)), "blanket job list");
    it->second.job->cancel();
    return {};
}

bool JobTable::busy_now(const std::string& subject) const {
    return claimed_.contains(subject) ||
           std::ranges::any_of(running_, [&](const auto& item) { return item.second.subject == subject && !item.second.job->ended(); });
}

bool JobTable::idle() {
    const std::lock_guard lock(mutex_);
    return claimed_.empty() && std::ranges::all_of(running_, [](const auto& item) { return item.second.job->ended(); });
}

bool JobTable::busy(const std::string& subject) {
    const std::lock_guard lock(mutex_);
    return busy_now(subject);
}

class JobTable::Claim final : public Claimed {
public:
    Claim(JobTable& table, std::string subject) : table_(table), subject_(std::move(subject)) {}
    ~Claim() override {
        const std::lock_guard lock(table_.mutex_);
        table_.claimed_.erase(subject_);
        table_.released_.notify_all();
    }

private:
    JobTable& table_;
    const std::string subject_;
};

std::unique_ptr<Claimed> JobTable::claim(const std::string& subject) {
    const std::lock_guard lock(mutex_);
    if (busy_now(subject)) return nullptr;
    auto claim = std::make_unique<Claim>(*this, subject);
    claimed_.insert(subject);
    return claim;
}

void JobTable::remember(const std::string& id, const std::string& site) {
    const std::lock_guard lock(mutex_);
    if (elsewhere_.size() >= kMaxEnded) elsewhere_.erase(elsewhere_.begin());
    elsewhere_[id] = site;
}

std::string JobTable::site_of(const std::string& id) {
    const std::lock_guard lock(mutex_);
    const auto it = elsewhere_.find(id);
    return it == elsewhere_.end() ? std::string() : it->second;
}

}  // namespace blanket
