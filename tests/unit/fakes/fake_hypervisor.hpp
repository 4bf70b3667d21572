// SPDX-License-Identifier: GPL-2.0-or-later
// A stateful hypervisor for tests of migrate/ and daemon/: domains have memory that changes while they run, a save writes it, a restore reads and checks
// it, and one FakeWorld shared by all hosts sees every moment in which a VM runs twice. Thread safe; no lock is held while a stream is read or written.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/ports.hpp"

namespace blanket::fakes {

// What an outside observer sees of all hosts together.
class FakeWorld {
public:
    void runs(const std::string& uuid, const std::string& host) {
        const std::lock_guard lock(mutex_);
        auto& hosts = running_[uuid];
        hosts.insert(host);
        most_[uuid] = std::max(most_[uuid], hosts.size());
    }
    void stops(const std::string& uuid, const std::string& host) {
        const std::lock_guard lock(mutex_);
        running_[uuid].erase(host);
    }
    std::size_t copies(const std::string& uuid) {  // that run at this moment
        const std::lock_guard lock(mutex_);
        return running_[uuid].size();
    }
    std::size_t most_copies(const std::string& uuid) {  // that ever ran at once: 2 is a double run
        const std::lock_guard lock(mutex_);
        return most_[uuid];
    }

private:
    std::mutex mutex_;
    std::map<std::string, std::set<std::string>> running_;
    std::map<std::string, std::size_t> most_;
};

enum class FakeStep { kFacts, kList, kDefine, kUndefine, kStart, kStop, kSave, kSaveMiddle, kSaveSuspended, kResumeSource, kDestroySource, kRestore, kRestoreMiddle, kResumeTarget, kDiscardTarget };

class FakeHypervisor final : public Hypervisor, public MigrationEnds {
public:
    using Pages = std::vector<std::uint64_t>;  // one word stands for a page
    struct Domain {
        std::string uuid, name, xml;
        DomainState state = DomainState::kShutoff;
        int id = -1;
        Pages memory;
        std::set<std::size_t> dirty;
    };

    FakeHypervisor(FakeWorld& world, std::string host) : world_(world), host_(std::move(host)) {
        facts_.memory_mib = 4096;
        facts_.free_mib = 2048;
        facts_.cpus = 2;
        facts_.cpu_features = {"fpu", "sse", "sse2"};
        facts_.cpu_model = "fake";
        facts_.xen_version = "4.20.0";
        facts_.libvirt_version = "11.3.0";
        facts_.log_dirty = true;
    }

    // ---- for tests
    // The step fails `times` times with `error`, without any effect; `after` = it takes effect and then reports the error (a lost answer).
    void fail_at(FakeStep step, Error error, int times = 1, bool after = false) {
        const std::lock_guard lock(mutex_);
        faults_[step] = {std::move(error), times, after};
    }
    void set_facts(HostFacts facts) {
        const std::lock_guard lock(mutex_);
        facts_ = std::move(facts);
    }
    std::optional<Domain> domain(const std::string& uuid) {
        const std::lock_guard lock(mutex_);
        const auto found = domains_.find(uuid);
        return found == domains_.end() ? std::nullopt : std::optional(found->second);
    }
    // The guest writes a page; false when it does not run.
    bool write_page(const std::string& uuid, std::size_t page, std::uint64_t value) {
        const std::lock_guard lock(mutex_);
        const auto found = domains_.find(uuid);
        if (found == domains_.end() || found->second.state != DomainState::kRunning) return false;
        found->second.memory.at(page) = value;
        found->second.dirty.insert(page);
        return true;
    }
    // Called (without locks) before each pre-copy round: lets a test dirty pages, cut a link or kill a peer in the middle.
    std::function<void(std::uint32_t round)> on_round;
    // The host loses power: everything that ran is gone, definitions stay.
    void power_cut() {
        const std::lock_guard lock(mutex_);
        for (auto& [uuid, domain] : domains_) halt(domain);
    }
    static constexpr std::size_t kPages = 64;

