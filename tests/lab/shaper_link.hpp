// SPDX-License-Identifier: GPL-2.0-or-later
// One direction of one WAN link as a value: when does a frame that enters now come out, if at all. Pure (time and chance come from the caller); Shaper owns one per ordered pair of nodes.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

#include "toolstack/base/json.hpp"

namespace blanket::lab {

using Nanos = std::chrono::nanoseconds;  // also: time since an arbitrary steady origin

struct LinkSettings {
    Nanos delay{std::chrono::milliseconds(25)};  // one way
    Nanos jitter{0};                             // added, uniform in [0, jitter]; never reorders
    std::uint64_t rate = 100'000'000;            // bit/s of ethernet frames without FCS; 0 = unlimited
    std::uint64_t burst = 3'000;                 // bytes that may pass at once after an idle time
    std::uint64_t queue = 2u << 20;              // bytes that may wait for the rate; more is dropped at the tail
    double loss = 0;                             // probability, 0..1
    bool up = true;
    Nanos flap_period{0}, flap_down{0};  // down for the first flap_down of each period; 0 = never
    bool operator==(const LinkSettings&) const = default;
};

// Fields that are present change the settings; delay_ms, jitter_ms, rate_bps, burst_bytes, queue_bytes, loss, up, flap_period_ms, flap_down_ms. kInvalid names the field.
Result<LinkSettings> parse_link(const Json& change, LinkSettings settings);
Json to_json(const LinkSettings& settings);

// The busiest second so far, in steps of 100 ms.
class RateMeter final {
public:
    void add(Nanos now, std::uint64_t bytes);
    [[nodiscard]] std::uint64_t peak_bps() const { return peak_ * 8; }

private:
    static constexpr std::size_t kSlots = 10;
    std::array<std::uint64_t, kSlots> slots_{};
    std::int64_t slot_ = -1;
    std::uint64_t peak_ = 0;
};

struct LinkStats {
    std::uint64_t frames_in = 0, bytes_in = 0;    // offered by the sender
    std::uint64_t frames_out = 0, bytes_out = 0;  // handed to the receiver
    std::uint64_t lost = 0, overflowed = 0, cut = 0;  // frames that died: by chance, at the full queue, by a cut
    std::uint64_t queue_peak = 0;                     // bytes
    Nanos min_delay{Nanos::max()}, max_delay{0}, sum_delay{0};  // as applied, read to write, queueing included
};

class Link final {
public:
    explicit Link(const LinkSettings& settings) : settings_(settings) {}

    void set(const LinkSettings& settings) { settings_ = settings; }
    [[nodiscard]] const LinkSettings& settings() const { return settings_; }
    [[nodiscard]] bool is_up(Nanos now) const;
    // A frame of `bytes` enters: the time at which it comes out, or nothing when it is lost, cut or dropped at the tail.
    std::optional<Nanos> admit(Nanos now, std::uint64_t bytes, std::mt19937_64& random);
    void count_delivered(Nanos entered, Nanos now, std::uint64_t bytes);
    void count_cut() { ++stats_.cut; }
    [[nodiscard]] const LinkStats& stats() const { return stats_; }
    [[nodiscard]] Json report() const;  // settings and counters

private:
    LinkSettings settings_;
    LinkStats stats_;
    RateMeter meter_;
    Nanos free_at_{0};    // when the sender's line has sent all that it took
    Nanos last_out_{0};   // order is kept
};

}  // namespace blanket::lab
