// SPDX-License-Identifier: GPL-2.0-or-later
#include "toolstack/peer/worker_threads.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>

namespace blanket {
namespace {

using std::chrono::milliseconds;

TEST(WorkerThreads, AreMadeWhenThereIsWorkAndGoWhenThereIsNone) {
    WorkerThreads pool(4, 16, milliseconds(20));
    EXPECT_EQ(pool.threads(), 0u);
    std::latch both(2);
    std::atomic<int> done = 0;
    for (int i = 0; i < 2; ++i) ASSERT_TRUE(pool.enqueue([&] { both.arrive_and_wait(), ++done; }));  // ends only when two run at once
    while (pool.threads() > 0) std::this_thread::sleep_for(milliseconds(5));
    EXPECT_EQ(done, 2);
    ASSERT_TRUE(pool.enqueue([&] { ++done; }));
    pool.shutdown();
    EXPECT_EQ(done, 3);
    EXPECT_EQ(pool.threads(), 0u);
    EXPECT_FALSE(pool.enqueue([] {}));
}

TEST(WorkerThreads, AreBoundedAndRefuseWhatTheyCannotHold) {
    std::latch go(1);
    std::atomic<int> done = 0;
    WorkerThreads pool(2, 3);
    const auto task = [&] { go.wait(), ++done; };
    int taken = 0;
    for (int i = 0; i < 2; ++i) taken += pool.enqueue(task);
    std::atomic<bool> started = false;
    while (!started) {  // both tasks are with their threads once the queue takes three more
        if (pool.enqueue(task)) ++taken;
        started = taken == 5;
        std::this_thread::yield();
    }
    EXPECT_FALSE(pool.enqueue(task));
    EXPECT_EQ(pool.threads(), 2u);
    go.count_down();
    pool.shutdown();
    EXPECT_EQ(done, 5);
}

}  // namespace
}  // namespace blanket