    // ---- Hypervisor
    Result<HostFacts> facts() override {
        const std::lock_guard lock(mutex_);
        BLANKET_CHECK(before(FakeStep::kFacts));
        return facts_;
    }
    Result<std::vector<DomainInfo>> list() override {
        const std::lock_guard lock(mutex_);
        BLANKET_CHECK(before(FakeStep::kList));
        std::vector<DomainInfo> out;
        for (const auto& [uuid, domain] : domains_)
            out.push_back({.uuid = uuid, .name = domain.name, .id = domain.id, .state = domain.state, .memory_mib = 256, .vcpus = 1});
        return out;
    }
    Result<void> define(const std::string& xml) override {
        const std::lock_guard lock(mutex_);
        BLANKET_CHECK(before(FakeStep::kDefine));
        BLANKET_TRY(const std::string uuid, element(xml, "uuid"));
        BLANKET_TRY(const std::string name, element(xml, "name"));
        for (const auto& [other, domain] : domains_)
            if (other != uuid && domain.name == name) return fail(Kind::kConflict, "domain '{}' exists with uuid {}", name, other);
        Domain& domain = domains_[uuid];
        domain.uuid = uuid;
        domain.name = name;
        domain.xml = xml;
        return after(FakeStep::kDefine);
    }
    Result<void> undefine(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        BLANKET_CHECK(before(FakeStep::kUndefine));
        const auto found = domains_.find(uuid);
        if (found != domains_.end()) {
            if (found->second.id >= 0) return fail(Kind::kConflict, "'{}' runs", found->second.name);
            domains_.erase(found);
        }
        return after(FakeStep::kUndefine);
    }
    Result<void> start(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        BLANKET_CHECK(before(FakeStep::kStart));
        BLANKET_TRY(Domain* const domain, find(uuid));
        if (domain->id < 0) {
            domain->id = next_id_++;
            domain->memory.assign(kPages, 0);
            go(*domain);
        }
        return after(FakeStep::kStart);
    }
    Result<void> pause(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        BLANKET_TRY(Domain* const domain, find(uuid));
        if (domain->state == DomainState::kRunning) domain->state = DomainState::kPaused;
        return {};
    }
    Result<void> unpause(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        const auto domain = find(uuid);
        if (domain && (*domain)->state == DomainState::kPaused) go(**domain);
        return {};
    }
    Result<void> stop(const std::string& uuid, StopMode, std::chrono::seconds) override {
        const std::lock_guard lock(mutex_);
        BLANKET_CHECK(before(FakeStep::kStop));
        BLANKET_TRY(Domain* const domain, find(uuid));
        halt(*domain);
        return after(FakeStep::kStop);
    }
    Result<std::uint32_t> watchdog(std::uint32_t id, std::chrono::seconds) override { return id; }
    Result<std::string> definition(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        BLANKET_TRY(Domain* const domain, find(uuid));
        return domain->xml;
    }

