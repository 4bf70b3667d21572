// SPDX-License-Identifier: GPL-2.0-or-later
// The memory stream's codec: whatever the stream is, in whatever pieces it comes, the decoder gives back the same bytes, both ends keep the same pages, and the
// splitter gives each byte out once, in order, and finds the same pages whatever the pieces are.
#include "tests/fuzz/offered_pages.hpp"
#include "tests/fuzz/stream_program.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "toolstack/stream/decoder.hpp"
#include "toolstack/stream/encoder.hpp"

namespace blanket::fuzz {

using namespace stream;

const std::size_t target::kHeap = 24u << 20;

namespace {

class Found final : public Splitter::Sink {
public:
    std::vector<std::byte> all;
    std::vector<std::pair<std::uint64_t, std::size_t>> found;  // frame, and where its page begins
    std::size_t announced = 0;

    void bytes(std::span<const std::byte> data) override { all.insert(all.end(), data.begin(), data.end()); }
    void entries(std::span<const std::byte> data) override {
        require(!data.empty() && data.size() % 8 == 0, "a part of an entry");
        announced += data.size() / 8;
        bytes(data);
    }
    void page(std::uint64_t frame, PageBytes data) override {
        found.emplace_back(frame, all.size());
        bytes(data);
    }
};

// Pieces of lengths that the bytes of `sizes` say, over and over.
template <typename Take>
void in_pieces(std::span<const std::byte> stream, std::span<const std::byte> sizes, Take take) {
    for (std::size_t i = 0; !stream.empty(); ++i) {
        const std::size_t drawn = sizes.empty() ? kMaxStep : 1 + std::to_integer<std::size_t>(sizes[i % sizes.size()]) * (i % 3 == 0 ? 1 : 257);
        const auto part = stream.first(std::min({drawn, stream.size(), kMaxStep}));
        stream = stream.subspan(part.size());
        take(part);
    }
}

Found split_of(std::span<const std::byte> stream, std::span<const std::byte> sizes) {
    Found out;
    Splitter splitter;
    in_pieces(stream, sizes, [&](std::span<const std::byte> part) { splitter.feed(part, out); });
    splitter.finish(out);
    require(std::ranges::equal(out.all, stream), "the splitter's pieces are not the stream");
    return out;
}

struct Image : ImageSite {
    ImageIndex index() {
        auto builder = ImageIndex::Builder::create().value();
        builder.add(0, as_bytes(small_image())).value();
        return builder.finish(sha256).value();
    }
};

}  // namespace

std::vector<std::string> target::seeds() {
    std::vector<std::string> out;
    for (const unsigned rounds : {0u, 1u, 2u, 5u}) out.push_back(Output().byte(rounds * 5).byte(rounds % 2).piece(rounds == 2 ? "\x07\x80\x01" : "").text(sample_program(rounds)));
    for (const unsigned flags : {4u, 12u, 13u, 14u}) out.push_back(Output().byte(flags == 12 ? 0 : 3).byte(flags).piece(flags == 14 ? "\x40\x20" : "").text(sample_program(3)));
    out.push_back(Output().byte(9).byte(3).piece("\x01").byte(0).byte(4).number(std::uint32_t{8 + 8 * 2 + 4096}).number(std::uint32_t{2}).text(std::string(200, '\1')));
    return out;
}

void target::run(Input input) {
    static Image image;
    const std::size_t cache = input.byte();
    const std::uint8_t flags = input.byte();
    const auto sizes = input.bytes(input.number<std::uint16_t>() % 32);
    const std::vector<std::byte> stream = run_program(input, small_image());

    const Found whole = split_of(stream, {}), parts = split_of(stream, sizes);
    require(whole.found == parts.found && whole.announced == parts.announced, "other pages in other pieces");

    std::vector<ImageIndex> indexes;
    std::vector<BaseImage> images;
    if ((flags & 1) != 0) {
        indexes.push_back(image.index());
        images.push_back(BaseImage::open(image.site, image.sha256).value());
    }
    static OfferedPages store;
    store.begin();
    std::optional<KnownPages> known;
    if ((flags & 4) != 0) known = KnownPages::parse(store.list, OfferedPages::kCount).value();
    const auto encoder = Encoder::create(cache, std::move(indexes), std::move(known), nullptr, (flags & 8) != 0 ? store.versions.get() : nullptr).value();
    const auto decoder = Decoder::create(cache, std::move(images), (flags & 4) != 0 ? store.offer.get() : nullptr).value();
    std::vector<std::byte> back;
    const auto travel = [&](const Result<std::span<const std::byte>>& batch) {
        require_value(batch, "a batch");
        if (batch->empty()) return;
        const auto plain = decoder->decode(*batch);
        require_value(plain, "a batch of ours");
        back.insert(back.end(), plain->begin(), plain->end());
        require(decoder->cache().state() == encoder->cache().state(), "the two ends keep other pages");
        require(decoder->cache().size() <= cache, "more pages are kept than were agreed");
    };
    unsigned step = 0;
    in_pieces(stream, sizes, [&](std::span<const std::byte> part) {
        encoder->compress((flags & 2) == 0 || ++step % 3 != 0);
        if (step == 9) encoder->hurry();
        travel(encoder->encode(part));
    });
    travel(encoder->finish());
    require(back == stream, "the stream that came back is another");
}

}  // namespace blanket::fuzz
