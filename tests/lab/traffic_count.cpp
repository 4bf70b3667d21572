// SPDX-License-Identifier: GPL-2.0-or-later
// Ports decide the kind; see traffic_count.hpp.
#include "tests/lab/traffic_count.hpp"

namespace blanket::lab {
namespace {

constexpr std::array<const char*, 5> kNames{"wireguard", "streams", "registry", "rest", "other"};
constexpr std::size_t kOther = 4;
constexpr unsigned kTcp = 6, kUdp = 17;

std::size_t kind_of(unsigned protocol, unsigned port) {
    if (protocol == kUdp && port == 51820) return 0;
    if (protocol != kTcp) return kOther;
    if (port == 7444) return 1;
    if (port == 2379 || port == 2380) return 2;
    return port == 7443 ? 3 : kOther;
}

}  // namespace

void TrafficCount::add(std::span<const std::byte> frame) {
    std::size_t kind = kOther;
    const auto byte = [&](std::size_t at) { return std::to_integer<unsigned>(frame[at]); };
    if (frame.size() >= 38 && byte(12) == 8 && byte(13) == 0) {
        const std::size_t ports = 14 + (byte(14) & 15) * std::size_t{4};
        if (ports + 4 <= frame.size()) {
            kind = kind_of(byte(23), byte(ports + 2) << 8 | byte(ports + 3));
            if (kind == kOther) kind = kind_of(byte(23), byte(ports) << 8 | byte(ports + 1));
        }
    }
    bytes_[kind] += frame.size();
}

Json TrafficCount::report() const {
    Json report = Json::object();
    for (std::size_t i = 0; i < kNames.size(); ++i) report[kNames[i]] = bytes_[i];
    return report;
}

}  // namespace blanket::lab
