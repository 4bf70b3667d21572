// SPDX-License-Identifier: GPL-2.0-or-later
// See images.hpp.
#include "toolstack/daemon/images.hpp"

#include <algorithm>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/migrate/image_transfer.hpp"
#include "toolstack/storage/fd_image.hpp"

namespace blanket {
namespace {

constexpr auto kUnpack = std::chrono::minutes(20);

struct Spool {  // a decompressed copy that goes away with its user
    std::string path;
    ~Spool() {
        if (!path.empty()) (void)remove_file(path);
    }
};

Result<void> list_here(App& app, const std::string& name, const ImageIdentity& identity) {
    const std::string key = "images/" + name;
    for (int attempt = 0; attempt < 8; ++attempt) {
        BLANKET_TRY(const auto found, app.registry.get(key));
        Image image{name, identity.sha256, identity.size, {}};
        if (found) {
            BLANKET_TRY(image, parse_image(found->value));
            if (image.sha256 != identity.sha256)
                return fail_hint(Kind::kConflict, std::format("an image '{}' with other content ({}) exists", name, image.sha256.substr(0, 12)), "choose another name");
            if (std::ranges::contains(image.sites, app.site)) return {};
        }
        image.sites.push_back(app.site);
        const auto put = app.registry.put(key, to_json(image), found ? found->revision : 0);
        if (put) return {};
        if (put.error().kind != Kind::kConflict) return std::unexpected(put.error());
    }
    return fail_hint(Kind::kConflict, std::format("the record of image '{}' changes all the time", name), "try again");
}

Result<Json> add_now(App& app, const std::string& name, const std::string& path, Job& job) {
    Spool spool;
    std::string raw = path;
    if (path.ends_with(".zst")) {
        job.phase("unpack");
        spool.path = std::format("{}/spool/{}.raw", app.settings.root, job.id());
        BLANKET_CHECK(run({"zstd", "-q", "-d", "-f", "--sparse", path, "-o", spool.path}, {.deadline = kUnpack}));
        raw = spool.path;
    }
    UniqueFd fd(::open(raw.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open", raw);
    job.phase("identify");
    BLANKET_TRY(const ImageIdentity identity, identify(fd.get()));
    job.note(std::format("content {} of {}", identity.sha256.substr(0, 12), format_bytes(identity.size)));
    job.phase("store");
    BLANKET_TRY(const bool present, app.blocks.has_image(identity.sha256));
    if (!present) {
        if (::lseek(fd.get(), 0, SEEK_SET) != 0) return fail_errno("lseek", raw);
        storage::FdImage content(fd.get(), identity.size);
        BLANKET_CHECK(app.blocks.import_image(identity.sha256, identity.size, content));
    }
    job.phase("record");
    BLANKET_CHECK(list_here(app, name, identity));
    (void)app.world.refresh();
    return Json{{"name", name}, {"sha256", identity.sha256}, {"size", identity.size}};
}

}  // namespace

Result<ImageIdentity> identify(int fd) {
    const off_t end = ::lseek(fd, 0, SEEK_END);
    if (end <= 0) return fail(Kind::kInvalid, "the image file is empty");
    const auto size = static_cast<std::uint64_t>(end);
    ContentHasher hasher;
    std::vector<std::byte> block(kBlockSize);
    for (std::uint64_t at = 0; at < size;) {
        if (const std::uint64_t next = storage::skip_hole(fd, at, size); next > at) {
            const std::uint64_t hole = next - at;
            hasher.add_zero_blocks((hole + kBlockSize - 1) / kBlockSize, hole);
            at = next;
            continue;
        }
        const auto part = std::min<std::uint64_t>(kBlockSize, size - at);
        BLANKET_CHECK(pread_all(fd, std::span(block).first(part), at));
        hasher.add(std::span(block).first(part));
        at += part;
    }
    return ImageIdentity{hasher.finish(), size};
}

Result<Answer> add_image(App& app, const std::string& name, const std::string& path, bool dry_run) {
    BLANKET_CHECK(check_name(name, "image"));
    struct stat info{};
    if (path.empty() || path.front() != '/') return fail_hint(Kind::kInvalid, std::format("'{}' is not an absolute path", path.substr(0, 200)), "name the file with its full path on this host");
    if (::stat(path.c_str(), &info) != 0) return fail_errno("stat", path);
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) return fail(Kind::kInvalid, "'{}' is neither a file nor a block device", path);
    if (dry_run)
        return Answer{nullptr, {std::format("read {} and compute its content hash", path), std::format("store it at '{}' unless it is there", app.site), std::format("record image '{}'", name)}};
    BLANKET_TRY(auto job, app.jobs.start("add", "image/" + name, [&app, name, path](Job& self) { return add_now(app, name, path, self); }));
    return Answer{job, {}};
}

Result<void> ensure_image(App& app, const Versioned<Image>& image, Job& job) {
    BLANKET_TRY(const bool present, app.blocks.has_image(image.value.sha256));
    if (present) return {};
    std::string tried;
    for (const auto& name : image.value.sites) {
        if (name == app.site) continue;
        const auto site = app.world.site(name);
        if (!site) continue;
        job.note(std::format("fetching image '{}' from '{}'", image.value.name, name));
        const auto fetched = migrate::fetch_image([&] { return app.neighbours.link(*site); }, app.blocks, image.value.sha256);
        if (fetched) return list_here(app, image.value.name, {image.value.sha256, image.value.size});
        tried += std::format("; '{}': {}", name, fetched.error().what);
    }
    return fail_hint(Kind::kUnavailable, std::format("image '{}' is at no site that answers{}", image.value.name, tried), "add it here: blanket image add");
}

}  // namespace blanket
