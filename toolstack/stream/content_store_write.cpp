// SPDX-License-Identifier: GPL-2.0-or-later
// The content store's writer: one thread, behind everybody else for processor and disk. Names, finds what is there already, writes the rest, makes room.
#include <algorithm>
#include <filesystem>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/stream/content_store.hpp"
#include "toolstack/stream/content_store_queue.hpp"
#include "toolstack/stream/frame_keys.hpp"

namespace blanket::stream {
namespace {

constexpr int kLowest = 19;
constexpr int kWhoThread = 1, kIdleClass = 3 << 13;  // of ioprio_set(2)
constexpr auto kGather = std::chrono::milliseconds(50);
constexpr std::size_t kMostOpen = 8;                // files that tenants' next pages go to
constexpr std::uint64_t kFramesShare = 16;          // of the quota, at most

}  // namespace

void ContentStore::write_all_that_comes(const std::stop_token& stop) {
    (void)::setpriority(PRIO_PROCESS, 0, kLowest);  // of this thread; the appliance's unit refuses both, for they are one step more of exposure: there the queue's bound must do
    (void)::syscall(SYS_ioprio_set, kWhoThread, 0, kIdleClass);
    std::vector<Item> items;
    std::unique_lock lock(queue_mutex_);
    while (!stop.stop_requested()) {
        if (waiting_ == 0 && !arrivals_.empty()) {  // so all of its pages have been looked at
            const auto arrival = arrivals_.front();
            lock.unlock();
            keep_frames(*arrival);
            lock.lock();
            arrivals_.erase(arrivals_.begin());
            continue;
        }
        if (waiting_ == 0) {
            settled_.notify_all();
            if (feeds_ == 0) ring_.reset();
            came_.wait(lock, stop, [this] { return waiting_ > 0 || !arrivals_.empty() || (feeds_ == 0 && ring_); });
            if (waiting_ > 0 && waiting_ < kBatch / 2) came_.wait_for(lock, stop, kGather, [this] { return waiting_ >= kBatch / 2 || settling_ > 0; });
            continue;
        }
        // They stay where they are until they are written.
        items.clear();
        for (std::size_t at = first_; items.size() < std::min({kBatch, waiting_, kQueue - first_}) && (items.empty() || items_[at].tenant == items.front().tenant); ++at) items.push_back(std::move(items_[at]));
        lock.unlock();
        if (std::chrono::steady_clock::now() < retry_) dropped_ += items.size();
        else write_batch(items, {ring_.get() + first_ * kPage, items.size() * kPage});
        lock.lock();
        first_ = (first_ + items.size()) % kQueue;
        waiting_ -= items.size();
        if (limits_.wait) settled_.notify_all();
    }
}

// All of one tenant.
void ContentStore::write_batch(std::span<const Item> items, std::span<const std::byte> pages) {
    Tenant* tenant = nullptr;
    {
        const std::lock_guard lock(mutex_);
        tenant = tenants_[items.front().tenant].get();
    }
    std::vector<PageEntry> entries;
    std::vector<std::uint32_t> used;
    std::vector<std::byte> fresh;
    for (std::size_t i = 0; i < items.size(); ++i) {
        const auto page = pages.subspan(i * kPage, kPage);
        const auto identity = tenant->identifier.of(page);
        if (!identity) continue;
        const auto beginning = load<std::uint64_t>(identity->data());
        if (Arrival* const arrival = items[i].arrival.get(); arrival != nullptr && items[i].frame < arrival->written.size()) arrival->written[items[i].frame] = beginning;
        const auto in_batch = [&](const PageEntry& one) { return load<std::uint64_t>(one.identity.data()) == beginning; };
        std::optional<std::uint32_t> file;
        {
            const std::lock_guard lock(mutex_);
            file = table_.find(beginning);
            if (file || std::ranges::any_of(entries, in_batch)) ++facts_.known;
        }
        if (file && !std::ranges::contains(used, *file)) used.push_back(*file);
        if (file || std::ranges::any_of(entries, in_batch)) continue;
        PageEntry entry{{}, items[i].group};
        std::copy_n(identity->begin(), entry.identity.size(), entry.identity.begin());
        entries.push_back(entry);
        fresh.insert(fresh.end(), page.begin(), page.end());
    }
    for (const std::uint32_t file : used) touch(file);
    if (entries.empty()) return;
    const auto written = append(*tenant, entries, fresh);
    const std::lock_guard lock(mutex_);
    if (written) {
        facts_.trouble.clear();
        return;
    }
    if (facts_.trouble.empty()) log::warning("store", "the content store keeps no pages now: {}", written.error().what);
    facts_.trouble = written.error().what;
    retry_ = std::chrono::steady_clock::now() + limits_.back_off;
    tenant->open.reset();
    (void)evict();  // a full disk is none of ours to fill
}

// Where some of its pages were dropped, or are gone by then, those frames have no version.
void ContentStore::keep_frames(Arrival& arrival) {
    FrameKeys known{arrival.tag, std::move(arrival.referred)};
    for (std::size_t frame = 0; frame < known.keys.size(); ++frame)
        if (arrival.written[frame] != 0) known.keys[frame] = arrival.written[frame];
    while (!known.keys.empty() && known.keys.back() == 0) known.keys.pop_back();
    const std::string path = frames_path(arrival.group);
    const std::uint64_t bytes = FrameKeys::file_bytes(known.keys.size());
    Result<void> kept;
    {
        const std::lock_guard lock(mutex_);
        (void)remove_file(path);
        kept = make_frames_room(bytes);
        if (kept && !make_room(bytes)) kept = fail(Kind::kIo, "no room is left at {}", folder_);
        if (kept) frames_bytes_ += bytes;
    }
    if (kept) kept = known.save(path);
    if (!kept) log::info("store", "the next move of a VM that came sends its changed pages whole: {}", kept.error().what);
}

// For so many bytes more of the frames' files: the oldest of them go.
Result<void> ContentStore::make_frames_room(std::uint64_t bytes) {
    const std::uint64_t most = limits_.quota / kFramesShare;
    if (bytes > most) return fail(Kind::kIo, "{} bytes are more than {} for the keys of frames", bytes, most);
    struct Found {
        timespec written;
        std::string path;
        std::uint64_t bytes = 0;
    };
    std::vector<Found> found;
    std::error_code error;
    frames_bytes_ = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
        struct stat facts {};
        if (entry.path().extension() != kFramesSuffix || ::lstat(entry.path().c_str(), &facts) != 0) continue;
        found.push_back({facts.st_mtim, entry.path(), static_cast<std::uint64_t>(facts.st_size)});
        frames_bytes_ += found.back().bytes;
    }
    std::ranges::sort(found, {}, [](const Found& one) { return std::tuple(one.written.tv_sec, one.written.tv_nsec); });
    for (const auto& one : found) {
        if (frames_bytes_ + bytes <= most) break;
        (void)remove_file(one.path);
        frames_bytes_ -= one.bytes;
    }
    return {};
}

