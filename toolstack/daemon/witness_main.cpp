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
#include "toolstack/daemon/newcomer.hpp"
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

Result<void> join(const Arguments& arguments, EtcdRunner& runner) {
    Newcomer self;
    self.root = arguments.get("--dir", "");
    if (load_local_state(self.root))
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
    std::string text = arguments.token;
    if (text == "-") std::getline(std::cin, text);
    BLANKET_TRY(const JoinToken token, parse_token_text(text));
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

Result<void> serve(const std::string& root, EtcdRunner& runner, const sigset_t& signals) {
    BLANKET_TRY(const LocalState state, load_local_state(root));
    Newcomer self;
    self.root = root;
    const EtcdConfig config = etcd_config(self, state);  // only its paths matter here: the file itself was written by join
    log::info("witness", "'{}' votes at {}; end it with SIGTERM", state.site, state.address);
    BLANKET_TRY(const auto revocations, Revocations::load(root + "/pki"));
    const auto client = std::make_shared<EtcdClient>(state.endpoints, etcd_tls(root), std::chrono::seconds(5));
    std::atomic<bool> cut = false;  // what etcd has open is to end
    const Watcher watcher(client, [&](std::span<const EtcdEvent>) {
        const auto taken = take_revocations(*client, *revocations, root);
        if (!taken) log::warning("witness", "{}", taken.error().what);
        else if (*taken) cut = true;
    });
    Renewal renewal(root, {state.site, state.address, kWitnessRole}, kSitesRest);
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
