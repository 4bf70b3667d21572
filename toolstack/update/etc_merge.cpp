// SPDX-License-Identifier: GPL-2.0-or-later
// See etc_merge.hpp.
#include "toolstack/update/etc_merge.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::update {
namespace {

namespace fs = std::filesystem;

// Accounts, and what is made of other files.
constexpr std::array<std::string_view, 19> kNever{"passwd", "passwd-", "group", "group-", "shadow", "shadow-", "gshadow", "gshadow-", "subuid", "subuid-", "subgid", "subgid-",
                                                  ".pwd.lock", ".updated", "ld.so.cache", "mtab", "udev/hwdb.bin", "resolv.conf", "alternatives"};
constexpr std::size_t kMaxEntries = 20'000, kMaxFile = 16u << 20;

bool never(const std::string& path) {
    return std::ranges::any_of(kNever, [&](std::string_view name) { return path == name || (path.starts_with(name) && path[name.size()] == '/'); });
}

bool stays_below(const std::string& path) {
    if (path.empty() || path.starts_with('/')) return false;
    return std::ranges::none_of(split(path, '/'), [](const std::string& part) { return part.empty() || part == "." || part == ".."; });
}

// The folders above `path`, the outermost first.
std::vector<std::string> folders_above(const std::string& path) {
    std::vector<std::string> above;
    for (auto slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) above.push_back(path.substr(0, slash));
    return above;
}

// Not a link to one: that may lead out of the new version, into what runs.
bool is_folder(const std::string& path) {
    std::error_code code;
    return fs::symlink_status(path, code).type() == fs::file_type::directory;
}

// With the owner and the mode of `source`, and nothing of what is in it. What is there and no folder is replaced.
Result<void> make_folder_as(const std::string& source, const std::string& target) {
    struct stat info{};
    if (::lstat(source.c_str(), &info) != 0) return fail_errno("lstat", source);
    if (!S_ISDIR(info.st_mode)) return fail_hint(Kind::kConflict, std::format("'{}' is a folder no more", source), "leave /etc as it is while an update is being installed, and try again");
    if (!is_folder(target)) {
        BLANKET_CHECK(remove_file(target));
        if (::mkdir(target.c_str(), 0700) != 0) return fail_errno("mkdir", target);
    }
    if (::chown(target.c_str(), info.st_uid, info.st_gid) != 0) return fail_errno("chown", target);
    if (::chmod(target.c_str(), info.st_mode & 07777) != 0) return fail_errno("chmod", target);
    return {};
}

Result<unsigned> octal(const std::string& text) {
    unsigned value = 0;
    if (text.empty() || text.size() > 5) return fail(Kind::kInvalid, "'{}' is no mode", text);
    for (const char digit : text) {
        if (digit < '0' || digit > '7') return fail(Kind::kInvalid, "'{}' is no mode", text);
        value = value * 8 + static_cast<unsigned>(digit - '0');
    }
    return value;
}

}  // namespace

Result<Tree> parse_tree(std::string_view tsv) {
    Tree tree;
    for (const auto& line : split(tsv, '\n')) {
        if (line.empty()) continue;
        const auto cells = split(line, '\t');  // path, kind, mode, uid, gid, time, content
        if (cells.size() != 7 || !stays_below(cells[0]) || cells[1].empty()) return fail(Kind::kInvalid, "'{}' is no line of etc.tsv", line.substr(0, 80));
        Entry entry{.kind = cells[1][0], .content = cells[1] == "file" || cells[1] == "link" ? cells[6] : std::string()};
        BLANKET_TRY(entry.mode, octal(cells[2]));
        BLANKET_TRY(const auto uid, parse_number(cells[3], 0, 0xffffffff, "owner"));
        BLANKET_TRY(const auto gid, parse_number(cells[4], 0, 0xffffffff, "group"));
        entry.uid = static_cast<unsigned>(uid);
        entry.gid = static_cast<unsigned>(gid);
        tree.emplace(cells[0], std::move(entry));
    }
    return tree;
}

