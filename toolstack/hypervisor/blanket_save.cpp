// SPDX-License-Identifier: GPL-2.0-or-later
// blanket-save: live-saves one domain by libxl in a process of its own, so that libxl's child handling stays out of blanketd. Started by LibvirtHypervisor.
//   blanket-save DOMID FD         saves live into FD; JSON lines on stdout, a byte on stdin before the guest stops (save_protocol.hpp); SIGTERM gives up; the guest runs on after any failure
//   blanket-save --resume DOMID   a saved and suspended domain runs on (the abort of a migration); one that runs already is fine
//   blanket-save --destroy DOMID  removes a domain that libvirt does not know
// Exit status: 0 done, 1 failed (the guest runs), 2 usage, 3 failed and the guest could not be resumed.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <poll.h>
#include <print>
#include <sys/prctl.h>
#include <thread>
#include <unistd.h>

extern "C" {
#include <libxl.h>
#include <xenctrl.h>
#include <xenstore.h>
#include <xentoollog.h>
}

#include "toolstack/base/fd.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/hypervisor/save_protocol.hpp"

namespace {

using namespace blanket;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// libxl's log consumer: progress becomes lines on stdout, warnings go to stderr, the first error is kept for the report.
struct Logger {
    xentoollog_logger vtable{};  // must be first: libxl hands it back to us
    bool report = false;
    std::uint32_t round = 0;
    std::uint64_t sent = 0;         // bytes of the finished rounds
    std::uint64_t in_round = 0;     // bytes of this one
    bool suspended = false;
    std::atomic<bool> suspend_asked{false};
    std::mutex mutex;
    std::string first_error;

    void print(SaveLine::What what) {
        const std::string line = format_line({.what = what, .round = round, .bytes = sent + in_round, .error = {}, .cancelled = false});
        (void)write_all(STDOUT_FILENO, as_bytes(line));  // a reader that has gone must not end the save
    }
};

constexpr std::uint64_t kPage = 4096;
constexpr int kPatience = 1000;  // ms

void on_message(xentoollog_logger* base, xentoollog_level level, int errnoval, const char* context, const char* format, va_list args) {
    auto* logger = reinterpret_cast<Logger*>(base);
    char text[512];
    std::vsnprintf(text, sizeof text, format, args);
    // libxl says this at the moment when it asks the guest to suspend; from here on a guest may stop even if we give up.
    // What the network must do before that happens now, while the guest can still answer what it has already got.
    if (std::strstr(text, "suspend request via") != nullptr && !logger->suspend_asked.exchange(true) && logger->report) {
        logger->print(SaveLine::What::kStopping);
        pollfd go{STDIN_FILENO, POLLIN, 0};
        (void)::poll(&go, 1, kPatience);
    }
    if (level < XTL_WARN) return;
    const std::string line = std::format("blanket-save: {}: {}{}{}\n", context != nullptr ? context : "libxl", text, errnoval > 0 ? ": " : "",
                                         errnoval > 0 ? std::strerror(errnoval) : "");
    (void)write_all(STDERR_FILENO, as_bytes(line));
    const std::lock_guard lock(logger->mutex);
    if (level >= XTL_ERROR && logger->first_error.empty()) logger->first_error = text;
}

void on_progress(xentoollog_logger* base, const char*, const char* doing_what, int, unsigned long done, unsigned long) {
    auto* logger = reinterpret_cast<Logger*>(base);
    if (!logger->report || doing_what == nullptr) return;
    const std::string_view what = doing_what;
    if (what == "Domain now suspended") {
        logger->suspended = true;
        logger->print(SaveLine::What::kSuspended);
        return;
    }
    const auto round = parse_round(what);
    if (!round) return;
    if (*round != logger->round || done * kPage < logger->in_round) {
        logger->sent += logger->in_round;
        logger->round = *round;
    }
    logger->in_round = done * kPage;
    logger->print(SaveLine::What::kProgress);
}

struct Xl {
    Logger logger;
    libxl_ctx* ctx = nullptr;
    xc_interface* xch = nullptr;
    std::uint32_t domid = 0;

    Result<void> open() {
        logger.vtable.vmessage = on_message;
        logger.vtable.progress = on_progress;
        if (libxl_ctx_alloc(&ctx, LIBXL_VERSION, 0, &logger.vtable) != 0) return fail(Kind::kUnavailable, "libxl does not start: no Xen here?");
        xch = xc_interface_open(nullptr, nullptr, 0);
        if (xch == nullptr) return fail_errno("xc_interface_open", "");
        return {};
    }
    ~Xl() {
        if (xch != nullptr) xc_interface_close(xch);
        if (ctx != nullptr) libxl_ctx_free(ctx);
    }