Result<void> ContentStore::append(Tenant& tenant, std::span<const PageEntry> entries, std::span<const std::byte> pages) {
    while (!entries.empty()) {
        if (tenant.open && tenant.filled == PageSegment::kSlots) {
            // The disk takes this before more comes: what it cannot take is dropped from the queue, and dom0's memory is not filled with it.
            (void)::sync_file_range(tenant.open->fd(), 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
            tenant.open.reset();
        }
        if (!tenant.open) BLANKET_CHECK(open_file(tenant));
        const std::size_t count = std::min<std::size_t>(entries.size(), PageSegment::kSlots - tenant.filled);
        const auto number = static_cast<std::uint32_t>(tenant.open->number());
        {
            const std::lock_guard lock(mutex_);
            if (!files_.contains(number)) {  // evicted meanwhile, or deleted
                tenant.open.reset();
                continue;
            }
            if (!make_room(count * kPage)) return fail(Kind::kIo, "no room is left at {}", folder_);
            if (!files_.contains(number)) {
                tenant.open.reset();
                continue;
            }
        }
        BLANKET_CHECK(tenant.open->write(tenant.filled, entries.first(count), pages.first(count * kPage)));
        {
            const std::lock_guard lock(mutex_);
            if (const auto at = files_.find(number); at != files_.end()) {
                at->second.pages += count;
                at->second.used = ++clock_;
                bytes_ += count * kPage;
                for (const auto& one : entries.first(count)) table_.add(load<std::uint64_t>(one.identity.data()), number);
                facts_.written += count;
            }
        }
        tenant.filled += static_cast<std::uint32_t>(count);
        entries = entries.subspan(count);
        pages = pages.subspan(count * kPage);
    }
    return {};
}

Result<void> ContentStore::open_file(Tenant& tenant) {
    const std::lock_guard lock(mutex_);
    std::vector<Tenant*> open;
    for (const auto& one : tenants_)
        if (one->open) open.push_back(one.get());
    if (open.size() >= kMostOpen) open.front()->open.reset();
    if (!make_room(PageSegment::kPagesAt)) return fail(Kind::kIo, "no room is left at {}", folder_);
    auto made = PageSegment::create(path_of(next_file_), next_file_, tenant.tag);
    if (!made && made.error().kind == Kind::kNotFound) {  // somebody deleted the folder
        BLANKET_CHECK(make_dirs(folder_, 0700));
        BLANKET_CHECK(write_file(folder_ + "/key", std::string_view(reinterpret_cast<const char*>(key_.data()), key_.size()), 0600));
        made = PageSegment::create(path_of(next_file_), next_file_, tenant.tag);
    }
    const std::uint32_t number = next_file_++;
    if (!made) {
        (void)remove_file(path_of(number));
        return std::unexpected(std::move(made).error());
    }
    tenant.open.emplace(std::move(*made));
    tenant.filled = 0;
    files_[number] = {tenant.tag, 0, ++clock_};
    bytes_ += files_[number].bytes();
    return {};
}

// For so many bytes more, within the quota and what the file system can spare.
bool ContentStore::make_room(std::uint64_t bytes) {
    for (;;) {
        struct statvfs facts {};
        const bool told = ::statvfs(folder_.c_str(), &facts) == 0;
        const bool room = !told || std::uint64_t{facts.f_bavail} * facts.f_frsize >= limits_.keep_free + bytes;
        if (bytes_ + frames_bytes_ + bytes <= limits_.quota && room) return true;
        if (!evict()) return false;
    }
}

// The file that was of no use for longest.
bool ContentStore::evict() {
    auto oldest = files_.end();
    for (auto at = files_.begin(); at != files_.end(); ++at)
        if (oldest == files_.end() || at->second.used < oldest->second.used) oldest = at;
    if (oldest == files_.end()) return false;
    forget(oldest->first);
    return true;
}

void ContentStore::forget(std::uint32_t file) {
    const auto at = files_.find(file);
    if (at == files_.end()) return;
    for (const auto& tenant : tenants_)  // an open one would keep its room on the disk
        if (tenant->open && tenant->open->number() == file) tenant->open.reset();
    (void)remove_file(path_of(file));
    bytes_ -= at->second.bytes();
    files_.erase(at);
    table_.remove_file(file);
}

// It was of use: its pages were seen again.
void ContentStore::touch(std::uint32_t file) {
    const bool there = ::utimensat(AT_FDCWD, path_of(file).c_str(), nullptr, AT_SYMLINK_NOFOLLOW) == 0;
    const std::lock_guard lock(mutex_);
    if (!there) forget(file);
    else if (const auto at = files_.find(file); at != files_.end()) at->second.used = ++clock_;
}

void ContentStore::settle() {
    std::unique_lock lock(queue_mutex_);
    ++settling_;
    came_.notify_all();
    settled_.wait(lock, [this] { return waiting_ == 0 && arrivals_.empty(); });
    --settling_;
}

}  // namespace blanket::stream
