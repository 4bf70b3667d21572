// SPDX-License-Identifier: GPL-2.0-or-later
// See file.hpp.
#include "toolstack/base/file.hpp"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {

Result<std::string> read_file(const std::string& path, std::size_t max) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open", path);
    std::string text;
    std::string buffer(64 * 1024, '\0');
    for (;;) {
        BLANKET_TRY(const std::size_t got, read_some(fd.get(), std::as_writable_bytes(std::span(buffer))));
        if (got == 0) return text;
        if (text.size() + got > max) return fail(Kind::kIo, "'{}' is longer than {} bytes", path, max);
        text.append(buffer, 0, got);
    }
}

Result<void> write_file(const std::string& path, std::string_view data, mode_t mode) {
    const std::string temporary = std::format("{}.{}.new", path, random_hex(4));
    UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd) return fail_errno("create", temporary);
    auto written = write_all(fd.get(), as_bytes(data));
    if (written && ::fchmod(fd.get(), mode) != 0) written = fail_errno("chmod", temporary);
    if (written && ::fsync(fd.get()) != 0) written = fail_errno("fsync", temporary);
    if (written && ::rename(temporary.c_str(), path.c_str()) != 0) written = fail_errno("rename", path);
    if (!written) {
        ::unlink(temporary.c_str());
        return written;
    }
    const std::string folder = std::filesystem::path(path).parent_path().string();
    UniqueFd dir(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!dir || ::fsync(dir.get()) != 0) return fail_errno("fsync", folder);
    return {};
}

Result<void> write_control(const std::string& path, std::string_view text) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    if (!fd) return fail_errno("open", path);
    const ssize_t written = ::write(fd.get(), text.data(), text.size());
    if (written < 0) return fail_errno("write", path);
    if (static_cast<std::size_t>(written) != text.size()) return fail(Kind::kIo, "'{}' took {} of {} bytes", path, written, text.size());
    return {};
}

Result<void> make_dirs(const std::string& path, mode_t mode) {
    std::error_code code;
    std::filesystem::create_directories(path, code);
    if (code) {
        errno = code.value();
        return fail_errno("mkdir", path);
    }
    if (::chmod(path.c_str(), mode) != 0) return fail_errno("chmod", path);
    return {};
}

Result<void> remove_file(const std::string& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("unlink", path);
    return {};
}

}  // namespace blanket
