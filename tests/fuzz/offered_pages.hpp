// SPDX-License-Identifier: GPL-2.0-or-later
// A content store's offer of some pages, and what a source has of them by frame, for the fuzz targets of the memory stream. Made once; both sites read the same file.
#pragma once

#include "tests/fuzz/stream_program.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/stream/frame_keys.hpp"
#include "toolstack/stream/page_offer.hpp"
#include "toolstack/stream/stored_versions.hpp"

namespace blanket::fuzz {

class OfferedPages {
public:
    static constexpr std::size_t kCount = 32, kFrames = 200;
    std::vector<fakes::Page> pages;  // as a program's, by their place in the offer
    std::vector<std::byte> list;
    std::unique_ptr<stream::PageOffer> offer;
    std::unique_ptr<stream::StoredVersions> versions;  // of frame n: page n % kCount

    OfferedPages() {
        const std::string path = scratch("offered.pages"), map = scratch("offered.frames");
        std::vector<stream::PageEntry> entries(kCount);
        std::vector<std::byte> bytes;
        for (std::size_t i = 0; i < kCount; ++i) {
            std::mt19937_64 random(i);
            pages.push_back(fakes::likely_page(random));
            bytes.insert(bytes.end(), pages.back().begin(), pages.back().end());
            entries[i].identity[0] = static_cast<std::byte>(i + 1);
        }
        (void)remove_file(path);
        stream::PageSegment::create(path, 1, {}).value().write(0, entries, bytes).value();
        stream::FrameKeys keys;
        for (std::size_t frame = 0; frame < kFrames; ++frame) keys.keys.push_back(frame % kCount + 1);
        keys.save(map).value();
        offer = stream::PageOffer::begin({{path}, 0, kCount}).value();
        list = offer->close(std::chrono::minutes(1));
        versions = stream::StoredVersions::begin({map, {}, {path}});
        require(offer->size() == kCount && versions->close(std::chrono::minutes(1)) == kFrames, "the offered pages are not there");
    }
    // Another input begins: nothing of the last one's proof is left.
    void begin() {
        if (offer->referred()) (void)offer->proof();
    }
};

}  // namespace blanket::fuzz
