// SPDX-License-Identifier: GPL-2.0-or-later
// See guest.hpp.
#include "tests/vm/storage_rig/guest.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "toolstack/storage/device_io.hpp"

namespace blanket::rig {
namespace {
constexpr std::size_t kPage = 4096, kBlock = 65536;
using Clock = std::chrono::steady_clock;
}  // namespace

Guest::Guest(std::string path, std::vector<std::byte> content, unsigned seed, unsigned rate)
    : path_(std::move(path)), content_(std::move(content)), random_(seed), rate_(rate), thread_([this](const std::stop_token& stop) { run(stop); }) {}

Guest::~Guest() {
    thread_.request_stop();
    if (waiting_.exchange(false)) turn_.unlock();
}

void Guest::pause() {
    turn_.lock();
    waiting_ = true;
}

void Guest::resume() {
    if (waiting_.exchange(false)) turn_.unlock();
}

GuestReport Guest::report() {
    const std::lock_guard lock(numbers_);
    return std::exchange(report_, GuestReport{});
}

void Guest::step(int fd, std::byte* block) {
    const auto kind = random_() % 64;
    const auto begin = Clock::now();
    bool failed = false;
    GuestReport add;
    if (kind == 0) {
        std::array<std::uint64_t, 2> range{random_() % (content_.size() / kBlock) * kBlock, kBlock};
        if (::ioctl(fd, BLKDISCARD, range.data()) == 0) {
            std::fill_n(content_.begin() + static_cast<std::ptrdiff_t>(range[0]), kBlock, std::byte{0});
            add.discards = 1;
        } else {
            failed = errno != EOPNOTSUPP;
        }
    } else {
        // Most writes go to a small hot part, as a file system's journal does.
        const std::uint64_t pages = content_.size() / kPage;
        const std::uint64_t page = random_() % 8 != 0 ? random_() % std::max<std::uint64_t>(pages / 16, 1) : random_() % pages;
        for (std::size_t at = 0; at < kPage; at += 16) {
            const std::array<std::uint64_t, 2> stamp{++serial_, page};
            std::memcpy(block + at, stamp.data(), 16);
        }
        if (::pwrite(fd, block, kPage, static_cast<off_t>(page * kPage)) == static_cast<ssize_t>(kPage)) {
            std::copy_n(block, kPage, content_.begin() + static_cast<std::ptrdiff_t>(page * kPage));
            add.writes = 1;
        } else {
            failed = true;
        }
        if (!failed && kind % 8 == 1) {
            failed = ::fdatasync(fd) != 0;
            add.flushes = 1;
        }
    }
    const int code = errno;
    const double took = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    const std::lock_guard lock(numbers_);
    report_.writes += add.writes;
    report_.flushes += add.flushes;
    report_.discards += add.discards;
    report_.longest_ms = std::max(report_.longest_ms, took);
    if (failed && ++report_.errors == 1) report_.first_error = ::strerror(code);
}

void Guest::run(const std::stop_token& stop) {
    const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
    if (!fd) {
        const std::lock_guard lock(numbers_);
        report_.errors = 1;
        report_.first_error = "open: " + std::string(::strerror(errno));
        return;
    }
    storage::AlignedBuffer buffer(kPage);
    auto next = Clock::now();
    while (!stop.stop_requested()) {
        {
            const std::lock_guard lock(turn_);
            if (!stop.stop_requested()) step(fd.get(), buffer.span().data());
        }
        next = std::max(next + std::chrono::microseconds(1'000'000 / rate_), Clock::now() - std::chrono::milliseconds(20));
        std::this_thread::sleep_until(next);
    }
}

}  // namespace blanket::rig
