// SPDX-License-Identifier: GPL-2.0-or-later
// A deterministic world of actors in virtual time: every actor has a stack of its own (fiber.hpp), one runs at a time, and it hands over only inside
// sleep() and wait(), which every simulated port calls. The same seed gives the same order, always. Processes can be killed (their actors leave by an exception at
// their next step) and paused. Thread rule: one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "tests/sim/fiber.hpp"

namespace blanket::sim {

using Time = std::int64_t;  // microseconds
inline constexpr Time kMs = 1000, kSecond = 1'000'000, kForever = std::int64_t{1} << 60;

struct Killed {};  // what an actor of a dead process leaves by

// Wakes who waits for it.
class Signal {
public:
    std::vector<std::uint32_t> waiting;  // actors; the scheduler's
};

class Scheduler {
public:
    explicit Scheduler(std::uint64_t seed) : random_(seed) {}
    ~Scheduler() { end(); }
    void end();  // all actors leave; nothing runs after it
    Scheduler(const Scheduler&) = delete;

    [[nodiscard]] Time now() const { return now_; }
    std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : random_() % bound; }
    bool chance(unsigned percent) { return below(100) < percent; }
    Time between(Time low, Time high) { return low + static_cast<Time>(below(static_cast<std::uint64_t>(high - low + 1))); }

    // Processes are numbers of the caller's. A killed number stays dead until revive().
    void spawn(int process, std::function<void()> body);
    void kill(int process);
    void revive(int process);
    void pause(int process, Time until);
    [[nodiscard]] bool alive(int process) const;
    [[nodiscard]] bool paused(int process) const;
    void at(Time when, std::function<void()> event);

    // From an actor. Throws Killed once its process is dead; while it leaves by that, they return at once.
    void sleep(Time time);
    bool wait(Signal& signal, const std::function<bool()>& ready, Time deadline);  // false: the deadline passed
    void notify(Signal& signal);
    [[nodiscard]] bool leaving() const;  // the running actor's process is dead

    // Until nothing is left to do or `until`. Returns the number of steps.
    std::uint64_t run(Time until);
    [[nodiscard]] std::uint64_t steps() const { return steps_; }
    // A hash over the order of everything that happened: two runs with the same hash were the same schedule.
    [[nodiscard]] std::uint64_t history() const { return history_; }
    void mix(std::uint64_t word) { history_ = (history_ ^ word) * 0x9e3779b97f4a7c15u, history_ ^= history_ >> 29; }

private:
    struct Actor {
        int process = 0;
        std::uint32_t index = 0;
        std::unique_ptr<Fiber> fiber;  // none: it is done
        std::uint64_t wake = 0;        // only the newest wake-up counts
        bool thrown = false;
    };
    struct Event {
        Time time;
        std::uint64_t order;  // ties: as random as everything, but the same for the same seed
        std::uint64_t wake = 0;
        std::uint32_t actor = 0;
        std::function<void()> run;
        bool operator<(const Event& other) const { return std::tie(time, order) > std::tie(other.time, other.order); }
    };
    struct Process {
        bool dead = false;
        Time paused_until = 0;
    };
    void wake_at(std::uint32_t actor, Time when);
    void resume(Actor& actor);
    void yield();  // from an actor: back to the scheduler
    Process& process(int number);

    std::mt19937_64 random_;
    Time now_ = 0;
    std::uint64_t steps_ = 0, history_ = 0x243f6a8885a308d3u;
    std::priority_queue<Event> events_;
    std::vector<std::unique_ptr<Actor>> actors_;
    std::vector<Process> processes_;
    Actor* running_ = nullptr;
};

}  // namespace blanket::sim
