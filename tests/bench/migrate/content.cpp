// SPDX-License-Identifier: GPL-2.0-or-later
// See content.hpp. Pages of programs are drawn from some thousand models and then changed in places: a compressor's window holds few of them at once, and no page is another's copy.
#include "tests/bench/migrate/content.hpp"

namespace blanket::bench {
namespace {

constexpr std::size_t kHeaps = 2048, kSlabs = 256;
constexpr std::size_t kHeapChanges = 24;
constexpr std::size_t kObjectWords = 32;  // of a slab

std::uint64_t user_pointer(Random& random) { return 0x00007f3a'0000'0000u | (random() & 0x3ff'fff0u); }
std::uint64_t kernel_pointer(Random& random) { return 0xffff8880'0000'0000u | (random() & 0xfff'ffc0u); }

// Nodes of 64 bytes: a table of functions, two links, a count, flags, a short name.
Page nodes(Random& random) {
    Page page{};
    const std::uint64_t functions = 0x0000564c'1000'0000u | (random() & 0xf'ff00u);
    for (std::size_t word = 0; word + 8 <= kPageWords; word += 8) {
        if (random() % 6 == 0) continue;  // free
        put_word(page, word, functions + random() % 4 * 64);
        put_word(page, word + 1, user_pointer(random));
        put_word(page, word + 2, user_pointer(random));
        put_word(page, word + 3, random() % 1000);
        put_word(page, word + 4, random() % 16);
        const std::uint64_t name = random() & 0x0f0f'0f0f'0f0fu;
        put_word(page, word + 5, 0x6161'6161'6161u + name);
    }
    return page;
}

}  // namespace

Palette::Palette(Corpus corpus, std::uint64_t seed) : corpus_(std::move(corpus)), heaps_(kHeaps), slabs_(kSlabs) {
    Random random(seed);
    for (std::size_t i = 0; i < kHeaps; ++i) {
        if (i % 10 < 4) {
            heaps_[i] = fakes::likely_page(random);
        } else if (i % 10 < 8) {
            heaps_[i] = nodes(random);
        } else {  // a buffer that is half full
            slice(random, heaps_[i]);
            std::memset(heaps_[i].data() + kPageBytes / 2, 0, kPageBytes / 2);
        }
    }
    for (Page& page : slabs_) {
        Page object{};
        for (std::size_t word = 0; word < kObjectWords; ++word)
            if (random() % 3 != 0) put_word(object, word, random() % 2 == 0 ? kernel_pointer(random) : random() % 64);
        for (std::size_t at = 0; at < kPageBytes; at += kObjectWords * 8) std::memcpy(page.data() + at, object.data(), kObjectWords * 8);
    }
}

void Palette::block(std::size_t number, Page& out) const { std::memcpy(out.data(), corpus_.bytes.data() + number * kPageBytes, kPageBytes); }

void Palette::slice(Random& random, Page& out) const {
    const std::size_t places = (corpus_.bytes.size() - 2 * kPageBytes) / 16;
    std::size_t at = random() % places * 16 + 16;
    if (at % kPageBytes == 0) at += 16;
    std::memcpy(out.data(), corpus_.bytes.data() + at, kPageBytes);
}

void Palette::heap(Random& random, Page& out) const {
    out = heaps_[random() % kHeaps];
    for (std::size_t i = 0; i < kHeapChanges; ++i) put_word(out, random() % kPageWords, i % 3 == 0 ? random() % 100'000 : user_pointer(random));
}

void Palette::slab(Random& random, Page& out) const {
    out = slabs_[random() % kSlabs];
    for (std::size_t object = 0; object < kPageWords; object += kObjectWords)
        for (int field = 0; field < 5; ++field) put_word(out, object + random() % kObjectWords, field == 0 ? random() : kernel_pointer(random));
}

void Palette::page_table(Random& random, std::size_t frames, Page& out) {
    constexpr std::uint64_t kFlags = 0x8000'0000'0000'0067u;
    std::uint64_t frame = random() % frames;
    out.fill(std::byte{});
    for (std::size_t word = 0; word < kPageWords; ++word) {
        if (random() % 16 == 0) frame = random() % frames;
        if (random() % 64 == 0) word += random() % 32;  // nothing is mapped there
        if (word < kPageWords) put_word(out, word, (frame++ % frames) << 12 | kFlags);
    }
}

}  // namespace blanket::bench