    // ---- MigrationEnds
    Result<void> save_live(const std::string& uuid, const SaveLimits&, const ByteSink& sink, const std::function<bool(const SaveProgress&)>& on_progress) override {
        {
            const std::lock_guard lock(mutex_);
            BLANKET_CHECK(before(FakeStep::kSave));
            BLANKET_TRY(Domain* const domain, find(uuid));
            if (domain->state != DomainState::kRunning) return fail(Kind::kConflict, "'{}' does not run here", domain->name);
            for (std::size_t page = 0; page < domain->memory.size(); ++page) domain->dirty.insert(page);
        }
        SaveProgress progress;
        const auto give_up = [&](Error error) -> Result<void> {
            const std::lock_guard lock(mutex_);
            if (auto domain = find(uuid); domain && (*domain)->state == DomainState::kSuspended) go(**domain);
            return std::unexpected(std::move(error));
        };
        const auto tell = [&] { return !on_progress || on_progress(progress); };
        if (auto put = send(sink, kMagic, uuid_hash(uuid)); !put) return give_up(put.error());
        constexpr std::uint32_t kRounds = 3;
        for (; progress.round <= kRounds; ++progress.round) {
            if (on_round) on_round(progress.round);
            std::vector<std::pair<std::uint64_t, std::uint64_t>> batch;
            {
                const std::lock_guard lock(mutex_);
                BLANKET_TRY(Domain* const domain, find(uuid));
                if (domain->state != DomainState::kRunning) return fail(Kind::kIo, "'{}' stopped during the save", domain->name);
                if (progress.round == 1) {
                    if (auto fault = before(FakeStep::kSaveMiddle); !fault) return fault;
                }
                if (progress.round == kRounds) {  // stop and copy
                    domain->state = DomainState::kSuspended;
                    world_.stops(uuid, host_);
                    progress.suspended = true;
                }
                for (const std::size_t page : domain->dirty) batch.emplace_back(page, domain->memory[page]);
                domain->dirty.clear();
            }
            if (!tell()) return give_up({Kind::kCancelled, "given up", {}});
            for (const auto& [page, value] : batch) {
                if (auto put = send(sink, page, value); !put) return give_up(put.error());
                progress.bytes += 16;
            }
            if (!tell()) return give_up({Kind::kCancelled, "given up", {}});
        }
        {
            std::unique_lock lock(mutex_);
            if (auto fault = before(FakeStep::kSaveSuspended); !fault) {
                lock.unlock();
                return give_up(fault.error());
            }
        }
        if (auto put = send(sink, kEnd, uuid_hash(uuid)); !put) return give_up(put.error());
        const std::lock_guard lock(mutex_);
        return after(FakeStep::kSaveSuspended);
    }
    Result<void> resume_source(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        BLANKET_CHECK(before(FakeStep::kResumeSource));
        BLANKET_TRY(Domain* const domain, find(uuid));
        if (domain->id < 0) return fail(Kind::kConflict, "'{}' does not run here", domain->name);
        if (domain->state == DomainState::kSuspended) go(*domain);
        return after(FakeStep::kResumeSource);
    }
    Result<void> destroy_source(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        BLANKET_CHECK(before(FakeStep::kDestroySource));
        remove(uuid);
        return after(FakeStep::kDestroySource);
    }
    Result<void> restore_paused(const std::string& uuid, const std::string& xml, const ByteSource& source) override {
        std::string name;
        {
            const std::lock_guard lock(mutex_);
            BLANKET_CHECK(before(FakeStep::kRestore));
            BLANKET_TRY(name, element(xml, "name"));
            BLANKET_TRY(const std::string named, element(xml, "uuid"));
            if (named != uuid) return fail(Kind::kInvalid, "the definition is of {}, not of {}", named, uuid);
            if (const auto there = domains_.find(uuid); there != domains_.end() && there->second.id >= 0) return fail(Kind::kConflict, "{} runs here already", uuid);
        }
        Pages memory(kPages, 0);
        std::uint64_t words[2]{};
        const auto take = [&]() -> Result<void> {
            std::span<std::byte> rest = std::as_writable_bytes(std::span(words));
            while (!rest.empty()) {
                const auto got = source(rest);
                if (!got && got.error().kind == Kind::kTimeout) continue;
                if (!got) return std::unexpected(got.error());
                if (*got == 0) return fail(Kind::kIo, "end of stream");
                rest = rest.subspan(*got);
            }
            return {};
        };
        BLANKET_CHECK(take());
        if (words[0] != kMagic || words[1] != uuid_hash(uuid)) return fail(Kind::kIo, "the stream is not a save image of {}", uuid);
        std::set<std::size_t> seen;
        for (;;) {
            BLANKET_CHECK(take());
            if (words[0] == kEnd) break;
            if (words[0] >= kPages) return fail(Kind::kIo, "the stream is corrupt: page {}", words[0]);
            memory[words[0]] = words[1];
            seen.insert(words[0]);
            if (seen.size() == kPages / 2) {
                const std::lock_guard lock(mutex_);
                BLANKET_CHECK(before(FakeStep::kRestoreMiddle));
            }
        }
        if (words[1] != uuid_hash(uuid) || seen.size() != kPages) return fail(Kind::kIo, "the stream is incomplete: {} of {} pages", seen.size(), kPages);
        const std::lock_guard lock(mutex_);
        Domain& domain = domains_[uuid];
        domain = {.uuid = uuid, .name = name, .xml = xml, .state = DomainState::kPaused, .id = next_id_++, .memory = std::move(memory), .dirty = {}};
        if (auto lost = after(FakeStep::kRestore); !lost) {
            domains_.erase(uuid);  // the port's promise: on error nothing is left
            return lost;
        }
        return {};
    }
    Result<void> resume_target(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        BLANKET_CHECK(before(FakeStep::kResumeTarget));
        BLANKET_TRY(Domain* const domain, find(uuid));
        if (domain->id < 0) return fail(Kind::kConflict, "'{}' is not here", domain->name);
        if (domain->state == DomainState::kPaused) go(*domain);
        return after(FakeStep::kResumeTarget);
    }
    Result<void> discard_target(const std::string& uuid) override {
        const std::lock_guard lock(mutex_);
        BLANKET_CHECK(before(FakeStep::kDiscardTarget));
        remove(uuid);
        return after(FakeStep::kDiscardTarget);
    }

private:
    struct Fault {
        Error error;
        int times = 0;
        bool after = false;
    };
    static constexpr std::uint64_t kMagic = 0x424c414e4b455431, kEnd = ~std::uint64_t{0};

