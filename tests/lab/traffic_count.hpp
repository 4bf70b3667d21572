// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes on the watched link by kind: which part of the WAN's traffic was WireGuard (overlay and DRBD), migration streams, registry, REST. Pure; used by Recorder.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "toolstack/base/json.hpp"

namespace blanket::lab {

class TrafficCount final {
public:
    void add(std::span<const std::byte> frame);
    [[nodiscard]] Json report() const;  // {"wireguard":bytes,"streams":..,"registry":..,"rest":..,"other":..}: whole ethernet frames

private:
    std::array<std::uint64_t, 5> bytes_{};
};

}  // namespace blanket::lab
