// SPDX-License-Identifier: GPL-2.0-or-later
// See worker_threads.hpp.
#include "toolstack/peer/worker_threads.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

#include "toolstack/base/log.hpp"

namespace blanket {

// Shared with the threads, which are detached: the last one may still hold it when the pool is gone.
struct WorkerThreads::State {
    const std::size_t most, waiting;
    const std::chrono::milliseconds idle_time;
    std::mutex mutex;
    std::condition_variable work, ended;
    std::deque<std::function<void()>> tasks;
    std::size_t threads = 0, idle = 0;
    bool stop = false;
};

WorkerThreads::WorkerThreads(std::size_t most, std::size_t waiting, std::chrono::milliseconds idle)
    : state_(new State{.most = most, .waiting = waiting, .idle_time = idle, .mutex = {}, .work = {}, .ended = {}, .tasks = {}}) {}

bool WorkerThreads::enqueue(std::function<void()> task) {
    const std::lock_guard lock(state_->mutex);
    if (state_->stop || state_->tasks.size() >= state_->waiting) return false;
    state_->tasks.push_back(std::move(task));
    if (state_->idle >= state_->tasks.size()) {
        state_->work.notify_one();
        return true;
    }
    if (state_->threads == state_->most) return true;  // the next one that is free takes it
    try {
        std::thread(work, state_).detach();
        ++state_->threads;
    } catch (const std::system_error& error) {
        log::warning("rest", "no thread for a request: {}", error.what());
        if (state_->threads > 0) return true;
        state_->tasks.pop_back();
        return false;
    }
    return true;
}

void WorkerThreads::work(const std::shared_ptr<State>& state) {
    std::unique_lock lock(state->mutex);
    for (;;) {
        ++state->idle;
        const bool some = state->work.wait_for(lock, state->idle_time, [&] { return state->stop || !state->tasks.empty(); });
        --state->idle;
        if (!some || state->tasks.empty()) break;
        auto task = std::move(state->tasks.front());
        state->tasks.pop_front();
        lock.unlock();
        task();
        task = nullptr;
        lock.lock();
    }
    --state->threads;
    state->ended.notify_all();
}

void WorkerThreads::shutdown() {
    std::unique_lock lock(state_->mutex);
    state_->stop = true;
    state_->work.notify_all();
    state_->ended.wait(lock, [&] { return state_->threads == 0; });
}

std::size_t WorkerThreads::threads() const {
    const std::lock_guard lock(state_->mutex);
    return state_->threads;
}

}  // namespace blanket
