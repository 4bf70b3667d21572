// SPDX-License-Identifier: GPL-2.0-or-later
// blanket-witness: the third vote of a federation on any Linux machine. Joins by a token, then runs etcd as its child until SIGTERM.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <map>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/ca_trust.hpp"
#include "toolstack/daemon/newcomer.hpp"
#include "toolstack/daemon/readmission.hpp"
#include "toolstack/daemon/renewal.hpp"
#include "toolstack/registry/etcd_registry.hpp"

namespace blanket {
namespace {

constexpr std::string_view kUsage =
    "usage: blanket-witness join TOKEN --dir DIR --address IP [--name witness] [--listen IP] [--client-port 2379] [--peer-port 2380]\n"
    "       blanket-witness run --dir DIR\n"
    "TOKEN is what `blanket site token --witness` prints; - reads it from standard input. Needs etcd 3.5 in PATH.\n"
    "Other members must reach IP on the peer port (and the client port).\n";

constexpr auto kLook = std::chrono::minutes(1);  // how often the certificate is looked at
constexpr auto kLookAtCa = std::chrono::seconds(30), kFollowCa = std::chrono::seconds(1);  // while nothing is known of a new CA, and while it comes
constexpr std::uint16_t kSitesRest = 7443;

struct Arguments {
    std::string verb, token;
    std::map<std::string, std::string> options;
    [[nodiscard]] std::string get(const std::string& name, const std::string& fallback) const {
        const auto at = options.find(name);
        return at == options.end() ? fallback : at->second;
    }
};

Result<Arguments> parse_arguments(const std::vector<std::string>& argv) {
    static const std::vector<std::string> kKnown{"--dir", "--address", "--name", "--listen", "--client-port", "--peer-port"};
    Arguments arguments;
    for (std::size_t i = 0; i < argv.size(); ++i) {
        if (argv[i].starts_with("--")) {
            if (!std::ranges::contains(kKnown, argv[i])) return fail(Kind::kInvalid, "unknown option '{}'", argv[i]);
            if (i + 1 >= argv.size()) return fail(Kind::kInvalid, "{} needs a value", argv[i]);
            const std::string& name = argv[i];
            arguments.options[name] = argv[++i];
        } else if (arguments.verb.empty()) arguments.verb = argv[i];
        else if (arguments.token.empty()) arguments.token = argv[i];
        else return fail(Kind::kInvalid, "unexpected argument");
    }
    if (arguments.verb != "join" && arguments.verb != "run") return fail(Kind::kInvalid, "the verb is join or run");
    if (arguments.get("--dir", "").empty()) return fail(Kind::kInvalid, "--dir is missing");
    if (arguments.verb == "join" && (arguments.token.empty() || arguments.get("--address", "").empty()))
        return fail(Kind::kInvalid, "join needs a token and --address");
    return arguments;
}

std::string given_token(const Arguments& arguments) {
    std::string text = arguments.token;
    if (text == "-") std::getline(std::cin, text);
    return text;
}

Result<void> join(const Arguments& arguments, EtcdRunner& runner) {
    Newcomer self;
    self.root = arguments.get("--dir", "");
    if (const auto there = load_local_state(self.root); there && left_behind(self.root)) {
        BLANKET_TRY(const JoinToken token, parse_token_text(given_token(arguments)));
        return readmit(self.root, *there, token, [](const std::string& step) { log::info("witness", "{}", step); });
    } else if (there)
        return fail_hint(Kind::kConflict, std::format("{} holds a witness already", self.root), std::format("blanket-witness run --dir {}, or use an empty folder", self.root));
    self.name = arguments.get("--name", "witness");
    self.address = arguments.get("--address", "");
    self.listen = arguments.get("--listen", "");
    self.role = "witness";
    self.version = BLANKET_VERSION;
    self.loopback = false;
    BLANKET_TRY(const std::uint64_t client, parse_number(arguments.get("--client-port", "2379"), 1, 65535, "--client-port"));
    BLANKET_TRY(const std::uint64_t peer, parse_number(arguments.get("--peer-port", "2380"), 1, 65535, "--peer-port"));
    self.client_port = static_cast<std::uint16_t>(client);
    self.peer_port = static_cast<std::uint16_t>(peer);
    BLANKET_CHECK(make_dirs(self.root, 0700));
    BLANKET_TRY(const JoinToken token, parse_token_text(given_token(arguments)));
    BLANKET_CHECK(join_federation(self, token, runner, [](const std::string& step) { log::info("witness", "{}", step); }));
    return {};
}

// As a site does, so that the witness needs nobody within its year; etcd reads the new certificate at its next handshake.
Result<void> renew_if_due(Renewal& renewal, const std::shared_ptr<EtcdClient>& client, const std::shared_ptr<Revocations>& revocations, const std::string& root) {
    BLANKET_TRY(const bool due, renewal.due(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count()));
    if (!due) return {};
    EtcdRegistry registry(client);
    BLANKET_TRY(const TlsContext tls, TlsContext::load(PkiPaths::in(root + "/pki"), revocations));
    BLANKET_CHECK(renewal.renew(registry, tls));
    log::info("witness", "the certificate is renewed");
    return {};
}

// A new CA of the federation, as a site follows it; all on the one thread that may touch etcd.
class NewCa final {
public:
    NewCa(const std::string& root, const LocalState& state, std::shared_ptr<EtcdClient> client, const Revocations& revocations, Renewal& renewal, EtcdRunner& runner, const EtcdConfig& config)
        : root_(root), state_(state), client_(std::move(client)), config_(config), registry_(client_), store_(root), follower_(root, state.site, store_, hooks(revocations, renewal, runner)) {
        if (const auto own = state.endpoints.empty() ? Result<HostPort>(fail(Kind::kNotFound, "no endpoint")) : parse_host_port(state.endpoints.front())) config_.client_port = own->port;
    }

