// SPDX-License-Identifier: GPL-2.0-or-later
// See blanketd.hpp.
#include "toolstack/daemon/blanketd.hpp"

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "net/overlay_ovs.hpp"
#include "net/wireguard.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/memory.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/api.hpp"
#include "toolstack/daemon/api_ca.hpp"
#include "toolstack/daemon/doctor_report.hpp"
#include "toolstack/daemon/key_rotation.hpp"
#include "toolstack/daemon/machine_identity.hpp"
#include "toolstack/daemon/net_trace.hpp"
#include "toolstack/daemon/notify.hpp"
#include "toolstack/daemon/open_again.hpp"
#include "toolstack/daemon/path_probe.hpp"
#include "toolstack/daemon/peers.hpp"
#include "toolstack/daemon/seeded_domains.hpp"
#include "toolstack/daemon/uplinks.hpp"
#include "toolstack/daemon/ways.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/hypervisor/domain_events.hpp"
#include "toolstack/hypervisor/libvirt_hypervisor.hpp"
#include "toolstack/hypervisor/loop_device.hpp"
#include "toolstack/migrate/failover.hpp"
#include "toolstack/migrate/guard.hpp"
#include "toolstack/migrate/guarded_domains.hpp"
#include "toolstack/migrate/watched_registry.hpp"
#include "toolstack/registry/snapshot_changes.hpp"
#include "toolstack/storage/thin_moves.hpp"
#include "toolstack/storage/thin_store.hpp"
#include "toolstack/stream/indexed_store.hpp"

namespace blanket {
namespace {

constexpr auto kRetry = std::chrono::seconds(2);
constexpr auto kRefresh = std::chrono::seconds(30);  // repairs what a restart of Open vSwitch forgot, without a change of a record
constexpr auto kPathRound = std::chrono::seconds(5);
constexpr auto kWayRound = std::chrono::seconds(5);
constexpr auto kTellRound = std::chrono::seconds(1);
constexpr int kSettledRounds = 2, kRoundsInAJob = 4;  // of which one looks, while all is well
constexpr auto kCaRound = std::chrono::seconds(1);
constexpr int kCaRounds = 30;  // so many until the registry is asked about the CA in any case
constexpr const char* kVersion = BLANKET_VERSION;

// Tries until it works, saying once per new reason why not. Only for what a booting host brings up by itself.
template <typename Make>
auto insist(const char* what, const std::atomic<bool>* stop, Make make) -> decltype(make()) {
    std::string last;
    for (;;) {
        auto made = make();
        if (made || (stop != nullptr && stop->load())) return made;
        if (made.error().what != last) {
            last = made.error().what;
            log::warning("start", "{}: {}{}{}", what, last, made.error().hint.empty() ? "" : "; ", made.error().hint);
            notify_systemd(std::format("STATUS=waiting for {}: {}", what, last));
        }
        notify_systemd("EXTEND_TIMEOUT_USEC=60000000\nWATCHDOG=1");
        std::this_thread::sleep_for(kRetry);
    }
}

}  // namespace

struct Daemon::Parts {
    Settings settings;
    std::string uplink_interface;
    std::unique_ptr<LibvirtHypervisor> hypervisor;
    std::unique_ptr<storage::ThinStore> store;
    std::unique_ptr<storage::ThinMoves> moves;
    std::unique_ptr<stream::IndexShelf> indexes;
    std::unique_ptr<stream::ContentStore> content;  // absent: there is none
    std::unique_ptr<stream::IndexedStore> indexed_store;
    std::unique_ptr<net::OvsOverlay> overlay;
    std::unique_ptr<WayKeeper> ways;
    std::unique_ptr<Federation> federation;
    std::shared_ptr<Registry> registry;
    std::unique_ptr<Guard> guard;
    std::unique_ptr<WatchedRegistry> watched_registry;  // what everybody but the guard uses
    std::unique_ptr<GuardedDomains> guarded_domains;    // the same
    std::unique_ptr<Seeds> seeds;
    std::unique_ptr<SeededDomains> seeded_domains;  // above the guard's: what may take as long as the registry does comes before the guard is asked
    std::unique_ptr<TlsNeighbours> neighbours;
    EventLog events;
    std::unique_ptr<World> world;
    std::unique_ptr<JobTable> jobs;
    std::unique_ptr<App> app;
    RestServer server;
    std::unique_ptr<Reconciler> reconciler;
    std::atomic<Reconciler*> looking = nullptr;  // the same, once it is there: for the server's threads
    std::unique_ptr<migrate::LinkSessions> sessions;
    std::unique_ptr<ChannelListener> streams;
    std::unique_ptr<Watcher> watcher;
    std::unique_ptr<DomainEvents> domain_events;
    std::unique_ptr<Failover> failover;
    std::vector<std::jthread> rounds;  // the guard's two halves, and the failover
    std::unique_ptr<PathProbe> path_probe;
    std::jthread path_rounds, way_rounds, way_tells;
    std::atomic<bool> tell_ways = false;  // whom this site hears, its record does not say yet
    std::mutex listeners;
    std::unique_ptr<OpenAgain> opening;  // the listeners
    std::atomic<bool> stopping = false;
    std::atomic<bool> site_revoked = false;  // the network is to follow
    std::atomic<bool> ca_said = true;        // something about the federation's CA: it is to be followed

