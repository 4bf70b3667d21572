// SPDX-License-Identifier: GPL-2.0-or-later
// See load.hpp.
#include "tests/lab/guest/load.hpp"

#include <cstdio>
#include <cstring>
#include <vector>

#include "tests/lab/guest/records.hpp"

namespace blanket::lab {
namespace {
constexpr std::size_t kPage = 4096;
constexpr std::size_t kArena = 32u << 20;  // written round and round
}  // namespace

std::int64_t monotonic_ms() { return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
std::int64_t unix_now_ms() { return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }

Result<void> Load::start(std::uint64_t rate_kib, std::chrono::milliseconds pause) {
    const std::scoped_lock lock(lock_);
    if (writer_.joinable()) return fail(Kind::kConflict, "the load runs already");
    if (rate_kib > 1u << 20) return fail(Kind::kInvalid, "rate_kib is {}, at most {}", rate_kib, 1u << 20);
    failed_ = false;
    dirtied_bytes_ = 0;
    started_ms_ = monotonic_ms();
    writer_ = std::jthread([this, pause](const std::stop_token& stop) { write_records(stop, pause); });
    dirtier_ = std::jthread([this, rate_kib](const std::stop_token& stop) { dirty_memory(stop, rate_kib); });
    return {};
}

void Load::stop() {
    const std::scoped_lock lock(lock_);
    for (auto* thread : {&writer_, &dirtier_}) {
        thread->request_stop();
        if (thread->joinable()) thread->join();
    }
}

void Load::write_records(const std::stop_token& stop, std::chrono::milliseconds pause) {
    auto writer = RecordWriter::open(path_);
    while (writer && !stop.stop_requested()) {
        const auto begin = std::chrono::steady_clock::now();
        const auto number = writer->append(unix_now_ms());
        if (!number) {
            std::fprintf(stderr, "records: %s\n", number.error().what.c_str());
            failed_ = true;
            return;
        }
        acknowledged_ = *number;
        const auto took = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count());
        if (took > slowest_fsync_us_) slowest_fsync_us_ = took;
        std::this_thread::sleep_for(pause);
    }
    if (!writer) {
        std::fprintf(stderr, "records: %s\n", writer.error().what.c_str());
        failed_ = true;
    }
}

void Load::dirty_memory(const std::stop_token& stop, std::uint64_t rate_kib) {
    if (rate_kib == 0) return;
    std::vector<char> arena(kArena);
    std::uint64_t state = 0x9e3779b97f4a7c15;
    std::size_t at = 0;
    const auto begin = std::chrono::steady_clock::now();
    std::uint64_t written = 0;
    while (!stop.stop_requested()) {
        const auto elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        // Late is late: no more than a quarter of a second is made up for, so that a pause is not followed by a flood.
        const double due = elapsed * static_cast<double>(rate_kib << 10);
        const auto lag = static_cast<double>(rate_kib << 8);
        if (due - static_cast<double>(written) > lag) written = static_cast<std::uint64_t>(due - lag);
        while (static_cast<double>(written) < due) {
            char* const page = arena.data() + at;
            for (std::size_t i = 0; i < kPage; i += sizeof state) {
                state = state * 6364136223846793005ull + 1442695040888963407ull;
                std::memcpy(page + i, &state, sizeof state);
            }
            std::memcpy(page, kMemoryMark.data(), kMemoryMark.size());
            at = (at + kPage) % kArena;
            written += kPage;
            dirtied_bytes_ += kPage;
        }
        dirty_ms_ = monotonic_ms() - started_ms_;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
}

std::string Load::status_json() const {
    const double seconds = static_cast<double>(dirty_ms_.load()) / 1000;
    const double mib = static_cast<double>(dirtied_bytes_.load()) / (1u << 20);
    return std::format(R"({{"acked":{},"failed":{},"dirtied_mib":{:.1f},"dirty_mib_per_s":{:.2f},"slowest_fsync_us":{}}})", acknowledged_.load(), failed_.load(), mib,
                       seconds > 0 ? mib / seconds : 0.0, slowest_fsync_us_.load());
}

}  // namespace blanket::lab
