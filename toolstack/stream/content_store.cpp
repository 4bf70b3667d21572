// SPDX-License-Identifier: GPL-2.0-or-later
// See content_store.hpp: opening, feeding, offering. content_store_write.cpp: the writer.
#include "toolstack/stream/content_store.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/stream/content_store_queue.hpp"
#include "toolstack/stream/frame_keys.hpp"

namespace blanket::stream {
namespace {

constexpr std::string_view kSuffix = ".pages";
constexpr std::uint32_t kNobody = ~std::uint32_t{0};
constexpr int kTries = 100;
constexpr std::uint64_t kSpread = 0x9e37'79b9'7f4a'7c15u;

std::optional<std::uint32_t> number_of(const std::string& name) {
    std::uint32_t number = 0;
    if (name.size() != 16 + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
    const auto [end, error] = std::from_chars(name.data(), name.data() + 16, number, 16);
    if (error != std::errc() || end != name.data() + 16 || number == kNobody) return std::nullopt;
    return number;
}

}  // namespace

std::optional<std::uint32_t> ContentStore::Table::find(std::uint64_t beginning) const {
    if (keys_.empty()) return std::nullopt;
    for (std::size_t at = beginning * kSpread & (keys_.size() - 1);; at = (at + 1) & (keys_.size() - 1)) {
        if (files_[at] == kNobody) return std::nullopt;
        if (keys_[at] == beginning) return files_[at];
    }
}

void ContentStore::Table::add(std::uint64_t beginning, std::uint32_t file) {
    if (2 * (count_ + 1) > keys_.size()) resize(std::max<std::size_t>(1024, keys_.size() * 2));
    std::size_t at = beginning * kSpread & (keys_.size() - 1);
    while (files_[at] != kNobody) at = (at + 1) & (keys_.size() - 1);
    keys_[at] = beginning;
    files_[at] = file;
    ++count_;
}

void ContentStore::Table::resize(std::size_t slots) {
    const auto keys = std::move(keys_);
    const auto files = std::move(files_);
    keys_.assign(slots, 0);
    files_.assign(slots, kNobody);
    count_ = 0;
    for (std::size_t i = 0; i < keys.size(); ++i)
        if (files[i] != kNobody) add(keys[i], files[i]);
}

void ContentStore::Table::remove_file(std::uint32_t file) {
    for (std::uint32_t& one : files_)
        if (one == file) one = kNobody;
    resize(keys_.size());  // what came to lie behind them is found again
}

std::string ContentStore::path_of(std::uint64_t number) const { return std::format("{}/{:016x}{}", folder_, number, kSuffix); }
std::string ContentStore::frames_path(std::uint64_t group) const { return std::format("{}/{:016x}{}", folder_, group, kFramesSuffix); }

Result<std::unique_ptr<ContentStore>> ContentStore::open(const std::string& folder, StoreLimits limits) {
    BLANKET_CHECK(make_dirs(folder, 0700));
    const std::string key_path = folder + "/key";
    IdentityKey key{};
    const auto kept = read_file(key_path, sizeof key);
    const bool known = kept && kept->size() == sizeof key;
    if (known) {
        std::memcpy(key.data(), kept->data(), sizeof key);
    } else {
        BLANKET_TRY(key, make_identity_key());
        BLANKET_CHECK(write_file(key_path, std::string_view(reinterpret_cast<const char*>(key.data()), key.size()), 0600));
    }
    BLANKET_TRY(Identifier namer, Identifier::create(key));
    std::unique_ptr<ContentStore> store(new ContentStore(folder, limits, key, std::move(namer)));
    if (!known)  // nobody can say any more whose pages these are
        for (std::error_code error; const auto& entry : std::filesystem::directory_iterator(folder, error))
            if (number_of(entry.path().filename()) || entry.path().extension() == kFramesSuffix) (void)remove_file(entry.path());
    BLANKET_CHECK(store->load_files());
    store->writer_ = std::jthread([one = store.get()](const std::stop_token& stop) { one->write_all_that_comes(stop); });
    return store;
}

ContentStore::~ContentStore() {
    writer_.request_stop();
    came_.notify_all();
}

Result<void> ContentStore::load_files() {
    struct Found {
        timespec used;
        std::uint32_t number;
    };
    std::vector<Found> found;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
        const auto number = number_of(entry.path().filename());
        struct stat facts {};
        if (number && ::lstat(entry.path().c_str(), &facts) == 0) found.push_back({facts.st_mtim, *number});
    }
    if (error) return fail(Kind::kIo, "{}: {}", folder_, error.message());
    std::ranges::sort(found, {}, [](const Found& one) { return std::tuple(one.used.tv_sec, one.used.tv_nsec, one.number); });
    for (const auto& [used, number] : found) {
        next_file_ = std::max(next_file_, number + 1);
        const auto segment = PageSegment::open(path_of(number));
        const auto entries = segment ? segment->entries() : Result<std::vector<PageSegment::Found>>(std::unexpected(segment.error()));
        if (!entries || entries->empty() || segment->number() != number) {
            (void)remove_file(path_of(number));
            continue;
        }
        files_[number] = {segment->tag(), entries->back().slot + 1u, ++clock_};
        bytes_ += files_[number].bytes();
        for (const auto& one : *entries)
            if (const auto beginning = load<std::uint64_t>(one.entry.identity.data()); !table_.find(beginning)) table_.add(beginning, number);
    }
    BLANKET_CHECK(make_frames_room(0));
    while (bytes_ + frames_bytes_ > limits_.quota && evict()) {}
    return {};
}

Result<std::uint32_t> ContentStore::tenant_of(const std::string& name) {
    if (const auto at = tenant_by_name_.find(name); at != tenant_by_name_.end()) return at->second;
    BLANKET_TRY(const Identity secret, namer_.of(as_bytes("tenant " + name)));  // its key
    BLANKET_TRY(Identifier identifier, Identifier::create(secret));
    BLANKET_TRY(const Identity tag, identifier.of(as_bytes("tag")));
    auto tenant = std::make_unique<Tenant>(Tenant{.identifier = std::move(identifier), .tag = {}, .open = {}});
    std::copy_n(tag.begin(), tenant->tag.size(), tenant->tag.begin());
    tenants_.push_back(std::move(tenant));
    return tenant_by_name_[name] = static_cast<std::uint32_t>(tenants_.size() - 1);
}

Result<std::uint64_t> ContentStore::group_of(const StoreSubject& subject) {
    BLANKET_TRY(const Identity group, namer_.of(as_bytes("vm " + subject.tenant + '\0' + subject.vm)));
    return load<std::uint64_t>(group.data());
}

Result<std::unique_ptr<ContentStore::Feed>> ContentStore::feed(const StoreSubject& subject, std::size_t frames) {
    const std::lock_guard lock(mutex_);
    BLANKET_TRY(const std::uint32_t tenant, tenant_of(subject.tenant));
    BLANKET_TRY(const std::uint64_t group, group_of(subject));
    std::shared_ptr<Arrival> arrival;
    if (frames > 0) {
        const std::vector<std::uint64_t> none(std::min(frames, FrameKeys::kMost));
        arrival = std::make_shared<Arrival>(Arrival{group, tenants_[tenant]->tag, none, none});
    }
    const std::lock_guard queue(queue_mutex_);
    if (!ring_) ring_ = std::make_unique_for_overwrite<std::byte[]>(kQueue * kPage);
    items_.resize(kQueue);
    ++feeds_;
    return std::unique_ptr<Feed>(new Feed(*this, tenant, group, std::move(arrival)));
}

ContentStore::Feed::~Feed() {
    const std::lock_guard lock(store_.queue_mutex_);
    if (--store_.feeds_ == 0) store_.came_.notify_all();  // the writer gives the queue's memory back
}

void ContentStore::Feed::has(std::uint64_t frame, std::uint64_t key) {
    if (arrival_ && frame < arrival_->referred.size()) arrival_->referred[frame] = key;
}

void ContentStore::Feed::arrived() {
    if (!arrival_) return;
    const std::lock_guard lock(store_.queue_mutex_);
    store_.arrivals_.push_back(std::move(arrival_));
    store_.came_.notify_one();
}

bool ContentStore::Feed::seen(PageBytes page, std::uint64_t frame) {
    // Not even for the lock: who holds it may be the writer, which other work keeps from running.
    std::unique_lock lock(store_.queue_mutex_, std::defer_lock);
    for (int tries = 0; tries < kTries && !lock.try_lock(); ++tries) {}
    if (store_.limits_.wait) {
        if (!lock) lock.lock();
        store_.settled_.wait(lock, [this] { return store_.waiting_ < kQueue; });
    }
    if (!lock.owns_lock() || store_.waiting_ == kQueue) {
        ++store_.dropped_;
        return false;
    }
    const std::size_t at = (store_.first_ + store_.waiting_) % kQueue;
    std::memcpy(store_.ring_.get() + at * kPage, page.data(), kPage);
    store_.items_[at] = {tenant_, group_, frame, arrival_};
    if (++store_.waiting_ >= kBatch / 2) store_.came_.notify_one();
    return true;
}

Result<std::unique_ptr<PageOffer>> ContentStore::offer(const StoreSubject& subject, std::size_t most) {
    const std::lock_guard lock(mutex_);
    BLANKET_TRY(const std::uint32_t tenant, tenant_of(subject.tenant));
    PageOffer::Candidates candidates{.files = {}, .group = 0, .most = most};
    BLANKET_TRY(candidates.group, group_of(subject));
    candidates.files = paths_of(tenants_[tenant]->tag);
    if (candidates.files.empty()) return nullptr;
    return PageOffer::begin(std::move(candidates));
}

std::vector<std::string> ContentStore::paths_of(const PageSegment::Tag& tag) const {
    std::vector<std::pair<std::uint64_t, std::uint32_t>> uses;
    for (const auto& [number, file] : files_)
        if (file.tag == tag && file.pages > 0) uses.emplace_back(file.used, number);
    std::ranges::sort(uses, std::greater());
    std::vector<std::string> paths;
    for (const auto& [used, number] : uses) paths.push_back(path_of(number));
    return paths;
}

Result<std::unique_ptr<StoredVersions>> ContentStore::versions(const StoreSubject& subject) {
    const std::lock_guard lock(mutex_);
    BLANKET_TRY(const std::uint32_t tenant, tenant_of(subject.tenant));
    BLANKET_TRY(const std::uint64_t group, group_of(subject));
    StoredVersions::Candidates candidates{.map = frames_path(group), .tag = tenants_[tenant]->tag, .files = paths_of(tenants_[tenant]->tag)};
    if (limits_.wait) candidates.most_waiting = std::chrono::hours(1);
    if (candidates.files.empty() || ::access(candidates.map.c_str(), R_OK) != 0) return nullptr;
    return StoredVersions::begin(std::move(candidates));
}

void ContentStore::took(const PageOffer& offer) {
    const std::lock_guard lock(mutex_);
    facts_.offered += offer.size();
    facts_.taken += offer.taken();
}

StoreFacts ContentStore::facts() {
    const std::lock_guard lock(mutex_);
    StoreFacts now = facts_;
    now.quota = limits_.quota;
    now.bytes = bytes_ + frames_bytes_;
    now.pages = table_.size();
    now.dropped = dropped_;
    return now;
}

}  // namespace blanket::stream
