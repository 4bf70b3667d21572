// SPDX-License-Identifier: GPL-2.0-or-later
// An encoder and a decoder that belong together, over one image or none, for the tests of the codec.
#pragma once

#include "tests/unit/fakes/fake_site.hpp"
#include "tests/unit/fakes/xen_stream.hpp"
#include "toolstack/stream/decoder.hpp"
#include "toolstack/stream/encoder.hpp"

namespace blanket::stream {

inline ImageIndex index_of(const std::string& image, const std::string& sha256) {
    auto builder = ImageIndex::Builder::create().value();
    if (!builder.add(0, as_bytes(image))) std::abort();
    return builder.finish(sha256).value();
}

// One site's images.
struct ImageShelf {
    fakes::FakeSite site{"east"};
    std::string add(const std::string& content) {
        const std::string sha256 = fakes::image_hash(content);
        site.images.insert(sha256);
        site.image_content[sha256] = content;
        return sha256;
    }
};

struct CodecPair {
    std::unique_ptr<Encoder> encoder;
    std::unique_ptr<Decoder> decoder;

    explicit CodecPair(std::size_t cache_pages) : encoder(Encoder::create(cache_pages, {}).value()), decoder(Decoder::create(cache_pages, {}).value()) {}
    CodecPair(std::size_t cache_pages, ImageShelf& shelf, const std::string& sha256) {
        std::vector<ImageIndex> known;
        known.push_back(index_of(shelf.site.image_content[sha256], sha256));
        std::vector<BaseImage> images;
        images.push_back(BaseImage::open(shelf.site, sha256).value());
        encoder = Encoder::create(cache_pages, std::move(known)).value();
        decoder = Decoder::create(cache_pages, std::move(images)).value();
    }
};

}  // namespace blanket::stream
