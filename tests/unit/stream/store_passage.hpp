// SPDX-License-Identifier: GPL-2.0-or-later
// Streams through both ends of the codec with content stores behind them, for the tests of the stores. What comes out is compared with what went in.
#pragma once

#include <gtest/gtest.h>

#include <fcntl.h>

#include "tests/unit/stream/pair.hpp"
#include "toolstack/stream/frame_keys.hpp"

namespace blanket::stream {

using Bytes = std::vector<std::byte>;
inline const StoreSubject kWeb{"red", "web"}, kDb{"red", "db"}, kOther{"blue", "web"};

inline std::vector<fakes::Page> pages_of(std::uint64_t seed, std::size_t count) {
    std::mt19937_64 random(seed);
    std::vector<fakes::Page> pages(count);
    for (auto& page : pages) page = fakes::random_page(random);
    return pages;
}

// Frames 0, 1, ... with these pages.
inline Bytes stream_of(std::span<const fakes::Page> pages) {
    fakes::XenStream stream;
    std::vector<fakes::XenStream::Sent> sent;
    for (std::size_t frame = 0; frame < pages.size(); ++frame) {
        sent.push_back({frame, &pages[frame]});
        if (sent.size() < 1000 && frame + 1 < pages.size()) continue;
        stream.pages(sent);
        sent.clear();
    }
    stream.end();
    return std::move(stream.bytes);
}

inline void put(const std::string& path, std::string_view text) {
    const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600));
    ASSERT_TRUE(write_all(file.get(), as_bytes(text)));
}

inline std::vector<std::string> frame_files(const StoreFolder& folder) {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder.path))
        if (entry.path().extension() == kFramesSuffix) found.push_back(entry.path());
    return found;
}

struct Passed {
    std::size_t wire = 0;
    std::uint64_t referred = 0;
    Result<void> result;
};

// Through both ends; EXPECTs that all that came out is what went in, whether or not it came to the end.
inline Passed pass(CodecPair& pair, std::span<const std::byte> data) {
    Passed passed;
    std::size_t at = 0;
    const auto take = [&](std::span<const std::byte> batch) -> Result<void> {
        if (batch.empty()) return {};
        passed.wire += batch.size();
        BLANKET_TRY(const auto plain, pair.decoder->decode(batch));
        EXPECT_TRUE(std::ranges::equal(plain, data.subspan(at, plain.size())));
        at += plain.size();
        return {};
    };
    for (std::size_t from = 0; from < data.size() && passed.result; from += std::min<std::size_t>(200'000, data.size() - from))
        passed.result = take(pair.encoder->encode(data.subspan(from, std::min<std::size_t>(200'000, data.size() - from))).value());
    if (passed.result) passed.result = take(pair.encoder->finish().value());
    if (passed.result) EXPECT_EQ(at, data.size());
    passed.referred = pair.encoder->counts().store.pages;
    return passed;
}

}  // namespace blanket::stream
