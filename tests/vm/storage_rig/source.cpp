// SPDX-License-Identifier: GPL-2.0-or-later
// The rig's source: the scenarios, each with a fresh volume, a guest that writes all the time, and a verdict as one JSON line.
#include <chrono>
#include <cstdio>
#include <functional>
#include <sys/stat.h>
#include <thread>

#include "tests/vm/storage_rig/guest.hpp"
#include "tests/vm/storage_rig/rpc.hpp"
#include "tests/vm/storage_rig/site.hpp"
#include "toolstack/storage/fd_image.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/storage/delta.hpp"
#include "toolstack/storage/device_io.hpp"

namespace blanket::rig {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using storage::ThinMove;

constexpr std::uint64_t kVolumeSize = 32u << 20;

double ms_since(Clock::time_point begin) { return std::chrono::duration<double, std::milli>(Clock::now() - begin).count(); }

#define RIG_EXPECT(condition, ...)                                           \
    if (!(condition)) return fail(Kind::kInternal, "expected " #condition __VA_OPT__(": ") __VA_ARGS__)

struct Stage {  // how far a scenario goes before it ends
    bool rounds = true, mirror = true, drain = true;
};

class Source final {
public:
    Source(std::unique_ptr<storage::ThinStore> store, UniqueFd peer) : store_(std::move(store)), peer_(std::move(peer)) {}

    void scenario(const std::string& name, const std::function<Result<void>(Json&)>& body) {
        Json facts = Json::object();
        const auto begin = Clock::now();
        const auto done = body(facts);
        facts["scenario"] = name;
        facts["ok"] = done.has_value();
        facts["total_ms"] = ms_since(begin);
        if (!done) facts["why"] = done.error().what;
        std::puts(facts.dump().c_str());
        if (done || !guest_) return;
        guest_->resume();  // a guest that waits for a suspended top could not end
        if (move_) (void)move_->finish(true, 100);
        guest_.reset();
    }

    Result<void> images(Json& facts) {
        const auto begin = Clock::now();
        BLANKET_CHECK(import(*store_));
        facts["import_ms"] = ms_since(begin);
        BLANKET_TRY(const bool present, store_->has_image(image_hash()));
        RIG_EXPECT(present);
        BLANKET_TRY(const auto extents, store_->image_extents(image_hash()));
        facts["image_extents"] = extents.size();
        facts["image_data_bytes"] = storage::data_bytes(extents);
        RIG_EXPECT(storage::data_bytes(extents) == (16u << 20) + 512, "{} bytes", storage::data_bytes(extents));  // two thirds of 24 MiB, and the last 512 bytes
        BLANKET_TRY(const UniqueFd fd, store_->open_image(image_hash()));
        std::vector<std::byte> content(kImageSize);
        BLANKET_CHECK(pread_all(fd.get(), content, 0));
        RIG_EXPECT(content == image_content());
        BLANKET_CHECK(import(*store_));  // it is there: nothing is read
        return {};
    }

    Result<void> wrong_image(Json&) {
        BLANKET_TRY(Pipe pipe, make_pipe());
        BLANKET_CHECK(write_all(pipe.write.get(), std::vector<std::byte>(4096, std::byte{7})));
        storage::FdImage reader(pipe.read.get(), 4096);
        const auto done = store_->import_image(std::string(64, 'a'), 4096, reader);
        RIG_EXPECT(!done && done.error().kind == Kind::kInvalid);
        BLANKET_TRY(const bool present, store_->has_image(std::string(64, 'a')));
        RIG_EXPECT(!present);
        RIG_EXPECT(store_->thin().table().find("img-" + std::string(24, 'a')) == nullptr);
        return {};
    }

    // A reboot as far as the disk sees one: every device-mapper device is gone, the volume group is inactive; content and epoch stay.
    Result<void> host_restarts(Json& facts) {
        volume_ = {.id = "boot", .image = image_hash(), .size = kVolumeSize, .target = "xvda"};
        BLANKET_CHECK(store_->create_volume(volume_));
        BLANKET_CHECK(store_->open_volume("boot", 3));
        BLANKET_TRY(UniqueFd top, storage::LiveSystem().open_device("bs-boot-top", true));
        std::vector<std::byte> content = image_content();
        content.resize(kVolumeSize);
        std::fill_n(content.begin() + 5 * 4096, 4096, std::byte{0x5a});
        BLANKET_CHECK(storage::write_range(top.get(), 5 * 4096, std::span(content).subspan(5 * 4096, 4096)));
        BLANKET_CHECK(storage::flush_device(top.get()));
        top.reset();
        auto begin = Clock::now();
        store_.reset();
        BLANKET_TRY(store_, open_store());
        facts["daemon_restart_ms"] = ms_since(begin);
        store_.reset();
        storage::LiveSystem system;
        for (const auto& device : {std::string("bs-boot-top"), std::string("bs-boot-vol"), storage::image_device(image_hash()), std::string("bs-pool")})
            BLANKET_CHECK(system.run({"dmsetup", "remove", device}));
        BLANKET_CHECK(run({"vgchange", "--activate", "n", "blanket"}));
        begin = Clock::now();
        BLANKET_TRY(store_, open_store());
        facts["host_restart_ms"] = ms_since(begin);
        const auto stale = store_->open_volume("boot", 2);
        RIG_EXPECT(!stale && stale.error().kind == Kind::kConflict);
        BLANKET_CHECK(store_->open_volume("boot", 3));
        BLANKET_TRY(const auto found, read_device("bs-boot-top", kVolumeSize));
        RIG_EXPECT(found == content);
        BLANKET_CHECK(store_->remove_volume("boot"));
        store_.reset();
        for (const auto* device : {"bs-pool"}) BLANKET_CHECK(system.run({"dmsetup", "remove", device}));
        const auto checked = run({"thin_check", "/dev/mapper/blanket-pool--meta"});
        RIG_EXPECT(checked.has_value(), "{}", checked.error().what);
        BLANKET_TRY(store_, open_store());
        return {};
    }

    // Volume at both ends, guest on the source's.
    Result<void> begin(const std::string& id, const std::string& image) {
        volume_ = {.id = id, .image = image, .size = kVolumeSize, .target = "xvda"};
        BLANKET_CHECK(store_->create_volume(volume_));
        BLANKET_CHECK(store_->open_volume(id, 1));
        BLANKET_CHECK(call(peer_.get(), {{"op", "create"}, {"id", id}, {"image", image}, {"size", kVolumeSize}}));
        std::vector<std::byte> content = image.empty() ? std::vector<std::byte>() : image_content();
        content.resize(kVolumeSize);
        guest_ = std::make_unique<Guest>("/dev/mapper/bs-" + id + "-top", std::move(content), static_cast<unsigned>(port_), 400);
        BLANKET_TRY(move_, ThinMove::source(*store_, volume_));
        return {};
    }

    Result<std::uint64_t> ship(const std::vector<Extent>& extents) {
        std::vector<std::byte> data;
        for (const auto& extent : extents) {
            data.clear();
            if (!extent.zero) BLANKET_CHECK(move_->read_round(extent, data));
            BLANKET_CHECK(send_frame(peer_.get(), {{"op", "write"}, {"id", volume_.id}, {"offset", extent.offset}, {"length", extent.length}, {"zero", extent.zero}}, data));
        }
        BLANKET_CHECK(call(peer_.get(), {{"op", "written"}, {"id", volume_.id}}));
        return storage::data_bytes(extents);
    }

    Result<void> rounds(Json& facts) {
        guest_->report();
        Json list = Json::array();
        for (int round = 0; round < 4; ++round) {
            auto begin = Clock::now();
            BLANKET_TRY(const auto extents, move_->next_round());
            const double took = ms_since(begin);
            BLANKET_TRY(const auto bytes, ship(extents));
            list.push_back({{"bytes", bytes}, {"snapshot_and_delta_ms", took}, {"guest_longest_ms", guest_->report().longest_ms}});
            if (bytes < 4u << 20) break;
        }
        facts["rounds"] = std::move(list);
        return {};
    }

    Result<void> mirror(Json& facts, bool prepared) {
        const auto port = ++port_;
        if (prepared) {
            BLANKET_CHECK(call(peer_.get(), {{"op", "attach"}, {"id", volume_.id}, {"port", port}}));
            const auto begin = Clock::now();
            BLANKET_CHECK(move_->prepare_mirror(kSourceIp, kTargetIp, port));
            facts["prepare_mirror_ms"] = ms_since(begin);
        }
        guest_->report();
        const auto suspended = Clock::now();
        BLANKET_TRY(const auto rest, move_->last_round());
        facts["last_delta_ms"] = ms_since(suspended);
        BLANKET_TRY(const auto bytes, ship(rest));
        facts["last_bytes"] = bytes;
        facts["last_ship_ms"] = ms_since(suspended);
        BLANKET_CHECK(call(peer_.get(), {{"op", "attach"}, {"id", volume_.id}, {"port", port}}));
        BLANKET_CHECK(move_->attach_mirror(kSourceIp, kTargetIp, port, true));
        facts["window_ms"] = ms_since(suspended);
        if (!prepared) {  // what declare_equal() does where the peer's state came late, and with writes on their way as well
            const auto again = Clock::now();
            BLANKET_CHECK(storage::LiveSystem().run({"dmsetup", "suspend", "--nolockfs", storage::top_device(volume_.id)}));
            BLANKET_CHECK(storage::Mirror(store_->thin(), volume_.id).reconnect());
            BLANKET_CHECK(move_->wait_connected(10s));
            BLANKET_CHECK(storage::LiveSystem().run({"dmsetup", "resume", storage::top_device(volume_.id)}));
            facts["handshake_ms"] = ms_since(again);
        }
        BLANKET_CHECK(move_->wait_connected(5s));
        std::this_thread::sleep_for(2s);  // the guest writes through DRBD
        const auto report = guest_->report();
        facts["guest_longest_ms"] = report.longest_ms;
        facts["guest_writes"] = report.writes;
        RIG_EXPECT(report.errors == 0, "{}", report.first_error);
        RIG_EXPECT(report.writes > 50);
        return {};
    }

    Result<void> check_verify(Json& facts) {
        BLANKET_TRY(const auto wrong, move_->verify(60s));
        facts["verify_blocks_out_of_sync"] = wrong;
        RIG_EXPECT(wrong == 0, "{} blocks differ", wrong);
        return {};
    }

    Result<void> check_here() {  // the guest's view and the disk agree
        BLANKET_TRY(const auto content, read_device(storage::top_device(volume_.id), kVolumeSize));
        RIG_EXPECT(content == guest_->content());
        return {};
    }

    Result<void> check_there() {
        BLANKET_TRY(const auto answer, call(peer_.get(), {{"op", "hash"}, {"id", volume_.id}, {"size", kVolumeSize}}));
        RIG_EXPECT(json_string_or(answer, "hash", "") == hash_of(guest_->content()));
        return {};
    }

    Result<void> nothing_left() {  // no snapshot, no DRBD, no meta
        const auto table = store_->thin().table();
        RIG_EXPECT(table.snapshots_of(volume_.id).empty());
        RIG_EXPECT(table.find(storage::meta_key(volume_.id)) == nullptr);
        const auto* volume = table.find(storage::volume_key(volume_.id));
        RIG_EXPECT(volume == nullptr || !volume->mirror);
        for (const auto& device : {storage::under_device(volume_.id), storage::meta_device(volume_.id), storage::snapshot_device(volume_.id)}) {
            BLANKET_TRY(const auto info, store_->thin().info(device));
            RIG_EXPECT(!info, "{}", device);
        }
        return {};
    }

    Result<void> move_over(Json& facts, const std::string& id, const std::string& image, bool prepared) {
        BLANKET_CHECK(begin(id, image));
        std::this_thread::sleep_for(1s);
        BLANKET_CHECK(rounds(facts));
        BLANKET_CHECK(mirror(facts, prepared));
        BLANKET_CHECK(check_verify(facts));
        guest_->pause();  // as the suspend of a domain does
        const auto drained = Clock::now();
        BLANKET_CHECK(move_->drain());
        facts["drain_ms"] = ms_since(drained);
        const auto opened = Clock::now();
        BLANKET_CHECK(call(peer_.get(), {{"op", "finish"}, {"id", id}, {"keep", true}, {"epoch", 2}}));
        facts["target_finish_ms"] = ms_since(opened);
        BLANKET_CHECK(check_there());
        guest_.reset();  // the domain is destroyed
        BLANKET_CHECK(move_->finish(false, 1));
        BLANKET_TRY(const auto top, store_->thin().info(storage::top_device(id)));
        RIG_EXPECT(top && top->suspended);
        BLANKET_CHECK(nothing_left());
        BLANKET_CHECK(store_->remove_volume(id));
        move_.reset();
        return call(peer_.get(), {{"op", "remove"}, {"id", id}}).transform([](const Json&) {});
    }

    // Gives the move up after `stage`; `crash` = by a new object of a new store, as a restarted blanketd does.
    Result<void> give_up(Json& facts, const std::string& id, Stage stage, bool crash) {
        BLANKET_CHECK(begin(id, image_hash()));
        std::this_thread::sleep_for(500ms);
        if (stage.rounds) BLANKET_CHECK(rounds(facts));
        if (stage.mirror) BLANKET_CHECK(mirror(facts, true));
        if (stage.drain) {
            guest_->pause();
            BLANKET_CHECK(move_->drain());
            guest_->resume();
        }
        if (crash) {
            move_.reset();
            store_.reset();
            BLANKET_TRY(store_, open_store());
            BLANKET_TRY(move_, ThinMove::source(*store_, volume_));
        }
        const auto begin = Clock::now();
        BLANKET_CHECK(move_->finish(true, 1));
        facts["finish_ms"] = ms_since(begin);
        BLANKET_CHECK(call(peer_.get(), {{"op", "finish"}, {"id", id}, {"keep", false}, {"epoch", 1}}));
        BLANKET_CHECK(call(peer_.get(), {{"op", "remove"}, {"id", id}}));
        std::this_thread::sleep_for(500ms);
        guest_->pause();
        const auto report = guest_->report();
        facts["guest_longest_after_ms"] = report.longest_ms;
        RIG_EXPECT(report.errors == 0, "{}", report.first_error);
        RIG_EXPECT(report.writes > 20);
        BLANKET_CHECK(check_here());
        BLANKET_CHECK(nothing_left());
        guest_.reset();
        BLANKET_CHECK(store_->close_volume(id));
        return store_->remove_volume(id);
    }

    Result<void> fencing(Json&) {
        BLANKET_CHECK(begin("fence", ""));
        std::this_thread::sleep_for(300ms);
        BLANKET_CHECK(store_->open_volume("fence", 5));
        const auto stale = store_->open_volume("fence", 4);
        RIG_EXPECT(!stale && stale.error().kind == Kind::kConflict);
        BLANKET_CHECK(store_->close_volume("fence"));
        guest_->report();
        std::this_thread::sleep_for(1s);
        const auto report = guest_->report();
        RIG_EXPECT(report.writes + report.discards <= 1 && report.errors == 0, "{} writes passed a closed volume", report.writes);
        const auto busy = store_->remove_volume("fence");
        RIG_EXPECT(!busy && busy.error().kind == Kind::kConflict);
        BLANKET_CHECK(store_->open_volume("fence", 5));
        std::this_thread::sleep_for(300ms);
        RIG_EXPECT(guest_->report().writes > 10);
        guest_.reset();
        BLANKET_CHECK(store_->remove_volume("fence"));
        return call(peer_.get(), {{"op", "remove"}, {"id", "fence"}}).transform([](const Json&) {});
    }

    // The target's machine dies while the mirror is on. Last: there is no peer afterwards.
    Result<void> peer_dies(Json& facts) {
        BLANKET_CHECK(begin("widow", image_hash()));
        BLANKET_CHECK(rounds(facts));
        BLANKET_CHECK(mirror(facts, true));
        BLANKET_CHECK(send_frame(peer_.get(), {{"op", "die"}}));
        std::this_thread::sleep_for(12s);
        auto report = guest_->report();
        facts["guest_stall_ms"] = report.longest_ms;
        RIG_EXPECT(report.errors == 0, "{}", report.first_error);
        RIG_EXPECT(report.writes > 50, "{} writes", report.writes);
        guest_->pause();
        auto begin = Clock::now();
        const auto drained = move_->drain();
        facts["drain_refused_ms"] = ms_since(begin);
        RIG_EXPECT(!drained && drained.error().kind == Kind::kUnavailable);
        facts["drain_error"] = drained.error().what;
        begin = Clock::now();
        BLANKET_CHECK(move_->finish(true, 1));
        facts["finish_ms"] = ms_since(begin);
        guest_->resume();
        std::this_thread::sleep_for(300ms);
        guest_->pause();
        RIG_EXPECT(guest_->report().writes > 10);
        BLANKET_CHECK(check_here());
        guest_.reset();
        return nothing_left();
    }


private:
    std::unique_ptr<storage::ThinStore> store_;
    UniqueFd peer_;
    Volume volume_;
    std::unique_ptr<Guest> guest_;
    std::unique_ptr<ThinMove> move_;
    std::uint16_t port_ = 7800;
};

Result<void> scenarios() {
    BLANKET_CHECK(make_group());
    const auto begin = Clock::now();
    BLANKET_TRY(auto store, open_store());
    std::puts(Json{{"scenario", "first-start"}, {"ok", true}, {"open_ms", ms_since(begin)}}.dump().c_str());
    BLANKET_TRY(auto peer, connect_to(kTargetIp, kRpcPort, 300));
    Source source(std::move(store), std::move(peer));
    source.scenario("images", [&](Json& facts) { return source.images(facts); });
    source.scenario("wrong-image", [&](Json& facts) { return source.wrong_image(facts); });
    source.scenario("host-restarts", [&](Json& facts) { return source.host_restarts(facts); });
    source.scenario("fencing", [&](Json& facts) { return source.fencing(facts); });
    source.scenario("move", [&](Json& facts) { return source.move_over(facts, "web", image_hash(), true); });
    source.scenario("move-unprepared", [&](Json& facts) { return source.move_over(facts, "web-2", image_hash(), false); });
    source.scenario("move-blank", [&](Json& facts) { return source.move_over(facts, "blank", "", true); });
    source.scenario("abort-in-rounds", [&](Json& facts) { return source.give_up(facts, "ab-1", {.rounds = true, .mirror = false, .drain = false}, false); });
    source.scenario("abort-mirrored", [&](Json& facts) { return source.give_up(facts, "ab-2", {.rounds = true, .mirror = true, .drain = false}, false); });
    source.scenario("abort-drained", [&](Json& facts) { return source.give_up(facts, "ab-3", {.rounds = true, .mirror = true, .drain = true}, false); });
    source.scenario("daemon-dies-mirrored", [&](Json& facts) { return source.give_up(facts, "ab-4", {.rounds = true, .mirror = true, .drain = false}, true); });
    source.scenario("peer-dies", [&](Json& facts) { return source.peer_dies(facts); });
    std::puts(Json{{"scenario", "end"}, {"ok", true}}.dump().c_str());
    return {};
}

}  // namespace

int run_source() {
    const auto done = scenarios();
    if (done) return 0;
    std::puts(Json{{"scenario", "source"}, {"ok", false}, {"why", done.error().what}}.dump().c_str());
    return 1;
}

}  // namespace blanket::rig
