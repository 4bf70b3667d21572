// SPDX-License-Identifier: GPL-2.0-or-later
// One site in memory for the migration's tests: domains whose memory and disk are bytes, with the rules that the real parts have (a suspended top takes
// no I/O, a guest that runs twice is counted, a mirror copies writes until it is drained). Any step can be made to fail.
#pragma once

#include <atomic>
#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <sys/mman.h>

#include "toolstack/core/content_hash.hpp"
#include "toolstack/core/ports.hpp"

namespace blanket::fakes {

struct Disk {
    std::string data;              // content, small
    bool open = false;             // top runs
    std::uint64_t epoch = 0, first = 1;
    std::string* mirror = nullptr;  // the other end's content while DRBD is on
};

class FakeSite : public Hypervisor, public MigrationEnds, public BlockStore, public DiskMoves {
public:
    explicit FakeSite(std::string site_name) : name(std::move(site_name)) {}
    std::string name;
    HostFacts host{.memory_mib = 2048, .free_mib = 1024, .cpus = 2, .cpu_features = {"avx", "sse2"}, .cpu_model = "fake", .xen_version = "4.20", .libvirt_version = "11", .log_dirty = true};
    std::map<std::string, DomainInfo> domains;
    std::map<std::string, std::string> memory;  // by uuid
    std::map<std::string, Disk> disks;
    std::set<std::string> images, fail_at;      // fail_at: names of steps
    std::map<std::string, std::string> image_content;  // of those that can be opened
    int restores_put_off = 0;                   // so many cannot begin: what they need does not answer
    std::optional<DomainState> after_failed_save;  // a save fails after its last pages, and the guest is left so
    int resumes_failing = 0;                    // so many of resume_source()
    std::int64_t watchdog_s = 0;                // Xen's, 0 = not armed
    std::vector<SaveRound> rounds;              // that a save tells, of a memory that is a stream of such rounds and of what is sent after them
    std::int64_t forecast_ms = 0;               // with them
    std::string writes_during_move;             // appended to every open disk before each round and at the suspend

    Result<void> step(const std::string& what) const {
        if (fail_at.contains(what)) return fail(Kind::kIo, "injected failure of {}", what);
        return {};
    }
    bool runs(const std::string& uuid) const {
        const auto it = domains.find(uuid);
        return it != domains.end() && it->second.state == DomainState::kRunning;
    }
    void guest_writes() {
        const std::lock_guard lock(mirrors_);
        for (auto& [id, disk] : disks)
            if (disk.open && !writes_during_move.empty()) {
                disk.data += writes_during_move;
                if (disk.mirror != nullptr) *disk.mirror += writes_during_move;
            }
    }

    // Hypervisor
    Result<HostFacts> facts() override { return host; }
    Result<std::vector<DomainInfo>> list() override {
        std::vector<DomainInfo> all;
        for (const auto& [uuid, domain] : domains) all.push_back(domain);
        return all;
    }
    Result<void> define(const std::string&) override { return {}; }
    Result<void> undefine(const std::string& uuid) override { domains.erase(uuid); return {}; }
    Result<void> start(const std::string& uuid) override {
        BLANKET_CHECK(step("start"));
        domains[uuid].state = DomainState::kRunning;
        domains[uuid].id = 7;
        return {};
    }
    Result<void> stop(const std::string& uuid, StopMode, std::chrono::seconds) override {
        domains[uuid].state = DomainState::kShutoff;
        domains[uuid].id = -1;
        return {};
    }
    Result<void> pause(const std::string& uuid) override {
        BLANKET_CHECK(step("pause"));
        domains.at(uuid).state = DomainState::kPaused;
        return {};
    }
    Result<void> unpause(const std::string& uuid) override {
        if (const auto at = domains.find(uuid); at != domains.end()) at->second.state = DomainState::kRunning;
        return {};
    }
    Result<std::string> definition(const std::string&) override { return "<domain/>"; }
    Result<std::uint32_t> watchdog(std::uint32_t id, std::chrono::seconds time) override {
        BLANKET_CHECK(step("watchdog"));
        watchdog_s = time.count();
        return time.count() == 0 ? 0 : std::max<std::uint32_t>(id, 1);
    }

