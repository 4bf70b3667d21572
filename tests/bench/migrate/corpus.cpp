// SPDX-License-Identifier: GPL-2.0-or-later
// See corpus.hpp.
#include "tests/bench/migrate/corpus.hpp"

#include <algorithm>
#include <filesystem>

#include "tests/bench/migrate/memory.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::bench {
namespace {

constexpr std::size_t kLeastFile = 512, kLargestFile = 16u << 20;  // a larger one would be most of the image

std::vector<std::string> files_below(const std::string& root) {
    namespace fs = std::filesystem;
    std::vector<std::string> paths;
    std::error_code error;
    for (fs::recursive_directory_iterator at(root, fs::directory_options::skip_permission_denied, error), end; !error && at != end; at.increment(error)) {
        std::error_code gone;
        if (!at->is_symlink(gone) && at->is_regular_file(gone)) paths.push_back(at->path().string());
    }
    std::ranges::sort(paths);
    return paths;
}

void add_file(Corpus& corpus, const std::string& content) {
    const std::size_t first = corpus.bytes.size() / kPageBytes, blocks = (content.size() + kPageBytes - 1) / kPageBytes;
    corpus.bytes += content;
    corpus.bytes.resize((first + blocks) * kPageBytes);
    corpus.files.push_back({first, blocks});
}

}  // namespace

Result<Corpus> corpus_of_files(std::uint64_t seed, std::span<const std::string> roots, std::size_t most) {
    Corpus corpus;
    corpus.bytes.reserve(most + kLargestFile * roots.size());
    Random random(seed);
    for (const std::string& root : roots) {
        auto paths = files_below(root);
        std::ranges::shuffle(paths, random);
        const std::size_t until = corpus.bytes.size() + most / roots.size();
        for (const auto& path : paths) {
            if (corpus.bytes.size() >= until) break;
            const auto content = read_file(path, kLargestFile);
            if (content && content->size() >= kLeastFile) add_file(corpus, *content);
        }
    }
    if (corpus.bytes.size() < most / 4) return fail(Kind::kNotFound, "only {} bytes of files for the guests' disk, of {}", corpus.bytes.size(), most);
    return corpus;
}

Corpus seeded_corpus(std::uint64_t seed, std::size_t blocks) {
    constexpr std::size_t kStride = 32, kFile = 28;  // seeded_image's runs and holes
    Corpus corpus{.bytes = fakes::seeded_image(seed, blocks), .files = {}};
    for (std::size_t first = 0; first + kFile <= blocks; first += kStride) corpus.files.push_back({first, kFile});
    return corpus;
}

}  // namespace blanket::bench