    // Moves do without one.
    void open_content_store() {
        const std::string folder = settings.root + "/pages";
        if (settings.content_store_mib == 0) {
            std::error_code error;
            std::filesystem::remove_all(folder, error);
            return;
        }
        auto opened = stream::ContentStore::open(folder, {.quota = settings.content_store_mib << 20});
        if (opened) content = std::move(*opened);
        else log::warning("start", "there is no content store: {}", opened.error().what);
        app->store = content.get();
    }

    // What an earlier life watched goes on being watched.
    void make_guard(const SitePorts& ports) {
        const std::string path = settings.run + "/guard.json";
        const auto saved = read_file(path, 1u << 20);
        Guard::Hooks hooks;
        hooks.tell = [this](const std::string& vm, const std::string& text) { events.add("vm", vm, text); };
        hooks.save = [path](const std::string& text) {
            if (auto written = write_file(path, text, 0600); !written) log::error("guard", "{}", written.error().what);
        };
        guard = std::make_unique<Guard>(ports, settings.site, GuardTimes{}, hooks, saved ? *saved : std::string());
    }

    static std::jthread repeat(std::chrono::milliseconds time, const std::function<void()>& work) {
        return std::jthread([time, work](const std::stop_token& stop) {
            std::mutex mutex;
            std::condition_variable_any wake;
            for (std::unique_lock lock(mutex); !stop.stop_requested(); wake.wait_for(lock, stop, time, [] { return false; })) work();
        });
    }
    void every(std::chrono::milliseconds time, const std::function<void()>& work) { rounds.push_back(repeat(time, work)); }

    // From the first moment on, whether the registry answers or not.
    void start_guard() {
        every(guard->times().confirm, [this] {
            if (const auto known = world->guarded_at(app->site); !known.empty() || !guard->idle()) guard->confirm(known);
        });
        every(std::chrono::seconds(1), [this] { guard->enforce(); });
    }

    void start_failover() {
        failover = std::make_unique<Failover>(*app, app->site, FailoverTimes{}, [this](const std::string& vm, const std::string& text) { events.add("vm", vm, text); });
        every(failover->times().look, [this] {
            if (stopping) return;
            if (const auto known = world->standing_by_at(app->site); !known.empty()) failover->look(known);
        });
    }

    // Not while a job runs: in a move that would take processor time while the guest stands still.
    void start_path_probe() {
        path_probe = std::make_unique<PathProbe>(
            app->site, [](const Argv& argv) { return run_any(argv, {.deadline = std::chrono::seconds(15)}); }, [this] { return stopping || !jobs->idle(); });
        path_rounds = repeat(kPathRound, [this, last = std::string()]() mutable {
            std::vector<Site> sites;
            for (const auto& site : world->snapshot().sites) sites.push_back(site.value);
            const auto text = read_file(std::format("/sys/class/net/{}/mtu", uplink_interface), 64);
            const auto uplink_mtu = text ? parse_number(trim(*text), 0, kLargestPathMtu, "MTU").value_or(net::kUplinkMtu) : net::kUplinkMtu;
            path_probe->round(sites, static_cast<std::uint32_t>(uplink_mtu), app->clock.boottime_ms());
            const auto found = path_probe->found();
            const auto own = std::ranges::find(sites, app->site, &Site::name);
            if (stopping || own == sites.end() || own->path_mtu == found) return;
            const auto told = publish_paths(app->registry, app->site, found);
            if (!told && told.error().what != last) log::warning("paths", "{}", told.error().what);  // once, not every round
            last = told ? std::string() : told.error().what;
        });
    }

