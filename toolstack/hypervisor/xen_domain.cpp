// SPDX-License-Identifier: GPL-2.0-or-later
// See xen_domain.hpp. A Linux guest is asked through its control/shutdown node: it answers by emptying the node, and then stops with the reason "suspend".
#include "toolstack/hypervisor/xen_domain.hpp"

#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <poll.h>
#include <string_view>
#include <thread>
#include <unistd.h>

extern "C" {
#include <libxl.h>
#include <xenctrl.h>
#include <xenstore.h>
}

#include "toolstack/base/fd.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/hypervisor/processor_cap.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kAnswer = 60s;
constexpr std::chrono::milliseconds kPerhaps = 2s;  // for a guest that was perhaps asked to suspend
constexpr int kTick = 50;  // ms: a watch comes sooner

void on_message(xentoollog_logger* base, xentoollog_level level, int errnoval, const char* context, const char* format, va_list args) {
    if (level < XTL_WARN) return;
    auto* log = reinterpret_cast<XenLog*>(base);
    char text[512];
    std::vsnprintf(text, sizeof text, format, args);
    const std::string line = std::format("blanket-save: {}: {}{}{}\n", context != nullptr ? context : "xen", text, errnoval > 0 ? ": " : "",
                                         errnoval > 0 ? std::strerror(errnoval) : "");
    (void)write_all(STDERR_FILENO, as_bytes(line));
    const std::lock_guard lock(log->mutex);
    if (level >= XTL_ERROR && log->error.empty()) log->error = text;
}

void on_progress(xentoollog_logger* base, const char*, const char*, int, unsigned long done, unsigned long total) {
    auto* log = reinterpret_cast<XenLog*>(base);
    if (total > 0 && log->on_pages) log->on_pages(done);
}

struct StoreDeleter {
    void operator()(xs_handle* store) const { xs_close(store); }
};
using Store = std::unique_ptr<xs_handle, StoreDeleter>;

std::string read_node(xs_handle* store, xs_transaction_t transaction, const std::string& path) {
    unsigned length = 0;
    char* const value = static_cast<char*>(xs_read(store, transaction, path.c_str(), &length));
    std::string text = value == nullptr ? std::string() : std::string(value, length);
    std::free(value);
    return text;
}

// Takes back a request that the guest has not answered yet. False: it has answered, so it will stop soon.
bool take_back(xs_handle* store, const std::string& path) {
    for (int attempt = 0; attempt < 20; ++attempt) {
        const xs_transaction_t transaction = xs_transaction_start(store);
        if (transaction == XBT_NULL) return false;
        const bool pending = read_node(store, transaction, path) == "suspend";
        if (pending) xs_write(store, transaction, path.c_str(), "", 0);
        if (xs_transaction_end(store, transaction, !pending)) return pending;
        if (errno != EAGAIN) return false;
    }
    return false;
}

}  // namespace

XenLog::XenLog() {
    vtable.vmessage = on_message;
    vtable.progress = on_progress;
}

std::string XenLog::first_error() {
    const std::lock_guard lock(mutex);
    return error;
}

XenDomainHandle::~XenDomainHandle() {
    if (xch_ != nullptr) xc_interface_close(xch_);
    if (ctx_ != nullptr) libxl_ctx_free(ctx_);
}

Result<void> XenDomainHandle::open() {
    xch_ = xc_interface_open(&log_.vtable, &log_.vtable, 0);
    if (xch_ == nullptr) return fail(Kind::kUnavailable, "libxenctrl does not start: no Xen here?");
    return {};
}

Result<void> XenDomainHandle::open_libxl() {
    if (ctx_ == nullptr && libxl_ctx_alloc(&ctx_, LIBXL_VERSION, 0, &log_.vtable) != 0) return fail(Kind::kUnavailable, "libxl does not start: no Xen here?");
    return {};
}

