// SPDX-License-Identifier: GPL-2.0-or-later
// See frame_keys.hpp.
#include "toolstack/stream/frame_keys.hpp"

#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>

#include "toolstack/base/file.hpp"
#include "toolstack/stream/quick_hash.hpp"

namespace blanket::stream {
namespace {

constexpr std::string_view kFrameMagic = "BLKTFRAM";
constexpr std::uint32_t kFrameVersion = 1;  // also of quick_hash
constexpr std::size_t kTagAt = 16, kCountAt = 32, kSumAt = 40, kKeysAt = 48;

std::uint64_t sum_of(std::span<const std::byte> file) {
    const std::array<std::uint64_t, 2> parts{quick_hash(file.first(kSumAt)), quick_hash(file.subspan(kKeysAt))};
    return quick_hash(std::as_bytes(std::span(parts)));
}

}  // namespace

std::uint64_t FrameKeys::file_bytes(std::size_t frames) { return kKeysAt + 8 * std::uint64_t{frames}; }

Result<void> FrameKeys::save(const std::string& path) const {
    if (keys.size() > kMost) return fail(Kind::kInternal, "{} frames are more than {}", keys.size(), kMost);
    std::vector<std::byte> file(file_bytes(keys.size()));
    const std::uint64_t count = keys.size();
    std::ranges::copy(as_bytes(kFrameMagic), file.begin());
    std::memcpy(file.data() + 8, &kFrameVersion, sizeof kFrameVersion);
    std::ranges::copy(tag, file.begin() + kTagAt);
    std::memcpy(file.data() + kCountAt, &count, sizeof count);
    std::memcpy(file.data() + kKeysAt, keys.data(), 8 * keys.size());
    const std::uint64_t sum = sum_of(file);
    std::memcpy(file.data() + kSumAt, &sum, sizeof sum);
    BLANKET_CHECK(remove_file(path));
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd) return fail_errno("create", path);
    auto written = write_all(fd.get(), file);
    if (!written) (void)remove_file(path);
    return written;
}

Result<FrameKeys> FrameKeys::load(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd) return fail_errno("open", path);
    struct stat facts {};
    if (::fstat(fd.get(), &facts) != 0) return fail_errno("fstat", path);
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    if (!S_ISREG(facts.st_mode) || size < kKeysAt || size > file_bytes(kMost)) return fail(Kind::kInvalid, "{} names no frames", path);
    std::vector<std::byte> file(size);
    BLANKET_CHECK(pread_all(fd.get(), file, 0));
    if (!std::ranges::equal(std::span(file).first(8), as_bytes(kFrameMagic)) || stream::load<std::uint32_t>(file.data() + 8) != kFrameVersion ||
        size != file_bytes(stream::load<std::uint64_t>(file.data() + kCountAt)) || stream::load<std::uint64_t>(file.data() + kSumAt) != sum_of(file))
        return fail(Kind::kInvalid, "{} names no frames in this version's way, or is damaged", path);
    FrameKeys known;
    std::copy_n(file.begin() + kTagAt, known.tag.size(), known.tag.begin());
    known.keys.resize((size - kKeysAt) / 8);
    std::memcpy(known.keys.data(), file.data() + kKeysAt, 8 * known.keys.size());
    return known;
}

}  // namespace blanket::stream
