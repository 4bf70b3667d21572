// SPDX-License-Identifier: GPL-2.0-or-later
// The seeds of the VMs at this site: each a file of its own (mode 0600), a read-only loop device over it, and a link under the name that the VM's definition
// has (core/seed.hpp). They outlive blanketd; after a restart of the host attach_all() brings the devices back, so that `virsh start` works too. Thread safe.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "toolstack/core/ports.hpp"

namespace blanket {

// How a file becomes a block device; tests give a fake.
struct LoopDevices {
    std::function<Result<std::string>(const std::string& file)> attach;
    std::function<Result<void>(const std::string& device)> detach;
};

class Seeds final {
public:
    // `folder` holds the files, `links` the names: seed_device() with another folder than /dev/blanket is for tests.
    Seeds(Registry& registry, std::string folder, LoopDevices loops, std::string links = "/dev/blanket");

    void attach_all();  // those whose files are here; what fails is logged
    // The VM's seed is a block device here, made of what the registry has. Without the registry's answer a file from before is good enough.
    Result<void> provide(const std::string& uuid);
    Result<void> release(const std::string& uuid);  // device and file go; absent is fine

private:
    [[nodiscard]] std::string file_of(const std::string& uuid) const { return folder_ + "/" + uuid + ".iso"; }
    [[nodiscard]] std::string link_of(const std::string& uuid) const { return links_ + "/seed-" + uuid; }
    Result<void> attach(const std::string& uuid);
    Result<void> detach(const std::string& uuid);

    Registry& registry_;
    const std::string folder_;
    const LoopDevices loops_;
    const std::string links_;
    std::mutex mutex_;
};

}  // namespace blanket