    enum class Guest { kRuns, kSuspended, kStopped, kGone };
    Guest guest() const {
        xc_domaininfo_t info{};
        if (xc_domain_getinfo_single(xch, domid, &info) != 0) return Guest::kGone;
        if ((info.flags & XEN_DOMINF_dying) != 0) return Guest::kGone;
        if ((info.flags & XEN_DOMINF_shutdown) == 0) return Guest::kRuns;
        return ((info.flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask) == SHUTDOWN_suspend ? Guest::kSuspended : Guest::kStopped;
    }
};

// Takes back a suspend request that the guest has not acknowledged. True: it had acknowledged it, so it will stop soon.
bool guest_took_request(std::uint32_t domid) {
    xs_handle* store = xs_open(0);
    if (store == nullptr) return true;
    const std::string path = std::format("/local/domain/{}/control/shutdown", domid);
    bool took = true;
    for (int attempt = 0; attempt < 20; ++attempt) {
        const xs_transaction_t transaction = xs_transaction_start(store);
        if (transaction == XBT_NULL) break;
        unsigned length = 0;
        char* value = static_cast<char*>(xs_read(store, transaction, path.c_str(), &length));
        const bool pending = value != nullptr && std::string_view(value, length) == "suspend";
        std::free(value);
        if (pending) xs_write(store, transaction, path.c_str(), "", 0);
        if (xs_transaction_end(store, transaction, !pending)) {
            took = !pending;
            break;
        }
        if (errno != EAGAIN) break;
    }
    xs_close(store);
    return took;
}

Result<void> resume(Xl& xl) {
    switch (xl.guest()) {
    case Xl::Guest::kGone: return fail(Kind::kNotFound, "domain {} does not exist", xl.domid);
    case Xl::Guest::kStopped: return fail(Kind::kConflict, "domain {} has shut down by itself", xl.domid);
    case Xl::Guest::kRuns: break;
    case Xl::Guest::kSuspended:
        if (const int rc = libxl_domain_resume(xl.ctx, xl.domid, 1, nullptr); rc != 0)
            return fail(Kind::kIo, "libxl_domain_resume of domain {} failed with {}", xl.domid, rc);
    }
    return {};
}

// After a failed save: the guest must run on, and dirty tracking must be off.
Result<void> settle(Xl& xl) {
    if (xl.logger.suspend_asked && xl.guest() == Xl::Guest::kRuns) {
        // Either the guest never saw the request, or it has answered and is about to stop: then wait for it, or nobody would wake it.
        const auto until = Clock::now() + (guest_took_request(xl.domid) ? 60s : 500ms);
        while (Clock::now() < until && xl.guest() == Xl::Guest::kRuns) std::this_thread::sleep_for(10ms);
    }
    auto resumed = resume(xl);
    (void)xc_shadow_control(xl.xch, xl.domid, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);  // fails when it is off: fine
    return resumed;
}

int save(Xl& xl, int fd) {
    // libxl's helper unblocks SIGTERM itself; here only the thread below takes it.
    sigset_t stop;
    sigemptyset(&stop);
    for (const int sig : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&stop, sig);
    pthread_sigmask(SIG_BLOCK, &stop, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // blanketd died: nobody will commit this, give up

    xl.logger.report = true;
    libxl_asyncop_how how{};
    how.callback = nullptr;
    how.u.for_event = 0xb1a9;
    std::atomic<bool> cancelled{false};
    std::jthread watcher([&](const std::stop_token& token) {
        const timespec tick{.tv_sec = 0, .tv_nsec = 100'000'000};
        while (!token.stop_requested())
            if (sigtimedwait(&stop, nullptr, &tick) > 0) {
                cancelled = true;
                libxl_ao_abort(xl.ctx, &how);
            }
    });

    int rc = libxl_domain_suspend(xl.ctx, xl.domid, fd, LIBXL_SUSPEND_LIVE, &how);
    while (rc == 0) {
        libxl_event* event = nullptr;
        rc = libxl_event_wait(xl.ctx, &event, LIBXL_EVENTMASK_ALL, nullptr, nullptr);
        if (rc != 0) break;
        const bool ours = event->type == LIBXL_EVENT_TYPE_OPERATION_COMPLETE && event->for_user == how.u.for_event;
        if (ours) rc = event->u.operation_complete.rc;
        libxl_event_free(xl.ctx, event);
        if (ours) break;
    }
    watcher.request_stop();
    watcher.join();
    if (rc == 0 && xl.guest() == Xl::Guest::kSuspended) {
        xl.logger.print(SaveLine::What::kDone);
        return 0;
    }
    std::string why = xl.logger.first_error.empty() ? std::format("libxl_domain_suspend failed with {}", rc) : xl.logger.first_error;
    if (cancelled) why = "given up on request";
    const auto resumed = settle(xl);
    if (!resumed) why += std::format("; and {}", resumed.error().what);
    const std::string line = format_line({.what = SaveLine::What::kError, .round = 0, .bytes = 0, .error = why, .cancelled = cancelled});
    (void)write_all(STDOUT_FILENO, as_bytes(line));
    return resumed ? 1 : 3;
}

int report(const Result<void>& result) {
    if (result) return 0;
    const std::string line = format_line({.what = SaveLine::What::kError, .round = 0, .bytes = 0, .error = result.error().what, .cancelled = false});
    (void)write_all(STDOUT_FILENO, as_bytes(line));
    return result.error().kind == Kind::kNotFound ? 1 : 3;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) {
        std::println(stderr, "usage: blanket-save DOMID FD | --resume DOMID | --destroy DOMID");
        return 2;
    }
    const std::string_view verb = argv[1];
    const bool live = !verb.starts_with("--");
    const auto domid = parse_number(live ? verb : argv[2], 1, 0x7fef, "domain id");
    const auto fd = live ? parse_number(argv[2], 0, 1 << 20, "descriptor") : Result<std::uint64_t>(0);
    if (!domid || !fd || (!live && verb != "--resume" && verb != "--destroy")) {
        std::println(stderr, "blanket-save: bad arguments; usage: blanket-save DOMID FD | --resume DOMID | --destroy DOMID");
        return 2;
    }
    Xl xl;
    xl.domid = static_cast<std::uint32_t>(*domid);
    if (const auto opened = xl.open(); !opened) return report(opened);
    if (verb == "--resume") return report(settle(xl));
    if (verb == "--destroy") {
        if (const int rc = libxl_domain_destroy(xl.ctx, xl.domid, nullptr); rc != 0)
            return report(fail(Kind::kIo, "libxl_domain_destroy of domain {} failed with {}", xl.domid, rc));
        return 0;
    }
    if (::fcntl(static_cast<int>(*fd), F_GETFD) < 0) return report(fail_errno("descriptor", argv[2]));
    return save(xl, static_cast<int>(*fd));
}
