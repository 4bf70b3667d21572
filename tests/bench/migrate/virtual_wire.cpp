// SPDX-License-Identifier: GPL-2.0-or-later
// See virtual_wire.hpp.
#include "tests/bench/migrate/virtual_wire.hpp"

#include <algorithm>
#include <cmath>

namespace blanket::bench {
namespace {

constexpr double kSegment = 1448, kOnWire = 1538;     // payload of an Ethernet frame of 1500 bytes, and what it takes of the link
constexpr double kFirstWindow = 10 * kSegment;        // RFC 6928
constexpr double kUnsent = 512 << 10;

}  // namespace

double goodput(const Link& link, const Connections& connections) {
    const double wire = link.bits_per_s / 8 * kSegment / kOnWire * (1 - link.loss);
    return std::min(wire, connections.count * connections.window / link.rtt_s);
}

// The window doubles each round trip. What is sent meanwhile is about what is in flight at its end: one round trip at the rate.
double startup_seconds(const Link& link, const Connections& connections) {
    const double in_flight = goodput(link, connections) * link.rtt_s;
    return std::max(0.0, std::log2(in_flight / (kFirstWindow * connections.count)) - 1) * link.rtt_s;
}

VirtualWire::VirtualWire(const Link& link, const Connections& connections)
    : rate_(goodput(link, connections)), rtt_(link.rtt_s), unsent_s_(kUnsent / rate_), lag_s_(std::max(0.05, connections.count * connections.window / rate_)), sent_(startup_seconds(link, connections)) {}

void VirtualWire::spend(double seconds) {
    now_ += seconds;
    spent_ += seconds;
}

void VirtualWire::send(std::size_t bytes, double work_at_target_s) {
    bytes_ += bytes;
    sent_ = std::max(sent_, now_) + static_cast<double>(bytes) / rate_;
    done_ = std::max(done_, sent_ + rtt_ / 2) + work_at_target_s;
    now_ = std::max({now_, sent_ - unsent_s_, done_ - rtt_ / 2 - lag_s_});
}

void VirtualWire::ask(std::size_t answer_bytes) {
    bytes_ += answer_bytes;
    now_ = std::max(now_, sent_) + rtt_ + static_cast<double>(answer_bytes) / rate_;
}

double VirtualWire::arrived() const { return std::max({done_, sent_ + rtt_ / 2, now_ + rtt_ / 2}); }

}  // namespace blanket::bench
