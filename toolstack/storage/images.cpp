// SPDX-License-Identifier: GPL-2.0-or-later
// ThinStore's base images: import, extents, reading. See thin_store.hpp.
#include <fcntl.h>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/storage/delta.hpp"
#include "toolstack/storage/device_io.hpp"
#include "toolstack/storage/thin_store.hpp"

namespace blanket::storage {

Result<ThinEntry> ThinStore::ready_image(const std::string& sha256) {
    BLANKET_CHECK(check_sha256(sha256));
    auto entry = thin_->find(image_key(sha256));
    if (!entry || entry->state != ThinState::kReady || entry->sha256 != sha256)
        return fail_hint(Kind::kNotFound, std::format("image {} is not on this host", sha256.substr(0, 12)), "blanket image add NAME FILE, or fetch it from a site that has it");
    return entry;
}

Result<bool> ThinStore::has_image(const std::string& sha256) {
    auto entry = ready_image(sha256);
    if (entry) return true;
    if (entry.error().kind == Kind::kNotFound) return false;
    return std::unexpected(std::move(entry).error());
}

// One import of an image at a time.
class ThinStore::ImportTurn final {
public:
    ImportTurn(ThinStore& store, const std::string& sha256) : store_(store), sha256_(sha256) {
        std::unique_lock lock(store_.imports_);
        store_.imported_.wait(lock, [&] { return store_.importing_.insert(sha256_).second; });
    }
    ~ImportTurn() {
        const std::lock_guard lock(store_.imports_);
        store_.importing_.erase(sha256_);
        store_.imported_.notify_all();
    }
    ImportTurn(const ImportTurn&) = delete;
    ImportTurn& operator=(const ImportTurn&) = delete;

private:
    ThinStore& store_;
    const std::string sha256_;
};

Result<void> ThinStore::import_image(const std::string& sha256, std::uint64_t size, ImageReader& content) {
    BLANKET_CHECK(check_sha256(sha256));
    if (size == 0 || size % kSector != 0 || size > kMaxVolume)
        return fail_hint(Kind::kInvalid, std::format("an image of {} bytes cannot be a disk", size), "give a raw disk image: a multiple of 512 bytes, at most 16 TiB");
    const ImportTurn turn(*this, sha256);
    BLANKET_TRY(const bool present, has_image(sha256));
    if (present) return {};
    BLANKET_TRY(const auto status, thin_->status());
    BLANKET_CHECK(admit_new(status));
    const auto key = image_key(sha256), device = image_device(sha256);
    if (const auto left = thin_->find(key); left && left->state != ThinState::kReady) BLANKET_CHECK(thin_->destroy(key, device));  // by an import whose end failed, too
    // Staged: until set_ready() the entry counts as not there, and a start after a crash removes it.
    auto reserved = thin_->reserve(key, {.kind = ThinKind::kImage, .size = (size + kBlock - 1) / kBlock * kBlock, .sha256 = sha256, .raw_size = size, .mirror = {}});
    if (!reserved) return std::unexpected(std::move(reserved).error().context(std::format("image {}", sha256.substr(0, 12))));
    const auto fill = [&]() -> Result<void> {
        BLANKET_CHECK(thin_->make(*reserved, std::nullopt));
        BLANKET_CHECK(thin_->system().run(plan_thin_device(thin_->name(), device, reserved->id, size)));
        {
            BLANKET_TRY(const UniqueFd out, thin_->system().open_device(device, true));
            BLANKET_TRY(const auto found, copy_sparse(content, size, out.get()));
            if (found != sha256)
                return fail_hint(Kind::kInvalid, std::format("the content has the hash {}, not {}", found, sha256), "the file or the transfer is damaged: get it again");
            BLANKET_CHECK(flush_device(out.get()));
        }
        BLANKET_CHECK(thin_->remove_device(device));
        return thin_->set_ready(key);
    };
    auto done = fill();
    if (done) return {};
    if (auto undone = thin_->destroy(key, device); !undone) log::warning("storage", "leftovers of an import stay until the next start: {}", undone.error().what);
    return done;
}

Result<std::vector<Extent>> ThinStore::image_extents(const std::string& sha256) {
    BLANKET_TRY(const auto entry, ready_image(sha256));
    BLANKET_TRY(const auto xml, thin_->with_metadata_snapshot(plan_thin_dump(thin_->name(), entry.id)));
    BLANKET_TRY(auto extents, parse_thin_dump(xml, entry.size));
    if (!extents.empty()) {  // the last block may reach beyond the raw content
        auto& last = extents.back();
        last.length = std::min(last.length, entry.raw_size - last.offset);
    }
    return extents;
}

Result<UniqueFd> ThinStore::open_image(const std::string& sha256) {
    BLANKET_TRY(const auto entry, ready_image(sha256));
    const auto device = image_device(sha256);
    const std::lock_guard one(opening_);
    BLANKET_TRY(auto present, thin_->info(device));
    if (!present) {
        if (auto made = thin_->system().run(plan_thin_device(thin_->name(), device, entry.id, entry.raw_size, true)); !made) {
            if (made.error().kind != Kind::kConflict) return std::unexpected(std::move(made).error());
            BLANKET_TRY(present, thin_->info(device));  // it came meanwhile
            if (!present) return std::unexpected(std::move(made).error());
        }
    }
    BLANKET_TRY(UniqueFd fd, thin_->system().open_device(device, false));
    // The content never changes, so the page cache is safe here, and the reader needs no aligned buffers.
    const int flags = ::fcntl(fd.get(), F_GETFL);
    if (flags < 0 || ::fcntl(fd.get(), F_SETFL, flags & ~O_DIRECT) != 0) return fail_errno("fcntl", device);
    return fd;
}

}  // namespace blanket::storage
