// SPDX-License-Identifier: GPL-2.0-or-later
// See guest.hpp.
#include "tests/bench/migrate/guest.hpp"

#include "tests/bench/migrate/workloads.hpp"

namespace blanket::bench {
namespace {

std::unique_ptr<Workload> make_workload(Load load, const Place& place) {
    switch (load) {
        case Load::kIdle: return make_idle(place);
        case Load::kWebDb: return make_web_db(place);
        case Load::kCompile: return make_compile(place);
        case Load::kKvZipf: return make_key_values(place, false);
        case Load::kKvUniform: return make_key_values(place, true);
        case Load::kThrasher: break;
    }
    return make_thrasher(place);
}

}  // namespace

std::string_view name_of(Load load) {
    static constexpr std::array<std::string_view, kLoads.size()> kNames{"idle", "web_db", "compile", "kv_zipf", "kv_uniform", "thrasher"};
    return kNames[static_cast<std::size_t>(load)];
}

Guest::Guest(Load load, const Palette& palette, std::uint64_t seed, std::size_t frames) : memory_(frames) {
    Random random(seed);
    FrameList list(frames, random);
    workload_ = make_workload(load, {.palette = palette, .list = list, .memory = memory_, .random = random});
}

void Guest::run(std::int64_t microseconds) {
    since_tick_us_ += microseconds;
    for (; since_tick_us_ >= kTickUs; since_tick_us_ -= kTickUs) workload_->tick(memory_);
}

}  // namespace blanket::bench
