// SPDX-License-Identifier: GPL-2.0-or-later
// Watcher (etcd_registry.hpp): one thread holds the stream, another calls back, so that a slow callback meets many changes as one.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "toolstack/base/log.hpp"
#include "toolstack/registry/etcd_registry.hpp"

namespace blanket {

constexpr std::size_t kMostWaiting = 8u << 20;  // bytes of events; more than that is read rather than followed
constexpr std::size_t kEventBytes = 128;        // of an event beside its key and value

struct Watcher::State {
    std::shared_ptr<EtcdClient> client;
    OnChange on_change;
    std::mutex mutex;
    std::condition_variable_any wake;
    bool stands = false;  // anew, and nobody was told yet
    std::vector<EtcdEvent> events;
    std::size_t bytes = 0;  // of them

    void mark(std::span<const EtcdEvent> told) {
        {
            const std::scoped_lock lock(mutex);
            for (const EtcdEvent& event : told) bytes += kEventBytes + event.kv.key.size() + event.kv.value.size();
            if (told.empty() || bytes > kMostWaiting) {
                stands = true;
                events.clear();
            }
            if (!stands) events.insert(events.end(), told.begin(), told.end());  // else they are in what is read then
        }
        wake.notify_all();
    }

    void read(const std::stop_token& stop) {
        using namespace std::chrono_literals;
        auto pause = 200ms;
        bool quiet = false;
        while (!stop.stop_requested()) {
            const auto result = client->watch(std::string(kRegistryPrefix), stop, [&](std::span<const EtcdEvent> told) {
                if (quiet) log::info("registry", "the watch stands again");
                quiet = false;
                pause = 200ms;
                mark(told);
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
            std::vector<EtcdEvent> told;
            {
                std::unique_lock lock(mutex);
                if (!wake.wait(lock, stop, [this] { return stands || !events.empty(); })) return;
                if (!stands) told.swap(events);
                stands = false;
                bytes = 0;
            }
            on_change(told);
        }
    }
};

Watcher::Watcher(std::shared_ptr<EtcdClient> client, OnChange on_change) : state_(std::make_shared<State>()) {
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
