// SPDX-License-Identifier: GPL-2.0-or-later
// The pages of a VM as the last move brought them to this site, read from the site's content store: where the target's store has one too, the page that the guest has
// made of it meanwhile is told as a difference. A thread of its own finds them while the disk moves; find() then reads ahead of the frames that it is asked for and takes
// what the page cache has, so that a move does not wait for the disk: in all it waits for Candidates::most_waiting at most.
// What it gives may be damaged or of another time: who uses it shows by PageProof that the other end has the same. In memory: 8 bytes a frame, 24 while they are looked for; and 64 KiB.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <stop_token>
#include <thread>

#include "toolstack/stream/page_segment.hpp"

namespace blanket::stream {

class StoredVersions final {
public:
    struct Candidates {
        std::string map;                 // frame_keys.hpp
        PageSegment::Tag tag{};          // of the tenant
        std::vector<std::string> files;  // of the tenant
        std::chrono::milliseconds most_waiting{1000};
    };

    static std::unique_ptr<StoredVersions> begin(Candidates candidates);
    StoredVersions(const StoredVersions&) = delete;
    StoredVersions& operator=(const StoredVersions&) = delete;

    // Waits so long for what the thread has not found yet, and ends it. Once, before find(). Returns how many frames have a version.
    std::size_t close(std::chrono::milliseconds wait);
    // One thread. kPage bytes, valid until the next call; null: there are none, or they could not be had in time.
    [[nodiscard]] const std::byte* find(std::uint64_t frame);

private:
    static constexpr std::uint32_t kNone = ~std::uint32_t{0};
    struct Place {
        std::uint32_t file = kNone, slot = 0;
    };
    explicit StoredVersions(Candidates candidates);
    void look(const std::stop_token& stop);
    void read_ahead(std::uint64_t frame);
    bool fill(const Place& place, std::uint64_t frame);

    Candidates candidates_;
    std::vector<PageSegment> files_;  // that have some; open, so what is evicted meanwhile can still be read
    std::vector<Place> places_;       // by frame
    std::uint64_t ahead_ = 0;         // frames below are on their way from the disk
    std::chrono::steady_clock::duration waited_{0};
    static constexpr std::size_t kAtOnce = 16;  // pages read by one call, while the frames go upwards
    std::array<std::byte, kAtOnce * kPage> read_;
    Place first_;                 // that is in it
    std::size_t read_count_ = 0;  // pages
    std::uint64_t last_ = 0;      // frame that was asked for
    std::atomic<bool> done_ = false;
    std::jthread thread_;  // the last member: it uses the others
};

}  // namespace blanket::stream
