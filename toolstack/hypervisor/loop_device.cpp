// SPDX-License-Identifier: GPL-2.0-or-later
// See loop_device.hpp.
#include "toolstack/hypervisor/loop_device.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <linux/loop.h>
#include <optional>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "toolstack/base/fd.hpp"

namespace blanket {
namespace {

namespace fs = std::filesystem;

constexpr int kTries = 16;  // others take free devices at the same time

Result<UniqueFd> open_readable(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open", path);
    return fd;
}

// By device and inode: a file that was replaced under its name is another one. A device that goes as soon as its last user lets go does not count.
std::optional<std::string> loop_over(const struct stat& file) {
    std::error_code code;
    for (const auto& entry : fs::directory_iterator("/sys/block", code)) {
        const std::string name = entry.path().filename();
        if (!name.starts_with("loop") || !fs::exists(entry.path() / "loop", code)) continue;
        const UniqueFd fd(::open(("/dev/" + name).c_str(), O_RDONLY | O_CLOEXEC));
        loop_info64 info{};
        if (!fd || ::ioctl(fd.get(), LOOP_GET_STATUS64, &info) != 0 || (info.lo_flags & LO_FLAGS_AUTOCLEAR) != 0) continue;
        if (info.lo_inode == file.st_ino && info.lo_device == file.st_dev) return "/dev/" + name;
    }
    return std::nullopt;
}

}  // namespace

Result<std::string> attach_loop(const std::string& file) {
    BLANKET_TRY(const UniqueFd content, open_readable(file));
    struct stat info{};
    if (::fstat(content.get(), &info) != 0) return fail_errno("stat", file);
    if (const auto there = loop_over(info)) return *there;
    UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));  // its device node loads the module
    if (!control) {
        auto error = fail_errno("open", "/dev/loop-control");
        error.error().hint = "modprobe loop";
        return error;
    }
    for (int attempt = 0; attempt < kTries; ++attempt) {
        const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
        if (number < 0) return fail_errno("find a free loop device in", "/dev/loop-control");
        const std::string device = std::format("/dev/loop{}", number);
        BLANKET_TRY(const UniqueFd loop, open_readable(device));
        loop_config config{};
        config.fd = static_cast<std::uint32_t>(content.get());
        config.info.lo_flags = LO_FLAGS_READ_ONLY;
        std::strncpy(reinterpret_cast<char*>(config.info.lo_file_name), file.c_str(), LO_NAME_SIZE - 1);
        if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return device;
        if (errno != EBUSY) return fail_errno("attach a file to", device);
    }
    return fail(Kind::kIo, "no free loop device after {} tries", kTries);
}

Result<void> detach_loop(const std::string& device) {
    const UniqueFd loop(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
    if (!loop) return errno == ENOENT ? Result<void>() : fail_errno("open", device);
    if (::ioctl(loop.get(), LOOP_CLR_FD) != 0 && errno != ENXIO) return fail_errno("detach", device);
    return {};
}

}  // namespace blanket
