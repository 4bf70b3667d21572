// SPDX-License-Identifier: GPL-2.0-or-later
// A base image's index, as it lies on the disk: any file is refused or understood, one of ours is found again as it was; names of files never leave the shelf.
#include <filesystem>
#include <fstream>

#include "tests/fuzz/stream_program.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/stream/index_shelf.hpp"
#include "toolstack/stream/quick_hash.hpp"

namespace blanket::fuzz {

using namespace stream;

const std::size_t target::kHeap = 2u << 20;

namespace {

const std::string kHash(64, 'a');
constexpr std::size_t kHeadBytes = 8 + 4 + 4 + 64 + 32 + 8, kPerBlock = 8 + 4 + 32;

void put(const std::string& path, std::string_view data) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file.write(data.data(), static_cast<std::streamsize>(data.size()));
}

// The count and the checksum put right, so that what is between them is looked at.
std::string mended(std::string text) {
    text.resize(std::max(text.size(), kHeadBytes));
    const std::uint64_t count = (text.size() - kHeadBytes) / kPerBlock;
    text.resize(kHeadBytes + count * kPerBlock);
    std::memcpy(text.data() + kHeadBytes - 8, &count, 8);
    const std::uint64_t checksum = quick_hash(as_bytes(text));
    return text.append(reinterpret_cast<const char*>(&checksum), 8);
}

ImageIndex made(std::string_view content) {
    auto builder = ImageIndex::Builder::create().value();
    builder.add(0, as_bytes(content)).value();
    return builder.finish(kHash).value();
}

PageBytes block_of(const std::string& content, std::size_t block) { return as_bytes(content).subspan(block * kPage).first<kPage>(); }

void built_and_found(Input& input) {
    std::string content;
    for (unsigned blocks = input.byte() % 24; blocks > 0; --blocks) {
        const fakes::Page page = page_of(input, small_image());
        content.append(reinterpret_cast<const char*>(page.data()), page.size());
    }
    ImageIndex index = made(content);
    const std::string path = scratch("index");
    require_value(index.save(path), "save");
    auto loaded = ImageIndex::load(path, kHash);
    require_value(loaded, "an index of ours");
    require(loaded->size() == index.size(), "an index of another size");
    for (std::size_t block = 0; block < content.size() / kPage; ++block) {
        const auto page = block_of(content, block);
        const auto found = index.find(page), again = loaded->find(page);
        require(found == again, "another block after loading");
        const bool zero = std::ranges::all_of(page, [](std::byte byte) { return byte == std::byte{0}; });
        require(found.has_value() != zero, "a block that is not found, or a zero one that is");
        if (found) require(std::ranges::equal(block_of(content, *found), page), "a block of other content");
    }
    require(!ImageIndex::load(path, std::string(64, 'b')), "an index of another image");
}

}  // namespace

std::vector<std::string> target::seeds() {
    const std::string path = scratch("seed");
    made(std::string_view(small_image()).substr(0, 8 * kPage)).save(path).value();
    const std::string file = read_file(path).value();
    made({}).save(path).value();
    const std::string empty = read_file(path).value();
    remove_file(path).value();
    return {"f" + file, "m" + file, "f" + empty, "b" + std::string("\x08\1\0\1\1\3\5\3\5\2\7\0\0\3\5\x43\5\1\0\7", 20), "n../../etc/passwd", "n" + kHash, "n"};
}

void target::run(Input input) {
    const std::uint8_t way = input.byte();
    if (way == 'b') return built_and_found(input);
    const std::string text = input.rest_text(), path = scratch("index");
    if (way == 'n') {  // a peer's name for an image
        const std::string folder = scratch("shelf");
        const auto index = IndexShelf(folder + "/inner").load(text);
        require(!index && (index.error().kind == Kind::kInvalid || index.error().kind == Kind::kNotFound), "an index out of nothing");
        require((index.error().kind == Kind::kNotFound) == (text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos), "a name that is no hash");
        return;
    }
    put(path, way == 'm' ? mended(text) : text);
    auto index = ImageIndex::load(path, kHash);
    require_refusal(index, "load");
    if (!index) return;
    // Any number may stand there: the index does not know how long its image is, and the fuzzer finds the checksum.
    for (std::size_t block = 0; block < 8; ++block) (void)index->find(block_of(small_image(), block));
    require(!index->find(std::array<std::byte, kPage>{}) || way == 'm', "a zero block is referred to");
    const std::string before = read_file(path).value();
    require_value(index->save(path), "save");
    require(read_file(path).value() == before, "an index that is saved again is another");
}

}  // namespace blanket::fuzz
