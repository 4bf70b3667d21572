// SPDX-License-Identifier: GPL-2.0-or-later
// See dm_ioctl.hpp.
#include "toolstack/storage/dm_ioctl.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <thread>
#include <unistd.h>

#include "toolstack/base/fd.hpp"

namespace blanket::storage {
namespace {

using namespace std::chrono_literals;

// One ioctl's argument: the fixed header and room for what follows it (8-byte aligned as the kernel wants).
class Request final {
public:
    explicit Request(std::string_view name, std::size_t room = 16 * 1024) : buffer_((sizeof(dm_ioctl) + room) / 8) {
        auto& head = header();
        head.version[0] = DM_VERSION_MAJOR;
        head.version[1] = 0;
        head.version[2] = 0;
        head.data_size = static_cast<std::uint32_t>(buffer_.size() * 8);
        head.data_start = sizeof(dm_ioctl);
        copy(head.name, DM_NAME_LEN, name);
    }
    dm_ioctl& header() { return *reinterpret_cast<dm_ioctl*>(buffer_.data()); }
    char* payload() { return reinterpret_cast<char*>(buffer_.data()) + sizeof(dm_ioctl); }
    std::size_t room() const { return buffer_.size() * 8 - sizeof(dm_ioctl); }
    static void copy(char* to, std::size_t size, std::string_view text) {
        std::memcpy(to, text.data(), std::min(text.size(), size - 1));
    }

private:
    std::vector<std::uint64_t> buffer_;
};

Result<int> control() {
    static const UniqueFd fd(::open("/dev/mapper/control", O_RDWR | O_CLOEXEC));
    if (!fd) return fail_hint(Kind::kUnavailable, "cannot open /dev/mapper/control", "load the kernel's device mapper: modprobe dm_mod dm_thin_pool");
    return fd.get();
}

Result<void> call(unsigned long number, Request& request, std::string_view verb) {
    BLANKET_TRY(const int fd, control());
    int rc;
    do rc = ::ioctl(fd, number, &request.header());
    while (rc != 0 && errno == EINTR);
    if (rc == 0) {
        if ((request.header().flags & DM_BUFFER_FULL_FLAG) != 0) return fail(Kind::kIo, "dmsetup {} {}: the answer is too long", verb, request.header().name);
        return {};
    }
    const int code = errno;
    const Kind kind = code == ENXIO || code == ENOENT || code == ENODATA ? Kind::kNotFound : code == EBUSY || code == EEXIST ? Kind::kConflict : Kind::kIo;
    return fail(kind, "dmsetup {} {}: {}", verb, request.header().name, ::strerror(code));
}

Result<void> load_table(const std::string& name, const std::string& table, bool readonly) {
    BLANKET_TRY(const DmTarget target, parse_dm_table(table));
    Request request(name);
    auto& head = request.header();
    head.target_count = 1;
    if (readonly) head.flags |= DM_READONLY_FLAG;
    if (sizeof(dm_target_spec) + target.params.size() + 1 > request.room()) return fail(Kind::kInvalid, "the table of {} is too long", name);
    dm_target_spec spec{};
    spec.sector_start = target.start;
    spec.length = target.sectors;
    spec.next = static_cast<std::uint32_t>((sizeof(dm_target_spec) + target.params.size() + 8) & ~std::size_t{7});
    Request::copy(spec.target_type, sizeof(spec.target_type), target.type);
    std::memcpy(request.payload(), &spec, sizeof(spec));
    std::memcpy(request.payload() + sizeof(spec), target.params.c_str(), target.params.size() + 1);
    return call(DM_TABLE_LOAD, request, "load");
}

Result<void> suspend_or_resume(const std::string& name, bool suspend) {
    Request request(name);
    if (suspend) request.header().flags |= DM_SUSPEND_FLAG | DM_SKIP_LOCKFS_FLAG;
    return call(DM_DEV_SUSPEND, request, suspend ? "suspend" : "resume");
}

Result<void> clear_inactive(const std::string& name) {
    Request request(name);
    return call(DM_TABLE_CLEAR, request, "clear");
}

std::string node_path(const std::string& name) { return "/dev/mapper/" + name; }

// udev makes the same link, later; libvirt and blkback open the device by this name at once.
Result<void> make_node(const std::string& name, std::uint32_t minor) {
    const std::string path = node_path(name), target = std::format("../dm-{}", minor);
    struct stat st {};
    if (::stat(path.c_str(), &st) == 0 && S_ISBLK(st.st_mode) && ::minor(st.st_rdev) == minor) return {};
    ::unlink(path.c_str());
    if (::symlink(target.c_str(), path.c_str()) != 0 && errno != EEXIST) return fail_errno("symlink", path);
    return {};
}

Result<void> create(const std::string& name, const std::string& uuid, const std::string& table, bool readonly) {
    if (name.empty() || name.size() >= DM_NAME_LEN || uuid.size() >= DM_UUID_LEN || name.find('/') != name.npos)
        return fail(Kind::kInvalid, "'{}' cannot be a device's name", name.substr(0, 80));
    Request request(name);
    Request::copy(request.header().uuid, DM_UUID_LEN, uuid);
    BLANKET_CHECK(call(DM_DEV_CREATE, request, "create"));
    const auto minor = static_cast<std::uint32_t>(::minor(request.header().dev));
    auto done = load_table(name, table, readonly);
    if (done) done = suspend_or_resume(name, false);
    if (done) done = make_node(name, minor);
    if (!done) {  // nothing half made stays
        Request undo(name);
        (void)call(DM_DEV_REMOVE, undo, "remove");
    }
    return done;
}

Result<void> remove(const std::string& name) {
    // udev or a scanner may hold the device for a moment: as `dmsetup remove --retry`.
    for (int attempt = 0;; ++attempt) {
        Request request(name);
        auto done = call(DM_DEV_REMOVE, request, "remove");
        if (done) {
            ::unlink(node_path(name).c_str());
            return {};
        }
        if (done.error().kind != Kind::kConflict || attempt == 40) return done;
        std::this_thread::sleep_for(50ms);
    }
}

Result<void> message(const std::string& name, const std::string& text) {
    Request request(name);
    if (sizeof(dm_target_msg) + text.size() + 1 > request.room()) return fail(Kind::kInvalid, "the message to {} is too long", name);
    dm_target_msg head{};
    std::memcpy(request.payload(), &head, sizeof(head));
    std::memcpy(request.payload() + sizeof(head), text.c_str(), text.size() + 1);
    auto done = call(DM_TARGET_MSG, request, "message");
    if (!done) return std::unexpected(std::move(done).error().context(text));
    return {};
}

Result<std::string> status(const std::string& name, bool table) {
    Request request(name, 64 * 1024);
    if (table) request.header().flags |= DM_STATUS_TABLE_FLAG;
    BLANKET_CHECK(call(DM_TABLE_STATUS, request, table ? "table" : "status"));
    if (request.header().target_count == 0) return std::string();
    dm_target_spec spec{};
    const char* payload = reinterpret_cast<const char*>(&request.header()) + request.header().data_start;
    std::memcpy(&spec, payload, sizeof(spec));
    spec.target_type[sizeof(spec.target_type) - 1] = 0;
    const std::string_view text(payload + sizeof(spec), ::strnlen(payload + sizeof(spec), request.room() - sizeof(spec)));
    return std::format("{} {} {} {}\n", spec.sector_start, spec.length, spec.target_type, text);
}

}  // namespace

Result<DmInfo> dm_info(const std::string& name) {
    Request request(name);
    BLANKET_CHECK(call(DM_DEV_STATUS, request, "info"));
    const auto& head = request.header();
    return DmInfo{.major = static_cast<std::uint32_t>(::major(head.dev)), .minor = static_cast<std::uint32_t>(::minor(head.dev)),
                  .suspended = (head.flags & DM_SUSPEND_FLAG) != 0, .live = (head.flags & DM_ACTIVE_PRESENT_FLAG) != 0,
                  .open_count = static_cast<std::uint32_t>(head.open_count), .uuid = head.uuid};
}

Result<std::string> dmsetup(const Argv& argv) {
    const auto unknown = [&] { return fail(Kind::kInvalid, "'{}' is not among the device-mapper commands known here", to_string(argv)); };
    if (argv.size() < 3) return unknown();
    std::string name, uuid, table;
    bool readonly = false;
    std::vector<std::string> rest;
    for (std::size_t i = 2; i < argv.size(); ++i) {
        if (argv[i] == "--uuid" && i + 1 < argv.size()) uuid = argv[++i];
        else if (argv[i] == "--table" && i + 1 < argv.size()) table = argv[++i];
        else if (argv[i] == "--readonly") readonly = true;
        else if (argv[i] == "--nolockfs") continue;
        else if (name.empty()) name = argv[i];
        else rest.push_back(argv[i]);
    }
    const std::string& verb = argv[1];
    const auto plain = [](Result<void> done) -> Result<std::string> {
        if (!done) return std::unexpected(std::move(done).error());
        return std::string();
    };
    if (name.empty() || (!rest.empty() && verb != "message")) return unknown();
    if (verb == "create" && !table.empty()) return plain(create(name, uuid, table, readonly));
    if (verb == "load" && !table.empty()) return plain(load_table(name, table, readonly));
    if (verb == "suspend") return plain(suspend_or_resume(name, true));
    if (verb == "resume") return plain(suspend_or_resume(name, false));
    if (verb == "clear") return plain(clear_inactive(name));
    if (verb == "remove") return plain(remove(name));
    if (verb == "message" && rest.size() == 2 && rest[0] == "0") return plain(message(name, rest[1]));
    if (verb == "status") return status(name, false);
    if (verb == "table") return status(name, true);
    if (verb == "info") {
        BLANKET_TRY(const DmInfo info, dm_info(name));
        return format_dm_info(info);
    }
    return unknown();
}

}  // namespace blanket::storage
