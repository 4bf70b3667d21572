// SPDX-License-Identifier: GPL-2.0-or-later
// See seeds.hpp.
#include "toolstack/daemon/seeds.hpp"

#include <filesystem>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxImage = 1u << 20;

// What the registry has; kNotFound: it answered, and has nothing.
Result<std::string> made_of_registry(Registry& registry, const std::string& uuid) {
    BLANKET_TRY(const auto found, registry.get(seed_key(uuid)));
    if (!found)
        return fail_hint(Kind::kNotFound, std::format("the registry has no seed of VM {}, and its definition asks for one", uuid),
                         "restore etcd's last snapshot; or keep the disk's content, delete the VM and create it anew with --user-data");
    auto seed = parse_seed(found->value);
    if (!seed) return std::unexpected(std::move(seed).error().context(std::format("the seed of VM {}", uuid)));
    return seed_image(uuid, *seed);
}

}  // namespace

Seeds::Seeds(Registry& registry, std::string folder, LoopDevices loops, std::string links)
    : registry_(registry), folder_(std::move(folder)), loops_(std::move(loops)), links_(std::move(links)) {}

Result<void> Seeds::attach(const std::string& uuid) {
    BLANKET_TRY(const std::string device, loops_.attach(file_of(uuid)));
    BLANKET_CHECK(make_dirs(links_, 0755));
    const std::string link = link_of(uuid), fresh = link + ".new";
    std::error_code code;
    fs::remove(fresh, code);
    fs::create_symlink(device, fresh, code);
    if (!code) fs::rename(fresh, link, code);
    if (code) return fail(Kind::kIo, "link '{}' to '{}': {}", link, device, code.message());
    return {};
}

Result<void> Seeds::detach(const std::string& uuid) {
    std::error_code code;
    const auto device = fs::read_symlink(link_of(uuid), code);
    if (code) return {};  // it never had one since the host started
    BLANKET_CHECK(loops_.detach(device));
    fs::remove(link_of(uuid), code);
    if (code) return fail(Kind::kIo, "remove '{}': {}", link_of(uuid), code.message());
    return {};
}

void Seeds::attach_all() {
    const std::lock_guard lock(mutex_);
    std::error_code code;
    for (const auto& entry : fs::directory_iterator(folder_, code)) {
        const std::string uuid = entry.path().stem();
        if (entry.path().extension() != ".iso" || !check_uuid(uuid)) continue;
        if (auto attached = attach(uuid); !attached) log::error("seed", "VM {}: {}", uuid, attached.error().what);
    }
}

Result<void> Seeds::provide(const std::string& uuid) {
    BLANKET_CHECK(check_uuid(uuid));
    auto image = made_of_registry(registry_, uuid);  // before the lock: it may take as long as the registry's quorum does
    const std::lock_guard lock(mutex_);
    const auto here = read_file(file_of(uuid), kMaxImage);
    if (!image) {
        if (!here) return std::unexpected(std::move(image).error());
        log::warning("seed", "VM {} gets the seed that it had here: {}", uuid, image.error().what);
        return attach(uuid);
    }
    if (!here || *here != *image) {
        BLANKET_CHECK(detach(uuid));
        BLANKET_CHECK(make_dirs(folder_, 0700));
        BLANKET_CHECK(write_file(file_of(uuid), *image, 0600));
    }
    return attach(uuid);
}

Result<void> Seeds::release(const std::string& uuid) {
    BLANKET_CHECK(check_uuid(uuid));
    const std::lock_guard lock(mutex_);
    BLANKET_CHECK(detach(uuid));
    return remove_file(file_of(uuid));
}

}  // namespace blanket
