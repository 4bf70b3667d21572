// SPDX-License-Identifier: GPL-2.0-or-later
// See image_transfer.hpp.
#include "toolstack/migrate/image_transfer.hpp"

#include <algorithm>
#include <unistd.h>

namespace blanket::migrate {
namespace {

constexpr auto kImageSilence = std::chrono::seconds(60);
constexpr auto kImport = std::chrono::minutes(15);  // the last flush and the check of the hash on a slow disk
constexpr std::uint64_t kMaxImage = std::uint64_t{1} << 42;

// What the peer sends, block by block.
class LinkImage final : public ImageReader {
public:
    LinkImage(PeerLink& link, std::uint64_t size) : link_(link), size_(size) {}
    Result<std::optional<Piece>> next() override {
        BLANKET_TRY(const Message message, link_.receive(kImageSilence));
        const auto type = static_cast<Type>(message.type);
        if (type == Type::kImageEnd) return std::optional<Piece>();
        if (type != Type::kBlock) return fail(Kind::kInvalid, "'{}' from site '{}' within an image", to_string(type), link_.peer());
        BLANKET_TRY(const Block block, parse_block(message.payload));
        if (block.offset > size_ || block.length > size_ - block.offset)
            return fail(Kind::kInvalid, "an image block at {} of {} bytes is beyond {}", block.offset, block.length, size_);
        BLANKET_TRY(plain_, decode(block.coding, block.data, block.length));
        return Piece{block.offset, plain_};
    }

private:
    PeerLink& link_;
    std::uint64_t size_;
    std::vector<std::byte> plain_;
};

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
    BLANKET_TRY(const Json head, expect(link, Type::kImage, kImageSilence));
    BLANKET_TRY(const std::string offered, json_string(head, "sha256"));
    BLANKET_TRY(const std::uint64_t size, json_number(head, "size"));
    if (offered != sha256 || size == 0 || size > kMaxImage)
        return fail(Kind::kInvalid, "site '{}' sends image {} of {} bytes where {} was due", link.peer(), offered.substr(0, 12), size, sha256.substr(0, 12));
    LinkImage content(link, size);
    if (auto imported = blocks.import_image(sha256, size, content); !imported) return std::unexpected(std::move(imported).error().context("importing the base image"));
    return send_json(link, Type::kAck, Json::object());
}

}  // namespace blanket::migrate
