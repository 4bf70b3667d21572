// SPDX-License-Identifier: GPL-2.0-or-later
// See system.hpp.
#include "tests/bench/migrate/system.hpp"

#include <format>
#include <numeric>

#include "toolstack/base/fd.hpp"

namespace blanket::bench {
namespace {

constexpr std::size_t kRun = 16;       // frames beside each other
constexpr std::size_t kCounters = 12;  // pages of the kernel that hold timers, statistics, run queues
constexpr std::size_t kAwake = 200;    // pages of programs that are ever touched while nothing is asked of the guest
constexpr double kLogShare = 0.004;

}  // namespace

FrameList::FrameList(std::size_t frames, Random& random) {
    std::vector<std::size_t> runs((frames + kRun - 1) / kRun);
    std::iota(runs.begin(), runs.end(), std::size_t{0});
    std::ranges::shuffle(runs, random);
    frames_.reserve(frames);
    for (const std::size_t run : runs)
        for (std::size_t frame = run * kRun; frame < std::min(frames, (run + 1) * kRun); ++frame) frames_.push_back(static_cast<Frame>(frame));
}

std::vector<Frame> FrameList::take(std::size_t count) {
    if (next_ == frames_.size()) return {frames_.back()};
    const std::size_t end = std::min(frames_.size(), next_ + std::max<std::size_t>(count, 1));
    std::vector<Frame> taken;
    for (; next_ < end; ++next_) taken.push_back(frames_[next_]);
    return taken;
}

void AppendedFile::append(GuestMemory& memory, std::span<const std::byte> data) {
    while (!data.empty()) {
        const std::size_t into = at_ % kPageBytes, count = std::min(data.size(), kPageBytes - into);
        Page& page = memory.write(frames_[at_ / kPageBytes % frames_.size()]);
        std::memcpy(page.data() + into, data.data(), count);
        data = data.subspan(count);
        at_ += count;
    }
}

System::System(const Place& place, const Shares& shares) : log_(place.list.share(kLogShare)) {
    const auto& [palette, list, memory, random] = place;
    for (const Frame frame : list.share(1.0 / kPageWords)) {
        memory.set_type(frame, fakes::XenStream::kL1);
        Palette::page_table(random, memory.frames(), memory.write(frame));
    }
    counters_ = list.share(shares.kernel);
    for (const Frame frame : counters_) palette.slice(random, memory.write(frame));
    counters_.resize(std::min(counters_.size(), kCounters));
    for (const Frame frame : list.share(shares.slab)) palette.slab(random, memory.write(frame));
    fill_cache(place, shares.cache);
    programs_ = list.share(shares.programs);
    for (std::size_t i = 0; i < programs_.size(); ++i) {
        Page& page = memory.write(programs_[i]);
        if (i % 20 != 0) {
            palette.heap(random, page);
            continue;
        }
        palette.block(random() % (palette.corpus().bytes.size() / kPageBytes), page);  // a library's data, with its relocations done
        for (int change = 0; change < 10; ++change) put_word(page, random() % kPageWords, 0x00007f3a'0000'0000u | (random() & 0xff'fff0u));
    }
    programs_.resize(std::min(programs_.size(), kAwake));
    std::size_t number = 0;
    for (const Frame frame : list.share(shares.stale)) {
        if (number++ % 2 == 0) palette.heap(random, memory.write(frame));
        else palette.slice(random, memory.write(frame));
    }
}

// Whole files, none twice, until the pages are full.
void System::fill_cache(const Place& place, double share) {
    const auto& [palette, list, memory, random] = place;
    const auto cache = list.share(share);
    auto files = palette.corpus().files;
    std::ranges::shuffle(files, random);
    std::size_t at = 0;
    for (const auto& file : files)
        for (std::size_t block = 0; block < file.blocks && at < cache.size(); ++block) palette.block(file.first + block, memory.write(cache[at++]));
}

void System::tick(GuestMemory& memory, Random& random) {
    ++ticks_;
    for (int i = 0; i < 2; ++i) put_word(memory.write(counters_[random() % counters_.size()]), 16 + random() % 8, ticks_);
    if (ticks_ % 20 == 0)
        for (int i = 0; i < 4; ++i) {
            Page& page = memory.write(programs_[random() % programs_.size()]);
            for (int change = 0; change < 6; ++change) put_word(page, 64 + random() % 64, random() % 100'000);
        }
    if (ticks_ % 500 == 0) log_.append(memory, as_bytes(std::format("{:08}.{:02} systemd[1]: session-{}.scope: Deactivated successfully.\n", ticks_ / 100, ticks_ % 100, random() % 1000)));
}

}  // namespace blanket::bench
