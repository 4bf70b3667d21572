// SPDX-License-Identifier: GPL-2.0-or-later
// A guest's memory as a live save sees it: pages, their types, and which were written to since that was last asked. One thread.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "tests/unit/fakes/xen_stream.hpp"

namespace blanket::bench {

using fakes::Page;
using Frame = std::uint32_t;
using Random = std::mt19937_64;
inline constexpr std::size_t kPageBytes = 4096, kPageWords = kPageBytes / 8;

class GuestMemory final {
public:
    explicit GuestMemory(std::size_t frames) : pages_(frames), types_(frames), is_dirty_(frames) {}
    [[nodiscard]] std::size_t frames() const { return pages_.size(); }
    [[nodiscard]] const Page& page(Frame frame) const { return pages_[frame]; }
    [[nodiscard]] std::uint64_t type(Frame frame) const { return types_[frame]; }  // XenStream::kNormal, ...
    void set_type(Frame frame, std::uint64_t type) { types_[frame] = static_cast<std::uint8_t>(type); }
    // The page, to be written to. It counts as dirty whether its content becomes another or not, as in the log-dirty mode of Xen.
    Page& write(Frame frame) {
        if (is_dirty_[frame] == 0) ++dirty_;
        is_dirty_[frame] = 1;
        return pages_[frame];
    }
    [[nodiscard]] std::size_t dirty() const { return dirty_; }  // pages
    // Those that are dirty, upwards; none is afterwards.
    std::vector<Frame> take_dirty() {
        std::vector<Frame> frames;
        frames.reserve(dirty_);
        for (std::size_t frame = 0; frame < is_dirty_.size() && frames.size() < dirty_; ++frame)
            if (is_dirty_[frame] != 0) {
                frames.push_back(static_cast<Frame>(frame));
                is_dirty_[frame] = 0;
            }
        dirty_ = 0;
        return frames;
    }
    [[nodiscard]] bool operator==(const GuestMemory& other) const { return pages_ == other.pages_ && types_ == other.types_; }

private:
    std::vector<Page> pages_;
    std::vector<std::uint8_t> types_, is_dirty_;
    std::size_t dirty_ = 0;
};

inline void put_word(Page& page, std::size_t word, std::uint64_t value) { std::memcpy(page.data() + word * 8, &value, sizeof value); }

}  // namespace blanket::bench