Result<Tree> read_tree(const std::string& folder) {
    Tree tree;
    std::error_code code;
    for (auto at = fs::recursive_directory_iterator(folder, code); !code && at != fs::recursive_directory_iterator(); at.increment(code)) {
        const std::string path = at->path();
        struct stat info{};
        if (::lstat(path.c_str(), &info) != 0) return fail_errno("lstat", path);
        if (tree.size() == kMaxEntries) return fail(Kind::kPrecondition, "there are more than {} files in {}", kMaxEntries, folder);
        Entry entry{.kind = S_ISREG(info.st_mode) ? 'f' : S_ISDIR(info.st_mode) ? 'd' : S_ISLNK(info.st_mode) ? 'l' : '?', .mode = info.st_mode & 07777, .uid = info.st_uid, .gid = info.st_gid, .content = {}};
        if (entry.kind == '?') continue;
        if (entry.kind == 'l') {
            entry.content = fs::read_symlink(path, code).string();
            if (code) return fail(Kind::kIo, "{}: {}", path, code.message());
        }
        if (entry.kind == 'f') {
            BLANKET_TRY(const std::string text, read_file(path, kMaxFile));
            entry.content = sha256_hex(text);
        }
        tree.emplace(path.substr(folder.size() + 1), std::move(entry));
    }
    if (code) return fail(Kind::kIo, "{}: {}", folder, code.message());
    return tree;
}

Merge plan_merge(const Tree& pristine, const Tree& now) {
    Merge merge;
    for (const auto& [path, entry] : now) {  // in the order of paths: a folder before what is in it
        const auto was = pristine.find(path);
        if (!never(path) && (was == pristine.end() || was->second != entry)) merge.take.push_back(path);
    }
    for (const auto& [path, entry] : pristine)
        if (!now.contains(path) && !never(path)) merge.remove.insert(merge.remove.begin(), path);
    return merge;
}

Result<void> apply_merge(const Merge& merge, const std::string& from, const std::string& to) {
    if (!is_folder(to)) return fail(Kind::kInvalid, "'{}' is no folder", to);
    std::error_code code;
    for (const auto& path : merge.remove) {
        if (!std::ranges::all_of(folders_above(path), [&](const std::string& folder) { return is_folder(to + "/" + folder); })) continue;  // the new version has no such file
        fs::remove(to + "/" + path, code);  // a folder in which the new version has more stays
        if (code && code != std::errc::directory_not_empty) return fail(Kind::kIo, "{}/{}: {}", to, path, code.message());
    }
    for (const auto& path : merge.take) {
        const std::string source = from + "/" + path, target = to + "/" + path;
        const auto kind = fs::symlink_status(source, code).type();
        if (kind == fs::file_type::not_found) continue;  // gone since it was looked at
        for (const auto& folder : folders_above(path))  // an unchanged folder here that the new version has no more, or has as something else
            if (!is_folder(to + "/" + folder)) BLANKET_CHECK(make_folder_as(from + "/" + folder, to + "/" + folder));
        if (kind == fs::file_type::directory) {
            BLANKET_CHECK(make_folder_as(source, target));
        } else {
            if (is_folder(target)) fs::remove_all(target, code);
            BLANKET_CHECK(run({"cp", "-a", "--remove-destination", "-T", source, target}));
        }
    }
    return {};
}

std::string renumbered(std::string_view accounts, std::string_view new_accounts) {
    const auto numbers = [](std::string_view text) {
        std::map<std::string, std::string> found;
        for (const auto& line : split(text, '\n'))
            if (const auto cells = split(line, ':'); cells.size() >= 3) found[cells[0]] = cells[2];
        return found;
    };
    const auto was = numbers(accounts);
    for (const auto& [name, number] : numbers(new_accounts))
        if (const auto at = was.find(name); at != was.end() && at->second != number) return name;
    return {};
}

}  // namespace blanket::update
