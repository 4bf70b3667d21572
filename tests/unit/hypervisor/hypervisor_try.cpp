// SPDX-License-Identifier: GPL-2.0-or-later
// hypervisor-try: the libvirt adapter by hand on a real dom0, one verb a call; not a unit test. Prints what happened with milliseconds.
//   facts | list | start UUID | define FILE | stop UUID | events SECONDS
//   abort UUID             live save into /dev/null, then resume at the source
//   cancel UUID PERCENT    live save that is given up after so many progress lines
//   local UUID FILE        live save into FILE, destroy the source, restore from FILE paused, resume
//   broken UUID FILE       like local, but one byte in the middle is flipped (and once the file is cut): the restore must refuse, then the source resumes
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <print>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/hypervisor/domain_events.hpp"
#include "toolstack/hypervisor/import.hpp"
#include "toolstack/hypervisor/libvirt_hypervisor.hpp"

namespace {

using namespace blanket;
using Clock = std::chrono::steady_clock;
const Clock::time_point g_start = Clock::now();

template <typename... Args>
void say(std::format_string<Args...> text, Args&&... args) {
    std::println("{:>7} ms  {}", std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - g_start).count(), std::format(text, std::forward<Args>(args)...));
    std::fflush(stdout);
}

template <typename T>
bool check(std::string_view what, const Result<T>& result) {
    if (result) say("{}: done", what);
    else say("{}: {} ({}; {})", what, result.error().what, to_string(result.error().kind), result.error().hint);
    return result.has_value();
}

void show(LibvirtHypervisor& host) {
    const auto domains = host.list();
    if (!check("list", domains)) return;
    for (const auto& domain : *domains) say("  {} {} id {} {}", domain.uuid, domain.name, domain.id, to_string(domain.state));
}

ByteSource from(const UniqueFd& fd) {
    return [&fd](std::span<std::byte> out) { return read_some(fd.get(), out); };
}

Result<void> save(LibvirtHypervisor& host, const std::string& uuid, int fd, int lines_until_stop = -1) {
    std::uint32_t round = 999;
    bool suspended = false;
    int lines = 0;
    const auto sink = [fd](std::span<const std::byte> piece) { return write_all(fd, piece); };
    return host.save_live(uuid, {}, sink, [&](const SaveProgress& progress) {
        if (progress.round != round || progress.suspended != suspended) say("  round {} bytes {} suspended {}", progress.round, progress.bytes, progress.suspended);
        round = progress.round;
        suspended = progress.suspended;
        return lines_until_stop < 0 || ++lines < lines_until_stop;
    });
}

int broken(LibvirtHypervisor& host, const std::string& uuid, const std::string& file) {
    const std::string xml = host.definition(uuid).value_or("");
    UniqueFd out(::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600));
    if (!check("save", save(host, uuid, out.get()))) return 1;
    struct stat info{};
    ::fstat(out.get(), &info);
    // The same host cannot hold a second domain of that UUID, so the source is taken out of libvirt's sight by another UUID and name.
    std::string other = xml;
    const std::string fresh = make_uuid();
    other.replace(other.find(uuid), uuid.size(), fresh);
    other.insert(other.find("</name>"), "-copy");
    for (const bool cut : {false, true}) {
        if (cut) {
            if (::ftruncate(out.get(), info.st_size / 2) != 0) return 1;
        } else {
            std::byte one[1];
            // The count of a PAGE_DATA record or a page's content: somewhere in the first record's head, so that the damage is certain to be seen.
            (void)pread_all(out.get(), one, 40);
            one[0] ^= std::byte{0x40};
            (void)pwrite_all(out.get(), one, 40);
        }
        ::lseek(out.get(), 0, SEEK_SET);
        check(cut ? "restore of the cut stream" : "restore of the damaged stream", host.restore_paused(fresh, other, from(out)));
        show(host);
    }
    check("resume the source", host.resume_source(uuid));
    show(host);
    return 0;
}

int local(LibvirtHypervisor& host, const std::string& uuid, const std::string& file) {
    const std::string xml = host.definition(uuid).value_or("");
    const UniqueFd out(::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600));
    if (!check("save", save(host, uuid, out.get()))) return 1;
    show(host);
    if (!check("destroy source", host.destroy_source(uuid))) return 1;
    ::lseek(out.get(), 0, SEEK_SET);
    if (!check("restore", host.restore_paused(uuid, xml, from(out)))) return 1;
    show(host);
    if (!check("resume target", host.resume_target(uuid))) return 1;
    show(host);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> args(argv + 1, argv + argc);
    if (args.empty()) return 2;
    const std::string verb = args[0], first = args.size() > 1 ? args[1] : "", second = args.size() > 2 ? args[2] : "";
    if (verb == "events") {
        const auto events = DomainEvents::start([](const DomainEvent& event) { say("event {} {} {}", to_string(event.kind), event.uuid, event.name); });
        std::this_thread::sleep_for(std::chrono::seconds(std::atoi(first.c_str())));
        return 0;
    }
    auto opened = LibvirtHypervisor::connect();
    if (!check("connect", opened)) return 1;
    LibvirtHypervisor& host = **opened;
    if (verb == "facts") {
        const auto facts = host.facts();
        if (!check("facts", facts)) return 1;
        say("{} MiB, free {} MiB, {} cpus, '{}', Xen {}, libvirt {}, log-dirty {}", facts->memory_mib, facts->free_mib, facts->cpus, facts->cpu_model, facts->xen_version,
            facts->libvirt_version, facts->log_dirty);
        for (const auto& name : facts->cpu_features) std::print("{} ", name);
        std::println("");
        return 0;
    }
    if (verb == "list") return show(host), 0;
    if (verb == "define") return check("define", host.define(read_file(first).value_or(""))) ? 0 : 1;
    if (verb == "start") return check("start", host.start(first)) ? 0 : 1;
    if (verb == "stop") return check("stop", host.stop(first, StopMode::kShutdown, std::chrono::seconds(60))) ? 0 : 1;
    if (verb == "local") return local(host, first, second);
    if (verb == "broken") return broken(host, first, second);
    if (verb == "abort" || verb == "cancel") {
        const UniqueFd null(::open("/dev/null", O_WRONLY));
        const bool saved = check("save", save(host, first, null.get(), verb == "cancel" ? std::atoi(second.c_str()) : -1));
        show(host);
        if (saved) check("resume source", host.resume_source(first));
        show(host);
        return 0;
    }
    return 2;
}
