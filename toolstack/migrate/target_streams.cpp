// SPDX-License-Identifier: GPL-2.0-or-later
// What streams in at the target: disk blocks, the mirror's request, and memory into libvirt's restore.
#include <algorithm>

#include "toolstack/base/text.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/migrate/target.hpp"

namespace blanket::migrate {
namespace {

constexpr auto kStream = std::chrono::seconds(60);  // silence longer than this within a stream means that the source is gone
constexpr auto kPiece = std::chrono::milliseconds(500);  // how long one request for the next bytes waits
constexpr std::size_t kRest = 64 * 1024;

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

Result<void> Target::attach_mirror(const Json& request) {
    BLANKET_TRY(const std::uint64_t index, json_number(request, "volume"));
    BLANKET_TRY(const std::uint64_t port, json_number(request, "port"));
    BLANKET_TRY(const std::string source_ip, json_string(request, "source_ip"));
    BLANKET_TRY(const std::string target_ip, json_string(request, "target_ip"));
    BLANKET_CHECK(parse_ipv4(source_ip));
    BLANKET_CHECK(parse_ipv4(target_ip));
    if (index >= moves_.size() || port < 1024 || port > 65535) return fail(Kind::kInvalid, "a mirror for volume {} on port {}", index, port);
    return moves_[index]->attach_mirror(target_ip, source_ip, static_cast<std::uint16_t>(port), false);
}

Result<void> Target::receive_disks() {
    for (;;) {
        BLANKET_TRY(const Message message, next(kStream));
        switch (static_cast<Type>(message.type)) {
            case Type::kBlock: BLANKET_CHECK(write_block(message)); break;
            case Type::kRoundEnd: BLANKET_CHECK(send_json(link_, Type::kAck, Json::object())); break;
            case Type::kMirror: {
                BLANKET_TRY(const Json request, payload_json(message));
                BLANKET_CHECK(attach_mirror(request));
                BLANKET_CHECK(send_json(link_, Type::kAck, Json::object()));
                break;
            }
            case Type::kMemoryBegin: return {};
            default: return fail(Kind::kInvalid, "'{}' while the disk moves", to_string(static_cast<Type>(message.type)));
        }
    }
}

Result<std::size_t> Target::pull_memory(std::span<std::byte> out) {
    while (piece_at_ == piece_.size()) {
        if (memory_end_) return 0;
        auto message = next(kPiece);
        if (!message) {
            if (message.error().kind != Kind::kTimeout) return std::unexpected(std::move(message).error());
            if (silence_ += kPiece; silence_ < kStream) return std::unexpected(std::move(message).error());
            return fail(Kind::kIo, "nothing came within the memory stream for {} s", std::chrono::duration_cast<std::chrono::seconds>(silence_).count());
        }
        silence_ = {};
        if (static_cast<Type>(message->type) == Type::kMemoryEnd) {
            BLANKET_TRY(memory_end_, payload_json(*message));
            return 0;
        }
        if (static_cast<Type>(message->type) != Type::kMemory) return fail(Kind::kInvalid, "'{}' within the memory stream", to_string(static_cast<Type>(message->type)));
        BLANKET_TRY(piece_, parse_memory(message->payload));
        piece_at_ = 0;
        digest_.add(piece_);
    }
    const auto length = std::min(out.size(), piece_.size() - piece_at_);
    std::copy_n(piece_.begin() + static_cast<std::ptrdiff_t>(piece_at_), length, out.begin());
    piece_at_ += length;
    return length;
}

Result<void> Target::receive_memory() {
    const auto restored = ports_.ends.restore_paused(vm_.value.uuid, vm_.value.definition, [this](std::span<std::byte> out) { return pull_memory(out); });
    restored_ = restored.has_value();
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
