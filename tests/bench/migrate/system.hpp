// SPDX-License-Identifier: GPL-2.0-or-later
// What every guest has and does, whatever it is for: a kernel, its objects, page tables, a page cache of its disk's files, programs that sleep, pages that were used
// and are free. Its timers tick, a daemon wakes now and then, a line goes into the log.
#pragma once

#include "tests/bench/migrate/content.hpp"

namespace blanket::bench {

// The guest's frames in runs of 16 in no order, as a kernel gives them out that has run for a while.
class FrameList final {
public:
    FrameList(std::size_t frames, Random& random);
    std::vector<Frame> take(std::size_t count);  // fewer where there are no more, but never none: `count` counts as at least 1, and one page may then serve two purposes
    std::vector<Frame> share(double part) { return take(static_cast<std::size_t>(part * static_cast<double>(frames_.size()))); }  // of all there were

private:
    std::vector<Frame> frames_;
    std::size_t next_ = 0;
};

// A file that is appended to, in the page cache. Where its pages are full it begins anew.
class AppendedFile final {
public:
    explicit AppendedFile(std::vector<Frame> frames) : frames_(std::move(frames)) {}
    void append(GuestMemory& memory, std::span<const std::byte> data);

private:
    std::vector<Frame> frames_;
    std::size_t at_ = 0;
};

// What a guest is made of, while it is made.
struct Place {
    const Palette& palette;
    FrameList& list;
    GuestMemory& memory;
    Random& random;
};

class System final {
public:
    struct Shares {  // of the memory; what nobody takes is zero
        double kernel = 0.08, slab = 0.05, cache = 0.25, programs = 0.10, stale = 0.08;
    };
    System(const Place& place, const Shares& shares);
    void tick(GuestMemory& memory, Random& random);  // 10 ms

private:
    void fill_cache(const Place& place, double share);
    std::vector<Frame> counters_, programs_;
    AppendedFile log_;
    std::uint64_t ticks_ = 0;
};

}  // namespace blanket::bench
