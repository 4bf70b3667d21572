// SPDX-License-Identifier: GPL-2.0-or-later
// See index_shelf.hpp.
#include "toolstack/stream/index_shelf.hpp"

#include <algorithm>

#include "toolstack/base/file.hpp"

namespace blanket::stream {
namespace {

// Names a file: nothing else may come in.
bool is_image_hash(std::string_view text) {
    return text.size() == 64 && std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

Result<ImageIndex> IndexShelf::load(const std::string& sha256) const {
    if (!is_image_hash(sha256)) return fail(Kind::kInvalid, "'{}' is not the hash of an image", sha256.substr(0, 64));
    return ImageIndex::load(folder_ + "/" + sha256, sha256);
}

Result<void> IndexShelf::keep(const ImageIndex& index) const {
    if (!is_image_hash(index.sha256())) return fail(Kind::kInvalid, "'{}' is not the hash of an image", index.sha256().substr(0, 64));
    BLANKET_CHECK(make_dirs(folder_, 0700));
    return index.save(folder_ + "/" + index.sha256());
}

Result<std::optional<ImageReader::Piece>> IndexedContent::next() {
    BLANKET_TRY(const auto piece, content_.next());
    whole_ = !piece;
    if (!piece || !builder_) return piece;
    if (auto added = builder_->add(piece->offset, piece->data); !added) builder_ = std::unexpected(added.error());  // an image without an index is an image
    return piece;
}

Result<ImageIndex> IndexedContent::finish(const std::string& sha256) {
    if (!builder_) return std::unexpected(builder_.error());
    return builder_->finish(sha256);
}

}  // namespace blanket::stream
