// SPDX-License-Identifier: GPL-2.0-or-later
// One domain, seen through libxenctrl and xenstore, for blanket-save: what it does, how it is asked to suspend, how it runs on. One thread; the log may be
// written by any.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

extern "C" {
#include <xentoollog.h>
}

#include "toolstack/base/result.hpp"

struct xc_interface_core;
struct libxl__ctx;

namespace blanket {

// Where Xen's libraries report: warnings and errors go to stderr, the first error is kept. `on_pages` hears how many pages of a round are sent.
struct XenLog {
    XenLog();
    xentoollog_logger vtable{};  // first: the libraries hand it back to us
    std::function<void(std::uint64_t)> on_pages;
    [[nodiscard]] std::string first_error();
    std::mutex mutex;
    std::string error;
};

class XenDomainHandle final {
public:
    enum class State : std::uint8_t { kRuns, kSuspended, kStopped, kGone };

    XenDomainHandle(XenLog& log, std::uint32_t domid) : log_(log), domid_(domid) {}
    ~XenDomainHandle();
    XenDomainHandle(const XenDomainHandle&) = delete;
    XenDomainHandle& operator=(const XenDomainHandle&) = delete;

    Result<void> open();  // kUnavailable: no Xen here
    [[nodiscard]] State state() const;
    [[nodiscard]] bool is_pv() const;
    [[nodiscard]] std::uint32_t id() const { return domid_; }
    [[nodiscard]] xc_interface_core* control() const { return xch_; }

    // Asks the guest to suspend and waits until it has: at most a minute for each of its two steps. kCancelled when `given_up` and it had not answered yet;
    // then, and at kTimeout, the request is taken back. A guest that has answered stops in any case, and is waited for.
    Result<void> suspend(const std::function<bool()>& given_up);
    // It runs on after a save that failed or was undone, with dirty tracking off; fine when it runs. kConflict: it has shut down by itself.
    // `of_another`: the save's process was another one, which may have died after it asked the guest to stop.
    Result<void> run_on(bool of_another = false);
    Result<void> destroy();
    void uncap() const;  // what a save left that was killed while it held the guest back (processor_cap.hpp)

private:
    Result<void> open_libxl();
    XenLog& log_;
    std::uint32_t domid_;
    xc_interface_core* xch_ = nullptr;
    libxl__ctx* ctx_ = nullptr;
    bool asked_ = false;  // to suspend, by us
};

}  // namespace blanket