    // `now`: at once. Errors are told, and it is tried again.
    void look(bool now) {
        const auto time = std::chrono::steady_clock::now();
        if (!now && time < next_) return;
        const auto followed = follower_.follow(registry_);
        if (!followed && followed.error().kind == Kind::kUnavailable) ask();
        const std::string why = followed ? *followed : followed.error().what;
        if (why != told_ && !why.empty()) log::info("witness", "the new CA: {}", why);
        told_ = why;
        next_ = std::chrono::steady_clock::now() + (follower_.on() && followed ? kFollowCa : kLookAtCa);
    }

private:
    CaFollower::Hooks hooks(const Revocations& revocations, Renewal& renewal, EtcdRunner& runner) {
        CaFollower::Hooks made;
        made.sites = [this, &revocations]() -> Result<std::vector<Site>> {
            BLANKET_TRY(const Snapshot now, registry_.snapshot());
            std::vector<Site> out;
            for (const auto& site : now.sites)
                if (!revocations.refuses(site.value.name)) out.push_back(site.value);
            return out;
        };
        made.reload = [this]() -> Result<void> {
            client_->configure(state_.endpoints, etcd_tls(root_));
            return {};
        };
        made.has_etcd = [] { return true; };
        made.restart_etcd = [this, &runner](bool wait) { return start_etcd_again(runner, config_, wait); };
        made.may_restart = [this](const std::vector<std::string>& without) { return others_are_well(*client_, config_.tls, config_.endpoint(), without); };
        made.renew = [this, &renewal]() -> Result<void> {
            BLANKET_TRY(const TlsContext tls, TlsContext::load(PkiPaths::in(root_ + "/pki")));
            return renewal.renew(registry_, tls);
        };
        return made;
    }
    void ask() {
        for (const auto& endpoint : state_.endpoints) {
            const auto where = parse_host_port(endpoint);
            if (!where || where->host == state_.address) continue;
            const auto said = ask_ca_statements(where->host, kSitesRest);
            if (!said) continue;
            for (const auto& statement : *said)
                if (const auto taken = store_.accept(statement); !taken) log::warning("witness", "{} says: {}", where->host, taken.error().what);
        }
        if (const auto done = follower_.catch_up(); !done) log::warning("witness", "the new CA: {}", done.error().what);  // also what was known, and not done to its end
        if (const auto missed = left_behind(root_))
            log::error("witness", "the federation's CA was replaced at {} while this witness was away: no site takes its certificate; next step: {}", missed->since,
                       readmission_hint(missed->by, state_.site, kWitnessRole));
    }

