// SPDX-License-Identifier: GPL-2.0-or-later
// An encoder and a decoder that belong together, over one image or none, for the tests of the codec.
#pragma once

#include <filesystem>

#include "tests/unit/fakes/fake_site.hpp"
#include "tests/unit/fakes/xen_stream.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/stream/decoder.hpp"
#include "toolstack/stream/encoder.hpp"

namespace blanket::stream {

// One site's images, with an index in memory for each, as the daemon has it.
struct ImageShelf {
    fakes::FakeSite site{"east"};
    std::string folder = "/tmp/stream-test-" + random_hex(6);
    ImageIndexes indexes{site, folder};
    ~ImageShelf() { std::filesystem::remove_all(folder); }
    std::string add(const std::string& content) {
        const std::string sha256 = fakes::image_hash(content);
        site.images.insert(sha256);
        site.image_content[sha256] = content;
        return sha256;
    }
    KnownImage known(const std::string& sha256) {
        auto index = indexes.want(sha256);
        indexes.wait();
        return {BaseImage::open(site, sha256).value(), index};
    }
};

struct CodecPair {
    std::unique_ptr<Encoder> encoder;
    std::unique_ptr<Decoder> decoder;

    explicit CodecPair(std::size_t cache_pages) : encoder(Encoder::create(cache_pages, {}).value()), decoder(Decoder::create(cache_pages, {}).value()) {}
    CodecPair(std::size_t cache_pages, ImageShelf& shelf, const std::string& sha256) {
        std::vector<KnownImage> known;
        known.push_back(shelf.known(sha256));
        std::vector<BaseImage> images;
        images.push_back(BaseImage::open(shelf.site, sha256).value());
        encoder = Encoder::create(cache_pages, std::move(known)).value();
        decoder = Decoder::create(cache_pages, std::move(images)).value();
    }
};

}  // namespace blanket::stream
