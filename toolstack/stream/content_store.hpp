// SPDX-License-Identifier: GPL-2.0-or-later
// The site's content store: pages of memory that were seen here, kept on disk, so that a VM that comes back, or the next one of a kind, need not bring them again.
// Fed with what a move sends and receives; a move to this site is offered what may be of use to it (page_offer.hpp).
//
// A tenant's pages lie apart: own files, own keyed BLAKE2b; a move is offered its own tenant's pages only. Who refers to a page proves to have it.
// Nothing depends on the store: it may be full, damaged or deleted at any time, and moves send what they would have sent without it. Feeding waits for nothing: what the
// disk cannot take at once is dropped. When the quota is reached, or the file system has little room left, the files that were of no use for longest go.
//
//   folder/key                32 random bytes; without it the rest is removed at the next start      mode 0600
//   folder/NUMBER.pages       16 hex digits; page_segment.hpp; the time of its last use is its mtime mode 0600
//   folder/VM.frames          16 hex digits of its group; frame_keys.hpp; a 16th of the quota at most: the oldest go
//
// In memory: 24 bytes a page of the quota, 4 MiB while it is fed, and 16 bytes a page of a VM (of its first 4 GiB) while it comes here. Thread safe.
#pragma once

#include <condition_variable>
#include <map>

#include "toolstack/stream/page_offer.hpp"
#include "toolstack/stream/stored_versions.hpp"

namespace blanket::stream {

struct StoreLimits {
    std::uint64_t quota = 1u << 30;       // bytes of its files
    std::uint64_t keep_free = 512u << 20; // of its file system, for others
    bool wait = false;                    // nobody is in a hurry: a feed waits for the writer and drops nothing, and versions() waits for the disk
    std::chrono::milliseconds back_off = std::chrono::seconds(5);  // after an error of the disk
};

// Whose pages. A tenant is who may profit from whose pages: the caller says (migrate/lifecycle.hpp: VMs of the same nets).
struct StoreSubject {
    std::string tenant, vm;  // any text; the VM's uuid
};

struct StoreFacts {
    std::uint64_t quota = 0, bytes = 0, pages = 0;             // now
    std::uint64_t written = 0, known = 0, dropped = 0;         // pages it was fed since it was opened: kept, were there already, too fast for the disk
    std::uint64_t offered = 0, taken = 0;                      // pages: offered to moves since then, and taken by them
    std::string trouble;                                       // why it cannot be written to now
};

class ContentStore final {
    struct Arrival;

public:
    static Result<std::unique_ptr<ContentStore>> open(const std::string& folder, StoreLimits limits);
    ~ContentStore();  // what waits to be written is dropped
    ContentStore(const ContentStore&) = delete;
    ContentStore& operator=(const ContentStore&) = delete;

    // One VM's pages during one move; one thread. Not after the store.
    class Feed final {
    public:
        ~Feed();
        bool seen(PageBytes page, std::uint64_t frame = 0);  // false: dropped
        // The frame's page is one that an offer of this store has, by its key there: in a first round, before the frame is seen().
        void has(std::uint64_t frame, std::uint64_t key);
        // The VM is here: its frames' keys are kept, once all of its pages are written. Then nothing more.
        void arrived();

    private:
        friend class ContentStore;
        Feed(ContentStore& store, std::uint32_t tenant, std::uint64_t group, std::shared_ptr<Arrival> arrival) : store_(store), tenant_(tenant), group_(group), arrival_(std::move(arrival)) {}
        ContentStore& store_;
        std::uint32_t tenant_;
        std::uint64_t group_;
        std::shared_ptr<Arrival> arrival_;
    };
    // `frames`: of a VM that comes here; 0: it leaves.
    Result<std::unique_ptr<Feed>> feed(const StoreSubject& subject, std::size_t frames = 0);
    // Null: there is nothing to offer.
    Result<std::unique_ptr<PageOffer>> offer(const StoreSubject& subject, std::size_t most);
    // What the last move that ended here brought of this VM. Null: nothing is known of that.
    Result<std::unique_ptr<StoredVersions>> versions(const StoreSubject& subject);
    void took(const PageOffer& offer);  // a move has ended
    StoreFacts facts();
    void settle();  // waits until all that was fed is written or dropped

private:
    struct Tenant {
        Identifier identifier;  // the writer's
        PageSegment::Tag tag{};
        std::optional<PageSegment> open;  // that its next pages go to
        std::uint32_t filled = 0;         // slots of it
    };
    struct File {
        PageSegment::Tag tag{};
        std::uint64_t pages = 0, used = 0;  // of a clock that counts uses
        [[nodiscard]] std::uint64_t bytes() const { return PageSegment::kPagesAt + pages * kPage; }
    };
    // Which file has the page with this beginning of an identity. Open addressing, at most half full.
    class Table {
    public:
        [[nodiscard]] std::optional<std::uint32_t> find(std::uint64_t beginning) const;
        void add(std::uint64_t beginning, std::uint32_t file);
        void remove_file(std::uint32_t file);
        [[nodiscard]] std::size_t size() const { return count_; }