    // MigrationEnds
    Result<void> save_live(const std::string& uuid, const SaveLimits&, const ByteSink& sink, const std::function<bool(const SaveProgress&)>& on_progress) override {
        if (!runs(uuid)) return fail(Kind::kConflict, "domain does not run");
        const std::string& image = memory[uuid];
        const auto half = image.size() / 2;
        BLANKET_CHECK(sink(as_bytes(image).first(half)));
        if (!on_progress({.round = 1, .bytes = half, .stopping = false, .suspended = false})) return fail(Kind::kCancelled, "given up");
        BLANKET_CHECK(step("save"));
        on_progress({.round = 1, .bytes = half, .stopping = true, .suspended = false, .ended = rounds, .why = "enough", .forecast_ms = forecast_ms});
        guest_writes();
        domains[uuid].state = DomainState::kSuspended;
        on_progress({.round = 2, .bytes = half, .stopping = true, .suspended = true, .ended = rounds, .why = "enough", .forecast_ms = forecast_ms});
        auto rest = sink(as_bytes(image).subspan(half));
        if (rest && after_failed_save) rest = fail(Kind::kIo, "blanket-save ended with status 137");
        if (!rest) domains[uuid].state = after_failed_save.value_or(DomainState::kRunning);
        return rest;
    }
    Result<void> resume_source(const std::string& uuid) override {
        if (resumes_failing > 0 && resumes_failing-- > 0) return fail(Kind::kIo, "libxl_domain_resume failed");
        if (domains.at(uuid).state == DomainState::kShutoff) return fail(Kind::kConflict, "'{}' does not run here", uuid);
        domains.at(uuid).state = DomainState::kRunning;
        return {};
    }
    Result<void> destroy_source(const std::string& uuid) override { domains.erase(uuid); memory.erase(uuid); return {}; }
    Result<void> restore_paused(const std::string& uuid, const std::string&, const ByteSource& source) override {
        if (restores_put_off > 0 && restores_put_off-- > 0) return fail(Kind::kUnavailable, "the registry does not answer");
        std::string image(4u << 20, '\0');
        std::size_t filled = 0;
        for (;;) {
            const auto got = source(std::as_writable_bytes(std::span(image)).subspan(filled));
            if (!got && got.error().kind == Kind::kTimeout) continue;
            if (!got) return std::unexpected(got.error());
            if (*got == 0) break;
            filled += *got;
        }
        BLANKET_CHECK(step("restore"));
        image.resize(filled);
        if (!image.ends_with("END")) return fail(Kind::kIo, "the stream ends early");
        memory[uuid] = image;
        domains[uuid] = DomainInfo{uuid, "web", 7, DomainState::kPaused, 256, 1};
        return {};
    }
    Result<void> resume_target(const std::string& uuid) override { domains.at(uuid).state = DomainState::kRunning; return {}; }
    Result<void> discard_target(const std::string& uuid) override { domains.erase(uuid); memory.erase(uuid); return {}; }

    // BlockStore
    Result<PoolFacts> pool() override { return PoolFacts{1u << 30, 1u << 20, 1}; }
    Result<bool> has_image(const std::string& sha256) override { return images.contains(sha256); }
    Result<void> import_image(const std::string& sha256, std::uint64_t size, ImageReader& content) override {
        if (images.contains(sha256)) return {};
        std::vector<std::byte> all(size);
        for (;;) {
            BLANKET_TRY(const auto piece, content.next());
            if (!piece) break;
            if (piece->offset > size || piece->data.size() > size - piece->offset) return fail(Kind::kInvalid, "beyond the image");
            std::ranges::copy(piece->data, all.begin() + static_cast<std::ptrdiff_t>(piece->offset));
        }
        ContentHasher hasher;
        for (std::size_t at = 0; at < all.size(); at += kBlockSize) hasher.add(std::span(all).subspan(at, std::min(kBlockSize, all.size() - at)));
        if (hasher.finish() != sha256) return fail(Kind::kIo, "hash differs");
        images.insert(sha256);
        image_content[sha256].assign(reinterpret_cast<const char*>(all.data()), all.size());
        return {};
    }
    Result<std::vector<Extent>> image_extents(const std::string& sha256) override {
        const auto content = image_content.find(sha256);
        return std::vector<Extent>{{0, content == image_content.end() ? kBlockSize : content->second.size(), false}};
    }
    Result<UniqueFd> open_image(const std::string& sha256) override {
        BLANKET_CHECK(step("open-image"));
        const auto content = image_content.find(sha256);
        if (content == image_content.end()) return fail(Kind::kNotFound, "no file");
        UniqueFd file(::memfd_create("image", MFD_CLOEXEC));
        BLANKET_CHECK(write_all(file.get(), as_bytes(content->second)));
        return file;
    }
    Result<void> create_volume(const Volume& volume, std::uint64_t first_epoch) override {
        BLANKET_CHECK(step("create"));
        disks[volume.id] = {.data = {}, .first = first_epoch};
        return {};
    }
    Result<void> open_volume(const std::string& id, std::uint64_t epoch) override {
        if (epoch < disks[id].epoch || epoch < disks[id].first) return fail(Kind::kConflict, "stale epoch {}", epoch);
        disks[id].open = true;
        disks[id].epoch = epoch;
        return {};
    }
    Result<void> close_volume(const std::string& id) override { disks[id].open = false; return {}; }
    Result<void> fence_volume(const std::string& id, std::uint64_t first_epoch) override {
        if (const auto at = disks.find(id); at != disks.end()) at->second.first = std::max(at->second.first, first_epoch);
        return {};
    }
    Result<std::vector<VolumeFacts>> volumes() override {
        std::vector<VolumeFacts> here;
        for (const auto& [id, disk] : disks) here.push_back({id, disk.epoch, disk.first});
        return here;
    }
    Result<void> remove_volume(const std::string& id) override {
        const std::lock_guard lock(mirrors_);
        if (const auto gone = disks.find(id); gone != disks.end() && other != nullptr) {
            for (auto& [_, disk] : other->disks)
                if (disk.mirror == &gone->second.data) disk.mirror = nullptr;  // the mirror lost its peer
        }
        disks.erase(id);
        return {};
    }

