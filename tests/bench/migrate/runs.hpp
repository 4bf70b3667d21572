// SPDX-License-Identifier: GPL-2.0-or-later
// Which moves are played: each load over each link by each method; a VM that returns; four VMs of one image; each of our techniques left out. Any number of threads.
#pragma once

#include <functional>

#include "tests/bench/migrate/method_blanket.hpp"
#include "tests/bench/migrate/replay.hpp"

namespace blanket::bench {

struct Settings {
    std::uint64_t seed = 0;
    std::size_t frames = 65'536;                      // of each guest
    std::uint64_t away_s = 600;                       // of the guest's time between its move and its return
    unsigned jobs = 2;                                // threads
    Connections ours{.count = 1, .window = 4 << 20};  // peer/tcp.cpp: one connection a move, buffers of 4 MiB
    double cipher_s_per_byte = 0;
    CpuMeter meter = {};
    std::vector<Load> loads{kLoads.begin(), kLoads.end()};
    std::vector<Link> links;                          // the first is that of the cases that have but one
};

// What the report's lines are called by.
inline constexpr const char *kOurs = "blanket", *kXl = "xl", *kXlSsh = "xl_ssh", *kZstdPipe = "zstd_pipe", *kXbzrle = "qemu_xbzrle_model", *kMultifd = "qemu_multifd_zstd_model";

struct Row {
    std::string what;  // "cold", "return", "four", "ablation", "stop_1000"
    std::string load, link, method;  // of "ablation", and of the two cases of the store: "blanket_without_..."
    Moved moved;
    std::optional<stream::PageCounts> classes;
    double cipher_s = 0;
};

// What all of it shares, made once.
struct Stage {
    const Settings& settings;
    const Palette& palette;
    SharedImage& image;
};

using Rows = std::vector<Row>;
// A guest that has run for a while, so that what it writes is under way.
Guest make_guest(const Stage& stage, Load load, std::uint64_t number = 0);
BlanketEnds ends_of(const Stage& stage);  // a cold target: nothing but the base image
// The guest has stopped afterwards. kInternal: the target's memory is not the guest's.
Result<Row> run_ours(Guest& guest, const Stage& stage, const Link& link, const BlanketEnds& ends, std::size_t least_stopped = 0);
Result<Row> run_peer(Guest& guest, const Stage& stage, const Link& link, const std::string& method, std::size_t least_stopped = 0);

// The cases. `say` hears of each row, from any thread, one at a time.
using Say = std::function<void(const Row&)>;
Result<Rows> play_cold(const Stage& stage, const Say& say);  // the matrix, and a stop with 1,000 pages
Result<Rows> play_returns(const Stage& stage, const Say& say);
Result<Rows> play_four(const Stage& stage, const Say& say);
Result<Rows> play_ablation(const Stage& stage, const Say& say);

}  // namespace blanket::bench
