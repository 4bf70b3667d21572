// SPDX-License-Identifier: GPL-2.0-or-later
// Looks at copies of frames on a thread of its own, so that disk and search never delay the Shaper: capture file, plaintext search, bytes by kind.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/lab/pcap_writer.hpp"
#include "tests/lab/plaintext_search.hpp"
#include "tests/lab/traffic_count.hpp"

namespace blanket::lab {

using Frame = std::shared_ptr<const std::vector<std::byte>>;

class Recorder final {
public:
    Recorder();
    ~Recorder() = default;
    Recorder(const Recorder&) = delete;
    Recorder& operator=(const Recorder&) = delete;

    // Thread safe, all of them. Both begin anew; an empty path ends the capture.
    Result<void> capture(const std::string& path, std::uint64_t max_bytes);
    Result<void> search(const std::vector<std::string>& patterns);
    void add(Frame frame);  // never blocks; beyond 64 MiB of waiting frames it drops and counts
    Json report();          // waits until everything added so far has been looked at

private:
    struct Item {
        std::chrono::nanoseconds time;  // since the Unix epoch
        Frame frame;
    };
    void work(const std::stop_token& stop);

    std::mutex queue_lock_;
    std::condition_variable_any wake_, idle_;
    std::deque<Item> queue_;
    std::size_t queued_bytes_ = 0;
    std::uint64_t missed_ = 0;
    bool busy_ = false;

    std::mutex tools_lock_;
    std::optional<PcapWriter> pcap_;
    std::optional<PlaintextSearch> search_;
    TrafficCount traffic_;
    std::string path_, failure_;

    std::jthread thread_;  // last: ends before the rest goes
};

}  // namespace blanket::lab
