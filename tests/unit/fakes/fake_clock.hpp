// SPDX-License-Identifier: GPL-2.0-or-later
// The real time without the waiting: a sleep gives way to others and counts.
#pragma once

#include <atomic>
#include <thread>

#include "toolstack/core/ports.hpp"

namespace blanket::fakes {

class FakeClock final : public TimeSource {
public:
    std::atomic<std::int64_t> slept_ms = 0;
    std::int64_t boottime_ms() override { return system_time().boottime_ms() + slept_ms; }
    std::int64_t unix_ms() override { return system_time().unix_ms(); }
    void sleep(std::chrono::milliseconds time) override {
        slept_ms += time.count();
        std::this_thread::yield();
    }
};

// Time that passes only when the test says so.
class ManualClock final : public TimeSource {
public:
    std::int64_t now_ms = 1'000'000;
    std::int64_t boottime_ms() override { return now_ms; }
    std::int64_t unix_ms() override { return now_ms; }
    void sleep(std::chrono::milliseconds time) override { now_ms += time.count(); }
};

}  // namespace blanket::fakes