XenDomainHandle::State XenDomainHandle::state() const {
    xc_domaininfo_t info{};
    if (xc_domain_getinfo_single(xch_, domid_, &info) != 0 || (info.flags & XEN_DOMINF_dying) != 0) return State::kGone;
    if ((info.flags & XEN_DOMINF_shutdown) == 0) return State::kRuns;
    return ((info.flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask) == SHUTDOWN_suspend ? State::kSuspended : State::kStopped;
}

bool XenDomainHandle::is_pv() const {
    xc_domaininfo_t info{};
    return xc_domain_getinfo_single(xch_, domid_, &info) == 0 && (info.flags & XEN_DOMINF_hvm_guest) == 0;
}

Result<void> XenDomainHandle::suspend(const std::function<bool()>& given_up) {
    const Store store(xs_open(0));
    if (!store) return fail(Kind::kUnavailable, "xenstore does not answer");
    const std::string path = std::format("/local/domain/{}/control/shutdown", domid_);
    if (!xs_watch(store.get(), "@releaseDomain", "") || !xs_watch(store.get(), path.c_str(), "")) return fail_errno("xenstore watch", path);
    asked_ = true;
    if (!xs_write(store.get(), XBT_NULL, path.c_str(), "suspend", 7)) return fail_errno("xenstore write", path);
    bool answered = false;
    for (auto until = Clock::now() + kAnswer;;) {
        switch (state()) {
        case State::kSuspended: return {};
        case State::kStopped: return fail(Kind::kConflict, "the guest has shut down instead of suspending");
        case State::kGone: return fail(Kind::kNotFound, "the guest is gone");
        case State::kRuns: break;
        }
        if (!answered && read_node(store.get(), XBT_NULL, path) != "suspend") {
            answered = true;
            until = Clock::now() + kAnswer;
        }
        const bool late = Clock::now() >= until;
        if (answered && late) return fail(Kind::kTimeout, "the guest answered the request to suspend, and has not stopped in {} ms", kAnswer.count());
        if (!answered && (late || given_up()) && take_back(store.get(), path)) {
            asked_ = false;
            return late ? fail(Kind::kTimeout, "the guest has not answered the request to suspend in {} ms", kAnswer.count()) : fail(Kind::kCancelled, "given up on request");
        }
        pollfd wait{xs_fileno(store.get()), POLLIN, 0};
        (void)::poll(&wait, 1, kTick);
        while (char** const event = xs_check_watch(store.get())) std::free(event);
    }
}

void XenDomainHandle::uncap() const {
    if (const auto lifted = ProcessorCap(xch_, domid_).lift(); !lifted) log::warning("save", "domain {} stays held back: {}", domid_, lifted.error().what);
}

Result<void> XenDomainHandle::run_on(bool of_another) {
    uncap();
    if ((asked_ || of_another) && state() == State::kRuns) {  // and the request has not been taken back
        // Either the guest never saw our request, or it has answered and is about to stop: then wait for it, or nobody would wake it.
        const Store store(xs_open(0));
        const bool back = store && take_back(store.get(), std::format("/local/domain/{}/control/shutdown", domid_));
        const auto until = Clock::now() + (back ? 500ms : asked_ ? kAnswer : kPerhaps);
        while (Clock::now() < until && state() == State::kRuns) std::this_thread::sleep_for(10ms);
    }
    Result<void> result;
    switch (state()) {
    case State::kGone: return fail(Kind::kNotFound, "domain {} does not exist", domid_);
    case State::kStopped: return fail(Kind::kConflict, "domain {} has shut down by itself", domid_);
    case State::kRuns: break;
    case State::kSuspended:
        BLANKET_CHECK(open_libxl());
        if (const int rc = libxl_domain_resume(ctx_, domid_, 1, nullptr); rc != 0) result = fail(Kind::kIo, "libxl_domain_resume of domain {} failed with {}", domid_, rc);
    }
    (void)xc_shadow_control(xch_, domid_, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);  // fails when it is off: fine
    return result;
}

Result<void> XenDomainHandle::destroy() {
    BLANKET_CHECK(open_libxl());
    if (const int rc = libxl_domain_destroy(ctx_, domid_, nullptr); rc != 0) return fail(Kind::kIo, "libxl_domain_destroy of domain {} failed with {}", domid_, rc);
    return {};
}

}  // namespace blanket