    std::string root_;
    LocalState state_;
    std::shared_ptr<EtcdClient> client_;
    EtcdConfig config_;
    EtcdRegistry registry_;
    CaStore store_;
    CaFollower follower_;
    std::chrono::steady_clock::time_point next_;
    std::string told_;
};

Result<void> serve(const std::string& root, EtcdRunner& runner, const sigset_t& signals) {
    BLANKET_TRY(const LocalState state, load_local_state(root));
    Newcomer self;
    self.root = root;
    const EtcdConfig config = etcd_config(self, state);  // only its paths matter here: the file itself was written by join
    log::info("witness", "'{}' votes at {}; end it with SIGTERM", state.site, state.address);
    BLANKET_TRY(const auto revocations, Revocations::load(root + "/pki"));
    const auto client = std::make_shared<EtcdClient>(state.endpoints, etcd_tls(root), std::chrono::seconds(5));
    std::atomic<bool> cut = false;      // what etcd has open is to end
    std::atomic<bool> ca_said = false;  // something about the federation's CA
    const Watcher watcher(client, [&, ca_key = std::string(kRegistryPrefix) + kCaKey](std::span<const EtcdEvent> events) {
        if (events.empty() || std::ranges::any_of(events, [&](const EtcdEvent& event) { return event.kv.key == ca_key; })) ca_said = true;
        const auto taken = take_revocations(*client, *revocations, root);
        if (!taken) log::warning("witness", "{}", taken.error().what);
        else if (*taken) cut = true;
    });
    Renewal renewal(root, {state.site, state.address, kWitnessRole}, kSitesRest);
    NewCa new_ca(root, state, client, *revocations, renewal, runner, config);
    auto look = std::chrono::steady_clock::now();
    for (timespec slice{0, 200'000'000};;) {
        if (std::chrono::steady_clock::now() >= look) {
            look = std::chrono::steady_clock::now() + kLook;
            if (const auto renewed = renew_if_due(renewal, client, revocations, root); !renewed) log::warning("witness", "the certificate is not renewed yet: {}", renewed.error().what);
        }
        if (cut.exchange(false)) {
            log::warning("witness", "a site was revoked: etcd starts again, so that it has to show its certificate anew");
            BLANKET_CHECK(runner.start(config));
        }
        BLANKET_TRY(const bool running, runner.running());
        if (!running) {
            log::info("witness", "starting etcd");
            BLANKET_CHECK(runner.start(config));
        }
        new_ca.look(ca_said.exchange(false));
        if (::sigtimedwait(&signals, nullptr, &slice) > 0) return runner.stop();
    }
}

int main_of(const std::vector<std::string>& argv) {
    log::set_plain(true);
    sigset_t signals;  // blocked before any thread starts, taken by sigtimedwait; children get an empty mask
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    const auto runner = make_child_runner();
    const auto result = [&]() -> Result<void> {
        auto arguments = parse_arguments(argv);
        if (!arguments) {
            std::fputs(std::string(kUsage).c_str(), stderr);
            return std::unexpected(std::move(arguments).error());
        }
        if (arguments->verb == "join") BLANKET_CHECK(join(*arguments, *runner));
        return serve(arguments->get("--dir", ""), *runner, signals);
    }();
    if (result) return 0;
    log::error("witness", "{}", result.error().what);
    if (!result.error().hint.empty()) log::error("witness", "next step: {}", result.error().hint);
    return exit_code(result.error().kind);
}

}  // namespace
}  // namespace blanket

int main(int argc, char** argv) { return blanket::main_of(std::vector<std::string>(argv + 1, argv + argc)); }
