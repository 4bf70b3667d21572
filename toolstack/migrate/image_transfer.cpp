// SPDX-License-Identifier: GPL-2.0-or-later
// See image_transfer.hpp.
#include "toolstack/migrate/image_transfer.hpp"

#include <algorithm>
#include <fcntl.h>
#include <thread>
#include <unistd.h>

namespace blanket::migrate {
namespace {

constexpr auto kStream = std::chrono::seconds(60);
constexpr auto kImport = std::chrono::minutes(15);  // the last flush and the check of the hash on a slow disk
constexpr std::uint64_t kMaxImage = std::uint64_t{1} << 42;
constexpr int kPipeSize = 1 << 20;

Result<void> write_zeros(int fd, std::uint64_t count) {
    static const std::vector<std::byte> kZeros(kMaxBlock);
    for (std::uint64_t done = 0; done < count;) {
        const auto part = std::min<std::uint64_t>(kZeros.size(), count - done);
        BLANKET_CHECK(write_all(fd, std::span(kZeros).first(part)));
        done += part;
    }
    return {};
}

// Blocks in ascending order into the pipe, with zeros for what was skipped.
Result<void> unpack(PeerLink& link, int fd, std::uint64_t size) {
    std::uint64_t position = 0;
    for (;;) {
        BLANKET_TRY(const Message message, link.receive(kStream));
        const auto type = static_cast<Type>(message.type);
        if (type == Type::kImageEnd) return write_zeros(fd, size - position);
        if (type != Type::kBlock) return fail(Kind::kInvalid, "'{}' from site '{}' within an image", to_string(type), link.peer());
        BLANKET_TRY(const Block block, parse_block(message.payload));
        if (block.offset < position || block.offset > size || block.length > size - block.offset)
            return fail(Kind::kInvalid, "image block at {} of {} bytes is out of order or beyond {}", block.offset, block.length, size);
        BLANKET_TRY(const auto plain, decode(block.coding, block.data, block.length));
        BLANKET_CHECK(write_zeros(fd, block.offset - position));
        BLANKET_CHECK(write_all(fd, plain));
        position = block.offset + block.length;
    }
}

}  // namespace

Result<void> send_image(PeerLink& link, BlockStore& blocks, const std::string& sha256, const std::function<bool(double)>& progress) {
    BLANKET_TRY(const auto extents, blocks.image_extents(sha256));
    BLANKET_TRY(const UniqueFd fd, blocks.open_image(sha256));
    const off_t size = ::lseek(fd.get(), 0, SEEK_END);
    if (size <= 0) return fail_errno("lseek", "base image " + sha256.substr(0, 12));
    std::uint64_t total = 1, sent = 0;
    for (const auto& extent : extents) total += extent.zero ? 0 : extent.length;
    BLANKET_CHECK(send_json(link, Type::kImage, {{"sha256", sha256}, {"size", static_cast<std::uint64_t>(size)}}));
    for (const auto& extent : extents) {
        for (std::uint64_t at = 0; !extent.zero && at < extent.length; at += kMaxBlock) {
            if (!progress(100.0 * static_cast<double>(sent) / static_cast<double>(total))) return fail(Kind::kCancelled, "cancelled while sending a base image");
            std::vector<std::byte> plain(std::min<std::uint64_t>(kMaxBlock, extent.length - at));
            BLANKET_CHECK(pread_all(fd.get(), plain, extent.offset + at));
            Coded coded = encode(plain);
            const Block block{0, extent.offset + at, static_cast<std::uint32_t>(plain.size()), coded.coding, std::move(coded.data)};
            BLANKET_CHECK(link.send(static_cast<std::uint32_t>(Type::kBlock), pack_block(block)));
            sent += plain.size();
        }
    }
    BLANKET_CHECK(send_json(link, Type::kImageEnd, Json::object()));
    BLANKET_CHECK(expect(link, Type::kAck, kImport));
    return {};
}

Result<void> receive_image(PeerLink& link, BlockStore& blocks, const std::string& sha256) {
    BLANKET_TRY(const Json head, expect(link, Type::kImage, kStream));
    BLANKET_TRY(const std::string offered, json_string(head, "sha256"));
    BLANKET_TRY(const std::uint64_t size, json_number(head, "size"));
    if (offered != sha256 || size == 0 || size > kMaxImage)
        return fail(Kind::kInvalid, "site '{}' sends image {} of {} bytes where {} was due", link.peer(), offered.substr(0, 12), size, sha256.substr(0, 12));
    BLANKET_TRY(Pipe pipe, make_pipe());
    ::fcntl(pipe.write.get(), F_SETPIPE_SZ, kPipeSize);
    Result<void> imported;
    std::thread importer([&, fd = std::move(pipe.read)]() mutable {
        imported = blocks.import_image(sha256, size, fd.get());
        fd.reset();
    });
    auto unpacked = unpack(link, pipe.write.get(), size);
    pipe.write.reset();
    importer.join();
    if (!imported) return std::unexpected(std::move(imported).error().context("importing the base image"));
    BLANKET_CHECK(unpacked);
    return send_json(link, Type::kAck, Json::object());
}

}  // namespace blanket::migrate
