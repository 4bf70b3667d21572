// SPDX-License-Identifier: GPL-2.0-or-later
// See image_transfer.hpp.
#include "toolstack/migrate/image_transfer.hpp"

#include <algorithm>
#include <optional>
#include <thread>
#include <unistd.h>

#include "toolstack/base/log.hpp"

namespace blanket::migrate {
namespace {

constexpr auto kImageSilence = std::chrono::seconds(60);
constexpr auto kImport = std::chrono::minutes(15);  // the last flush and the check of the hash on a slow disk
constexpr std::uint64_t kMaxImage = std::uint64_t{1} << 42;

// The size that the peer names, in answer to what was asked for.
Result<std::uint64_t> read_head(PeerLink& link, const std::string& sha256, std::chrono::milliseconds silence) {
    BLANKET_TRY(const Json head, expect(link, Type::kImage, silence));
    BLANKET_TRY(const std::string offered, json_string(head, "sha256"));
    BLANKET_TRY(const std::uint64_t size, json_number(head, "size"));
    if (offered != sha256 || size == 0 || size > kMaxImage)
        return fail(Kind::kInvalid, "site '{}' sends image {} of {} bytes where {} was due", link.peer(), offered.substr(0, 12), size, sha256.substr(0, 12));
    return size;
}

// What the peer sends, block by block.
class LinkImage final : public ImageReader {
public:
    LinkImage(PeerLink& link, std::uint64_t size, std::chrono::milliseconds silence = kImageSilence) : link_(&link), size_(size), silence_(silence) {}
    void go_on(PeerLink& link) {
        link_ = &link;
        again_ = 0;
    }
    [[nodiscard]] std::uint64_t position() const { return position_; }  // all below it has come
    [[nodiscard]] bool whole() const { return ended_; }

    Result<std::optional<Piece>> next() override {
        while (!ended_) {
            BLANKET_TRY(const Message message, link_->receive(silence_));
            const auto type = static_cast<Type>(message.type);
            ended_ = type == Type::kImageEnd;
            if (ended_) break;
            if (type == Type::kError) {
                BLANKET_TRY(const Json body, payload_json(message));
                return std::unexpected(error_from_json(body));
            }
            if (type != Type::kBlock) return fail(Kind::kInvalid, "'{}' from site '{}' within an image", to_string(type), link_->peer());
            BLANKET_TRY(const Block block, parse_block(message.payload));
            if (block.length == 0 || block.offset > size_ || block.length > size_ - block.offset)
                return fail(Kind::kInvalid, "an image block at {} of {} bytes is beyond {}", block.offset, block.length, size_);
            BLANKET_TRY(plain_, decode(block.coding, block.data, block.length));
            const std::uint64_t end = block.offset + plain_.size();
            if (end <= position_) {  // it came by a link that was lost
                if (again_ += plain_.size(); again_ > size_) return fail(Kind::kInvalid, "site '{}' sends the same blocks of an image again and again", link_->peer());
                continue;
            }
            const std::uint64_t start = std::max(position_, block.offset);
            position_ = end;
            return Piece{start, std::span(plain_).subspan(start - block.offset)};
        }
        return std::optional<Piece>();
    }

private:
    PeerLink* link_;
    std::uint64_t size_, position_ = 0, again_ = 0;  // again_: bytes of this link that had come before
    bool ended_ = false;
    std::chrono::milliseconds silence_;
    std::vector<std::byte> plain_;
};

bool is_lost(const Error& error) { return error.kind == Kind::kIo || error.kind == Kind::kTimeout || error.kind == Kind::kUnavailable; }

// The same over as many links as it takes.
class FetchedImage final : public ImageReader {
public:
    using Clock = std::chrono::steady_clock;
    FetchedImage(const std::function<Result<std::unique_ptr<PeerLink>>()>& reach, std::string sha256, const FetchLimits& limits) : reach_(reach), sha256_(std::move(sha256)), limits_(limits) {}