    // DiskMoves; `other` is where a mirror writes to.
    FakeSite* other = nullptr;
    std::atomic<int> mirror_waits = 0;  // wait_connected() of any of its moves
    std::size_t round_blocks = 1, last_round_blocks = 1;  // that each of a disk's rounds ships: the same one, so often
    int last_rounds = 0;
    std::function<void()> mirror_takes;       // its time, beside a disk that runs
    std::set<std::uint16_t> ports_of_others;  // that other mirrors have here
    std::uint16_t mirror_port = 0;            // the last mirror's
    Result<std::unique_ptr<DiskMove>> source(const Volume& volume) override { return std::unique_ptr<DiskMove>(new Move(*this, volume.id)); }
    Result<std::unique_ptr<DiskMove>> target(const Volume& volume) override { return std::unique_ptr<DiskMove>(new Move(*this, volume.id)); }

private:
    inline static std::mutex mirrors_;  // of both sites: what a guest writes at one is at the other at once
    // The whole content travels in each round, padded to 64 KiB with zeros; good enough to see an order that loses writes.
    class Move final : public DiskMove {
    public:
        Move(FakeSite& site, std::string id) : site_(site), id_(std::move(id)) {}
        Disk& disk() { return site_.disks.at(id_); }
        Result<std::vector<Extent>> next_round() override {
            site_.guest_writes();
            snapshot_ = disk().data;
            return std::vector<Extent>(site_.round_blocks, {0, kBlockSize, false});
        }
        Result<void> read_round(const Extent& extent, std::vector<std::byte>& out) override {
            out.assign(extent.length, std::byte{0});
            for (std::size_t i = 0; i < snapshot_.size() && extent.offset + i < extent.length; ++i) out[i] = static_cast<std::byte>(snapshot_[i]);
            return {};
        }
        Result<std::vector<Extent>> last_round() override {
            site_.guest_writes();
            disk().open = false;
            ++site_.last_rounds;
            snapshot_ = disk().data;
            return std::vector<Extent>(site_.last_round_blocks, {0, kBlockSize, false});
        }
        Result<void> write(const Extent& extent, std::span<const std::byte> data) override {
            if (disk().open) return fail(Kind::kInternal, "a write from outside into an open volume");
            std::string text(reinterpret_cast<const char*>(data.data()), data.size());
            text.resize(text.find_last_not_of('\0') + 1);
            if (extent.offset == 0) disk().data = text;
            return {};
        }
        Result<std::uint16_t> take_port(std::span<const std::uint16_t> ports) override {
            for (const std::uint16_t port : ports)
                if (!site_.ports_of_others.contains(port)) return port;
            return fail(Kind::kConflict, "no port");
        }
        Result<void> prepare_mirror(const std::string&, const std::string&, std::uint16_t port) override {
            site_.mirror_port = port;
            if (site_.mirror_takes) site_.mirror_takes();
            return site_.step("mirror");
        }
        Result<void> attach_mirror(const std::string&, const std::string&, std::uint16_t port, bool source) override {
            BLANKET_CHECK(site_.step("mirror"));
            if (site_.ports_of_others.contains(port)) return fail(Kind::kConflict, "another mirror has port {}", port);
            site_.mirror_port = port;
            if (!source) return {};
            if (disk().data != site_.other->disks.at(id_).data) return fail(Kind::kInternal, "the two sides differ when the mirror begins");
            const std::lock_guard lock(mirrors_);
            disk().mirror = &site_.other->disks.at(id_).data;
            disk().open = true;
            return {};
        }
        Result<void> wait_connected(std::chrono::seconds) override {
            ++site_.mirror_waits;
            return {};
        }
        Result<void> drain() override {
            BLANKET_CHECK(site_.step("drain"));
            disk().open = false;
            return {};
        }
        Result<void> take_over(std::uint64_t epoch) override {
            cut();
            return site_.open_volume(id_, epoch);
        }
        Result<void> finish(bool keep, std::uint64_t epoch) override {
            if (!site_.disks.contains(id_)) return {};
            cut();
            disk().open = false;
            return keep ? site_.open_volume(id_, epoch) : Result<void>{};
        }

    private:
        void cut() {
            const std::lock_guard lock(mirrors_);
            disk().mirror = nullptr;
        }
        FakeSite& site_;
        std::string id_, snapshot_;
    };
};

}  // namespace blanket::fakes
