// SPDX-License-Identifier: GPL-2.0-or-later
// Writes down what a move does at the source, in memory, and passes on what its observer is to see while it goes. Used by Source.
// Thread rule: the source's own thread, but for cancelled().
#pragma once

#include "toolstack/migrate/live_meter.hpp"
#include "toolstack/migrate/move_times.hpp"
#include "toolstack/migrate/observer.hpp"

namespace blanket::migrate {

class MoveRecorder final : public Observer {
public:
    MoveRecorder(Observer& told, TimeSource& clock);
    void phase(const std::string& name) override;
    void note(const std::string& text) override { told_.note(text); }
    void progress(double percent) override { told_.progress(percent); }
    bool cancelled() const override { return told_.cancelled(); }

    // A round of the disk begins, goes on, ends. `wire`: bytes on the connection so far.
    void begin_disk_round(const std::string& volume, std::uint64_t wire);
    void disk(std::uint64_t sent, std::uint64_t total, std::uint64_t wire);
    void end_disk_round(std::uint64_t wire);
    void held_for(std::int64_t ms);  // the last one's: the guest's writes waited

    void memory(const SaveProgress& progress, std::uint64_t wire);  // while the guest runs
    void stopped(const SaveProgress& progress);                     // it does not any more: takes microseconds

    [[nodiscard]] std::int64_t now() const { return log_.now(); }
    [[nodiscard]] std::int64_t since_begin(std::int64_t boottime_ms) const { return log_.since_begin(boottime_ms); }
    [[nodiscard]] bool guest_was_stopped() const { return times.suspended.has_value(); }
    SourceTimes times;
    std::optional<TargetReport> target;

    // What was recorded, of a stream that the codec counted so. To be called once, at the end.
    struct Coded {
        std::uint64_t bytes = 0, wire_bytes = 0;
        const stream::PageCounts& pages;
        const std::vector<stream::PassCount>& passes;
    };
    MoveTrace finish(const Coded* memory);

private:
    Observer& told_;
    const std::int64_t begin_;
    const std::string begun_;
    PhaseLog log_;
    LiveMeter meter_;
    std::vector<TraceDiskRound> disk_rounds_;
    std::uint64_t disk_round_ = 0, disk_wire_ = 0, seen_wire_ = 0, left_out_ = 0;
    bool disk_open_ = false;
    std::vector<SaveRound> rounds_;
    std::string why_;
    std::int64_t forecast_ms_ = 0;
};

}  // namespace blanket::migrate
