// SPDX-License-Identifier: GPL-2.0-or-later
// What happens to domains, whoever does it: virsh, virt-install, the guest itself, blanketd. blanketd's adoption logic listens.
// Two threads: libvirt's event loop only queues; our own thread calls the handler, so the handler may call libvirt and may block.
// Survives restarts of libvirtd: after each (re)connection a kResync tells the listener to compare list() with what it knows.
//
// It also cures a gap of libxl: its event source reports one shutdown per domain and process, and a suspend counts. A guest whose move was aborted
// (suspend, then cancel) would power off unnoticed by libvirt for ever. Here such a domain is found by asking Xen and dealt with by on_poweroff and so on; where it
// reboots, whoever decides what may run is asked first (LetRun), and while the answer is no, nothing is done to it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket {

enum class DomainEventKind : std::uint8_t { kDefined, kUndefined, kStarted, kSuspended, kResumed, kShutdown, kDestroyed, kCrashed, kRebooted, kResync };
std::string_view to_string(DomainEventKind kind);

struct DomainEvent {
    DomainEventKind kind = DomainEventKind::kResync;
    std::string uuid, name;  // empty for kResync
};

// libvirt's lifecycle event and its detail -> ours; kResync for one that says nothing. Pure.
DomainEventKind lifecycle_event(int event, int detail);

class DomainEvents final {
public:
    using Handler = std::function<void(const DomainEvent&)>;
    // Does `go`, which lets the domain run, or says why not (Guard::let_run). Empty: it may always. Called by the same thread as the handler.
    using LetRun = std::function<Result<void>(const std::string& uuid, const std::function<Result<void>()>& go)>;
    // Starts at once; when libvirtd is away it keeps trying. The destructor stops; no call of the handler is under way afterwards.
    static std::unique_ptr<DomainEvents> start(Handler handler, LetRun let_run = {}, std::string uri = "xen:///system");
    ~DomainEvents();

private:
    struct State;
    explicit DomainEvents(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace blanket
