// SPDX-License-Identifier: GPL-2.0-or-later
// See etcd_process.hpp.
#include "toolstack/registry/etcd_process.hpp"

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <optional>
#include <thread>
#include <unistd.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

// YAML accepts JSON strings: quoting without a YAML library.
std::string yaml_text(const std::string& text) { return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace); }

constexpr std::string_view kUnit = "blanket-etcd.service";

// Neither waits for etcd to be ready (a member without quorum never is): wait_for_etcd() does that, with its own deadline.
class UnitRunner final : public EtcdRunner {
public:
    Result<void> start(const EtcdConfig&) override { return control({"systemctl", "restart", "--no-block", std::string(kUnit)}); }
    Result<void> stop() override { return control({"systemctl", "stop", std::string(kUnit)}); }
    Result<bool> running() override {
        BLANKET_TRY(const std::string state, run({"systemctl", "show", "--property=ActiveState", "--value", std::string(kUnit)}));
        return state.starts_with("active") || state.starts_with("activating") || state.starts_with("reloading");
    }

private:
    static Result<void> control(const Argv& argv) {
        RunOptions options;
        options.deadline = std::chrono::seconds(100);
        BLANKET_CHECK(run(argv, options));
        return {};
    }
};

bool in_path(const std::string& program) {
    const char* const path = std::getenv("PATH");
    return std::ranges::any_of(split(path == nullptr ? "/usr/bin:/bin" : path, ':'), [&](const std::string& folder) { return ::access((folder + "/" + program).c_str(), X_OK) == 0; });
}

class ChildRunner final : public EtcdRunner {
public:
    ~ChildRunner() override { static_cast<void>(stop()); }
    Result<void> start(const EtcdConfig& config) override {
        BLANKET_CHECK(stop());
        const std::string path = config.dir + "/etcd.log";
        const UniqueFd log(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
        if (!log) return fail_errno("open", path);
        if (!in_path("etcd")) return fail_hint(Kind::kNotFound, "there is no program 'etcd'", "install etcd 3.5 (Debian: etcd-server) so that `etcd` is in PATH");
        // It ends with us however we end: one that was left would hold the port against our next life.
        BLANKET_TRY(Child child, Child::spawn({"setpriv", "--pdeathsig", "TERM", "--", "etcd", "--config-file", config.file()}, {.in = -1, .out = log.get(), .err = log.get(), .pass = {}}));
        child_.emplace(std::move(child));
        return {};
    }
    Result<void> stop() override {
        if (!child_) return {};
        child_->kill(SIGTERM);
        static_cast<void>(child_->wait(std::chrono::seconds(8)));  // the destructor kills it otherwise
        child_.reset();
        return {};
    }
    Result<bool> running() override {
        if (!child_) return false;
        if (child_->wait(std::chrono::milliseconds(0))) {
            child_.reset();
            return false;
        }
        return true;
    }

private:
    std::optional<Child> child_;
};

}  // namespace

