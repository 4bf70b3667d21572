// SPDX-License-Identifier: GPL-2.0-or-later
// The threads of a REST server: made when there is work, gone when there has been none for a while. A thread that waits for ever would keep the deepest
// stack that any request ever needed. Used by rest_server.cpp.
#pragma once

#include <httplib.h>

#include <chrono>
#include <functional>
#include <memory>

namespace blanket {

class WorkerThreads final : public httplib::TaskQueue {
public:
    // At most `most` threads; `waiting` tasks beyond them wait, more are refused (enqueue: false).
    WorkerThreads(std::size_t most, std::size_t waiting, std::chrono::milliseconds idle = std::chrono::seconds(5));
    ~WorkerThreads() override { shutdown(); }
    WorkerThreads(const WorkerThreads&) = delete;
    WorkerThreads& operator=(const WorkerThreads&) = delete;

    bool enqueue(std::function<void()> task) override;  // from any thread
    void shutdown() override;                           // what was taken is done; then all threads are gone
    [[nodiscard]] std::size_t threads() const;

private:
    struct State;
    static void work(const std::shared_ptr<State>& state);
    std::shared_ptr<State> state_;
};

}  // namespace blanket
