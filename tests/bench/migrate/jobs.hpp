// SPDX-License-Identifier: GPL-2.0-or-later
// Work on several threads, its results in the order in which it was given.
#pragma once

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::bench {

// The first error ends it: what has not begun is left out.
template <typename T>
Result<std::vector<T>> run_jobs(unsigned threads, const std::vector<std::function<Result<T>()>>& jobs) {
    std::vector<Result<T>> done(jobs.size(), fail(Kind::kCancelled, "not begun"));
    std::atomic<std::size_t> next = 0;
    std::atomic<bool> failed = false;
    {
        std::vector<std::jthread> workers;
        for (unsigned i = 0; i < threads; ++i)
            workers.emplace_back([&] {
                for (std::size_t at = next++; at < jobs.size() && !failed; at = next++) {
                    done[at] = jobs[at]();
                    if (!done[at]) failed = true;
                }
            });
    }
    std::vector<T> results;
    for (auto& one : done) {
        if (!one && one.error().kind == Kind::kCancelled && failed) continue;
        if (!one) return std::unexpected(std::move(one).error());
        results.push_back(std::move(*one));
    }
    return results;
}

}  // namespace blanket::bench
