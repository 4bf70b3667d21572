// SPDX-License-Identifier: GPL-2.0-or-later
// A guest's disk habits without a guest: a thread that writes, flushes and discards on /dev/mapper/bs-<id>-top and remembers what must be there.
// Used by the rig's source. What it cannot write within its patience counts as an error, as a guest would see one.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "toolstack/base/fd.hpp"

namespace blanket::rig {

struct GuestReport {
    std::uint64_t writes = 0, flushes = 0, discards = 0, errors = 0;
    double longest_ms = 0;      // one operation; since the last call of report()
    std::string first_error;
};

class Guest final {
public:
    // `content` = what the disk holds now. About `rate` writes of 4 KiB in a second.
    Guest(std::string path, std::vector<std::byte> content, unsigned seed, unsigned rate);
    ~Guest();
    void pause();    // returns when no operation is under way
    void resume();
    GuestReport report();
    const std::vector<std::byte>& content() const { return content_; }  // while paused

private:
    void run(const std::stop_token& stop);
    void step(int fd, std::byte* block);

    std::string path_;
    std::vector<std::byte> content_;
    std::mt19937 random_;
    unsigned rate_;
    std::mutex turn_;     // held during one operation
    std::mutex numbers_;  // report_
    std::atomic<bool> waiting_{false};
    GuestReport report_;
    std::uint64_t serial_ = 0;
    std::jthread thread_;
};

}  // namespace blanket::rig
