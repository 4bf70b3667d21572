// SPDX-License-Identifier: GPL-2.0-or-later
// See site.hpp; main() of the rig program is here too.
#include "tests/vm/storage_rig/site.hpp"

#include <cstdio>
#include <cstring>
#include <random>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

#include "toolstack/storage/fd_image.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/storage/device_io.hpp"

namespace blanket::rig {

Result<void> make_group() {
    BLANKET_CHECK(run({"vgcreate", "--yes", "--dataalignment", "1m", "blanket", "/dev/vda"}));
    return {};
}

Result<std::unique_ptr<storage::ThinStore>> open_store() {
    BLANKET_CHECK(make_dirs("/var/lib/blanket/state", 0700));
    return storage::ThinStore::create("blanket/pool");
}

std::vector<std::byte> image_content() {
    std::vector<std::byte> content(kImageSize);
    std::mt19937_64 random(42);
    for (std::size_t at = 0; at + 8 <= content.size(); at += 8) {
        if (at / (1u << 20) % 3 == 2) continue;  // every third MiB is a hole
        const auto word = random();
        std::memcpy(content.data() + at, &word, 8);
    }
    return content;
}

std::string hash_of(const std::vector<std::byte>& content) { return sha256_hex({reinterpret_cast<const char*>(content.data()), content.size()}); }

std::string image_hash() {
    static const std::string hash = [] {
        const auto content = image_content();
        ContentHasher hasher;
        for (std::size_t at = 0; at < content.size(); at += kBlockSize) hasher.add(std::span(content).subspan(at, std::min(kBlockSize, content.size() - at)));
        return hasher.finish();
    }();
    return hash;
}

Result<void> import(storage::ThinStore& store) {
    const auto content = image_content();
    UniqueFd file(::memfd_create("image", MFD_CLOEXEC));
    BLANKET_CHECK(write_all(file.get(), content));
    ::lseek(file.get(), 0, SEEK_SET);
    storage::FdImage reader(file.get(), content.size());
    return store.import_image(image_hash(), content.size(), reader);
}

Result<std::vector<std::byte>> read_device(const std::string& name, std::uint64_t size) {
    BLANKET_TRY(const UniqueFd fd, storage::LiveSystem().open_device(name, false));
    std::vector<std::byte> content(size);
    BLANKET_CHECK(storage::read_range(fd.get(), 0, content));
    return content;
}

}  // namespace blanket::rig

int main(int argc, char** argv) {
    using namespace blanket;
    log::set_plain(true);
    log::set_level(log::Level::kDebug);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    const std::string role = argc > 1 ? argv[1] : "";
    if (role == "source") return rig::run_source();
    if (role == "target") return rig::run_target();
    return 2;
}
