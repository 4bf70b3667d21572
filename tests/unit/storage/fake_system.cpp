// SPDX-License-Identifier: GPL-2.0-or-later
// See fake_system.hpp.
#include "tests/unit/storage/fake_system.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "toolstack/base/text.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/storage/names.hpp"

namespace blanket::storage {
namespace {

constexpr std::uint64_t kThinBytes = 4u << 20;  // no test volume is larger

void must(bool done) {  // a fake without its memory proves nothing
    if (!done) std::abort();
}

int new_content(int from = -1) {
    const int fd = ::memfd_create("thin", MFD_CLOEXEC);
    must(::ftruncate(fd, kThinBytes) == 0);
    std::vector<char> block(kBlock);
    for (std::uint64_t at = 0; from >= 0 && at < kThinBytes; at += kBlock) {
        must(::pread(from, block.data(), kBlock, static_cast<off_t>(at)) >= 0);
        if (!is_zero(std::as_bytes(std::span(block)))) must(::pwrite(fd, block.data(), kBlock, static_cast<off_t>(at)) == static_cast<ssize_t>(kBlock));
    }
    return fd;
}

std::string block_of(int fd, std::uint64_t index) {
    std::string block(kBlock, '\0');
    must(::pread(fd, block.data(), kBlock, static_cast<off_t>(index * kBlock)) >= 0);
    return block;
}

std::unexpected<Error> busy(const std::string& name) { return fail(Kind::kConflict, "{}: busy", name); }

}  // namespace

FakeSystem::~FakeSystem() {
    for (const auto& [id, fd] : thin) ::close(fd);
}

Result<std::string> FakeSystem::run(const Argv& argv, std::chrono::milliseconds) {
    if (on_command) on_command(argv);
    const bool question = argv.size() > 1 && (argv[1] == "info" || argv[1] == "table" || argv[1] == "status");
    if (!question) {
        commands.push_back(to_string(argv));
        if (static_cast<int>(commands.size()) - 1 == fail_at) return fail(Kind::kIo, "injected failure of '{}'", commands.back());
    }
    if (argv[0] == "dmsetup") return dmsetup(argv);
    if (argv[0].ends_with("drbdsetup-84")) return drbdsetup(argv);
    if (argv[0] == "thin_delta") return delta(static_cast<std::uint32_t>(std::stoul(argv[3])), static_cast<std::uint32_t>(std::stoul(argv[5])));
    if (argv[0] == "thin_dump") return dump(static_cast<std::uint32_t>(std::stoul(argv[3])));
    if (argv[0] == "vgs") return vgs;
    if (argv[0] == "lvs") return lvs;
    if (argv[0] == "lvcreate") {
        const auto at = std::ranges::find(argv, "--name");
        volumes.insert("blanket-" + split(*(at + 1), '-')[0] + "--" + split(*(at + 1), '-')[1]);
        return "";
    }
    if (argv[0] == "modprobe" || argv[0] == "drbdmeta" || argv[0] == "lvremove" || argv[0] == "lvchange") {
        drbd_loaded |= argv[1] == "drbd";
        return "";
    }
    return fail(Kind::kNotFound, "no such program: {}", argv[0]);
}

Result<std::string> FakeSystem::dmsetup(const Argv& argv) {
    std::string uuid, table;
    std::vector<std::string> rest;
    for (std::size_t i = 2; i < argv.size(); ++i) {
        if (argv[i] == "--uuid") uuid = argv[++i];
        else if (argv[i] == "--table") table = argv[++i];
        else if (!argv[i].starts_with("--")) rest.push_back(argv[i]);
    }
    const std::string& verb = argv[1];
    const std::string& name = rest.at(0);
    const auto check_lower = [&](const std::string& text) -> Result<void> {
        BLANKET_TRY(const auto target, parse_dm_table(text));
        for (const auto& word : split(target.params, ' ')) {
            if (word.starts_with("/dev/mapper/") && !devices.contains(word.substr(12)) && !volumes.contains(word.substr(12))) return fail(Kind::kIo, "no {}", word);
            if (word.starts_with("/dev/drbd")) {
                const auto at = drbd.find(static_cast<std::uint32_t>(std::stoul(word.substr(9))));
                if (at == drbd.end() || at->second.role != "Primary") return fail(Kind::kIo, "{} is not primary", word);
            }
        }
        if (target.type == "thin" && !thin.contains(static_cast<std::uint32_t>(std::stoul(split(target.params, ' ')[1])))) return fail(Kind::kIo, "no such thin id");
        return {};
    };
    if (verb == "create") {
        const bool first = appears == name && !std::exchange(appears, "").empty();
        if (devices.contains(name)) return fail(Kind::kConflict, "{} exists", name);
        BLANKET_CHECK(check_lower(table));
        devices[name] = {.uuid = uuid, .table = table, .inactive = {}, .suspended = false, .opens = 0, .minor = next_minor_++};
        if (first) return fail(Kind::kConflict, "{} exists", name);
        return "";
    }
    const auto at = devices.find(name);
    if (at == devices.end()) return fail(Kind::kNotFound, "{}: no such device", name);
    auto& device = at->second;
    if (verb == "load") {
        BLANKET_CHECK(check_lower(table));
        device.inactive = table;
    } else if (verb == "clear") {
        device.inactive.clear();
    } else if (verb == "suspend") {
        device.suspended = true;
    } else if (verb == "resume") {
        if (!device.inactive.empty()) device.table = std::exchange(device.inactive, "");
        device.suspended = false;
    } else if (verb == "remove") {
        if (device.opens != 0) return busy(name);
        for (const auto& [other, it] : devices)
            if ((it.table + it.inactive).find("/dev/mapper/" + name + " ") != std::string::npos) return busy(name);
        for (const auto& [minor, it] : drbd)
            if (it.lower == "/dev/mapper/" + name) return busy(name);
        devices.erase(at);
    } else if (verb == "message") {
        return message(rest.at(2));
    } else if (verb == "info") {
        return format_dm_info({.major = 253, .minor = device.minor, .suspended = device.suspended, .live = true, .open_count = device.opens, .uuid = device.uuid});
    } else if (verb == "status") {
        return std::format("0 {} thin-pool 0 {}/4096 {}/{} {} {} no_discard_passdown queue_if_no_space - 1024\n", pool_bytes / kSector, used_metadata_blocks, used_data_blocks,
                           pool_bytes / kBlock, metadata_snapshot ? "77" : "-", pool_mode);
    } else if (verb == "table") {
        std::string text = device.table;  // the kernel prints numbers where a path was given
        for (const auto& [other, it] : devices)
            if (const auto where = text.find("/dev/mapper/" + other + " "); where != text.npos) text.replace(where, 12 + other.size(), std::format("253:{}", it.minor));
        if (const auto where = text.find("/dev/drbd"); where != text.npos) text.replace(where, 9, "147:");
        return text + "\n";
    } else {
        return fail(Kind::kInvalid, "dmsetup {}", verb);
    }
    return "";
}

Result<std::string> FakeSystem::message(const std::string& text) {
    const auto words = split(text, ' ');
    const auto number = [&](std::size_t i) { return static_cast<std::uint32_t>(std::stoul(words.at(i))); };
    if (words[0] == "create_thin" || words[0] == "create_snap") {
        if (thin.contains(number(1))) return fail(Kind::kConflict, "{} exists", number(1));
        if (words[0] == "create_snap") {
            if (!thin.contains(number(2))) return fail(Kind::kNotFound, "no thin id {}", number(2));
            for (const auto& [name, device] : devices)  // an active, writable origin must stand still
                if (device.table.ends_with(std::format(" thin /dev/mapper/bs-pool {}", number(2))) && !device.suspended && !name.starts_with("bs-img-"))
                    return fail(Kind::kIo, "the origin {} is active", name);
            thin[number(1)] = new_content(thin[number(2)]);
        } else {
            thin[number(1)] = new_content();
        }
    } else if (words[0] == "delete") {
        if (!thin.contains(number(1))) return fail(Kind::kNotFound, "no thin id {}", number(1));
        for (const auto& [name, device] : devices)
            if (device.table.ends_with(std::format(" thin /dev/mapper/bs-pool {}", number(1)))) return busy(name);
        ::close(thin[number(1)]);
        thin.erase(number(1));
    } else if (words[0] == "reserve_metadata_snap") {
        if (std::exchange(metadata_snapshot, true)) return busy("metadata snapshot");
    } else if (words[0] == "release_metadata_snap") {
        metadata_snapshot = false;
    } else {
        return fail(Kind::kInvalid, "message '{}'", text);
    }
    return "";
}

Result<std::string> FakeSystem::drbdsetup(const Argv& argv) {
    const std::string& verb = argv.at(1);
    if (verb == "new-resource") return "";
    if (verb == "new-minor") {
        drbd[static_cast<std::uint32_t>(std::stoul(argv.at(3)))].resource = argv.at(2);
        return "";
    }
    if (verb == "down") {
        for (auto it = drbd.begin(); it != drbd.end(); ++it) {
            if (it->second.resource != argv.at(2)) continue;
            for (const auto& [name, device] : devices)
                if ((device.table + device.inactive).find(std::format("/dev/drbd{} ", it->first)) != std::string::npos) return busy(name);
            drbd.erase(it);
            return "";
        }
        return fail(Kind::kIo, "no resource {}", argv.at(2));
    }
    if (verb == "connect") {
        for (const auto& [minor, it] : drbd)  // drbd_nl.c, ERR_LOCAL_ADDR and ERR_PEER_ADDR
            if (it.resource != argv.at(2) && (it.local == argv.at(3) || it.peer == argv.at(4))) return fail(Kind::kConflict, "the address is in use: {} {}", argv.at(3), argv.at(4));
        for (auto& [minor, it] : drbd)
            if (it.resource == argv.at(2)) it.local = argv.at(3), it.peer = argv.at(4), it.connection = peer_answers ? "Connected" : "WFConnection", it.peer_disk = !peer_answers ? "DUnknown" : std::exchange(it.peer_knows, false) ? "UpToDate" : "Inconsistent";
        return "";
    }
    if (verb == "disconnect" || verb == "net-options") {  // by addresses
        for (auto& [minor, it] : drbd) {
            if (it.local != argv.at(2) || it.peer != argv.at(3)) continue;
            if (verb == "disconnect") it.connection = "StandAlone", it.peer_disk = "DUnknown", it.local.clear(), it.peer.clear();
            else it.protocol = argv.at(4).back();
        }
        return "";
    }
    auto at = drbd.find(static_cast<std::uint32_t>(std::stoul(argv.at(2))));
    if (at == drbd.end()) return fail(Kind::kIo, "no minor {}", argv.at(2));
    auto& it = at->second;
    if (verb == "attach") {
        it.disk = "Inconsistent";
        it.lower = argv.at(3);
    } else if (verb == "new-current-uuid") {
        if (it.connection != "Connected") return fail(Kind::kIo, "not connected");
        it.disk = "UpToDate";
        it.peer_disk = stale_state ? "Inconsistent" : "UpToDate";
        it.peer_knows = true;
    } else if (verb == "primary") {
        if (it.disk != "UpToDate") return fail(Kind::kIo, "not up to date");
        it.role = "Primary";
    } else if (verb == "secondary") {
        for (const auto& [name, device] : devices)
            if ((device.table + device.inactive).find(std::format("/dev/drbd{} ", at->first)) != std::string::npos) return busy(name);
        it.role = "Secondary";
    } else if (verb != "verify") {
        return fail(Kind::kInvalid, "drbdsetup {}", verb);
    }
    return "";
}

Result<std::string> FakeSystem::read_text(const std::string& path) {
    if (path != "/proc/drbd" || !drbd_loaded) return fail(Kind::kNotFound, "no {}", path);
    std::string text = "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: 0123456789ABCDEF\n";
    for (const auto& [minor, it] : drbd) {
        const bool late = it.peer_disk == "UpToDate" && late_states > 0 && late_states-- > 0;
        text += std::format(" {}: cs:{} ro:{}/Secondary ds:{}/{} {} r-----\n    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:{}\n", minor, it.connection, it.role,
                            it.disk, late ? "Inconsistent" : it.peer_disk, it.protocol, it.out_of_sync_kib);
    }
    return text;
}

bool FakeSystem::exists(const std::string& path) {
    if (path == "/proc/drbd") return drbd_loaded;
    return path.starts_with("/dev/mapper/") && (volumes.contains(path.substr(12)) || devices.contains(path.substr(12)));
}

// Follows linear and DRBD down to the thin content.
Result<int> FakeSystem::content_of(const std::string& device) {
    if (device.starts_with("/dev/drbd")) {
        const auto at = drbd.find(static_cast<std::uint32_t>(std::stoul(device.substr(9))));
        if (at == drbd.end()) return fail(Kind::kNotFound, "no {}", device);
        return content_of(at->second.lower.substr(12));
    }
    const auto at = devices.find(device);
    if (at == devices.end()) return fail(Kind::kNotFound, "no {}", device);
    BLANKET_TRY(const auto target, parse_dm_table(at->second.table));
    const auto words = split(target.params, ' ');
    if (target.type == "thin") return thin.at(static_cast<std::uint32_t>(std::stoul(words[1])));
    return content_of(words[0].starts_with("/dev/drbd") ? words[0] : words[0].substr(12));
}

Result<UniqueFd> FakeSystem::open_device(const std::string& name, bool writable) {
    if (name.starts_with("/dev/mapper/")) {
        if (!exists(name)) return fail(Kind::kNotFound, "no {}", name);
        UniqueFd fd(::memfd_create("lv", MFD_CLOEXEC));
        must(::ftruncate(fd.get(), static_cast<off_t>(pool_bytes)) == 0);
        return fd;
    }
    BLANKET_TRY(const int content, content_of(name));
    UniqueFd fd(::open(std::format("/proc/self/fd/{}", content).c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC));
    if (!fd) return fail_errno("open", name);
    return fd;
}

Result<void> FakeSystem::user_write(const std::string& device, std::uint64_t offset, const std::string& text) {
    const auto at = devices.find(device);
    if (at == devices.end()) return fail(Kind::kNotFound, "no {}", device);
    if (at->second.suspended) return fail(Kind::kUnavailable, "{} is suspended", device);
    BLANKET_TRY(const int fd, content_of(device));
    return pwrite_all(fd, as_bytes(text), offset);
}

Result<std::string> FakeSystem::user_read(const std::string& device, std::uint64_t offset, std::size_t length) {
    BLANKET_TRY(const int fd, content_of(device));
    std::string text(length, '\0');
    BLANKET_CHECK(pread_all(fd, std::as_writable_bytes(std::span(text)), offset));
    return text;
}

void FakeSystem::reboot() {
    devices.clear();
    drbd.clear();
    drbd_loaded = metadata_snapshot = false;
}

std::string FakeSystem::delta(std::uint32_t from, std::uint32_t to) {
    std::string xml = "<superblock uuid=\"\" time=\"1\" transaction=\"0\" data_block_size=\"128\" nr_data_blocks=\"0\">\n  <diff left=\"1\" right=\"2\">\n";
    for (std::uint64_t i = 0; i < kThinBytes / kBlock; ++i) {
        const auto left = block_of(thin.at(from), i), right = block_of(thin.at(to), i);
        const bool no_left = is_zero(as_bytes(left)), no_right = is_zero(as_bytes(right));
        if (no_left && no_right) continue;
        xml += std::format("    <{} begin=\"{}\" length=\"1\"/>\n", left == right ? "same" : no_left ? "right_only" : no_right ? "left_only" : "different", i);
    }
    return xml + "  </diff>\n</superblock>\n";
}

std::string FakeSystem::dump(std::uint32_t id) {
    std::string xml = "<superblock uuid=\"\" time=\"1\" transaction=\"0\" version=\"2\" data_block_size=\"128\" nr_data_blocks=\"0\">\n";
    xml += std::format("  <device dev_id=\"{}\" mapped_blocks=\"0\" transaction=\"0\" creation_time=\"0\" snap_time=\"1\">\n", id);
    for (std::uint64_t i = 0; i < kThinBytes / kBlock; ++i)
        if (!is_zero(as_bytes(block_of(thin.at(id), i)))) xml += std::format("    <single_mapping origin_block=\"{}\" data_block=\"9\" time=\"0\"/>\n", i);
    return xml + "  </device>\n</superblock>\n";
}

}  // namespace blanket::storage
