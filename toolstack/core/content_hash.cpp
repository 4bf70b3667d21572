// SPDX-License-Identifier: GPL-2.0-or-later
// See content_hash.hpp.
#include "toolstack/core/content_hash.hpp"

#include <array>
#include <cstring>
#include <openssl/evp.h>

#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

struct ContextDeleter {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

std::array<std::uint8_t, 8> little_endian(std::uint64_t value) {
    std::array<std::uint8_t, 8> bytes{};
    for (auto& byte : bytes) {
        byte = static_cast<std::uint8_t>(value);
        value >>= 8;
    }
    return bytes;
}

}  // namespace

bool is_zero(std::span<const std::byte> data) {
    if (data.empty()) return true;
    return data[0] == std::byte{0} && std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0;
}

struct ContentHasher::State {
    std::unique_ptr<EVP_MD_CTX, ContextDeleter> outer{EVP_MD_CTX_new()};
    std::uint64_t index = 0, size = 0;
};

ContentHasher::ContentHasher() : state_(std::make_unique<State>()) { EVP_DigestInit_ex(state_->outer.get(), EVP_sha256(), nullptr); }
ContentHasher::ContentHasher(ContentHasher&&) noexcept = default;
ContentHasher::~ContentHasher() = default;

bool ContentHasher::add(std::span<const std::byte> block) {
    const std::uint64_t index = state_->index++;
    state_->size += block.size();
    if (is_zero(block)) return true;
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    EVP_Digest(block.data(), block.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
    const auto position = little_endian(index);
    EVP_DigestUpdate(state_->outer.get(), position.data(), position.size());
    EVP_DigestUpdate(state_->outer.get(), digest.data(), 32);
    return false;
}

void ContentHasher::add_zero_blocks(std::uint64_t count, std::uint64_t bytes) {
    state_->index += count;
    state_->size += bytes;
}

std::string ContentHasher::finish() {
    const auto size = little_endian(state_->size);
    EVP_DigestUpdate(state_->outer.get(), size.data(), size.size());
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    EVP_DigestFinal_ex(state_->outer.get(), digest.data(), nullptr);
    return to_hex(std::span(digest.data(), 32));
}

}  // namespace blanket
