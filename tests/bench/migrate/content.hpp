// SPDX-License-Identifier: GPL-2.0-or-later
// What a guest's pages contain, by their kind. Made once and read by all guests and threads; each drawing comes from the caller's random numbers.
#pragma once

#include "tests/bench/migrate/corpus.hpp"
#include "tests/bench/migrate/memory.hpp"

namespace blanket::bench {

class Palette final {
public:
    Palette(Corpus corpus, std::uint64_t seed);
    [[nodiscard]] const Corpus& corpus() const { return corpus_; }
    // A block of the disk, as the page cache holds it.
    void block(std::size_t number, Page& out) const;
    // Bytes of files that lie at no block's begin: the kernel, what programs have read into buffers, what compilers write. They compress like files, and the base image does not have them.
    void slice(Random& random, Page& out) const;
    // A program's heap: pointers into few areas, counters, short texts, holes. No two are alike.
    void heap(Random& random, Page& out) const;
    // The kernel's objects: many of one form in a page, with few fields that differ.
    void slab(Random& random, Page& out) const;
    // A page table of the last level over frames that mostly lie beside each other; not all entries are used.
    static void page_table(Random& random, std::size_t frames, Page& out);

private:
    Corpus corpus_;
    std::vector<Page> heaps_, slabs_;
};

}  // namespace blanket::bench