    static std::uint64_t uuid_hash(const std::string& uuid) { return std::hash<std::string>{}(uuid); }
    static Result<void> send(const ByteSink& sink, std::uint64_t first, std::uint64_t second) {
        const std::uint64_t words[2] = {first, second};
        return sink(std::as_bytes(std::span(words)));
    }
    static Result<std::string> element(const std::string& xml, const std::string& name) {
        const std::size_t begin = xml.find("<" + name + ">"), end = xml.find("</" + name + ">");
        if (begin == std::string::npos || end == std::string::npos || end < begin) return fail(Kind::kInvalid, "the definition has no <{}>", name);
        return xml.substr(begin + name.size() + 2, end - begin - name.size() - 2);
    }
    Result<void> fire(FakeStep step, bool after) {
        const auto fault = faults_.find(step);
        if (fault == faults_.end() || fault->second.times <= 0 || fault->second.after != after) return {};
        --fault->second.times;
        return std::unexpected(fault->second.error);
    }
    Result<void> before(FakeStep step) { return fire(step, false); }
    Result<void> after(FakeStep step) { return fire(step, true); }
    Result<Domain*> find(const std::string& uuid) {
        const auto found = domains_.find(uuid);
        if (found == domains_.end()) return fail(Kind::kNotFound, "no domain {}", uuid);
        return &found->second;
    }
    void go(Domain& domain) {
        domain.state = DomainState::kRunning;
        world_.runs(domain.uuid, host_);
    }
    void halt(Domain& domain) {
        world_.stops(domain.uuid, host_);
        domain.state = DomainState::kShutoff;
        domain.id = -1;
        domain.memory.clear();
        domain.dirty.clear();
    }
    void remove(const std::string& uuid) {
        if (const auto found = domains_.find(uuid); found != domains_.end()) {
            halt(found->second);
            domains_.erase(found);
        }
    }

    FakeWorld& world_;
    const std::string host_;
    std::mutex mutex_;
    std::map<std::string, Domain> domains_;
    std::map<FakeStep, Fault> faults_;
    HostFacts facts_;
    int next_id_ = 1;
};

}  // namespace blanket::fakes
