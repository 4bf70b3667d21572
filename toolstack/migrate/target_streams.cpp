// SPDX-License-Identifier: GPL-2.0-or-later
// What streams in at the target: disk blocks, the mirror's request, and memory into libvirt's restore.
#include <algorithm>
#include <utility>

#include "toolstack/base/text.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/migrate/store_subject.hpp"
#include "toolstack/migrate/target.hpp"

namespace blanket::migrate {
namespace {

// Silence longer than this within a stream means that the source is gone.
constexpr auto kStream = std::chrono::seconds(60);
constexpr auto kPiece = std::chrono::milliseconds(500);  // how long one request for the next bytes waits
constexpr std::size_t kRest = 64 * 1024;
constexpr std::chrono::milliseconds kBegin{30'000}, kBeginRetry{500};  // for a restore that cannot begin; what the link holds may be all of a small VM, which stands still then
constexpr std::size_t kAhead = 4u << 20;  // of memory that has come and waits for blocks from the disk; a batch more at most

}  // namespace

Result<void> Target::write_block(const Message& message) {
    BLANKET_TRY(const Block block, parse_block(message.payload));
    if (block.volume >= moves_.size()) return fail(Kind::kInvalid, "a block for volume {} of {}", block.volume, moves_.size());
    const Volume& volume = vm_.value.volumes[block.volume];
    if (block.offset > volume.size || block.length > volume.size - block.offset)
        return fail(Kind::kInvalid, "a block at {} of {} bytes is beyond volume '{}' of {} bytes", block.offset, block.length, volume.id, volume.size);
    if (block.coding == Coding::kZero) return moves_[block.volume]->write({block.offset, block.length, true}, {});
    BLANKET_TRY(const auto plain, decode(block.coding, block.data, block.length));
    return moves_[block.volume]->write({block.offset, block.length, false}, plain);
}

// False: another mirror here has that port, and the source has others to offer.
Result<bool> Target::attach_mirror(const Json& request) {
    BLANKET_TRY(const std::uint64_t index, json_number(request, "volume"));
    BLANKET_TRY(const std::uint64_t port, json_number(request, "port"));
    BLANKET_TRY(const std::string source_ip, json_string(request, "source_ip"));
    BLANKET_TRY(const std::string target_ip, json_string(request, "target_ip"));
    BLANKET_CHECK(parse_ipv4(source_ip));
    BLANKET_CHECK(parse_ipv4(target_ip));
    if (index >= moves_.size() || port < 1024 || port > 65535) return fail(Kind::kInvalid, "a mirror for volume {} on port {}", index, port);
    const std::uint16_t wanted[] = {static_cast<std::uint16_t>(port)};
    if (const auto taken = moves_[index]->take_port(wanted); !taken) {
        if (const auto another = request.find("another"); taken.error().kind == Kind::kConflict && another != request.end() && *another == true) return false;
        return std::unexpected(Error(taken.error()).context(std::format("a mirror on TCP port {} at '{}'", port, here_)));
    }
    BLANKET_CHECK(moves_[index]->attach_mirror(target_ip, source_ip, wanted[0], false));
    return true;
}

Result<void> Target::receive_disks() {
    for (;;) {
        BLANKET_TRY(const Message message, next(kStream));
        switch (static_cast<Type>(message.type)) {
            case Type::kBlock: BLANKET_CHECK(write_block(message)); break;
            case Type::kRoundEnd: BLANKET_CHECK(send_json(link_, Type::kAck, Json::object())); break;
            case Type::kMirror: {
                BLANKET_TRY(const Json request, payload_json(message));
                BLANKET_TRY(const bool attached, attach_mirror(request));
                BLANKET_CHECK(send_json(link_, Type::kAck, attached ? Json::object() : Json{{"taken", true}}));
                break;
            }
            case Type::kAskPages: BLANKET_CHECK(tell_pages()); break;
            case Type::kMemoryBegin: {
                BLANKET_TRY(const Json request, payload_json(message));
                return begin_memory(request);
            }
            default: return fail(Kind::kInvalid, "'{}' while the disk moves", to_string(static_cast<Type>(message.type)));
        }
    }
}

// Its list is made while the disk moves. By the registry's record: whose pages these are is not the peer's to say.
void Target::begin_offer() {
    if (store_ == nullptr) return;
    auto offer = store_->offer(subject_of(vm_.value), offered_pages_for(vm_.value.memory_mib));
    if (offer) offer_ = std::move(*offer);
    else log::warning("migrate", "VM {}: the content store offers nothing: {}", vm_.value.name, offer.error().what);
}

Result<void> Target::tell_pages() {
    if (!offer_ || std::exchange(offer_told_, true)) return fail(Kind::kInvalid, "site '{}' asks for pages that were not offered", link_.peer());
    return link_.send(static_cast<std::uint32_t>(Type::kPages), offer_->close(for_pages_));
}

Result<void> Target::begin_memory(const Json& request) {
    if (const auto version = json_number_or(request, "stream", 0); version != stream::kVersion)
        return fail(Kind::kInvalid, "a memory stream of version {}, not {}", version, stream::kVersion);
    std::vector<stream::BaseImage> referred;
    if (const auto names = request.find("images"); names != request.end() && names->is_array())
        for (const auto& name : *names) {
            const auto at = std::ranges::find_if(images_, [&](const auto& image) { return name == image.sha256(); });
            if (at == images_.end()) return fail(Kind::kInvalid, "a memory stream that refers to base images that were not agreed");
            referred.push_back(std::move(*at));
            images_.erase(at);
        }
    const auto pages = request.find("pages");
    const bool offered = pages != request.end() && *pages == true;
    if (offered && !offer_told_) return fail(Kind::kInvalid, "a memory stream that refers to pages that were not offered");
    if (store_ != nullptr) {
        auto feed = store_->feed(subject_of(vm_.value), offered_pages_for(vm_.value.memory_mib));
        if (feed) feed_ = std::move(*feed);
        else log::warning("migrate", "VM {}: nothing of it is kept here: {}", vm_.value.name, feed.error().what);
    }
    BLANKET_TRY(decoder_, stream::Decoder::create(cache_pages_, std::move(referred), offered ? offer_.get() : nullptr, feed_.get()));
    return {};
}

// The next message of the memory stream. kTimeout: none yet.
Result<void> Target::take_memory(std::chrono::milliseconds deadline) {
    BLANKET_TRY(Message message, next(deadline));
    silence_ = {};
    const auto type = static_cast<Type>(message.type);
    if (type == Type::kMemory) return decoder_->take(std::move(message.payload));
    if (type != Type::kMemoryEnd) return fail(Kind::kInvalid, "'{}' within the memory stream", to_string(type));
    BLANKET_TRY(memory_end_, payload_json(message));
    times_.end_heard = log_.now();
    return {};
}

Result<std::size_t> Target::pull_memory(std::span<std::byte> out) {
    while (piece_at_ == piece_.size()) {
        if (!memory_end_ && !decoder_->waiting()) {
            auto taken = take_memory(kPiece);
            if (!taken && taken.error().kind == Kind::kTimeout && (silence_ += kPiece) >= kStream)
                return fail(Kind::kIo, "nothing came within the memory stream for {} s", std::chrono::duration_cast<std::chrono::seconds>(silence_).count());
            BLANKET_CHECK(taken);
        }
        // One more than is used up, where one is there: so those that wait for blocks from the disk grow in number while the network is faster.
        if (!memory_end_ && decoder_->refers() && decoder_->held() < kAhead)
            if (auto taken = take_memory(std::chrono::milliseconds(0)); !taken && taken.error().kind != Kind::kTimeout) return std::unexpected(std::move(taken).error());
        if (!decoder_->waiting()) return 0;
        BLANKET_TRY(piece_, decoder_->next());
        piece_at_ = 0;
        digest_.add(piece_);
    }
    const auto length = std::min(out.size(), piece_.size() - piece_at_);
    std::copy_n(piece_.begin() + static_cast<std::ptrdiff_t>(piece_at_), length, out.begin());
    piece_at_ += length;
    return length;
}

// What a restore needs of others before it takes its first byte may not answer at this moment, as the registry after a cut of the link between the sites: it is tried again,
// and the source's word is heard meanwhile. Not once all has come: the guest stands still then, and is given back.
Result<void> Target::restore() {
    const std::int64_t until = ports_.clock.boottime_ms() + kBegin.count();
    for (;;) {
        bool begun = false;
        auto restored = ports_.ends.restore_paused(vm_.value.uuid, vm_.value.definition, [&](std::span<std::byte> out) {
            begun = true;
            return pull_memory(out);
        });
        if (restored || begun || restored.error().kind != Kind::kUnavailable || memory_end_ || give_up_() || ports_.clock.boottime_ms() >= until) return restored;
        log::info("migrate", "VM {}: its restore is tried again: {}", vm_.value.name, restored.error().what);
        if (decoder_->held() >= kAhead) ports_.clock.sleep(kBeginRetry);
        else if (auto taken = take_memory(kBeginRetry); !taken && taken.error().kind != Kind::kTimeout) return taken;
    }
}

Result<void> Target::receive_memory() {
    const auto restored = restore();
    restored_ = restored.has_value();
    times_.restored = log_.now();
    if (!restored) return std::unexpected(Error(restored.error()).context("restoring the VM"));
    ports_.overlay.arm(vm_.value);
    std::vector<std::byte> rest(kRest);  // the hypervisor stops at its own end mark
    for (std::size_t got = 1; got != 0;) {
        const auto more = pull_memory(rest);
        if (!more && more.error().kind == Kind::kTimeout) continue;
        BLANKET_CHECK(more);
        got = *more;
    }
    if (json_number_or(*memory_end_, "bytes", 0) != digest_.bytes() || json_string_or(*memory_end_, "digest", "") != digest_.value())
        return fail(Kind::kIo, "the memory stream arrived damaged: {} of {} bytes, digest {} where {} was sent", digest_.bytes(),
                    json_number_or(*memory_end_, "bytes", 0), digest_.value(), json_string_or(*memory_end_, "digest", ""));
    BLANKET_CHECK(expect(link_, Type::kDrained, kStream));
    return {};
}

}  // namespace blanket::migrate
