// SPDX-License-Identifier: GPL-2.0-or-later
// The one factor and the one loop for waiting; see deadline.hpp.
#include "tests/lab/deadline.hpp"

#include <algorithm>
#include <cstdlib>
#include <thread>

namespace blanket::lab {

double time_factor() {
    static const double kFactor = [] {
        const char* text = std::getenv("BLANKET_TIME_FACTOR");
        const double value = text == nullptr ? 1.0 : std::strtod(text, nullptr);
        return value > 0 ? std::clamp(value, 0.1, 100.0) : 1.0;
    }();
    return kFactor;
}

std::chrono::milliseconds scaled(std::chrono::milliseconds time) {
    return std::chrono::milliseconds(static_cast<std::int64_t>(static_cast<double>(time.count()) * time_factor()));
}

Result<void> wait_until(const std::string& what, std::chrono::milliseconds deadline, std::chrono::milliseconds pause, const std::function<Result<bool>()>& probe) {
    const auto begin = std::chrono::steady_clock::now();
    const auto end = begin + scaled(deadline);
    for (;;) {
        BLANKET_TRY(const bool done, probe());
        if (done) return {};
        if (std::chrono::steady_clock::now() + pause >= end) return fail(Kind::kTimeout, "{} within {} s: not so", what, scaled(deadline).count() / 1000);
        std::this_thread::sleep_for(pause);
    }
}

}  // namespace blanket::lab
