// SPDX-License-Identifier: GPL-2.0-or-later
// UniqueFd: an owned file descriptor, and the few whole-buffer reads and writes that everyone needs.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "toolstack/base/result.hpp"

namespace blanket {

class UniqueFd final {
public:
    UniqueFd() = default;
    explicit UniqueFd(int fd) : fd_(fd) {}
    UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    ~UniqueFd() { reset(); }

    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1);
    explicit operator bool() const { return fd_ >= 0; }

private:
    int fd_ = -1;
};

struct Pipe {
    UniqueFd read, write;
};
Result<Pipe> make_pipe();  // both ends close-on-exec

// Reads until `out` is full; a shorter stream is an error (kIo, "end of stream").
Result<void> read_all(int fd, std::span<std::byte> out);
// Reads at most out.size() bytes once; 0 = end of stream. Retries EINTR.
Result<std::size_t> read_some(int fd, std::span<std::byte> out);
Result<void> write_all(int fd, std::span<const std::byte> data);
// The same at an offset (block devices, files).
Result<void> pread_all(int fd, std::span<std::byte> out, std::uint64_t offset);
Result<void> pwrite_all(int fd, std::span<const std::byte> data, std::uint64_t offset);

inline std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

}  // namespace blanket
