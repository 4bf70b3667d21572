// SPDX-License-Identifier: GPL-2.0-or-later
// The pcap format (draft-ietf-opsawg-pcap): a 24 byte head, then 16 bytes and the data per frame, in the writer's byte order; see pcap_writer.hpp.
#include "tests/lab/pcap_writer.hpp"

#include <array>
#include <fcntl.h>
#include <unistd.h>

namespace blanket::lab {
namespace {

constexpr std::uint32_t kMagicNanoseconds = 0xa1b23c4d;
constexpr std::uint32_t kVersion = 2u | (4u << 16);  // 2.4 as two 16 bit fields, little endian
constexpr std::uint32_t kSnapLength = 65535;
constexpr std::uint32_t kEthernet = 1;

}  // namespace

Result<PcapWriter> PcapWriter::create(const std::string& path, std::uint64_t max_bytes) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return fail_errno("open", path);
    PcapWriter writer;
    writer.file_.reset(::fdopen(fd, "wb"));
    if (!writer.file_) {
        ::close(fd);
        return fail_errno("fdopen", path);
    }
    std::setvbuf(writer.file_.get(), nullptr, _IOFBF, 1u << 20);
    writer.path_ = path;
    writer.max_bytes_ = max_bytes;
    const std::array<std::uint32_t, 6> head{kMagicNanoseconds, kVersion, 0, 0, kSnapLength, kEthernet};
    if (std::fwrite(head.data(), sizeof head, 1, writer.file_.get()) != 1) return fail_errno("write", path);
    writer.bytes_ = sizeof head;
    return writer;
}

Result<void> PcapWriter::add(std::chrono::nanoseconds since_epoch, std::span<const std::byte> frame) {
    const std::uint64_t need = 16 + frame.size();
    if (frame.size() > kSnapLength || bytes_ + need > max_bytes_) {
        ++omitted_;
        return {};
    }
    const auto length = static_cast<std::uint32_t>(frame.size());
    const std::array<std::uint32_t, 4> head{static_cast<std::uint32_t>(since_epoch.count() / 1'000'000'000),
                                            static_cast<std::uint32_t>(since_epoch.count() % 1'000'000'000), length, length};
    if (std::fwrite(head.data(), sizeof head, 1, file_.get()) != 1 || (length > 0 && std::fwrite(frame.data(), length, 1, file_.get()) != 1)) return fail_errno("write", path_);
    bytes_ += need;
    ++frames_;
    return {};
}

Result<void> PcapWriter::flush() {
    if (std::fflush(file_.get()) != 0) return fail_errno("write", path_);
    return {};
}

}  // namespace blanket::lab
