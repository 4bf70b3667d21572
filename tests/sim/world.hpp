// SPDX-License-Identifier: GPL-2.0-or-later
// What is outside of blanketd, seen by nobody but the tests: the store, two hosts with their domains and disks, the wires between them, and a guest that
// writes numbered records. Everything that happens is checked at that instant by the same rules (check_*): they know nothing of how blanketd works.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/scheduler.hpp"
#include "toolstack/core/ports.hpp"
#include "toolstack/core/transitions.hpp"

namespace blanket::sim {

inline constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";
inline constexpr const char* kVm = "web";
inline constexpr const char* kVolume = "web-1";
inline constexpr unsigned kBlocks = 16;
inline constexpr std::uint64_t kBlock = 64 * 1024;
inline constexpr int kSites = 2, kWitness = 2, kNodes = 3;
inline const char* site_name(int site) { return site == 0 ? "east" : "west"; }

using Blocks = std::array<std::uint32_t, kBlocks>;

struct Disk {
    Blocks block{};
    std::set<unsigned> dirty;  // since the last snapshot
    bool open = false;         // top takes I/O
    std::uint64_t epoch = 0;   // written beside it
    std::uint64_t first = 1;   // the first that may open it
    enum class Mirror : std::uint8_t { kNone, kSecondary, kPrimary } mirror = Mirror::kNone;
    std::uint64_t mirror_id = 0;
    bool broken = false;  // the mirror lost its peer
    std::deque<std::pair<unsigned, std::uint32_t>> pending;
};

struct Domain {
    DomainState state = DomainState::kShutoff;
    int id = -1;
    std::uint32_t next = 0;  // the guest's memory: the number that it writes next
};

struct Host {
    std::map<std::string, Domain> domains;
    std::map<std::string, Disk> disks;
    bool powered = true;
    Time frozen_until = 0;
    std::string guard;              // what blanketd's guard saved: survives it, not the host
    Time watchdog_until = 0;        // Xen's: restarts the host then; 0 = not armed
    Time without_quorum_since = -1;  // < 0: it has one
    Time agent_since = 0;           // blanketd is there and runs since then
    Time hangs_until = 0;           // one of its calls
};

enum class FaultKind : std::uint8_t {
    kNone, kKill, kPowerCut, kCutWan, kCutWitness, kPause, kFreeze, kStepFails, kAnswerLost, kGuestCrash, kCancel, kDiskFull, kResetWire,
    kCutOneWay, kFlap, kClockJump, kStop, kRegistryBack, kIsolate, kStepHangs, kWriteLate, kWriteTwice, kWatchLags
};
inline constexpr unsigned kFaultKinds = 23;
std::string_view to_string(FaultKind kind);

// Strikes at the n-th port call of the whole schedule, or behind an order.
struct Fault {
    std::uint64_t call = 0;
    bool after = false;  // the call's effect is there, its answer is not
    FaultKind kind = FaultKind::kNone;
    int site = 0;
    Time duration = 0;
};

class World {
public:
    World(Scheduler& scheduler, std::vector<Fault> faults);

    Scheduler& time;
    std::array<Host, kSites> hosts;
    // The store. Epochs and revisions as etcd has them.
    std::optional<Versioned<VmRecord>> record;
    std::optional<Gone> gone;
    std::uint64_t revision = 1;
    std::array<std::optional<Beat>, kSites> beats;
    unsigned take_overs = 0;  // by the standby, or an operator who accepts the loss
    bool may_be_stopped = false, may_be_deleted = false;  // an operator said so
    std::uint32_t acknowledged = 0;  // the newest record of the guest that was acknowledged
    std::vector<std::string> violations;
    std::vector<std::string>* trace = nullptr;  // gets a line for everything that happens
    std::string policy;          // of the VM
    std::string phase = "rest";  // of the move in flight
    std::set<std::pair<std::string, FaultKind>> struck;  // phase x fault
    bool cancel = false;
    Time faults_until = kForever;  // later calls meet none
    unsigned moves_done = 0;
    std::array<unsigned, kSites> lives{};  // of blanketd at each site
    std::array<Time, kSites> watch_stands_until{};  // what this site is told of the store's changes stands still
    std::array<bool, kSites> stopping{};   // SIGTERM: it gives up what it does, then ends
    std::array<Time, kSites> wall_offset{};      // of its wall clock
    std::array<int, kSites> clock_rate_ppm{};    // how much faster its CLOCK_BOOTTIME goes
    std::vector<VmRecord> old_records;  // all that ever were
    bool went_back = false;             // the store was put back to one of them
    std::set<const Transition*> transitions;  // that were taken

    // The surroundings tell the daemons.
    std::function<bool(int site)> is_idle;
    std::function<void(int site)> on_domain_event, on_record_event, on_kill, on_boot;

    // Every port call of `site` passes here before its effect, and done() behind it. An error is a fault that struck.
    Result<void> enter(int site, const char* what, Time low, Time high);
    void strike_from_now(const std::vector<Fault>& faults);  // their calls are counted from here
    Result<void> done(int site);
    // What a fault does to the store's next write: it comes as much later (the caller learns nothing), or once more after that time.
    [[nodiscard]] std::optional<Time> take_late() { return std::exchange(late_, std::nullopt); }
    [[nodiscard]] std::optional<Time> take_twice() { return std::exchange(twice_, std::nullopt); }
    [[nodiscard]] std::uint64_t calls() const { return calls_; }

    [[nodiscard]] bool linked(int a, int b) const;  // what a sends reaches b
    [[nodiscard]] bool joined(int a, int b) const { return linked(a, b) && linked(b, a); }
    [[nodiscard]] bool quorum(int site) const;
    [[nodiscard]] bool answers(int asker, int site) const;  // its blanketd, to the other's
    [[nodiscard]] bool executes(int site) const;  // a running domain there makes progress
    [[nodiscard]] bool hangs(int site) const;     // one of its blanketd's calls does, or did a moment ago
    // Another site took the VM over while this host was frozen; it may not know yet, for a moment. What its copy does goes to its own disk.
    [[nodiscard]] bool just_thawed(int site) const;
    void changed_record();
    void changed_domain(int site);
    void kill(int site, Time back_after);
    void power_cut(int site, Time back_after);
    void cut(int a, int b, Time length);
    void cut_one_way(int from, int to, Time length);
    void write_record(int site, VmRecord vm);  // the store took it
    void remove_record(int site);
    void power_off_guest(int site);  // in the guest, as its user does
    void virsh_start(int site);      // at the host, past blanketd
    void taken_over(const VmRecord& vm);       // the moment before

    // Runs, resumes and boots of the guest, checked.
    void guest_boots(int site, Domain& domain);
    void guest_resumes(int site, Domain& domain);
    void check_copies(const char* when);
    void violation(const std::string& text);
    void note(int site, const std::string& text);

private:
    void strike(const Fault& fault);
    void stop(int site, Time back_after);
    void put_back();
    void guest_tick();
    void mirror_tick();
    void check_guard(int site);

    std::vector<Fault> faults_;
    std::uint64_t calls_ = 0;
    bool lose_answer_ = false;
    std::optional<Time> late_, twice_;
    std::array<std::array<Time, kNodes>, kNodes> cut_until_{};
    std::array<Time, kSites> mirror_cut_since_{};
};

}  // namespace blanket::sim
