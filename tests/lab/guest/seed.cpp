// SPDX-License-Identifier: GPL-2.0-or-later
// See seed.hpp.
#include "tests/lab/guest/seed.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sys/mount.h>
#include <sys/stat.h>

namespace blanket::lab {
namespace {

constexpr const char* kDisk = "/dev/xvdz";
constexpr const char* kPlace = "/run/demo-seed";

}  // namespace

Result<std::string> read_user_data() {
    ::mkdir(kPlace, 0700);
    if (::mount(kDisk, kPlace, "iso9660", MS_RDONLY, nullptr) != 0) return fail(Kind::kIo, "{} cannot be mounted: {}", kDisk, std::strerror(errno));
    std::string text;
    {
        std::ifstream file(std::string(kPlace) + "/user-data");
        text.assign(std::istreambuf_iterator<char>(file), {});
    }
    if (::umount(kPlace) != 0) return fail(Kind::kIo, "{} cannot be unmounted: {}", kDisk, std::strerror(errno));
    return text;
}

}  // namespace blanket::lab
