// SPDX-License-Identifier: GPL-2.0-or-later
// What the tests of bench-migrate play on: guests of 8 MiB over a generated disk, work that costs a fixed price, so that each replay comes out alike.
#pragma once

#include "tests/bench/migrate/runs.hpp"

namespace blanket::bench {

inline constexpr std::size_t kSmall = 2048;  // frames

inline const Palette& small_palette() {
    static const Palette palette(seeded_corpus(3, kSmall), 4);
    return palette;
}

inline SharedImage& small_image() {
    static const std::unique_ptr<SharedImage> image = SharedImage::create(small_palette().corpus()).value();
    return *image;
}

inline Settings small_settings(std::vector<Load> loads = {kLoads.begin(), kLoads.end()}) {
    Settings settings;
    settings.seed = 5;
    settings.frames = kSmall;
    settings.away_s = 5;
    settings.cipher_s_per_byte = 1e-9;
    settings.meter = CpuMeter::fixed(2e-9);
    settings.loads = std::move(loads);
    settings.links = {kWanLinks[0]};
    return settings;
}

}  // namespace blanket::bench
