// SPDX-License-Identifier: GPL-2.0-or-later
// See system.hpp.
#include "toolstack/storage/system.hpp"

#include <fcntl.h>
#include <thread>
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/storage/dm_ioctl.hpp"

namespace blanket::storage {

Result<std::string> LiveSystem::run(const Argv& argv, std::chrono::milliseconds deadline) {
    if (!argv.empty() && argv[0] == "dmsetup") return dmsetup(argv);
    return blanket::run(argv, {.deadline = deadline, .input = {}, .max_output = 256u << 20, .env = {"LC_ALL=C"}});
}

Result<std::string> LiveSystem::read_text(const std::string& path) { return read_file(path, 1u << 20); }

Result<void> LiveSystem::write_text(const std::string& path, const std::string& text) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open", path);
    return write_all(fd.get(), as_bytes(text));
}

Result<UniqueFd> LiveSystem::open_device(const std::string& name, bool writable) {
    std::string path = name;
    if (!name.starts_with('/')) {
        // The kernel makes /dev/dm-N before the ioctl returns; /dev/mapper/NAME may come later, from udev.
        BLANKET_TRY(const DmInfo info, dm_info(name));
        path = std::format("/dev/dm-{}", info.minor);
    }
    UniqueFd fd(::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC));
    if (!fd) return fail_errno("open", path);
    return fd;
}

bool LiveSystem::exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

void LiveSystem::sleep(std::chrono::milliseconds time) { std::this_thread::sleep_for(time); }

Result<void> apply(System& system, const std::vector<Argv>& plan, std::chrono::milliseconds deadline) {
    for (const auto& argv : plan) BLANKET_CHECK(system.run(argv, deadline));
    return {};
}

}  // namespace blanket::storage
