// SPDX-License-Identifier: GPL-2.0-or-later
// The ports of one site's blanketd over the simulated world. They keep the promises written in core/ports.hpp, and break off where a fault strikes.
#pragma once

#include <memory>

#include "tests/sim/world.hpp"

namespace blanket::sim {

class SimTime final : public TimeSource {
public:
    SimTime(World& world, int site) : world_(world), site_(static_cast<std::size_t>(site)) {}
    std::int64_t boottime_ms() override { return (world_.time.now() + world_.time.now() / 1'000'000 * world_.clock_rate_ppm[site_]) / kMs; }
    std::int64_t unix_ms() override { return 1'700'000'000'000 + (world_.time.now() + world_.wall_offset[site_]) / kMs; }
    void sleep(std::chrono::milliseconds time) override { world_.time.sleep(time.count() * kMs * 1'000'000 / (1'000'000 + world_.clock_rate_ppm[site_])); }

private:
    World& world_;
    std::size_t site_;
};

// A linearizable store behind a quorum. Unreachable: kUnavailable. A lost answer: kUnavailable, and the change is there, or comes later: an entry in the log of
// a leader that was cut off is committed when it wins again. A write can be carried out twice.
class SimRegistry final : public Registry {
public:
    SimRegistry(World& world, int site) : world_(world), site_(site) {}
    Result<Snapshot> snapshot() override;
    Result<std::optional<Versioned<VmRecord>>> vm(const std::string& uuid) override;
    Result<std::uint64_t> create_vm(const VmRecord& vm) override;
    Result<std::uint64_t> update_vm(const VmRecord& vm, std::uint64_t expected_revision) override;
    Result<void> remove_vm(const VmRecord& vm, std::uint64_t expected_revision) override;
    Result<std::optional<Gone>> gone(const std::string& uuid) override;
    Result<void> beat(const std::string& site, bool leaving) override;
    Result<std::optional<Beat>> last_beat(const std::string& site) override;
    Result<std::uint64_t> take_over_vm(const VmRecord& vm, std::uint64_t expected_revision, const std::string& silent, std::uint64_t beat) override;
    Result<std::uint64_t> put(const std::string&, const Json&, std::uint64_t) override { return fail(Kind::kInternal, "not simulated"); }
    Result<std::optional<Versioned<Json>>> get(const std::string&) override { return std::nullopt; }
    Result<void> remove(const std::string&, std::uint64_t = 0) override { return {}; }

private:
    Result<void> reach(const char* what);
    using Write = std::function<Result<std::uint64_t>(World&)>;
    Result<std::uint64_t> write(const char* what, Write change);
    Result<void> answer();
    World& world_;
    int site_;
};

class SimHypervisor final : public Hypervisor, public MigrationEnds {
public:
    SimHypervisor(World& world, int site) : world_(world), site_(site) {}
    Result<HostFacts> facts() override;
    Result<std::vector<DomainInfo>> list() override;
    Result<void> define(const std::string& xml) override;
    Result<void> undefine(const std::string& uuid) override;
    Result<void> start(const std::string& uuid) override;
    Result<void> stop(const std::string& uuid, StopMode mode, std::chrono::seconds deadline) override;
    Result<void> pause(const std::string& uuid) override;
    Result<void> unpause(const std::string& uuid) override;
    Result<std::string> definition(const std::string& uuid) override { return uuid; }
    Result<std::uint32_t> watchdog(std::uint32_t id, std::chrono::seconds time) override;
    Result<void> save_live(const std::string& uuid, const SaveLimits&, const ByteSink& sink, const std::function<bool(const SaveProgress&)>& on_progress) override;
    Result<void> resume_source(const std::string& uuid) override;
    Result<void> destroy_source(const std::string& uuid) override;
    Result<void> restore_paused(const std::string& uuid, const std::string& xml, const ByteSource& source) override;
    Result<void> resume_target(const std::string& uuid) override;
    Result<void> discard_target(const std::string& uuid) override;

private:
    Host& host() { return world_.hosts[static_cast<std::size_t>(site_)]; }
    Domain* find(const std::string& uuid);
    Result<void> remove(const char* what, const std::string& uuid);
    World& world_;
    int site_;
};

class SimStorage final : public BlockStore, public DiskMoves {
public:
    SimStorage(World& world, int site) : world_(world), site_(site) {}
    Result<PoolFacts> pool() override { return PoolFacts{std::uint64_t{1} << 40, 0, 1}; }
    Result<bool> has_image(const std::string&) override { return true; }
    Result<void> import_image(const std::string&, std::uint64_t, ImageReader&) override { return {}; }
    Result<std::vector<Extent>> image_extents(const std::string&) override { return std::vector<Extent>{}; }
    Result<UniqueFd> open_image(const std::string&) override { return fail(Kind::kInternal, "not simulated"); }
    Result<void> create_volume(const Volume& volume, std::uint64_t first_epoch) override;
    Result<void> open_volume(const std::string& id, std::uint64_t epoch) override;
    Result<void> close_volume(const std::string& id) override;
    Result<void> fence_volume(const std::string& id, std::uint64_t first_epoch) override;
    Result<std::vector<VolumeFacts>> volumes() override;
    Result<void> remove_volume(const std::string& id) override;
    Result<std::unique_ptr<DiskMove>> source(const Volume& volume) override;
    Result<std::unique_ptr<DiskMove>> target(const Volume& volume) override;

private:
    World& world_;
    int site_;
};

class SimNet final : public Overlay {
public:
    SimNet(World& world, int site) : world_(world), site_(site) {}
    Result<void> apply(const std::vector<Net>&, const std::vector<VmRecord>&, const std::vector<Site>&) override { return {}; }
    Result<void> divert(const VmRecord&, const Site&) override { return step("divert"); }
    Result<void> redirect(const VmRecord&, const Site&) override { return step("redirect"); }
    Result<void> undo_redirect(const VmRecord&) override { return step("undo redirect"); }
    Result<void> activate(const VmRecord&) override { return step("activate"); }
    Result<void> hold_frames(const VmRecord&) override { return step("hold"); }
    void arm(const VmRecord&) override {}
    Result<void> release_frames(const VmRecord&) override { return step("release"); }
    Result<void> drop_frames(const std::string&) override { return step("drop"); }

private:
    Result<void> step(const char* what) {
        BLANKET_CHECK(world_.enter(site_, what, 1 * kMs, 30 * kMs));
        return world_.done(site_);
    }
    World& world_;
    int site_;
};

// The link of one move, as migrate/resumable_link.hpp makes it of connections: a cut that heals within the patience loses nothing, and the source waits for it
// with a guest that runs. A longer one ends it, as does the death of a process at either end (nobody there knows the session any more); a host without power
// says nothing, nor does one that stands still: that is a cut too, once it has lasted.
class SimLink final : public PeerLink {
public:
    struct Wire {
        std::deque<Message> arrived[2], under_way[2];
        Signal signal[2];
        bool broken = false, silent = false, urgent = false;
        Time cut_since = 0, urgent_since = 0;
        std::uint64_t cuts = 0;
    };
    SimLink(World& world, std::shared_ptr<Wire> wire, int side, int site) : world_(world), wire_(std::move(wire)), side_(side), site_(site), peer_(site_name(1 - site)) {}
    ~SimLink() override { shutdown(); }
    Result<void> send(std::uint32_t type, std::span<const std::byte> payload) override;
    Result<Message> receive(std::chrono::milliseconds deadline) override;
    std::uint64_t bytes_sent() const override { return sent_; }
    const std::string& peer() const override { return peer_; }
    void shutdown() override;
    void urgent(bool on) override;
    std::optional<LinkHealth> health() const override { return LinkHealth{.cuts = wire_->cuts}; }
    std::function<bool()> ended;  // asked now and then while it is cut: true ends it

private:
    Result<void> wait_out_cut(Time slice);
    void listen(Time slice);
    static bool late(World& world, const Wire& wire);
    static void break_off(World& world, Wire& wire);
    static void deliver(World& world, const std::shared_ptr<Wire>& wire, int side);
    World& world_;
    std::shared_ptr<Wire> wire_;
    int side_, site_;
    std::string peer_;
    std::uint64_t sent_ = 0;
    Time quiet_ = 0;  // nothing was heard of the peer for so long
};

}  // namespace blanket::sim
