// SPDX-License-Identifier: GPL-2.0-or-later
// Subscription, queue, reconnection, and the watch for shutdowns that libvirt lost; see domain_events.hpp.
#include "toolstack/hypervisor/domain_events.hpp"

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "toolstack/base/log.hpp"
#include "toolstack/hypervisor/libvirt_connection.hpp"
#include "toolstack/hypervisor/xen_host.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

}  // namespace

std::string_view to_string(DomainEventKind kind) {
    switch (kind) {
    case DomainEventKind::kDefined: return "defined";
    case DomainEventKind::kUndefined: return "undefined";
    case DomainEventKind::kStarted: return "started";
    case DomainEventKind::kSuspended: return "suspended";
    case DomainEventKind::kResumed: return "resumed";
    case DomainEventKind::kShutdown: return "shutdown";
    case DomainEventKind::kDestroyed: return "destroyed";
    case DomainEventKind::kCrashed: return "crashed";
    case DomainEventKind::kRebooted: return "rebooted";
    case DomainEventKind::kResync: return "resync";
    }
    return "resync";
}

DomainEventKind lifecycle_event(int event, int detail) {
    switch (event) {
    case VIR_DOMAIN_EVENT_DEFINED: return DomainEventKind::kDefined;
    case VIR_DOMAIN_EVENT_UNDEFINED: return DomainEventKind::kUndefined;
    case VIR_DOMAIN_EVENT_STARTED: return DomainEventKind::kStarted;
    case VIR_DOMAIN_EVENT_SUSPENDED: return DomainEventKind::kSuspended;
    case VIR_DOMAIN_EVENT_RESUMED: return DomainEventKind::kResumed;
    case VIR_DOMAIN_EVENT_SHUTDOWN: return DomainEventKind::kShutdown;
    case VIR_DOMAIN_EVENT_CRASHED: return DomainEventKind::kCrashed;
    case VIR_DOMAIN_EVENT_STOPPED:
        if (detail == VIR_DOMAIN_EVENT_STOPPED_CRASHED || detail == VIR_DOMAIN_EVENT_STOPPED_FAILED) return DomainEventKind::kCrashed;
        if (detail == VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN) return DomainEventKind::kShutdown;
        return DomainEventKind::kDestroyed;
    default: return DomainEventKind::kResync;
    }
}

namespace {

// Between libvirt's event loop and our thread. Shared: a callback may still run when the subscription is being taken back.
struct Queue {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::deque<DomainEvent> events;

    void push(DomainEvent event) {
        {
            const std::lock_guard lock(mutex);
            constexpr std::size_t kMost = 10'000;  // a listener that hangs must not eat the memory; the resync heals what is dropped
            if (events.size() >= kMost) {
                events.clear();
                event = {};
            }
            events.push_back(std::move(event));
        }
        wake.notify_one();
    }
};
using SharedQueue = std::shared_ptr<Queue>;

}  // namespace

struct DomainEvents::State {
    Handler handler;
    LetRun let_run;
    std::string uri;
    SharedQueue queue = std::make_shared<Queue>();
    ConnectHandle connection;
    int lifecycle_id = -1, reboot_id = -1;
    std::map<int, Clock::time_point> stopped_since;  // domains that Xen calls shut down while libvirt calls them running
    std::jthread thread;

    void subscribe();
    void unsubscribe();
    void heal(XenHost& xen);
    void loop(const std::stop_token& stop);
};

namespace {

int on_lifecycle(virConnectPtr, virDomainPtr domain, int event, int detail, void* opaque) {
    (*static_cast<SharedQueue*>(opaque))->push({.kind = lifecycle_event(event, detail), .uuid = uuid_of(domain), .name = name_of(domain)});
    return 0;
}

void on_reboot(virConnectPtr, virDomainPtr domain, void* opaque) {
    (*static_cast<SharedQueue*>(opaque))->push({.kind = DomainEventKind::kRebooted, .uuid = uuid_of(domain), .name = name_of(domain)});
}

void free_queue(void* opaque) { delete static_cast<SharedQueue*>(opaque); }

}  // namespace

