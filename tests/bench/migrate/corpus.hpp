// SPDX-License-Identifier: GPL-2.0-or-later
// What a guest's disk holds: files, each from a block's begin on, as a file system lays them out. A guest's base image and its page cache are made of it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::bench {

struct Corpus {
    struct File {
        std::size_t first = 0, blocks = 0;  // of a page's size
    };
    std::string bytes;  // whole blocks
    std::vector<File> files;
};

// Real files from below each of `roots`, drawn by the seed, about `most` bytes in all. kNotFound: there is not even a quarter of that.
Result<Corpus> corpus_of_files(std::uint64_t seed, std::span<const std::string> roots, std::size_t most);
// The same from nothing, for tests.
Corpus seeded_corpus(std::uint64_t seed, std::size_t blocks);

}  // namespace blanket::bench
