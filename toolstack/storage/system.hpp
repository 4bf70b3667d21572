// SPDX-License-Identifier: GPL-2.0-or-later
// System: everything that storage/ asks of the machine (commands, /proc and /sys texts, block devices), so that tests can put a fake in its place.
// Called by ThinStore, ThinMove and Mirror. LiveSystem is thread safe.
#pragma once

#include <chrono>
#include <string>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/result.hpp"

namespace blanket::storage {

class System {
public:
    virtual ~System() = default;
    // Runs one command of a plan and returns its standard output. A status other than 0 is kIo with the command's own words.
    virtual Result<std::string> run(const Argv& argv, std::chrono::milliseconds deadline) = 0;
    // A text of /proc or /sys; kNotFound when absent.
    virtual Result<std::string> read_text(const std::string& path) = 0;
    virtual Result<void> write_text(const std::string& path, const std::string& text) = 0;
    // Opens a device-mapper device by its name, or another block device by its path ("/dev/..."); past the page cache.
    virtual Result<UniqueFd> open_device(const std::string& name, bool writable) = 0;
    virtual bool exists(const std::string& path) = 0;
    virtual void sleep(std::chrono::milliseconds time) = 0;

    Result<std::string> run(const Argv& argv) { return run(argv, std::chrono::seconds(30)); }
};

// Commands by base/process, except "dmsetup ...", which is carried out in this process by the same ioctls (dm_ioctl.hpp): no fork while a guest waits.
class LiveSystem final : public System {
public:
    using System::run;
    Result<std::string> run(const Argv& argv, std::chrono::milliseconds deadline) override;
    Result<std::string> read_text(const std::string& path) override;
    Result<void> write_text(const std::string& path, const std::string& text) override;
    Result<UniqueFd> open_device(const std::string& name, bool writable) override;
    bool exists(const std::string& path) override;
    void sleep(std::chrono::milliseconds time) override;
};

// Runs the commands in their order; stops at the first error.
Result<void> apply(System& system, const std::vector<Argv>& plan, std::chrono::milliseconds deadline = std::chrono::seconds(30));

}  // namespace blanket::storage
