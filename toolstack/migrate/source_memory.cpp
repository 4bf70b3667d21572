// SPDX-License-Identifier: GPL-2.0-or-later
// The memory's way: what the live save puts out is coded and sent.
#include <algorithm>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/migrate/source.hpp"
#include "toolstack/migrate/store_subject.hpp"

namespace blanket::migrate {

Result<void> Source::send_memory(std::span<const std::byte> plain, StreamDigest& digest) {
    for (; !plain.empty(); plain = plain.subspan(std::min(plain.size(), kMaxBlock))) {
        if (!stopping_) BLANKET_CHECK(await_mirrors());
        const auto piece = plain.first(std::min(plain.size(), kMaxBlock));
        digest.add(piece);
        const std::int64_t before = ports_.clock.boottime_ms();
        encoder_->compress(choice_.compress());
        if (stopping_) encoder_->hurry();
        BLANKET_TRY(const auto batch, encoder_->encode(piece));
        const std::int64_t coded = ports_.clock.boottime_ms();
        if (!batch.empty()) BLANKET_CHECK(link_.send(static_cast<std::uint32_t>(Type::kMemory), batch));
        memory_bytes_ = digest.bytes();
        memory_wire_ = link_.bytes_sent();
        pacer_.pace(memory_wire_);
        // Where most pages were told and not sent, the time says nothing of compression.
        if (encoder_->body() >= piece.size() / 4)
            choice_.took({.bytes = encoder_->body(), .wire = batch.size(), .coding_ms = coded - before, .sending_ms = ports_.clock.boottime_ms() - coded});
    }
    return {};
}

void Source::load_indexes() {
    if (plan_.indexes == nullptr || !plan_.features.references) return;
    for (const auto& volume : plan_.vm.value.volumes) {
        if (volume.image.empty() || indexes_.size() == stream::kMaxImages || std::ranges::contains(indexes_, volume.image, &stream::ImageIndex::sha256)) continue;
        auto index = plan_.indexes->load(volume.image);
        if (index) indexes_.push_back(std::move(*index));
        else log::info("migrate", "VM {}: its memory does not refer to base image {}: {}", plan_.vm.value.name, volume.image.substr(0, 12), index.error().what);
    }
}

// What the target can be told of by reference. It says so before memory begins, and the guest runs meanwhile; nothing is asked later, so no miss can stretch the stop.
Result<std::optional<stream::KnownPages>> Source::ask_for_pages() {
    if (!offers_) return std::optional<stream::KnownPages>();
    BLANKET_CHECK(send_json(link_, Type::kAskPages, Json::object()));
    BLANKET_TRY(const Message offer, expect_message(link_, Type::kPages, std::chrono::seconds(60)));
    BLANKET_TRY(auto known, stream::KnownPages::parse(offer.payload, offered_pages_for(plan_.vm.value.memory_mib)));
    log::info("migrate", "VM {}: {} offers {} pages of its content store", plan_.vm.value.name, plan_.target.name, known.size());
    return std::optional(std::move(known));
}

Result<void> Source::begin_memory() {
    std::erase_if(indexes_, [this](const auto& index) { return !std::ranges::contains(referable_, index.sha256()); });
    Json names = Json::array();
    for (const auto& index : indexes_) names.push_back(index.sha256());
    BLANKET_TRY(auto known, ask_for_pages());
    const bool referring = known.has_value();
    if (plan_.store != nullptr && plan_.features.store) {
        auto feed = plan_.store->feed(subject_of(plan_.vm.value));
        if (feed) feed_ = std::move(*feed);
        else log::warning("migrate", "VM {}: nothing of it is kept here: {}", plan_.vm.value.name, feed.error().what);
    }
    if (versions_) log::info("migrate", "VM {}: of {} frames it is known what the last move brought", plan_.vm.value.name, versions_->close(plan_.for_versions));
    BLANKET_TRY(encoder_, stream::Encoder::create(cache_pages_, std::move(indexes_), std::move(known), feed_.get(), versions_.get()));
    return send_json(link_, Type::kMemoryBegin, {{"stream", stream::kVersion}, {"images", names}, {"pages", referring}});
}

Result<void> Source::move_memory() {
    const std::uint64_t wire_before = link_.bytes_sent();
    memory_wire_ = wire_before;  // else the first rate would have all that went before in it
    BLANKET_CHECK(begin_memory());
    StreamDigest digest;
    const auto on_progress = [&](const SaveProgress& progress) {
        stats_.rounds = std::max(stats_.rounds, progress.round + 1);
        if (progress.stopping || progress.suspended) {
            if (!stopping_.exchange(true)) link_.urgent(true);  // it is not to stand still for a link that may never come back
            pacer_.hurry();
        }
        if (progress.suspended && !suspended_) {
            stats_.memory_rounds = progress.ended;
            stats_.stopped_because = progress.why;
            stats_.forecast_ms = progress.forecast_ms;
            suspended_at_ = ports_.clock.boottime_ms();
            suspended_ = true;
            observer_.stopped(progress);
            observer_.phase("suspend");
        } else if (progress.stopping && !redirected_) {
            // Before the guest is asked: what it has got it can still answer. An answer that it gives when it wakes up, before its network card
            // is back, is lost, and its TCP waits for seconds before it tries again.
            redirected_ = true;
            if (auto diverted = ports_.overlay.divert(plan_.vm.value, plan_.target); !diverted)
                log::warning("migrate", "VM {}: frames to it are lost while it moves: {}", plan_.vm.value.name, diverted.error().what);
        } else if (!progress.suspended) {
            if (const auto percent = round_percent(progress)) observer_.progress(*percent);
            observer_.memory(progress, memory_wire_);
        }
        return suspended_ || !observer_.cancelled();
    };
    const auto saved = ports_.ends.save_live(plan_.vm.value.uuid, plan_.limits, [&](std::span<const std::byte> plain) { return send_memory(plain, digest); }, on_progress);
    suspended_ = saved.has_value();  // a failed save has let the guest run on, or at least tried to: the way back sees to it
    stats_.memory_bytes = memory_bytes_;
    stats_.memory_wire_bytes = link_.bytes_sent() - wire_before;
    stats_.pages = encoder_->counts();
    if (!saved) return std::unexpected(Error(saved.error()).context("sending memory"));
    BLANKET_TRY(const auto rest, encoder_->finish());
    if (!rest.empty()) BLANKET_CHECK(link_.send(static_cast<std::uint32_t>(Type::kMemory), rest));
    const std::int64_t handed_over = ports_.clock.boottime_ms();
    stats_.last_pages_ms = handed_over - suspended_at_;
    observer_.times.last_pages = observer_.times.end_said = observer_.since_begin(handed_over);
    return send_json(link_, Type::kMemoryEnd, {{"bytes", digest.bytes()}, {"digest", digest.value()}});
}

}  // namespace blanket::migrate
