// SPDX-License-Identifier: GPL-2.0-or-later
// blanket-save: live-saves one domain in a process of its own: libxenguest exits, blocks and maps as it likes. Started by LibvirtHypervisor.
//   blanket-save DOMID FD LIMITS  saves live into FD; JSON lines on stdout, a byte on stdin before the guest stops (save_protocol.hpp); SIGTERM gives up; the guest runs on after any failure
//   blanket-save --resume DOMID   a saved and suspended domain runs on (the abort of a migration); one that runs already is fine
//   blanket-save --destroy DOMID  removes a domain that libvirt does not know
//   blanket-save --uncap DOMID    a domain that a save held back when it was killed has its processors again; nothing else changes
// Exit status: 0 done, 1 failed (the guest runs), 2 usage, 3 failed and the guest could not be resumed.
#include <atomic>
#include <csignal>
#include <ctime>
#include <fcntl.h>
#include <poll.h>
#include <print>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/hypervisor/live_save.hpp"
#include "toolstack/hypervisor/save_protocol.hpp"

namespace {

using namespace blanket;

constexpr int kPatience = 1000;  // ms: the byte that lets us ask the guest to stop
constexpr const char* kUsage = "usage: blanket-save DOMID FD LIMITS | --resume DOMID | --destroy DOMID | --uncap DOMID";

void say(const SaveLine& line) { (void)write_all(STDOUT_FILENO, as_bytes(format_line(line))); }  // a reader that has gone must not end the save

// Tells each thing once, and what is new of the rounds.
struct Reporter {
    std::size_t ended = 0;
    bool stopping = false;

    void tell(const SaveProgress& progress) {
        SaveLine line{.what = SaveLine::What::kProgress, .round = progress.round, .bytes = progress.bytes, .sending = progress.sending, .why = progress.why,
                      .forecast_ms = progress.forecast_ms, .asked_ms = progress.asked_ms, .suspended_ms = progress.suspended_ms};
        for (; ended < progress.ended.size(); ++ended) {
            line.what = SaveLine::What::kRound;
            line.ended = progress.ended[ended];
            say(line);
        }
        line.what = progress.suspended ? SaveLine::What::kSuspended : progress.stopping ? SaveLine::What::kStopping : SaveLine::What::kProgress;
        if (line.what == SaveLine::What::kStopping && stopping) return;  // pages are counted after it too
        say(line);
        if (line.what != SaveLine::What::kStopping) return;
        // What the network must do before the guest stops happens now, while it can still answer what it has already got.
        stopping = true;
        pollfd go{STDIN_FILENO, POLLIN, 0};
        (void)::poll(&go, 1, kPatience);
    }
};

// From now on writing to `fd` fails: the save, which may be in the middle of a round, ends.
void break_stream(int fd) {
    auto pipe = make_pipe();
    if (!pipe) return;  // then it ends at the next round
    pipe->read.reset();
    ::dup2(pipe->write.get(), fd);
}

int save(XenDomainHandle& domain, XenLog& log, int fd, const SaveLimits& limits) {
    sigset_t stop;
    sigemptyset(&stop);
    for (const int sig : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&stop, sig);
    pthread_sigmask(SIG_BLOCK, &stop, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // blanketd died: nobody will commit this, give up

    std::atomic<bool> given_up{false};
    std::jthread watcher([&](const std::stop_token& token) {
        const timespec tick{.tv_sec = 0, .tv_nsec = 100'000'000};
        while (!token.stop_requested())
            if (sigtimedwait(&stop, nullptr, &tick) > 0 && !given_up.exchange(true)) break_stream(fd);
    });
    Reporter reporter;
    auto saved = live_save(domain, log, fd, limits, {.given_up = [&] { return given_up.load(); }, .tell = [&](const SaveProgress& progress) { reporter.tell(progress); }});
    watcher.request_stop();
    watcher.join();
    if (saved && !given_up && domain.state() == XenDomainHandle::State::kSuspended) {
        say({.what = SaveLine::What::kDone});
        return 0;
    }
    if (given_up) saved = fail(Kind::kCancelled, "given up on request");
    else if (saved) saved = fail(Kind::kIo, "the domain does not stand still after its save");
    const auto runs = domain.run_on();
    std::string why = saved.error().what;
    if (!runs) why += std::format("; and {}", runs.error().what);
    say({.what = SaveLine::What::kError, .error = why, .hint = saved.error().hint, .cancelled = given_up});
    return runs ? 1 : 3;
}

int report(const Result<void>& result) {
    if (result) return 0;
    say({.what = SaveLine::What::kError, .error = result.error().what});
    return result.error().kind == Kind::kNotFound ? 1 : 3;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string_view verb = argc > 1 ? argv[1] : "";
    const bool live = !verb.starts_with("--");
    if (argc != (live ? 4 : 3) || (!live && verb != "--resume" && verb != "--destroy" && verb != "--uncap")) {
        std::println(stderr, "{}", kUsage);
        return 2;
    }
    const auto domid = parse_number(live ? verb : argv[2], 1, 0x7fef, "domain id");
    const auto fd = live ? parse_number(argv[2], 0, 1 << 20, "descriptor") : Result<std::uint64_t>(0);
    const auto limits = live ? parse_limits(argv[3]) : Result<SaveLimits>(SaveLimits{});
    if (!domid || !fd || !limits) {
        std::println(stderr, "blanket-save: bad arguments; {}", kUsage);
        return 2;
    }
    XenLog log;
    XenDomainHandle domain(log, static_cast<std::uint32_t>(*domid));
    if (const auto opened = domain.open(); !opened) return report(opened);
    if (verb == "--resume") return report(domain.run_on(true));
    if (verb == "--uncap") {
        domain.uncap();
        return 0;
    }
    if (verb == "--destroy") return report(domain.destroy());
    if (::fcntl(static_cast<int>(*fd), F_GETFD) < 0) return report(fail_errno("descriptor", argv[2]));
    return save(domain, log, static_cast<int>(*fd), *limits);
}