    void make_ways() {
        WayKeeper::World host;
        host.run = [](const Argv& argv) { return run_any(argv, {.deadline = std::chrono::seconds(15)}); };
        host.give_way = [this] { return stopping || !jobs->idle(); };
        host.poke = poke;
        host.opens = [](const std::string& address) { return opens(address, kRestPort); };
        host.wait = [](std::chrono::milliseconds time) { std::this_thread::sleep_for(time); };
        host.keep_endpoints = [this](std::set<std::string> sites) { overlay->keep_endpoints(std::move(sites)); };
        ways = std::make_unique<WayKeeper>(settings.site, std::move(host));
    }

    // Also while a job runs: a move whose way is cut needs another one.
    void start_ways() {
        way_rounds = repeat(kWayRound, [this, last = std::string(), passed = 0]() mutable {
            if (stopping || (ways->settled() && ++passed < (jobs->idle() ? kSettledRounds : kRoundsInAJob))) return;
            passed = 0;
            const Snapshot records = world->snapshot();
            const auto done = ways->round(records, {app->clock.boottime_ms(), app->clock.unix_ms() / 1000});
            const auto own = std::ranges::find(records.sites, app->site, [](const auto& site) { return site.value.name; });
            if (done && own != records.sites.end() && own->value.heard != ways->heard()) tell_ways = true;
            if (!done && done.error().what != last) log::warning("paths", "{}", done.error().what);  // once, not every round
            last = done ? std::string() : done.error().what;
        });
        // Beside it: a cut that keeps the registry away, for 15 s a call, must not keep anybody from looking for another way.
        way_tells = repeat(kTellRound, [this, last = std::string()]() mutable {
            if (stopping || !tell_ways.exchange(false)) return;
            const auto told = publish_heard(app->registry, app->site, ways->heard());
            if (!told && told.error().what != last) log::warning("paths", "{}", told.error().what);
            last = told ? std::string() : told.error().what;
        });
    }

    // By its record: for certificates that say no role.
    [[nodiscard]] bool is_witness(const std::string& site) const {
        const auto sites = world->snapshot().sites;
        return std::ranges::any_of(sites, [&](const auto& one) { return one.value.name == site && one.value.role == "witness"; });
    }

    void start_ca_rounds() {
        every(kCaRound, [this, left = 0, last = std::string()]() mutable {
            if (stopping || (!ca_said.exchange(false) && --left > 0 && !federation->ca_changing())) return;
            left = kCaRounds;
            const auto waits = federation->follow_ca();
            const std::string why = waits ? *waits : waits.error().what;
            if (why != last && !why.empty()) log::info("federation", "the new CA: {}", why);
            last = why;
        });
    }

    // The identity changed: what is open, a move's channel for one, goes on.
    Result<void> renew_listeners() {
        const std::lock_guard lock(listeners);
        BLANKET_TRY(const TlsContext tls, federation->tls());
        BLANKET_CHECK(server.renew_tls(tls));
        if (streams) streams->use(tls);
        return {};
    }

