// SPDX-License-Identifier: GPL-2.0-or-later
// See stored_versions.hpp.
#include "toolstack/stream/stored_versions.hpp"

#include <algorithm>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "toolstack/stream/frame_keys.hpp"

namespace blanket::stream {
namespace {

constexpr std::size_t kMaxFiles = 256;     // open at once
constexpr std::uint64_t kAhead = 2048;     // frames: 8 MiB that the disk is asked for before they are needed
constexpr int kNice = 10;
constexpr auto kPoll = std::chrono::milliseconds(5);

}  // namespace

StoredVersions::StoredVersions(Candidates candidates) : candidates_(std::move(candidates)), thread_([this](const std::stop_token& stop) {
    look(stop);
    done_ = true;
}) {}

std::unique_ptr<StoredVersions> StoredVersions::begin(Candidates candidates) { return std::unique_ptr<StoredVersions>(new StoredVersions(std::move(candidates))); }

void StoredVersions::look(const std::stop_token& stop) {
    (void)::setpriority(PRIO_PROCESS, 0, kNice);  // of this thread
    const auto map = FrameKeys::load(candidates_.map);
    if (!map || map->tag != candidates_.tag) return;
    std::vector<std::pair<std::uint64_t, std::uint32_t>> wanted;  // key and frame
    for (std::uint32_t frame = 0; frame < map->keys.size(); ++frame)
        if (map->keys[frame] != 0) wanted.emplace_back(map->keys[frame], frame);
    std::ranges::sort(wanted);
    places_.resize(map->keys.size());
    for (const std::string& path : candidates_.files) {
        if (stop.stop_requested() || files_.size() == kMaxFiles) return;
        auto file = PageSegment::open(path);
        const auto entries = file && file->tag() == candidates_.tag ? file->entries() : Result<std::vector<PageSegment::Found>>(fail(Kind::kNotFound, "not there"));
        if (!entries) continue;  // evicted or damaged meanwhile
        bool used = false;
        for (const auto& found : *entries) {
            const auto key = load<std::uint64_t>(found.entry.identity.data());
            for (auto at = std::ranges::lower_bound(wanted, key, {}, [](const auto& one) { return one.first; }); at != wanted.end() && at->first == key; ++at) {
                if (places_[at->second].file != kNone) continue;
                places_[at->second] = {static_cast<std::uint32_t>(files_.size()), found.slot};
                used = true;
            }
        }
        if (used) files_.push_back(std::move(*file));
    }
}

std::size_t StoredVersions::close(std::chrono::milliseconds wait) {
    const auto until = std::chrono::steady_clock::now() + wait;
    while (!done_ && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(kPoll);
    thread_ = {};
    return static_cast<std::size_t>(std::ranges::count_if(places_, [](const Place& place) { return place.file != kNone; }));
}

// A save goes over the frames upwards; what later rounds ask for was asked for in the first.
void StoredVersions::read_ahead(std::uint64_t frame) {
    if (ahead_ >= places_.size() || frame + kAhead / 2 < ahead_) return;
    const std::uint64_t end = std::min<std::uint64_t>(frame + kAhead, places_.size());
    for (std::uint64_t at = std::max(frame, ahead_); at < end;) {
        const Place& begin = places_[at];
        std::uint64_t run = 1;
        while (begin.file != kNone && at + run < end && places_[at + run].file == begin.file && places_[at + run].slot == begin.slot + run) ++run;
        if (begin.file != kNone)
            (void)::posix_fadvise(files_[begin.file].fd(), static_cast<off_t>(PageSegment::offset(begin.slot)), static_cast<off_t>(run * kPage), POSIX_FADV_WILLNEED);
        at += run;
    }
    ahead_ = end;
}

// From this place on, into read_: what of it the page cache has, or, where that has nothing, one page from the disk.
bool StoredVersions::fill(const Place& place, std::uint64_t frame) {
    std::size_t run = 1;
    const bool onwards = frame - last_ <= kAtOnce;  // and not down
    while (onwards && run < kAtOnce && frame + run < places_.size() && places_[frame + run].file == place.file && places_[frame + run].slot == place.slot + run) ++run;
    const int fd = files_[place.file].fd();
    iovec part{read_.data(), run * kPage};
    const ssize_t got = ::preadv2(fd, &part, 1, static_cast<off_t>(PageSegment::offset(place.slot)), RWF_NOWAIT);
    first_ = place;
    read_count_ = got > 0 ? static_cast<std::size_t>(got) / kPage : 0;
    if (read_count_ > 0) return true;
    // It has nothing; or its file system cannot say so.
    if (waited_ >= candidates_.most_waiting) return false;
    const auto before = std::chrono::steady_clock::now();
    if (pread_all(fd, std::span(read_).first(kPage), PageSegment::offset(place.slot))) read_count_ = 1;
    waited_ += std::chrono::steady_clock::now() - before;
    return read_count_ > 0;
}

const std::byte* StoredVersions::find(std::uint64_t frame) {
    if (frame >= places_.size()) return nullptr;
    read_ahead(frame);
    const Place& place = places_[frame];
    const bool there = place.file == first_.file && place.slot - first_.slot < read_count_;
    const bool found = place.file != kNone && (there || fill(place, frame));
    last_ = frame;
    return found ? read_.data() + (place.slot - first_.slot) * kPage : nullptr;
}

}  // namespace blanket::stream
