// SPDX-License-Identifier: GPL-2.0-or-later
// See install.hpp.
#include "toolstack/update/install.hpp"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <filesystem>
#include <ranges>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/update/etc_merge.hpp"

namespace blanket::update {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSpare = 64u << 20;  // that is left free on the root file system
constexpr std::chrono::minutes kLong{30};    // for a step on a slow disk
constexpr std::array kMustHave{"boot/xen.gz", "boot/vmlinuz", "boot/initrd.img", "usr/sbin/init", "usr/bin/blanket", "usr/share/blanket/boot-args.cfg", "usr/share/blanket/etc.tsv", "etc/passwd", "etc/group", "var/lib/dpkg", "root"};

Result<std::uint64_t> free_on(const Place& place, const std::string& path) {
    if (place.free_bytes) return place.free_bytes(path);
    struct statvfs info{};
    if (::statvfs(path.c_str(), &info) != 0) return fail_errno("statvfs", path);
    return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

// What a tree takes on the disk; links to the same file count once each, which is too much rather than too little.
std::uint64_t used_by(const std::string& tree) {
    std::uint64_t bytes = 0;
    std::error_code code;
    for (auto at = fs::recursive_directory_iterator(tree, code); !code && at != fs::recursive_directory_iterator(); at.increment(code)) {
        struct stat info{};
        if (::lstat(at->path().c_str(), &info) == 0 && info.st_nlink > 0) bytes += static_cast<std::uint64_t>(info.st_blocks) * 512 / (S_ISDIR(info.st_mode) ? 1 : info.st_nlink);
    }
    return bytes;
}

Result<void> sync_disk(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd) return fail_errno("open", path);
    if (::syncfs(fd.get()) != 0) return fail_errno("syncfs", path);
    return {};
}

// One installation. Each step leaves the running slot and grubenv's way to it untouched, but for the last.
class Installation final {
public:
    Installation(const Bundle& bundle, const Plan& plan, const Status& status, const Place& place) : bundle_(bundle), plan_(plan), status_(status), place_(place) {}

    Result<void> clear() {
        // Not bootable before it is incomplete: GRUB and the other commands go by this file. Then nothing may point at it.
        BLANKET_CHECK(remove_file(slot_ + "/boot/args.cfg"));
        BLANKET_CHECK(remember({.slot = status_.env.slot}));
        BLANKET_CHECK(sync_disk(disk_));
        BLANKET_CHECK(run({"rm", "-rf", "--one-file-system", slot_}, {.deadline = kLong}));
        return make_dirs(slot_, 0755);
    }

