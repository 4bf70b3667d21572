// SPDX-License-Identifier: GPL-2.0-or-later
// How long the VM's writes to a disk would wait for its last round, as its earlier rounds foretell it, and what to do then. Pure; one per volume. Used by source_disk.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace blanket::migrate {

class DiskPace final {
public:
    // `longest_ms`: the writes may wait for so long.
    explicit DiskPace(std::int64_t longest_ms) : longest_ms_(longest_ms) {}

    // A round has ended: of a snapshot that was taken at `at_ms`, so many bytes were shipped in `ship_ms`.
    void round(std::int64_t at_ms, std::uint64_t bytes, std::int64_t ship_ms);
    // Something else has taken its time behind the last round, and the VM has written meanwhile: that the rest is larger now is no word on whether rounds bring anything.
    void interrupted() { fresh_ = rounds_.size() + 2; }
    enum class Next : std::uint8_t { kRound, kLast, kGiveUp };
    [[nodiscard]] Next next(std::int64_t now_ms) const;
    [[nodiscard]] std::size_t rounds() const { return rounds_.size(); }

    [[nodiscard]] std::uint64_t written_per_s() const;  // by the VM, to blocks that were not dirty yet
    [[nodiscard]] std::uint64_t sent_per_s() const;     // the best of the last rounds: a cut or a round trip makes one of them slow, not the link
    [[nodiscard]] std::int64_t time_for(std::uint64_t bytes) const;  // ms
    [[nodiscard]] std::int64_t wait_ms(std::int64_t now_ms) const;   // the last round's, were it now
    [[nodiscard]] bool too_long(std::int64_t ms) const { return ms > longest_ms_; }

private:
    struct Round {
        std::int64_t at_ms = 0;
        std::uint64_t bytes = 0;
        std::int64_t ship_ms = 0;
    };
    const std::int64_t longest_ms_;
    std::vector<Round> rounds_;
    std::size_t fresh_ = 0;  // so many rounds there may be at any rate: the last two of them tell whether they become less
};

}  // namespace blanket::migrate