    private:
        void resize(std::size_t slots);
        std::vector<std::uint64_t> keys_;
        std::vector<std::uint32_t> files_;  // kNobody: free
        std::size_t count_ = 0;
    };
    // A VM's keys by frame, of two who need no lock: the writer's, and what the feed's thread noted in the first round, which is taken for the older one where both know one.
    struct Arrival {
        std::uint64_t group = 0;
        PageSegment::Tag tag{};
        std::vector<std::uint64_t> written, referred;
    };
    struct Item {
        std::uint32_t tenant = 0;
        std::uint64_t group = 0, frame = 0;
        std::shared_ptr<Arrival> arrival;
    };

    ContentStore(std::string folder, StoreLimits limits, const IdentityKey& key, Identifier namer) : folder_(std::move(folder)), limits_(limits), key_(key), namer_(std::move(namer)) {}
    Result<void> load_files();
    [[nodiscard]] std::string path_of(std::uint64_t number) const;
    [[nodiscard]] std::string frames_path(std::uint64_t group) const;
    [[nodiscard]] std::vector<std::string> paths_of(const PageSegment::Tag& tag) const;  // newest use first
    Result<std::uint32_t> tenant_of(const std::string& name);
    Result<std::uint64_t> group_of(const StoreSubject& subject);
    // The writer's thread.
    void write_all_that_comes(const std::stop_token& stop);
    void write_batch(std::span<const Item> items, std::span<const std::byte> pages);
    void keep_frames(Arrival& arrival);
    Result<void> make_frames_room(std::uint64_t bytes);
    Result<void> append(Tenant& tenant, std::span<const PageEntry> entries, std::span<const std::byte> pages);
    Result<void> open_file(Tenant& tenant);
    bool make_room(std::uint64_t bytes);
    bool evict();
    void forget(std::uint32_t file);
    void touch(std::uint32_t file);

    std::string folder_;
    StoreLimits limits_;
    IdentityKey key_;
    Identifier namer_;  // under mutex_
    std::mutex mutex_;  // all down to the queue
    std::vector<std::unique_ptr<Tenant>> tenants_;  // only grows; `identifier`, `open` and `filled` are the writer's
    std::map<std::string, std::uint32_t> tenant_by_name_;
    std::map<std::uint32_t, File> files_;
    Table table_;
    std::uint64_t bytes_ = 0, frames_bytes_ = 0, clock_ = 0;  // of the pages' files; of the frames'
    std::uint32_t next_file_ = 0;
    StoreFacts facts_;
    std::mutex queue_mutex_;  // all below; never held while the disk is waited for
    std::condition_variable_any came_, settled_;
    std::unique_ptr<std::byte[]> ring_;  // kQueue pages, while somebody feeds; those that wait are the writer's, without the lock
    std::vector<Item> items_;
    std::vector<std::shared_ptr<Arrival>> arrivals_;  // whose keys are to be kept, once nothing waits
    std::size_t first_ = 0, waiting_ = 0;
    std::size_t feeds_ = 0, settling_ = 0;  // who feeds; who waits in settle()
    std::atomic<std::uint64_t> dropped_ = 0;
    std::chrono::steady_clock::time_point retry_{};  // the writer's
    std::jthread writer_;  // the last member: it uses the others
};

}  // namespace blanket::stream