    Result<std::uint64_t> ask() {
        link_.reset();
        BLANKET_TRY(auto link, reach_());
        BLANKET_CHECK(send_json(*link, Type::kFetchImage, {{"sha256", sha256_}, {"from", content_ ? content_->position() : 0}}));
        BLANKET_TRY(const std::uint64_t size, read_head(*link, sha256_, limits_.silence));
        if (content_ && size != size_) return fail(Kind::kInvalid, "site '{}' names {} bytes of an image of {}", link->peer(), size, size_);
        link_ = std::move(link);
        size_ = size;
        if (content_) content_->go_on(*link_);
        else content_.emplace(*link_, size, limits_.silence);
        return size;
    }
    Result<std::optional<Piece>> next() override {
        for (const auto until = Clock::now() + limits_.patience;;) {
            Result<void> asked;
            if (!link_) asked = ask().transform([](std::uint64_t) {});
            auto piece = asked ? content_->next() : Result<std::optional<Piece>>(std::unexpected(asked.error()));
            if (piece || !is_lost(piece.error()) || Clock::now() >= until) return piece;
            log::info("image", "image {}: {} bytes have come: {}", sha256_.substr(0, 12), content_->position(), piece.error().what);
            link_.reset();
            std::this_thread::sleep_for(limits_.pause);
        }
    }
    // The other end may forget it: what matters is on the disk. Where the image was there already, it has not sent all of it, and hears that nobody listens any more.
    void acknowledge() {
        if (link_ && content_->whole()) (void)send_json(*link_, Type::kAck, Json::object());
    }

private:
    const std::function<Result<std::unique_ptr<PeerLink>>()>& reach_;
    std::string sha256_;
    FetchLimits limits_;
    std::unique_ptr<PeerLink> link_;
    std::uint64_t size_ = 0;
    std::optional<LinkImage> content_;
};

}  // namespace

Result<void> send_image(PeerLink& link, BlockStore& blocks, const std::string& sha256, const std::function<bool(double)>& progress, std::uint64_t from) {
    BLANKET_TRY(const auto extents, blocks.image_extents(sha256));
    BLANKET_TRY(const UniqueFd fd, blocks.open_image(sha256));
    const off_t size = ::lseek(fd.get(), 0, SEEK_END);
    if (size <= 0) return fail_errno("lseek", "base image " + sha256.substr(0, 12));
    if (from > static_cast<std::uint64_t>(size)) return fail(Kind::kInvalid, "site '{}' has {} bytes of an image of {}", link.peer(), from, size);
    std::uint64_t total = 1, sent = 0;
    for (const auto& extent : extents) total += extent.zero ? 0 : extent.length;
    BLANKET_CHECK(send_json(link, Type::kImage, {{"sha256", sha256}, {"size", static_cast<std::uint64_t>(size)}, {"from", from}}));
    for (const auto& extent : extents) {
        for (std::uint64_t at = 0; !extent.zero && at < extent.length; at += kMaxBlock) {
            if (!progress(100.0 * static_cast<double>(sent) / static_cast<double>(total))) return fail(Kind::kCancelled, "cancelled while sending a base image");
            std::vector<std::byte> plain(std::min<std::uint64_t>(kMaxBlock, extent.length - at));
            sent += plain.size();
            if (extent.offset + at + plain.size() <= from) continue;
            BLANKET_CHECK(pread_all(fd.get(), plain, extent.offset + at));
            Coded coded = encode(plain);
            const Block block{0, extent.offset + at, static_cast<std::uint32_t>(plain.size()), coded.coding, std::move(coded.data)};
            BLANKET_CHECK(link.send(static_cast<std::uint32_t>(Type::kBlock), pack_block(block)));
        }
    }
    BLANKET_CHECK(send_json(link, Type::kImageEnd, Json::object()));
    BLANKET_CHECK(expect(link, Type::kAck, kImport));
    return {};
}

Result<void> receive_image(PeerLink& link, BlockStore& blocks, const std::string& sha256) {
    BLANKET_TRY(const std::uint64_t size, read_head(link, sha256, kImageSilence));
    LinkImage content(link, size);
    if (auto imported = blocks.import_image(sha256, size, content); !imported) return std::unexpected(std::move(imported).error().context("importing the base image"));
    while (!content.whole()) BLANKET_CHECK(content.next());  // another import was first: what comes by this link is no longer wanted
    return send_json(link, Type::kAck, Json::object());
}

Result<void> fetch_image(const std::function<Result<std::unique_ptr<PeerLink>>()>& reach, BlockStore& blocks, const std::string& sha256, const FetchLimits& limits) {
    FetchedImage content(reach, sha256, limits);
    BLANKET_TRY(const std::uint64_t size, content.ask());
    if (auto imported = blocks.import_image(sha256, size, content); !imported) return std::unexpected(std::move(imported).error().context("importing the base image"));
    content.acknowledge();
    return {};
}

Result<void> serve_image(PeerLink& link, BlockStore& blocks, const Json& request) {
    BLANKET_TRY(const std::string sha256, json_string(request, "sha256"));
    BLANKET_TRY(const std::uint64_t from, request.contains("from") ? json_number(request, "from") : Result<std::uint64_t>(0));
    BLANKET_TRY(const bool present, blocks.has_image(sha256));
    if (!present) return fail(Kind::kNotFound, "there is no image {} here", sha256.substr(0, 12));
    return send_image(link, blocks, sha256, [](double) { return true; }, from);
}

}  // namespace blanket::migrate
