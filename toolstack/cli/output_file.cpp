// SPDX-License-Identifier: GPL-2.0-or-later
// See output_file.hpp.
#include "toolstack/cli/output_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::cli {

Result<void> write_output(const std::string& path, std::string_view data) {
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0) return write_file(path, data);
    if (S_ISREG(info.st_mode)) return write_file(path, data, info.st_mode & 07777);
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC | (S_ISLNK(info.st_mode) ? O_CREAT : 0), 0644));
    if (!fd) return fail_errno("open", path);
    return write_all(fd.get(), as_bytes(data));
}

}  // namespace blanket::cli
