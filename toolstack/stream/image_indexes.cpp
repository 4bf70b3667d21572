// SPDX-License-Identifier: GPL-2.0-or-later
// See image_indexes.hpp.
#include "toolstack/stream/image_indexes.hpp"

#include <algorithm>
#include <chrono>
#include <sys/resource.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"

namespace blanket::stream {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kQuiet = std::chrono::seconds(20), kLook = std::chrono::seconds(1);
constexpr int kNice = 10;  // guests and moves come first

// Of this thread alone.
void set_priority(int nice) { (void)::setpriority(PRIO_PROCESS, 0, nice); }

bool is_image_hash(std::string_view text) {
    return text.size() == 64 && std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

ImageIndexes::ImageIndexes(BlockStore& blocks, std::string folder, std::function<bool()> quiet) : blocks_(blocks), folder_(std::move(folder)), quiet_(std::move(quiet)) {}
ImageIndexes::~ImageIndexes() = default;  // the thread is the last member: it ends first

std::shared_ptr<const PendingIndex> ImageIndexes::want(const std::string& sha256) {
    const std::lock_guard lock(mutex_);
    std::erase_if(known_, [](const auto& one) { return one.second.expired(); });
    if (const auto known = known_.find(sha256); known != known_.end())
        if (auto pending = known->second.lock()) return pending;
    auto pending = std::make_shared<PendingIndex>();
    known_[sha256] = pending;
    queue_.push_back({sha256, pending});
    if (!thread_.joinable()) thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
    changed_.notify_all();
    return pending;
}

void ImageIndexes::wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queue_.empty() && !busy_; });
}

void ImageIndexes::serve(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (changed_.wait(lock, stop, [this] { return !queue_.empty(); })) {
        Work work = std::move(queue_.front());
        queue_.pop_front();
        busy_ = true;
        lock.unlock();
        make(work, stop);
        work = {};
        lock.lock();
        busy_ = false;
        changed_.notify_all();
    }
}

bool ImageIndexes::await_quiet(const std::stop_token& stop) const {
    if (!quiet_) return !stop.stop_requested();
    for (auto since = Clock::now(); !stop.stop_requested(); std::this_thread::sleep_for(kLook)) {
        if (!quiet_()) since = Clock::now() + kLook;
        else if (Clock::now() >= since + kQuiet) return true;
    }
    return false;
}

Result<ImageIndex> ImageIndexes::build(const std::string& sha256, const std::stop_token& stop) {
    if (!await_quiet(stop)) return fail(Kind::kCancelled, "the daemon stops");
    BLANKET_TRY(const auto extents, blocks_.image_extents(sha256));  // soon done: it keeps the pool's metadata, for which a move may be waiting
    set_priority(kNice);
    auto index = ImageIndex::build(blocks_, sha256, extents, [&] { return (quiet_ && !quiet_() && !await_quiet(stop)) || stop.stop_requested(); });
    set_priority(0);
    return index;
}

void ImageIndexes::make(const Work& work, const std::stop_token& stop) {
    if (!is_image_hash(work.sha256)) return;
    const std::string path = folder_ + "/" + work.sha256;
    auto index = ImageIndex::load(path, work.sha256);
    if (!index) {
        if (index.error().kind != Kind::kNotFound) log::warning("stream", "{}: it is built anew", index.error().what);
        index = build(work.sha256, stop);
        if (!index) {
            if (!stop.stop_requested()) log::warning("stream", "base image {} has no index, moves do not refer to it: {}", work.sha256.substr(0, 12), index.error().what);
            return;
        }
        auto saved = make_dirs(folder_, 0700);
        if (saved) saved = index->save(path);
        if (!saved) log::warning("stream", "the index of base image {} is not kept: {}", work.sha256.substr(0, 12), saved.error().what);
    }
    work.pending->index_ = std::move(*index);
    work.pending->ready_ = true;
}

}  // namespace blanket::stream
