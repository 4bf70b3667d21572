// SPDX-License-Identifier: GPL-2.0-or-later
// See sysfs.hpp.
#include "toolstack/daemon/sysfs.hpp"

#include <filesystem>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::sysfs {

namespace fs = std::filesystem;

std::string text(const std::string& root, const std::string& path, std::size_t max) { return read_file(root + path, max).value_or(""); }

std::string line(const std::string& root, const std::string& path) {
    const std::string all_of_it = text(root, path, 64u << 10);
    return std::string(trim(std::string_view(all_of_it).substr(0, all_of_it.find('\n'))).substr(0, 200));
}

bool exists(const std::string& root, const std::string& path) {
    std::error_code code;
    return fs::exists(root + path, code);
}

std::string link_name(const std::string& root, const std::string& path) {
    std::error_code code;
    const fs::path target = fs::read_symlink(root + path, code);
    return code ? std::string() : target.filename().string();
}

std::string driver_of(const std::string& root, const std::string& device) {
    std::error_code code;
    fs::path at = fs::canonical(root + device, code);
    if (code) return {};
    const fs::path top = fs::canonical(root + "/sys", code);
    if (code) return {};
    for (int level = 0; level < 12 && at != top && at.has_parent_path() && at != at.parent_path(); ++level, at = at.parent_path()) {
        const fs::path driver = fs::read_symlink(at / "driver", code);
        if (!code && fs::read_symlink(at / "subsystem", code).filename() != "scsi") return driver.filename();
        code.clear();
    }
    return {};
}

}  // namespace blanket::sysfs
