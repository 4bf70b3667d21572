// SPDX-License-Identifier: GPL-2.0-or-later
// The ports: how the logic (migrate/, daemon/) reaches the world. Adapters implement them in hypervisor/, storage/, net/, registry/; tests implement
// stateful fakes. All methods may block; all may be called from any thread unless they say otherwise.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/result.hpp"
#include "toolstack/core/records.hpp"

namespace blanket {

// ---------------------------------------------------------------- time
class TimeSource {
public:
    virtual ~TimeSource() = default;
    virtual std::int64_t boottime_ms() = 0;  // CLOCK_BOOTTIME: goes on while the host sleeps, never jumps
    virtual std::int64_t unix_ms() = 0;      // the wall clock: compared between sites, never used to measure
    virtual void sleep(std::chrono::milliseconds time) = 0;
};
TimeSource& system_time();

// ---------------------------------------------------------------- hypervisor
enum class DomainState : std::uint8_t { kRunning, kPaused, kShutoff, kCrashed, kSuspended, kDying };
std::string_view to_string(DomainState state);

struct DomainInfo {
    std::string uuid, name;
    int id = -1;  // Xen's domain id, -1 when not running
    DomainState state = DomainState::kShutoff;
    std::uint64_t memory_mib = 0;
    std::uint32_t vcpus = 0;
};

struct HostFacts {
    std::uint64_t memory_mib = 0, free_mib = 0;  // of Xen, not of dom0
    std::uint32_t cpus = 0;
    std::vector<std::string> cpu_features;  // sorted flags that a PV guest's user space sees here
    std::string cpu_model, xen_version, libvirt_version;
    bool log_dirty = false;  // shadow paging compiled in: PV live migration possible
};

enum class StopMode : std::uint8_t { kShutdown, kDestroy };

class Hypervisor {
public:
    virtual ~Hypervisor() = default;
    virtual Result<HostFacts> facts() = 0;
    virtual Result<std::vector<DomainInfo>> list() = 0;  // defined and running, without dom0
    virtual Result<void> define(const std::string& xml) = 0;
    virtual Result<void> undefine(const std::string& uuid) = 0;  // absent is fine
    virtual Result<void> start(const std::string& uuid) = 0;
    virtual Result<void> stop(const std::string& uuid, StopMode mode, std::chrono::seconds deadline) = 0;
    virtual Result<void> pause(const std::string& uuid) = 0;    // it stands still, its memory stays; fine when it does already
    virtual Result<void> unpause(const std::string& uuid) = 0;  // fine when it runs, or is not there
    virtual Result<std::string> definition(const std::string& uuid) = 0;  // its inactive XML
    // Xen restarts the whole host unless this is called again within `time`, whatever becomes of this process. `id`: the watchdog that an earlier call gave,
    // 0 = a new one. Zero time: disarms it. Returns its id.
    virtual Result<std::uint32_t> watchdog(std::uint32_t id, std::chrono::seconds time) = 0;
};

// How long a live save may go on copying, and what stop of the guest it works towards. 0: no limit.
struct SaveLimits {
    std::int64_t downtime_target_ms = 0;  // stop copying when the whole stop is expected to be shorter; 0: as short as rounds can make it
    std::int64_t max_downtime_ms = 0;     // give up rather than stop the guest for longer
    std::int64_t max_time_ms = 0;         // of copying; then stop, or give up
    std::int64_t fixed_ms = 0;            // what the guest's stop has cost besides the last pages, the last time; 0: unknown
    std::int64_t rounds = 0;              // so many and no rule besides, as libxl does it with five; 0: until they bring nothing more
    bool throttle = true;                 // hold the guest's processors back where it writes faster than the link sends and its stop would be long
};

// One pre-copy round that has ended.
struct SaveRound {
    std::uint64_t round = 0, pages = 0;  // sent in it
    std::int64_t ms = 0;                 // it took
    std::uint64_t dirty = 0;             // pages dirtied meanwhile; 0 for the last one, which only the suspended guest could tell
    std::int64_t begin_ms = 0;           // TimeSource::boottime_ms of this host; 0: not told
    std::uint64_t percent = 100;         // of the processor time that the guest used before it was held back; 100: it was not
    bool operator==(const SaveRound&) const = default;
};

struct SaveProgress {
    std::uint32_t round = 0;       // pre-copy round, from 0
    std::uint64_t bytes = 0;       // of the stream so far
    std::uint64_t sending = 0;     // pages that this round sends; 0: not told
    bool stopping = false;         // the guest is asked to stop as soon as on_progress returns (at the latest after a second): told once
    bool suspended = false;        // the guest no longer runs
    std::vector<SaveRound> ended = {};  // the rounds so far
    std::string why = {};          // they ended, once they have
    std::int64_t forecast_ms = 0;  // the guest's stop, as foreseen when this round began, were it the last; 0: not yet
    std::int64_t asked_ms = 0, suspended_ms = 0;  // boottime_ms of this host when the guest was asked to stop, and had; 0: not told
};

// Takes the next bytes of a stream; an error breaks it off.
using ByteSink = std::function<Result<void>(std::span<const std::byte>)>;
// Fills the span from its begin and says how far; 0 = the stream's end. kTimeout: nothing has come yet, ask again; any other error breaks the stream off.
using ByteSource = std::function<Result<std::size_t>(std::span<std::byte>)>;

class MigrationEnds {
public:
    virtual ~MigrationEnds() = default;
    // Source. Live-saves the domain (a libxl stream). Returns when `sink` has taken the whole state and the guest is suspended; on any error the guest runs on,
    // or, once `on_progress` was told that it is to stop, may stand still: then resume_source() is to be called.
    // `sink` may be called from a helper thread, `on_progress` from the calling one; when that returns false the save is given up (kCancelled), and it is told on.
    virtual Result<void> save_live(const std::string& uuid, const SaveLimits& limits, const ByteSink& sink, const std::function<bool(const SaveProgress&)>& on_progress) = 0;
    virtual Result<void> resume_source(const std::string& uuid) = 0;   // after save_live: abort, the suspended guest runs on; fine when it runs
    virtual Result<void> destroy_source(const std::string& uuid) = 0;  // after the commit: the suspended copy goes, and its definition
    // Target. Makes a new domain of a libxl stream; it stays paused. Needs `xml` (the definition). `source` may be called from a helper thread, and never
    // after the return; not everything may have been read then. On error nothing is left.
    virtual Result<void> restore_paused(const std::string& uuid, const std::string& xml, const ByteSource& source) = 0;
    virtual Result<void> resume_target(const std::string& uuid) = 0;
    virtual Result<void> discard_target(const std::string& uuid) = 0;  // before the commit: the paused copy goes
};

// ---------------------------------------------------------------- storage
struct PoolFacts {
    std::uint64_t size = 0, used = 0;  // bytes of the thin pool's data
    double metadata_percent = 0;
};

struct VolumeFacts {
    std::string id;
    std::uint64_t epoch = 0;  // the last one that opened it here; 0: none has, its content may be half of a move's
    std::uint64_t first = 1;  // the first one that may: of a move from epoch E it is E + 1, of what the source keeps of it E + 2
    // The record was at least this new when the volume was made or opened.
    [[nodiscard]] std::uint64_t record_epoch() const { return std::max(epoch, first - 1); }
};

// A run of 64 KiB blocks of a volume that must be shipped.
struct Extent {
    std::uint64_t offset = 0, length = 0;  // bytes
    bool zero = false;                     // discarded there: ship no data
    bool operator==(const Extent&) const = default;
};

// The content of an image, front to back. One thread; a piece is valid until the next call.
class ImageReader {
public:
    struct Piece {
        std::uint64_t offset;  // a multiple of 64 KiB
        std::span<const std::byte> data;
    };
    virtual ~ImageReader() = default;
    // The next piece, in ascending order; between pieces there are zeros. Nothing: the end.
    virtual Result<std::optional<Piece>> next() = 0;
};

class BlockStore {
public:
    virtual ~BlockStore() = default;
    virtual Result<PoolFacts> pool() = 0;
    virtual Result<bool> has_image(const std::string& sha256) = 0;
    // Stores `size` bytes of raw content in a new thin volume; verifies the hash before it becomes visible. Waits for another import of it; where it is there then, that is a success, and `content` is not read.
    virtual Result<void> import_image(const std::string& sha256, std::uint64_t size, ImageReader& content) = 0;
    virtual Result<std::vector<Extent>> image_extents(const std::string& sha256) = 0;  // allocated parts, for sending it to a peer
    virtual Result<UniqueFd> open_image(const std::string& sha256) = 0;                // its raw content, for reading
    // A thin snapshot of its base (or blank) and a *suspended* top, which no epoch before `first_epoch` may open.
    virtual Result<void> create_volume(const Volume& volume, std::uint64_t first_epoch = 1) = 0;
    // Opens the top for I/O. `epoch` is written beside it; an epoch lower than the last one, or than the first one allowed, is refused (kConflict).
    virtual Result<void> open_volume(const std::string& id, std::uint64_t epoch) = 0;
    virtual Result<void> close_volume(const std::string& id) = 0;   // suspends the top: I/O queues, never fails
    // The VM runs elsewhere by now: no epoch before `first_epoch` opens this volume again, whatever an older record should say. Absent is fine.
    virtual Result<void> fence_volume(const std::string& id, std::uint64_t first_epoch) = 0;
    virtual Result<std::vector<VolumeFacts>> volumes() = 0;         // those that are here, whole or half made
    virtual Result<void> remove_volume(const std::string& id) = 0;  // top, DRBD, thin volume, snapshots; absent is fine
};

// Moves one volume's content while its VM runs. Order: DESIGN.md section 2 "Moving the disk". One object per volume and migration at either end.
class DiskMove {
public:
    virtual ~DiskMove() = default;
    // Target: writes what arrived for an extent (empty data for a zero extent) into the volume, whose top is suspended.
    virtual Result<void> write(const Extent& extent, std::span<const std::byte> data) = 0;
    // Source: takes the next thin snapshot and returns what changed since the last one (first call: since the base image).
    virtual Result<std::vector<Extent>> next_round() = 0;
    virtual Result<void> read_round(const Extent& extent, std::vector<std::byte>& out) = 0;  // from the last round's snapshot
    // Either end, before its mirror: takes the first of these ports that no other mirror here has, until this object goes, and gives back the one that it took
    // before. kConflict: there is none.
    virtual Result<std::uint16_t> take_port(std::span<const std::uint16_t> ports) = 0;
    // Source, before last_round(): DRBD is set up and connected beside the running top, so that it costs nothing while top is suspended.
    virtual Result<void> prepare_mirror(const std::string& local_ip, const std::string& peer_ip, std::uint16_t port) = 0;
    // Source: suspends top, returns the rest; the caller ships it and then calls attach_mirror at both ends, or abort.
    virtual Result<std::vector<Extent>> last_round() = 0;
    // Both ends: DRBD over the volume (bitmap cleared: both sides are equal now). The source becomes primary and its top runs again, over DRBD.
    virtual Result<void> attach_mirror(const std::string& local_ip, const std::string& peer_ip, std::uint16_t port, bool source) = 0;
    virtual Result<void> wait_connected(std::chrono::seconds deadline) = 0;
    // Source, guest suspended: suspends top, waits until every write is on the peer's disk, lets go of the primary role.
    virtual Result<void> drain() = 0;
    // Target, after the commit, what the guest waits for: the loser is cut off, top opens under the epoch. finish(true) then tidies up.
    virtual Result<void> take_over(std::uint64_t epoch) = 0;
    // Either end: DRBD goes; top is over the thin volume again, suspended at the loser. `keep` = this end owns the volume now and its top opens.
    virtual Result<void> finish(bool keep, std::uint64_t epoch) = 0;
};

// The movers for one volume; the logic makes one per migration and end.
class DiskMoves {
public:
    virtual ~DiskMoves() = default;
    virtual Result<std::unique_ptr<DiskMove>> source(const Volume& volume) = 0;
    virtual Result<std::unique_ptr<DiskMove>> target(const Volume& volume) = 0;
};

// ---------------------------------------------------------------- peer
struct Message {
    std::uint32_t type = 0;
    std::vector<std::byte> payload;
};

// What a link went through that outlives its connections (migrate/resumable_link.hpp).
struct LinkHealth {
    std::uint64_t cuts = 0;         // connections that were lost, the present loss included
    std::int64_t lost_ms = 0;       // without any connection, in all
    std::uint64_t again_bytes = 0;  // of messages that were sent once more
    std::uint64_t streams = 1;      // connections at once, as agreed
    std::string congestion = {};    // TCP's congestion control, as "bbr"; empty: not known
    bool operator==(const LinkHealth&) const = default;
};

// What a kernel knows of a connection's path.
struct LinkPath {
    std::int64_t rtt_us = 0;  // there and back, smoothed
    std::string congestion;
};

// One authenticated connection between two sites for one migration. One thread may send while another receives.
class PeerLink {
public:
    virtual ~PeerLink() = default;
    // Returns when the message is on its way: with a peer that takes nothing more it waits, which is the flow control.
    virtual Result<void> send(std::uint32_t type, std::span<const std::byte> payload) = 0;
    virtual Result<Message> receive(std::chrono::milliseconds deadline) = 0;  // kTimeout; kIo when the peer is gone
    virtual std::uint64_t bytes_sent() const = 0;                             // on the wire, encryption included
    virtual const std::string& peer() const = 0;                              // the site's name, from its certificate
    virtual void shutdown() = 0;                                              // from any thread: both directions end
    virtual std::uint64_t bytes_received() const { return 0; }                // on the wire; grows within a message. 0: not told
    // A guest, or its writes, stands still from now on (or no longer): a lost connection is waited for only briefly. Any thread.
    virtual void urgent(bool) {}
    virtual std::optional<LinkHealth> health() const { return std::nullopt; }  // nothing: it ends with its connection. Any thread.
    // Of a connection itself, nothing where it cannot be known; any thread: bytes that were sent and have not reached the peer's host; its path.
    virtual std::uint64_t backlog() const { return 0; }
    virtual std::optional<LinkPath> path() const { return std::nullopt; }
    // It is one of so many that share a path: what waits in it unsent is divided by them. A payload of more than `most` bytes that comes is refused. Before the next receive().
    virtual void one_of(unsigned /*connections*/, std::size_t /*most*/) {}
};

// ---------------------------------------------------------------- network
class Overlay {
public:
    virtual ~Overlay() = default;
    // Makes WireGuard peers, gateway ports, DHCP and flows match; idempotent. Called at every change of a record.
    virtual Result<void> apply(const std::vector<Net>& nets, const std::vector<VmRecord>& vms, const std::vector<Site>& sites) = 0;
    // Whether VMs of this network can be served here. kPrecondition, with the next step: this host itself needs addresses of it (its own subnet, its way out),
    // so that it would have no gateway and no DHCP here.
    virtual Result<void> check_net(const Net&) { return {}; }
    // The same of many, in their order, for about the price of one.
    virtual std::vector<Result<void>> check_nets(const std::vector<Net>& nets) {
        std::vector<Result<void>> out;
        for (const auto& net : nets) out.push_back(check_net(net));
        return out;
    }
    // Source, just before the guest is asked to stop: frames for the VM's MACs go to `site` from now on (one strict flow each); what it says still goes out.
    virtual Result<void> divert(const VmRecord& vm, const Site& site) = 0;
    // Source, guest suspended: the same, and its port here is closed. undo = guest resumed here.
    virtual Result<void> redirect(const VmRecord& vm, const Site& site) = 0;
    virtual Result<void> undo_redirect(const VmRecord& vm) = 0;
    // Target: the record says that the VM is here; deliver to its port, and tell the local switch and guests (GARP on the guest's behalf).
    virtual Result<void> activate(const VmRecord& vm) = 0;
    // The same for a VM that moves here, in the order of its move, so that nothing sent to it is lost while it stands still and little is done while its
    // drivers come back:
    // hold_frames, before the source suspends: frames for it wait here (bounded, the rest is dropped).
    virtual Result<void> hold_frames(const VmRecord& vm) = 0;
    // The domain is restored and paused: begins to connect its port, and returns at once. Nothing is delivered to it yet.
    virtual void arm(const VmRecord& vm) = 0;
    // The guest runs by the commit: waits for its driver, delivers what waited, then activate().
    virtual Result<void> release_frames(const VmRecord& vm) = 0;
    // The move was given up: forgets what waits, and the port.
    virtual Result<void> drop_frames(const std::string& uuid) = 0;
};

// ---------------------------------------------------------------- registry
template <typename T>
struct Versioned {
    T value;
    std::uint64_t revision = 0;  // etcd mod revision: what a compare-and-swap compares
};

// The record of a VM, network or site that cannot be read. Its last version that could is taken for it, as if it had not been edited, until somebody writes it
// anew (of a VM: `blanket vm recover`, or any change of it).
struct Malformed {
    std::string key, why;  // key: "vms/UUID", "nets/NAME", "sites/NAME"
    bool replaced = false;  // by an earlier version; else it is missing from the snapshot
    [[nodiscard]] bool of_vm() const { return key.starts_with("vms/"); }
    bool operator==(const Malformed&) const = default;
};

struct Snapshot {  // one consistent read of everything, at one store revision
    std::uint64_t revision = 0;
    std::string federation_name, federation_id;
    std::vector<Versioned<VmRecord>> vms;
    std::vector<Versioned<Site>> sites;
    std::vector<Versioned<Net>> nets;
    std::vector<Versioned<Image>> images;
    std::vector<Gone> gone;
    std::vector<Versioned<Revocation>> revocations;  // as they are written; a site goes by those that it has accepted itself (peer/revocations.hpp)
    std::vector<Malformed> malformed;
};

// A site's sign of life for its VMs of the policy `pause`. It says nothing about a VM without a sign.
struct Beat {
    std::uint64_t revision = 0;  // of the store; grows with every beat
    bool leaving = false;        // the site's blanketd was ended by intent: its VMs are not to be taken over
};

class Registry {
public:
    virtual ~Registry() = default;
    virtual Result<Snapshot> snapshot() = 0;
    virtual Result<std::optional<Versioned<VmRecord>>> vm(const std::string& uuid) = 0;  // linearizable
    // Creates the record and its name; kConflict when either exists. In the same step its networks exist and take it (core/net_rules.hpp, check_card): one that
    // is marked as being deleted gets no VM afterwards. Returns the revision.
    virtual Result<std::uint64_t> create_vm(const VmRecord& vm) = 0;
    // Compare-and-swap on the revision; kConflict (with the present owner and epoch in the text) when it moved on. Returns the new revision.
    virtual Result<std::uint64_t> update_vm(const VmRecord& vm, std::uint64_t expected_revision) = 0;
    // And in the same step leaves a Gone.
    virtual Result<void> remove_vm(const VmRecord& vm, std::uint64_t expected_revision) = 0;
    virtual Result<std::optional<Gone>> gone(const std::string& uuid) = 0;  // linearizable
    virtual Result<void> beat(const std::string& site, bool leaving) = 0;  // watchers do not see it
    virtual Result<std::optional<Beat>> last_beat(const std::string& site) = 0;
    // update_vm, and in the same step: `silent` has not beaten since `beat` (its revision; 0: never). kConflict otherwise.
    virtual Result<std::uint64_t> take_over_vm(const VmRecord& vm, std::uint64_t expected_revision, const std::string& silent, std::uint64_t beat) = 0;
    // Other records: `key` without the prefix ("nets/lan"); expected_revision 0 = must not exist. Returns the new revision.
    virtual Result<std::uint64_t> put(const std::string& key, const Json& value, std::uint64_t expected_revision) = 0;
    // Of a network or site whose record makes no sense its last version that did (Malformed), at the present revision: who changes that and writes it makes it good.
    virtual Result<std::optional<Versioned<Json>>> get(const std::string& key) = 0;
    // Of any revision (0; absent is fine), or of exactly that one: else kConflict.
    virtual Result<void> remove(const std::string& key, std::uint64_t expected_revision = 0) = 0;
};

// What the logic of one site works on. Plain references: the owner outlives all users.
struct SitePorts {
    Registry& registry;
    Hypervisor& hypervisor;
    MigrationEnds& ends;
    BlockStore& blocks;
    DiskMoves& moves;
    Overlay& overlay;
    TimeSource& clock;
};

}  // namespace blanket
