// SPDX-License-Identifier: GPL-2.0-or-later
// The real clock; see ports.hpp.
#include <ctime>
#include <thread>

#include "toolstack/core/ports.hpp"

namespace blanket {
namespace {

class SystemTime final : public TimeSource {
public:
    std::int64_t boottime_ms() override { return read(CLOCK_BOOTTIME); }
    std::int64_t unix_ms() override { return read(CLOCK_REALTIME); }
    void sleep(std::chrono::milliseconds time) override { std::this_thread::sleep_for(time); }

private:
    static std::int64_t read(clockid_t id) {
        timespec now{};
        ::clock_gettime(id, &now);
        return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
    }
};

}  // namespace

TimeSource& system_time() {
    static SystemTime time;
    return time;
}

}  // namespace blanket
