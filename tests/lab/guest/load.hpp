// SPDX-License-Identifier: GPL-2.0-or-later
// The work that VM `web` does while it moves: a thread that writes acknowledged records, and one that dirties memory at a stated rate. Used by demo_guest.cpp. Thread safe.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>

#include "toolstack/base/result.hpp"

namespace blanket::lab {

constexpr std::string_view kMemoryMark = "BLANKET-DEMO-MEMORY";

class Load final {
public:
    explicit Load(std::string records_path) : path_(std::move(records_path)) {}
    // kConflict when it runs. rate_kib: KiB of memory written anew per second; pause: between two records.
    Result<void> start(std::uint64_t rate_kib, std::chrono::milliseconds pause);
    void stop();
    [[nodiscard]] std::uint64_t acknowledged() const { return acknowledged_; }
    [[nodiscard]] std::string status_json() const;

private:
    void write_records(const std::stop_token& stop, std::chrono::milliseconds pause);
    void dirty_memory(const std::stop_token& stop, std::uint64_t rate_kib);

    const std::string path_;
    std::mutex lock_;
    std::atomic<std::uint64_t> acknowledged_ = 0, dirtied_bytes_ = 0, slowest_fsync_us_ = 0;
    std::atomic<std::int64_t> started_ms_ = 0, dirty_ms_ = 0;
    std::atomic<bool> failed_ = false;
    std::jthread writer_, dirtier_;
};

std::int64_t monotonic_ms();
std::int64_t unix_now_ms();

}  // namespace blanket::lab