    // tar strips what leads out of its folder: a leading '/', "..", links that were made to lead elsewhere.
    Result<void> unpack() {
        BLANKET_TRY(Pipe pipe, make_pipe());
        const std::string log = disk_ + "/slots/unpack.log";
        const UniqueFd errors(::open(log.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        if (!errors) return fail_errno("open", log);
        BLANKET_TRY(Child tar, Child::spawn({"tar", "-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--use-compress-program=zstd", "-C", slot_, "-f", "-"},
                                            {.in = pipe.read.get(), .out = errors.get(), .err = errors.get(), .pass = {}}));
        pipe.read.reset();
        const auto fed = bundle_.read_tree([&](std::span<const std::byte> piece) { return write_all(pipe.write.get(), piece); });
        pipe.write.reset();
        BLANKET_TRY(const int code, tar.wait(kLong));
        const std::string said = read_file(log, 1u << 20).value_or("");
        BLANKET_CHECK(remove_file(log));
        if (code != 0) return fail_hint(Kind::kIo, std::format("the update cannot be unpacked: {}", said.empty() ? "tar failed" : said.substr(0, said.find('\n'))), "df -h /; this machine starts as before");
        BLANKET_CHECK(fed);
        return complete();
    }

    // /var is shared: what it has stays, what only the new version has is added. Its list of packages is its own.
    Result<void> share_var() {
        const std::string given = slot_ + "/var", aside = slot_ + "/.var";
        std::error_code code;
        fs::rename(given, aside, code);
        if (!code) fs::create_directories(given + "/lib", code);
        if (!code) fs::rename(aside + "/lib/dpkg", given + "/lib/dpkg", code);
        if (code) return fail(Kind::kIo, "{}: {}", given, code.message());
        BLANKET_CHECK(add_missing(aside, disk_ + "/state/var"));
        BLANKET_CHECK(run({"rm", "-rf", "--one-file-system", aside}, {.deadline = kLong}));
        return run({"find", slot_ + "/root", "-mindepth", "1", "-delete"}).transform([](const std::string&) {});
    }

    Result<void> keep_settings() {
        const std::string etc = place_.root + "/etc";
        for (const char* const name : {"passwd", "group"}) {
            BLANKET_TRY(const std::string now, read_file(etc + "/" + name));
            BLANKET_TRY(const std::string then, read_file(slot_ + "/etc/" + name));
            if (const std::string moved = renumbered(now, then); !moved.empty())
                return fail_hint(Kind::kPrecondition, std::format("in the update, '{}' of /etc/{} has another number than here, and files in /var are its", moved, name), "set the machine up anew from the new version's image");
        }
        BLANKET_TRY(const std::string tsv, read_file(place_.root + "/usr/share/blanket/etc.tsv"));
        BLANKET_TRY(const Tree pristine, parse_tree(tsv));
        BLANKET_TRY(const Tree now, read_tree(etc));
        return apply_merge(plan_merge(pristine, now), etc, slot_ + "/etc");
    }

    // From here on the slot counts.
    Result<void> finish() {
        const Json json{{"version", plan_.manifest.version}, {"id", plan_.manifest.id}, {"installed", rfc3339_now()}};
        BLANKET_CHECK(write_file(slot_ + ".json", json.dump() + "\n"));
        BLANKET_TRY(const std::string args, read_file(slot_ + "/usr/share/blanket/boot-args.cfg"));
        BLANKET_CHECK(sync_disk(disk_));
        BLANKET_CHECK(write_file(slot_ + "/boot/args.cfg", args));
        return sync_disk(disk_);
    }

    Result<void> arm() { return remember({.slot = status_.env.slot, .trial = plan_.slot, .armed = true}); }

private:
    // The tries are as they are now: while the slot was filled, for minutes, this start may have been confirmed.
    Result<void> remember(BootEnv env) {
        const std::string file = place_.root + std::string(kEnvFile);
        BLANKET_TRY(const std::string now, read_file(file, kBootEnvSize));
        env.tries = parse_boot_env(now).tries;
        return write_boot_env(file, env);
    }

    Result<void> complete() {
        for (const char* const name : kMustHave) {
            std::error_code code;
            if (!fs::exists(fs::symlink_status(slot_ + "/" + name, code))) return fail(Kind::kInvalid, "the update has no /{}: it is no version of the appliance", name);
        }
        std::error_code code;
        for (auto at = fs::recursive_directory_iterator(slot_, code); !code && at != fs::recursive_directory_iterator(); at.increment(code)) {
            const auto type = at->symlink_status(code).type();
            if (type == fs::file_type::block || type == fs::file_type::character) return fail(Kind::kInvalid, "the update has a device in it: {}", at->path().string().substr(slot_.size()));
        }
        if (code) return fail(Kind::kIo, "{}: {}", slot_, code.message());
        return {};
    }

    static Result<void> add_missing(const fs::path& from, const fs::path& to) {
        std::vector<fs::directory_entry> entries;  // before any of them is moved
        std::error_code listing;
        for (auto at = fs::directory_iterator(from, listing); !listing && at != fs::directory_iterator(); at.increment(listing)) entries.push_back(*at);
        if (listing) return fail(Kind::kIo, "{}: {}", from.string(), listing.message());
        for (const auto& entry : entries) {
            const fs::path target = to / entry.path().filename();
            std::error_code code;
            const auto there = fs::symlink_status(target, code);
            if (there.type() == fs::file_type::not_found) {
                if (::rename(entry.path().c_str(), target.c_str()) != 0) return fail_errno("rename", target.string());  // one file system
            } else if (entry.symlink_status(code).type() == fs::file_type::directory && there.type() == fs::file_type::directory) {
                BLANKET_CHECK(add_missing(entry.path(), target));
            }
        }
        return {};
    }

    const Bundle& bundle_;
    const Plan& plan_;
    const Status& status_;
    const Place& place_;
    const std::string disk_ = place_.root + std::string(kDisk);
    const std::string slot_ = std::format("{}/slots/{}", disk_, plan_.slot);
};

Result<Plan> judge_bundle(const Bundle& bundle, const std::string& file, const Status& status, const Options& options, const Place& place) {
    Plan plan{.manifest = bundle.manifest(), .signer = bundle.signer(), .running = {}, .slot = 'b', .steps = {}};
    BLANKET_TRY(plan.slot, slot_for_update(status));
    plan.running = status.slot(status.running).version;
    BLANKET_CHECK(check_follows(plan.manifest, plan.running, options.any_version));
    BLANKET_CHECK(check_no_guests(place));
    const std::string disk = place.root + std::string(kDisk);
    BLANKET_TRY(const std::uint64_t free, free_on(place, disk));
    const std::uint64_t freed = used_by(std::format("{}/slots/{}", disk, plan.slot)), need = plan.manifest.unpacked_bytes + kSpare;
    if (free + freed < need)
        return fail_hint(Kind::kPrecondition, std::format("update {} needs {} on the root file system, and {} are free", plan.manifest.version, format_bytes(need), format_bytes(free + freed)), "make room: du -xh --max-depth=2 /var /root");
    BLANKET_CHECK(bundle.read_tree([](std::span<const std::byte>) { return Result<void>(); }).transform_error([&](Error error) { return std::move(error).context(file); }));
    plan.steps = {std::format("empty slot {}{}", plan.slot, status.slot(plan.slot).bootable ? std::format(", which has version {}", status.slot(plan.slot).version) : ""),
                  std::format("unpack version {} there ({})", plan.manifest.version, format_bytes(plan.manifest.unpacked_bytes)), "take over what this machine has changed in /etc",
                  std::format("start slot {} at the next start, once; unless it is confirmed, the one after is version {} again", plan.slot, plan.running)};
    return plan;
}

Result<std::vector<Key>> keys_of(const Place& place) { return read_keys({place.root + "/usr/share/blanket/update-keys", place.root + "/etc/blanket/update-keys"}); }

}  // namespace

Result<Plan> judge(const std::string& file, const Status& status, const Options& options, const Place& place) {
    BLANKET_TRY(const auto keys, keys_of(place));
    BLANKET_TRY(const Bundle bundle, Bundle::open(file, keys));
    return judge_bundle(bundle, file, status, options, place);
}

Result<Plan> install(const std::string& file, const Options& options, const Place& place, const std::function<void(const std::string&)>& tell) {
    // What is judged must still be so when it is carried out. A disk without slots is refused by the judgement, which says what to do.
    const std::string slots = place.root + std::string(kDisk) + "/slots";
    const UniqueFd lock(::open(slots.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const int code = errno;
    if (lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return fail_hint(Kind::kConflict, "another update is being installed", "wait for it, then: blanket update show");
    const Status status = read_status(place.root);
    BLANKET_TRY(const auto keys, keys_of(place));
    tell("looking at " + file);
    BLANKET_TRY(const Bundle bundle, Bundle::open(file, keys));
    BLANKET_TRY(Plan plan, judge_bundle(bundle, file, status, options, place));
    if (!lock) {
        errno = code;
        return fail_errno("open", slots);
    }
    Installation work(bundle, plan, status, place);
    tell(plan.steps[0]);
    BLANKET_CHECK(work.clear());
    const auto filled = [&]() -> Result<void> {
        tell(plan.steps[1]);
        BLANKET_CHECK(work.unpack());
        BLANKET_CHECK(work.share_var());
        tell(plan.steps[2]);
        BLANKET_CHECK(work.keep_settings());
        return work.finish();
    }();
    if (!filled) {
        (void)work.clear();  // half a version is worth nothing, and its space is wanted
        return std::unexpected(filled.error());
    }
    tell(plan.steps[3]);
    BLANKET_CHECK(work.arm());
    forget_refusal(place);
    return plan;
}

void remember_refusal(const std::string& file, const Error& error, const Place& place) {
    const Json json{{"file", file}, {"what", error.what}, {"time", rfc3339_now()}};
    (void)write_file(place.root + std::string(kRefusedFile), json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n", 0600);  // on a full disk this may fail too; the caller has told the person
    const UniqueFd console(::open((place.root + "/dev/kmsg").c_str(), O_WRONLY | O_CLOEXEC));
    std::string text = std::format("<3>blanket-update: not installed: {}", error.what.substr(0, 400));
    std::ranges::replace(text, '\n', ' ');
    if (console) (void)write_all(console.get(), as_bytes(text + "\n"));  // without the newline, the kernel waits for more of the line
}

void forget_refusal(const Place& place) { (void)remove_file(place.root + std::string(kRefusedFile)); }

Result<void> check_no_guests(const Place& place) {
    BLANKET_TRY(const auto guests, place.guests ? place.guests() : running_guests());
    if (guests.empty()) return {};
    std::string names;
    for (const auto& name : guests | std::views::take(5)) names += (names.empty() ? "" : ", ") + name;
    if (guests.size() > 5) names += std::format(" and {} more", guests.size() - 5);
    return fail_hint(Kind::kConflict, std::format("{} VM{} here: {}", guests.size(), guests.size() == 1 ? " runs" : "s run", names), "move them away first: blanket host drain; or stop them: blanket vm stop NAME");
}

Result<std::vector<std::string>> running_guests() {
    std::vector<std::string> names;
    std::error_code code;
    if (!fs::exists("/proc/xen/privcmd", code)) return names;
    const auto domains = run({"xenstore-list", "/local/domain"}, {.deadline = std::chrono::seconds(20)});
    if (!domains) return fail_hint(Kind::kUnavailable, "whether VMs run here is not known: Xen's store does not answer", "systemctl status xen");
    for (const auto& line : split(*domains, '\n')) {
        const std::string number(trim(line));
        if (number.empty() || number == "0") continue;
        const auto name = run({"xenstore-read", "/local/domain/" + number + "/name"}, {.deadline = std::chrono::seconds(20)});
        names.push_back(name ? std::string(trim(*name)) : "domain " + number);
    }
    return names;
}

}  // namespace blanket::update
