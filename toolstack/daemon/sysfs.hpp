// SPDX-License-Identifier: GPL-2.0-or-later
// Bounded readers of /sys and /proc below a root (tests give a fake one; empty = the machine itself). What cannot be read is empty. Any thread.
#pragma once

#include <string>

namespace blanket::sysfs {

std::string text(const std::string& root, const std::string& path, std::size_t max = 1u << 20);
std::string line(const std::string& root, const std::string& path);  // the first, trimmed, 200 characters at most
bool exists(const std::string& root, const std::string& path);
// Where a link ends: the last part of its target's path.
std::string link_name(const std::string& root, const std::string& path);
// The nearest driver at a device or above it: an NVMe namespace has none itself, its controller does. Not a driver of SCSI's own bus (sd): every SATA, IDE, USB and virtio-scsi disk has that one.
std::string driver_of(const std::string& root, const std::string& device);

}  // namespace blanket::sysfs
