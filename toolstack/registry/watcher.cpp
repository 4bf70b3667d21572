// SPDX-License-Identifier: GPL-2.0-or-later
// Watcher (etcd_registry.hpp): one thread holds the stream, another calls back, so that a slow callback meets many changes as one.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "toolstack/base/log.hpp"
#include "toolstack/registry/etcd_registry.hpp"

namespace blanket {

struct Watcher::State {
    std::shared_ptr<EtcdClient> client;
    std::function<void()> on_change;
    std::mutex mutex;
    std::condition_variable_any wake;
    bool dirty = false;

    void mark() {
        {
            const std::scoped_lock lock(mutex);
            dirty = true;
        }
        wake.notify_all();
    }

    void read(const std::stop_token& stop) {
        using namespace std::chrono_literals;
        auto pause = 200ms;
        bool quiet = false;
        while (!stop.stop_requested()) {
            const auto result = client->watch(std::string(kRegistryPrefix), stop, [&](std::size_t) {
                if (quiet) log::info("registry", "the watch stands again");
                quiet = false;
                pause = 200ms;
                mark();
            });
            if (stop.stop_requested()) return;
            if (!quiet && !result) log::warning("registry", "the watch broke, trying again: {}", result.error().what);
            quiet = true;
            std::unique_lock lock(mutex);
            wake.wait_for(lock, stop, pause, [] { return false; });
            pause = std::min<std::chrono::milliseconds>(pause * 2, 5s);
        }
    }

    void call(const std::stop_token& stop) {
        for (;;) {
            {
                std::unique_lock lock(mutex);
                if (!wake.wait(lock, stop, [this] { return dirty; })) return;
                dirty = false;
            }
            on_change();
        }
    }
};

Watcher::Watcher(std::shared_ptr<EtcdClient> client, std::function<void()> on_change) : state_(std::make_shared<State>()) {
    state_->client = std::move(client);
    state_->on_change = std::move(on_change);
    reader_ = std::jthread([state = state_](const std::stop_token& stop) { state->read(stop); });
    caller_ = std::jthread([state = state_](const std::stop_token& stop) { state->call(stop); });
}

Watcher::~Watcher() {
    reader_.request_stop();
    caller_.request_stop();
}

}  // namespace blanket