void DomainEvents::State::subscribe() {
    auto opened = open_libvirt(uri);
    if (!opened) return;
    connection = std::move(*opened);
    virConnectSetKeepAlive(connection.get(), 5, 3);
    auto* first = new SharedQueue(queue);
    lifecycle_id = virConnectDomainEventRegisterAny(connection.get(), nullptr, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                                    VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), first, free_queue);
    if (lifecycle_id < 0) {
        free_queue(first);
        connection.reset();
        return;
    }
    auto* second = new SharedQueue(queue);
    reboot_id = virConnectDomainEventRegisterAny(connection.get(), nullptr, VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(on_reboot), second, free_queue);
    if (reboot_id < 0) free_queue(second);  // the Xen driver has no reboot event in every version: its stop and start are seen
    queue->push({});
}

void DomainEvents::State::unsubscribe() {
    if (!connection) return;
    if (lifecycle_id >= 0) virConnectDomainEventDeregisterAny(connection.get(), lifecycle_id);
    if (reboot_id >= 0) virConnectDomainEventDeregisterAny(connection.get(), reboot_id);
    lifecycle_id = reboot_id = -1;
    connection.reset();
}

// libvirt acts on a shutdown within milliseconds, and its own state changes before it begins. After 3 s of disagreement it never will.
void DomainEvents::State::heal(XenHost& xen) {
    const auto domains = xen.domains();
    if (!domains) return;
    std::map<int, Clock::time_point> still;
    for (const XenDomain& domain : *domains) {
        if (!domain.shutdown || domain.dying || *domain.shutdown == XenShutdown::kSuspend) continue;
        const DomainHandle handle(virDomainLookupByID(connection.get(), domain.id));
        int state = 0;
        if (!handle || virDomainGetState(handle.get(), &state, nullptr, 0) != 0 || state != VIR_DOMAIN_RUNNING) continue;
        const auto known = stopped_since.find(domain.id);
        still[domain.id] = known == stopped_since.end() ? Clock::now() : known->second;
        if (Clock::now() - still[domain.id] < 3s) continue;
        const bool reboot = *domain.shutdown == XenShutdown::kReboot;
        const std::string uuid = uuid_of(handle.get()), name = name_of(handle.get());
        const auto act = [&]() -> Result<void> {
            log::warning("hypervisor", "libvirt missed that '{}' (domain {}) {}: acting on it", name, domain.id, reboot ? "reboots" : "stopped");
            if (virDomainDestroy(handle.get()) != 0) return std::unexpected(libvirt_error("destroy " + name));
            if (reboot && virDomainCreate(handle.get()) != 0) log::error("hypervisor", "{}", libvirt_error("restart " + name).what);
            return {};
        };
        if (const auto acted = reboot && let_run ? let_run(uuid, act) : act(); !acted) continue;  // tried again in a second
        still.erase(domain.id);
        const bool crash = *domain.shutdown == XenShutdown::kCrash || *domain.shutdown == XenShutdown::kWatchdog;
        queue->push({.kind = reboot ? DomainEventKind::kRebooted : crash ? DomainEventKind::kCrashed : DomainEventKind::kShutdown, .uuid = uuid, .name = name});
    }
    stopped_since = std::move(still);
}

void DomainEvents::State::loop(const std::stop_token& stop) {
    std::optional<XenHost> xen;
    auto next_check = Clock::now();
    while (!stop.stop_requested()) {
        if (Clock::now() >= next_check) {
            next_check = Clock::now() + 1s;
            if (connection && virConnectIsAlive(connection.get()) != 1) unsubscribe();
            if (!connection) subscribe();
            if (!xen) {
                if (auto opened = XenHost::open()) xen = std::move(*opened);
            }
            if (connection && xen) heal(*xen);
        }
        DomainEvent event;
        {
            std::unique_lock lock(queue->mutex);
            if (!queue->wake.wait_until(lock, stop, next_check, [this] { return !queue->events.empty(); })) continue;
            event = std::move(queue->events.front());
            queue->events.pop_front();
        }
        handler(event);
    }
    unsubscribe();
}

DomainEvents::DomainEvents(std::unique_ptr<State> state) : state_(std::move(state)) {}

DomainEvents::~DomainEvents() = default;  // the jthread is State's last member: it stops and joins first

std::unique_ptr<DomainEvents> DomainEvents::start(Handler handler, LetRun let_run, std::string uri) {
    init_libvirt();
    auto state = std::make_unique<State>();
    state->handler = std::move(handler);
    state->let_run = std::move(let_run);
    state->uri = std::move(uri);
    State* raw = state.get();
    state->thread = std::jthread([raw](const std::stop_token& stop) { raw->loop(stop); });
    return std::unique_ptr<DomainEvents>(new DomainEvents(std::move(state)));
}

}  // namespace blanket
