// SPDX-License-Identifier: GPL-2.0-or-later
// A guest that runs in virtual time and writes to its memory. What it writes follows from its load, its seed and how long it has run, and from nothing else: so all
// methods meet the same guest, and one that takes longer meets more of what it writes. A copy goes its own way from where it was made. One thread each.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "tests/bench/migrate/content.hpp"

namespace blanket::bench {

// idle       a system and nothing else
// web_db     requests that answer with files, change rows of a database in place, and append to its journal and to a log
// compile    processes that live for a second or two and write all of their memory; sources read, objects written
// kv_zipf    values of 1 KiB rewritten, some keys far more often than others
// kv_uniform the same, all keys alike
// thrasher   a quarter of the memory rewritten with random bytes, over and over
enum class Load : std::uint8_t { kIdle, kWebDb, kCompile, kKvZipf, kKvUniform, kThrasher };
inline constexpr std::array kLoads{Load::kIdle, Load::kWebDb, Load::kCompile, Load::kKvZipf, Load::kKvUniform, Load::kThrasher};
inline constexpr std::array kMix{Load::kIdle, Load::kWebDb, Load::kCompile, Load::kKvZipf};  // that the goals' means are over
std::string_view name_of(Load load);

class Workload {
public:
    virtual ~Workload() = default;
    virtual void tick(GuestMemory& memory) = 0;  // Guest::kTickUs of the guest's time
    [[nodiscard]] virtual std::unique_ptr<Workload> clone() const = 0;
};

class Guest final {
public:
    static constexpr std::int64_t kTickUs = 10'000;

    // The palette outlives the guest.
    Guest(Load load, const Palette& palette, std::uint64_t seed, std::size_t frames);
    Guest(const Guest& other) : memory_(other.memory_), workload_(other.workload_->clone()), since_tick_us_(other.since_tick_us_) {}
    Guest& operator=(const Guest&) = delete;

    void run(std::int64_t microseconds);  // in one piece or in several: it comes to the same
    [[nodiscard]] GuestMemory& memory() { return memory_; }
    [[nodiscard]] const GuestMemory& memory() const { return memory_; }

private:
    GuestMemory memory_;
    std::unique_ptr<Workload> workload_;
    std::int64_t since_tick_us_ = 0;
};

}  // namespace blanket::bench