    Result<void> open_listeners() {
        const std::lock_guard lock(listeners);
        BLANKET_TRY(const TlsContext tls, federation->tls());
        BLANKET_CHECK(server.listen_tls(tls, "0.0.0.0", kRestPort));
        if (sessions) sessions->end_all();
        streams.reset();
        sessions = std::make_unique<migrate::LinkSessions>();
        const auto handler = [this](std::unique_ptr<Channel> channel) {
            if (channel->role().empty() && is_witness(channel->peer())) return log::warning("channel", "refused a connection of '{}': a witness takes no part in moves", channel->peer());
            serve_channel(*app, *sessions, std::make_unique<ChannelLink>(std::move(channel)), [this] { return stopping.load(); });
        };
        BLANKET_TRY(streams, ChannelListener::create(tls, "0.0.0.0", kStreamPort, handler, kMostChannels));
        return {};
    }
    // No move can come in by them: nothing ends with them.
    bool shut() {
        const std::lock_guard lock(listeners);
        return streams == nullptr;
    }
};

Result<std::unique_ptr<Daemon>> Daemon::create(Settings settings) {
    auto parts = std::make_unique<Parts>();
    parts->settings = std::move(settings);
    Settings& set = parts->settings;
    for (const char* folder : {"", "/pki", "/jobs", "/spool", "/state"}) BLANKET_CHECK(make_dirs(set.root + folder, 0700));
    BLANKET_CHECK(make_dirs(set.run, 0755));
    BLANKET_CHECK(check_machine(set.root + "/state/machine.json", read_machine()));

    std::string addresses;
    BLANKET_TRY(const Uplink uplink, insist("the uplink's address", nullptr, [&]() -> Result<Uplink> {
        BLANKET_TRY(addresses, blanket::run({"ip", "-json", "-4", "address", "show"}));
        BLANKET_TRY(const std::string routes, blanket::run({"ip", "-json", "-4", "route", "show", "default"}));
        return choose_uplink(addresses, routes, set.uplink);
    }));
    parts->uplink_interface = uplink.interface;
    if (set.address.empty()) set.address = uplink.address;

    BLANKET_TRY(parts->hypervisor, insist("libvirt", nullptr, [] { return LibvirtHypervisor::connect(); }));
    BLANKET_TRY(parts->store, insist("storage", nullptr, [&] { return storage::ThinStore::create(set.volume_group + "/pool"); }));
    parts->moves = std::make_unique<storage::ThinMoves>(*parts->store);
    net::OverlayOptions overlay;
    overlay.site = set.site;
    overlay.key_path = set.root + "/pki/wg.key";
    overlay.route_table = "/proc/net/route";
    overlay.calm = std::chrono::seconds(4);
    overlay.hold_quiet = std::chrono::milliseconds(1500);
    // 80 ms of silence were too short in three of ten moves (./dev bench moves): an answer that comes later costs the guest a TCP time-out or two.
    overlay.last_words = std::chrono::milliseconds(200);
    overlay.last_words_deadline = std::chrono::milliseconds(700);
    BLANKET_TRY(parts->overlay, net::OvsOverlay::create(overlay));

    BLANKET_TRY(const net::WireGuardKey key, net::identity(overlay.key_path));
    FederationOptions options;
    options.site = set.site;
    options.address = set.address;
    if (!has_address(addresses, set.address)) options.listen = uplink.address;  // it is the NAT's
    options.version = kVersion;
    const Uplinks uplinks = gather_uplinks();
    options.provider = provider_summary(uplinks.provider, uplinks.provider_xen);
    options.wireguard_key = key.pub;
    options.root = set.root;
    BLANKET_TRY(parts->federation, Federation::create(options, make_unit_runner()));
    parts->registry = parts->federation->registry();
    parts->make_ways();
    const auto address_of = [&ways = *parts->ways](const Site& site) { return ways.address_of(site); };
    parts->federation->reach_by(address_of);
    parts->neighbours = std::make_unique<TlsNeighbours>(*parts->federation, address_of);
    parts->world = std::make_unique<World>(*parts->registry, *parts->overlay, parts->events);
    parts->world->amend([&federation = *parts->federation](Snapshot& snapshot, bool fresh) {
        if (fresh) federation.judge(snapshot);
        else federation.mark(snapshot);
    });
    parts->federation->on_identity([&parts = *parts] { return parts.renew_listeners(); });
    parts->federation->on_revoked([&parts = *parts](const Revocation&) { parts.site_revoked = true; });
    parts->jobs = std::make_unique<JobTable>(set.root + "/jobs");
    parts->indexes = std::make_unique<stream::IndexShelf>(set.root + "/index");
    parts->indexed_store = std::make_unique<stream::IndexedStore>(*parts->store, *parts->indexes);
    parts->make_guard({*parts->registry, *parts->hypervisor, *parts->hypervisor, *parts->store, *parts->moves, *parts->overlay, system_time()});
    parts->watched_registry = std::make_unique<WatchedRegistry>(*parts->registry, *parts->guard);
    parts->guarded_domains = std::make_unique<GuardedDomains>(*parts->hypervisor, *parts->hypervisor, *parts->guard);
    parts->seeds = std::make_unique<Seeds>(*parts->registry, set.root + "/seeds", LoopDevices{attach_loop, detach_loop});
    parts->seeds->attach_all();
    parts->seeded_domains = std::make_unique<SeededDomains>(*parts->guarded_domains, *parts->guarded_domains, *parts->seeds);
    const SitePorts ports{*parts->watched_registry, *parts->seeded_domains, *parts->seeded_domains, *parts->indexed_store, *parts->moves, *parts->overlay, system_time()};
    parts->app = std::unique_ptr<App>(new App{ports, set, set.site, kVersion, *parts->neighbours, *parts->world, *parts->jobs, parts->events});
    parts->app->indexes = parts->indexes.get();
    parts->open_content_store();
    parts->app->look_again = [&looking = parts->looking](const std::string& uuid) {
        if (Reconciler* const reconciler = looking) reconciler->look(uuid, Cause::kRestart);
    };
    parts->opening = std::make_unique<OpenAgain>("listeners for the other sites", parts->app->clock, [&parts = *parts] { return parts.open_listeners(); });
    return std::unique_ptr<Daemon>(new Daemon(std::move(parts)));
}

Daemon::Daemon(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Daemon::~Daemon() {
    parts_->stopping = true;
    parts_->path_rounds = {};  // looks at the jobs
    parts_->way_rounds = {};
    parts_->way_tells = {};
    parts_->domain_events.reset();
    parts_->watcher.reset();
    if (parts_->sessions) parts_->sessions->end_all();
    if (parts_->streams) parts_->streams->stop();
    parts_->server.stop();
    if (parts_->reconciler) parts_->reconciler->stop();
    parts_->jobs.reset();  // waits for start jobs, which tell the reconciler how they ended
    parts_->reconciler.reset();
    parts_->rounds.clear();
    parts_->guard->leave();
}

void Daemon::run(const std::atomic<bool>& stop) {
    Parts& parts = *parts_;
    ApiHooks hooks;
    hooks.doctor = [&parts] { return doctor_report(*parts.app, *parts.federation, parts.uplink_interface, parts.opening->trouble(), [&parts](const std::string& site) { return parts.ways->way(site); }); };
    hooks.way = [&parts](const std::string& site) { return parts.ways->way(site); };
    hooks.trace = [&parts, way = hooks.way](const auto& query) { return trace_net(*parts.overlay, way, query); };
    hooks.look_at_all = [&parts] {
        if (Reconciler* const reconciler = parts.looking) reconciler->look("", Cause::kEvent);
    };
    hooks.federated = [&parts] { return parts.opening->now(); };
    hooks.rotate_key = [&parts] {
        return rotate_wireguard_key({parts.settings.root + "/pki/wg.key", [&parts] { return parts.world->apply_again(); },
                                     [&parts](const std::string& pub) { return parts.federation->publish_wireguard_key(pub); }});
    };
    bind_routes(parts.server, *parts.app, *parts.federation, hooks);
    parts.server.witness_if([&parts](const std::string& site) { return parts.is_witness(site); });
    if (auto listening = parts.server.listen_unix(parts.settings.run + "/blanketd.sock"); !listening) {
        log::error("start", "{}", listening.error().what);
        return;
    }
    parts.start_guard();
    // The socket answers from here on; what needs the registry says so until it is there.
    notify_systemd("READY=1\nSTATUS=waiting for the registry");
    const auto joined = insist("the registry", &stop, [&] {
        auto ready = parts.federation->ensure_local([](const std::string& text) { log::info("start", "{}", text); });
        if (!ready) parts.federation->ask_standing();  // perhaps nobody talks to us because we are cut off
        if (!ready) parts.federation->ask_ca();        // or because we have missed a new CA
        return ready;
    });
    if (!joined) return;
    if (parts.federation->federated()) (void)parts.opening->now();
    parts.reconciler = std::make_unique<Reconciler>(*parts.app);
    parts.looking = parts.reconciler.get();
    parts.world->on_change([&parts, gone = std::optional<std::set<std::string>>()](const Snapshot& now) mutable {
        if (auto refreshed = parts.federation->refresh_endpoints(now.sites); !refreshed) log::warning("registry", "{}", refreshed.error().what);
        for (const auto& vm : now.vms) parts.reconciler->look(vm.value.uuid, Cause::kRecord);
        std::set<std::string> gone_now;
        for (const auto& vm : now.gone) gone_now.insert(vm.uuid);
        for (const auto& uuid : gone_now)  // those from before the first snapshot: the look after the restart
            if (gone && !gone->contains(uuid)) parts.reconciler->look(uuid, Cause::kRecord);
        gone = std::move(gone_now);
    });
    if (auto refreshed = parts.world->refresh(); !refreshed) log::warning("start", "{}", refreshed.error().what);
    resume_ca_rotation(*parts.app, *parts.federation);
    parts.reconciler->look("", Cause::kRestart);
    parts.watcher = std::make_unique<Watcher>(parts.federation->etcd(), [&parts, ca_key = std::string(kRegistryPrefix) + kCaKey](std::span<const EtcdEvent> events) {
        if (events.empty() || std::ranges::any_of(events, [&](const EtcdEvent& event) { return event.kv.key == ca_key; })) parts.ca_said = true;
        (void)parts.world->follow([&](Snapshot& snapshot) { return !events.empty() && take_events(snapshot, events); });
    });
    parts.start_failover();
    parts.start_ca_rounds();
    parts.start_path_probe();
    parts.start_ways();
    parts.domain_events = DomainEvents::start([&parts](const DomainEvent& event) { parts.reconciler->look(event.uuid, Cause::kEvent); },
                                              [&parts](const std::string& uuid, const std::function<Result<void>()>& go) { return parts.guard->let_run(uuid, go); });
    notify_systemd("STATUS=running");
    log::info("start", "site '{}' at {} is up", parts.settings.site, parts.settings.address);

    const auto watchdog = watchdog_interval().count() > 0 ? watchdog_interval() : std::chrono::milliseconds(5000);
    bool dropped = false;
    auto next_refresh = std::chrono::steady_clock::now() + kRefresh;
    while (!stop) {
        std::this_thread::sleep_for(std::min(watchdog, std::chrono::milliseconds(250)));
        notify_systemd("WATCHDOG=1");
        if (parts.site_revoked.exchange(false))
            if (auto applied = parts.world->apply_again(); !applied) log::error("network", "{}", applied.error().what);
        parts.opening->look([&parts] { return parts.jobs->idle() || parts.shut(); });  // a channel of a move would end with its listener
        if (std::chrono::steady_clock::now() < next_refresh) continue;
        next_refresh = std::chrono::steady_clock::now() + kRefresh;
        trim_heap();  // what a move or a request needed goes back to the system: dom0 is small
        if (!dropped && parts.jobs->idle()) dropped = drop_start_up_pages() > 0;  // not in the middle of a move: it would fault them in again
        if (auto refreshed = parts.world->refresh(); !refreshed) {
            log::warning("registry", "{}", refreshed.error().what);
            parts.federation->ask_standing();
            parts.federation->ask_ca();
        }
        if (auto published = parts.federation->publish_again(); !published) log::warning("registry", "this site's WireGuard key is not in its record yet: {}", published.error().what);
        const auto renewed = parts.federation->renew_if_due(parts.app->clock.unix_ms() / 1000);
        if (!renewed) log::warning("federation", "this site's certificate is not renewed yet: {}", renewed.error().what);
        if (renewed && *renewed && parts.federation->federated()) parts.opening->anew();
    }
    notify_systemd("STOPPING=1");
}

}  // namespace blanket