std::string render_etcd_config(const EtcdConfig& config) {
    const std::string listen = config.listen.empty() ? config.address : config.listen;
    std::string clients = std::format("https://{}:{}", listen, config.client_port);
    if (config.loopback && listen != "127.0.0.1" && listen != "0.0.0.0") clients += std::format(",https://127.0.0.1:{}", config.client_port);
    const std::string cluster = config.initial_cluster.empty() ? std::format("{}={}", config.name, config.peer_url()) : config.initial_cluster;
    std::string text = "# Written by Blanket at each start of this member; changes here are lost.\n";
    const auto add = [&text](std::string_view key, const std::string& value) { text += std::format("{}: {}\n", key, value); };
    add("name", yaml_text(config.name));
    add("data-dir", yaml_text(config.data()));
    add("listen-peer-urls", yaml_text(std::format("https://{}:{}", listen, config.peer_port)));
    add("initial-advertise-peer-urls", yaml_text(config.peer_url()));
    add("listen-client-urls", yaml_text(clients));
    add("advertise-client-urls", yaml_text(std::format("https://{}", config.endpoint())));
    add("initial-cluster", yaml_text(cluster));
    add("initial-cluster-state", yaml_text(config.existing ? "existing" : "new"));
    add("initial-cluster-token", yaml_text("blanket"));
    add("heartbeat-interval", std::to_string(config.heartbeat_ms));
    add("election-timeout", std::to_string(config.election_ms));
    add("pre-vote", "true");
    add("strict-reconfig-check", "true");
    add("auto-compaction-mode", yaml_text("periodic"));
    add("auto-compaction-retention", yaml_text("1h"));
    add("quota-backend-bytes", std::to_string(512u << 20));
    add("snapshot-count", "5000");
    add("experimental-watch-progress-notify-interval", "10000000000");  // ns; etcd_http.cpp counts on it
    add("log-level", yaml_text("error"));  // a warning per request of a gateway client tells nothing, and journald would work for each
    add("log-outputs", "[stderr]");
    for (const std::string_view side : {"client", "peer"}) {
        text += std::format("{}-transport-security:\n", side);
        add("  cert-file", yaml_text(config.tls.cert));
        add("  key-file", yaml_text(config.tls.key));
        add("  trusted-ca-file", yaml_text(config.tls.ca_cert));
        add("  client-cert-auth", "true");
    }
    // Not among the file's documented keys, as --client-crl-file is ignored beside a configuration file: the fields of etcd's own structure by their names.
    if (!config.tls.crl.empty())
        for (const std::string_view side : {"ClientTLSInfo", "PeerTLSInfo"}) text += std::format("{}:\n  CRLFile: {}\n", side, yaml_text(config.tls.crl));
    add("tls-min-version", yaml_text("TLS1.3"));
    return text;
}

Result<void> write_etcd_config(const EtcdConfig& config) {
    BLANKET_CHECK(make_dirs(config.dir, 0700));
    BLANKET_CHECK(make_dirs(config.data(), 0700));
    return write_file(config.file(), render_etcd_config(config), 0600);
}

std::unique_ptr<EtcdRunner> make_unit_runner() { return std::make_unique<UnitRunner>(); }
std::unique_ptr<EtcdRunner> make_child_runner() { return std::make_unique<ChildRunner>(); }

std::vector<std::string> parse_connections(std::string_view text) {
    std::vector<std::string> out;
    for (const auto& line : split(text, '\n')) {  // "0  0  127.0.0.1:2379  127.0.0.1:57728", before it perhaps the state
        std::vector<std::string> words;
        for (const auto& word : split(line, ' '))
            if (!word.empty() && word.contains(':')) words.push_back(word);
        if (words.size() >= 2) out.push_back(words[0] + " " + words[1]);
    }
    return out;
}

Result<void> end_etcd_connections(const EtcdConfig& config) {
    const std::string listen = config.listen.empty() ? config.address : config.listen;
    std::string filter = std::format("( sport = :{} or sport = :{} )", config.client_port, config.peer_port);
    if (listen != "0.0.0.0") filter += std::format(" and ( src {}{} )", listen, config.loopback ? " or src 127.0.0.1" : "");
    RunOptions options;
    options.deadline = std::chrono::seconds(5);
    const auto open = [&] { return run({"ss", "-Htn", "state", "established", filter}, options); };
    BLANKET_TRY(const std::string before, open());
    BLANKET_CHECK(run({"ss", "-K", "-Htn", "state", "established", filter}, options));
    BLANKET_TRY(const std::string after, open());
    const auto old = parse_connections(before);
    for (const auto& connection : parse_connections(after))
        if (std::ranges::contains(old, connection)) return fail(Kind::kIo, "the kernel does not end the connection {}", connection);
    return {};
}

Result<EtcdStatus> wait_for_etcd(EtcdClient& client, const std::string& endpoint, std::chrono::milliseconds deadline) {
    const auto until = std::chrono::steady_clock::now() + deadline;
    for (;;) {
        auto status = client.status(endpoint);
        if (status && (status->leader != 0 || status->learner)) return status;
        if (std::chrono::steady_clock::now() >= until)
            return fail_hint(Kind::kTimeout,
                             status ? std::format("etcd at {} has no leader after {} s", endpoint, deadline.count() / 1000)
                                    : std::format("etcd at {} does not answer after {} s: {}", endpoint, deadline.count() / 1000, status.error().what),
                             "look at its log: journalctl -u blanket-etcd (witness: etcd.log in its folder)");
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
}

}  // namespace blanket
