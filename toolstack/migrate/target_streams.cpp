// SPDX-License-Identifier: GPL-2.0-or-later
// What streams in at the target: disk blocks, the mirror's request, and memory into libvirt's restore.
#include <fcntl.h>

#include "toolstack/base/text.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/migrate/target.hpp"

namespace blanket::migrate {
namespace {

constexpr auto kStream = std::chrono::seconds(60);  // silence longer than this within a stream means that the source is gone
constexpr int kPipeSize = 1 << 20;

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
            case Type::kRoundEnd: BLANKET_CHECK(send_json(ports_.link, Type::kAck, Json::object())); break;
            case Type::kMirror: {
                BLANKET_TRY(const Json request, payload_json(message));
                BLANKET_CHECK(attach_mirror(request));
                BLANKET_CHECK(send_json(ports_.link, Type::kAck, Json::object()));
                break;
            }
            case Type::kMemoryBegin: return {};
            default: return fail(Kind::kInvalid, "'{}' while the disk moves", to_string(static_cast<Type>(message.type)));
        }
    }
}

Result<void> Target::feed(int fd, StreamDigest& digest, Json& end) {
    for (;;) {
        BLANKET_TRY(const Message message, next(kStream));
        if (static_cast<Type>(message.type) == Type::kMemoryEnd) {
            BLANKET_TRY(end, payload_json(message));
            return {};
        }
        if (static_cast<Type>(message.type) != Type::kMemory) return fail(Kind::kInvalid, "'{}' within the memory stream", to_string(static_cast<Type>(message.type)));
        BLANKET_TRY(const auto plain, parse_memory(message.payload));
        digest.add(plain);
        BLANKET_CHECK(write_all(fd, plain));
    }
}

Result<void> Target::receive_memory() {
    BLANKET_TRY(Pipe pipe, make_pipe());
    ::fcntl(pipe.write.get(), F_SETPIPE_SZ, kPipeSize);
    Result<void> restored;
    std::thread restorer([&, fd = std::move(pipe.read)]() mutable {
        restored = ports_.ends.restore_paused(vm_.value.uuid, vm_.value.definition, fd.get());
        fd.reset();
    });
    StreamDigest digest;
    Json end;
    auto fed = feed(pipe.write.get(), digest, end);
    pipe.write.reset();
    restorer.join();
    restored_ = restored.has_value();
    if (!restored) return std::unexpected(std::move(restored).error().context("restoring the VM"));  // its text says more than our broken pipe
    BLANKET_CHECK(fed);
    if (json_number_or(end, "bytes", 0) != digest.bytes() || json_string_or(end, "digest", "") != digest.value())
        return fail(Kind::kIo, "the memory stream arrived damaged: {} of {} bytes, digest {} where {} was sent", digest.bytes(),
                    json_number_or(end, "bytes", 0), digest.value(), json_string_or(end, "digest", ""));
    BLANKET_CHECK(expect(ports_.link, Type::kDrained, kStream));
    return {};
}

}  // namespace blanket::migrate
