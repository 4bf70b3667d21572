// SPDX-License-Identifier: GPL-2.0-or-later
// A way to bring a guest's pages over a link. Work of the processor is done for real and measured, and goes into the virtual time; the link is a model. One thread.
#pragma once

#include <ctime>
#include <optional>
#include <span>

#include "tests/bench/migrate/memory.hpp"
#include "tests/bench/migrate/virtual_wire.hpp"
#include "toolstack/base/result.hpp"

namespace blanket::bench {

// Seconds that work took of this thread's processor time: other threads on the machine do not count. With a fixed price a replay comes out alike each time (tests).
class CpuMeter final {
public:
    CpuMeter() = default;
    static CpuMeter fixed(double seconds_per_byte) { return CpuMeter(seconds_per_byte); }
    template <typename Work>
    double cost(std::size_t bytes, const Work& work) const {
        if (price_) {
            work();
            return *price_ * static_cast<double>(bytes);
        }
        const double before = thread_seconds();
        work();
        return thread_seconds() - before;
    }

private:
    explicit CpuMeter(double price) : price_(price) {}
    static double thread_seconds() {
        timespec now{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
    }
    std::optional<double> price_;
};

class Method {
public:
    virtual ~Method() = default;
    virtual Result<void> begin(VirtualWire&) { return {}; }  // before memory
    // These frames' pages as they are now; frames go upwards within a round. At most kBatch.
    virtual Result<void> pages(const GuestMemory& memory, std::span<const Frame> frames, VirtualWire& wire) = 0;
    virtual void stop() {}                                   // the guest stands still from now on
    virtual Result<void> end(VirtualWire&) { return {}; }    // after the last page
    // Whether the other end has this memory, bit for bit; nothing: this method's other end is not played here.
    [[nodiscard]] virtual std::optional<bool> exact(const GuestMemory&) const { return {}; }
};

inline constexpr std::size_t kBatch = 1024;  // pages that libxenguest takes at once

}  // namespace blanket::bench
