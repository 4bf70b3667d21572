// SPDX-License-Identifier: GPL-2.0-or-later
// Whole-buffer I/O on descriptors; see fd.hpp.
#include "toolstack/base/fd.hpp"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace blanket {

void UniqueFd::reset(int fd) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
}

Result<Pipe> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe2", "");
    return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

Result<std::size_t> read_some(int fd, std::span<std::byte> out) {
    for (;;) {
        const ssize_t got = ::read(fd, out.data(), out.size());
        if (got >= 0) return static_cast<std::size_t>(got);
        if (errno != EINTR) return fail_errno("read", std::format("fd {}", fd));
    }
}

Result<void> read_all(int fd, std::span<std::byte> out) {
    while (!out.empty()) {
        BLANKET_TRY(const std::size_t got, read_some(fd, out));
        if (got == 0) return fail(Kind::kIo, "end of stream on fd {} with {} bytes missing", fd, out.size());
        out = out.subspan(got);
    }
    return {};
}

Result<void> write_all(int fd, std::span<const std::byte> data) {
    while (!data.empty()) {
        const ssize_t put = ::write(fd, data.data(), data.size());
        if (put < 0) {
            if (errno == EINTR) continue;
            return fail_errno("write", std::format("fd {}", fd));
        }
        data = data.subspan(static_cast<std::size_t>(put));
    }
    return {};
}

Result<void> pread_all(int fd, std::span<std::byte> out, std::uint64_t offset) {
    while (!out.empty()) {
        const ssize_t got = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno("pread", std::format("fd {} offset {}", fd, offset));
        if (got == 0) return fail(Kind::kIo, "end of file on fd {} at offset {}", fd, offset);
        out = out.subspan(static_cast<std::size_t>(got));
        offset += static_cast<std::uint64_t>(got);
    }
    return {};
}

Result<void> pwrite_all(int fd, std::span<const std::byte> data, std::uint64_t offset) {
    while (!data.empty()) {
        const ssize_t put = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_errno("pwrite", std::format("fd {} offset {}", fd, offset));
        data = data.subspan(static_cast<std::size_t>(put));
        offset += static_cast<std::uint64_t>(put);
    }
    return {};
}

}  // namespace blanket
