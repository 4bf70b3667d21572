// SPDX-License-Identifier: GPL-2.0-or-later
// The indexes of a site's base images, one file each, made while the image is imported: the content passes by then, so it costs no reading, and no move ever waits
// for it. An image without one is never referred to.
#pragma once

#include "toolstack/core/ports.hpp"
#include "toolstack/stream/image_index.hpp"

namespace blanket::stream {

class IndexShelf final {
public:
    explicit IndexShelf(std::string folder) : folder_(std::move(folder)) {}  // made when it is needed
    // kNotFound: the image has none.
    [[nodiscard]] Result<ImageIndex> load(const std::string& sha256) const;
    [[nodiscard]] Result<void> keep(const ImageIndex& index) const;

private:
    std::string folder_;
};

// Passes an image's content on, and indexes it.
class IndexedContent final : public ImageReader {
public:
    explicit IndexedContent(ImageReader& content) : content_(content), builder_(ImageIndex::Builder::create()) {}
    Result<std::optional<Piece>> next() override;
    [[nodiscard]] bool whole() const { return whole_; }    // it was read to its end
    Result<ImageIndex> finish(const std::string& sha256);  // after the last piece

private:
    ImageReader& content_;
    bool whole_ = false;
    Result<ImageIndex::Builder> builder_;
};

}  // namespace blanket::stream
