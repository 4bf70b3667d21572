// SPDX-License-Identifier: GPL-2.0-or-later
// See etcd_process.hpp.
#include "toolstack/registry/etcd_process.hpp"

#include <csignal>
#include <fcntl.h>
#include <optional>
#include <thread>

#include "toolstack/base/file.hpp"

namespace blanket {
namespace {

// YAML accepts JSON strings: quoting without a YAML library.
std::string quoted(const std::string& text) { return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace); }

constexpr std::string_view kUnit = "blanket-etcd.service";

class UnitRunner final : public EtcdRunner {
public:
    Result<void> start(const EtcdConfig&) override {
        BLANKET_CHECK(run({"systemctl", "restart", std::string(kUnit)}, {.deadline = std::chrono::seconds(150)}));
        return {};
    }
    Result<void> stop() override {
        BLANKET_CHECK(run({"systemctl", "stop", std::string(kUnit)}, {.deadline = std::chrono::seconds(60)}));
        return {};
    }
    Result<bool> running() override {
        BLANKET_TRY(const Output output, run_any({"systemctl", "is-active", "--quiet", std::string(kUnit)}));
        return output.status == 0;
    }
};

class ChildRunner final : public EtcdRunner {
public:
    ~ChildRunner() override { static_cast<void>(stop()); }
    Result<void> start(const EtcdConfig& config) override {
        BLANKET_CHECK(stop());
        const std::string path = config.dir + "/etcd.log";
        const UniqueFd log(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
        if (!log) return fail_errno("open", path);
        auto child = Child::spawn({"etcd", "--config-file", config.file()}, {.in = -1, .out = log.get(), .err = log.get(), .pass = {}});
        if (!child) {
            Error error = std::move(child).error();
            if (error.kind == Kind::kNotFound) error.hint = "install etcd 3.5 (Debian: etcd-server) so that `etcd` is in PATH";
            return std::unexpected(std::move(error));
        }
        child_.emplace(std::move(*child));
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
    add("name", quoted(config.name));
    add("data-dir", quoted(config.data()));
    add("listen-peer-urls", quoted(std::format("https://{}:{}", listen, config.peer_port)));
    add("initial-advertise-peer-urls", quoted(config.peer_url()));
    add("listen-client-urls", quoted(clients));
    add("advertise-client-urls", quoted(std::format("https://{}", config.endpoint())));
    add("initial-cluster", quoted(cluster));
    add("initial-cluster-state", quoted(config.existing ? "existing" : "new"));
    add("initial-cluster-token", quoted("blanket"));
    add("heartbeat-interval", std::to_string(config.heartbeat_ms));
    add("election-timeout", std::to_string(config.election_ms));
    add("pre-vote", "true");
    add("strict-reconfig-check", "true");
    add("auto-compaction-mode", quoted("periodic"));
    add("auto-compaction-retention", quoted("1h"));
    add("quota-backend-bytes", std::to_string(512u << 20));
    add("snapshot-count", "5000");
    add("experimental-watch-progress-notify-interval", "10s");
    add("log-level", quoted("warn"));
    add("log-outputs", "[stderr]");
    for (const std::string_view section : {"client-transport-security", "peer-transport-security"}) {
        text += std::format("{}:\n", section);
        add("  cert-file", quoted(config.tls.cert));
        add("  key-file", quoted(config.tls.key));
        add("  trusted-ca-file", quoted(config.tls.ca_cert));
        add("  client-cert-auth", "true");
    }
    add("tls-min-version", quoted("TLS1.3"));
    return text;
}

Result<void> write_etcd_config(const EtcdConfig& config) {
    BLANKET_CHECK(make_dirs(config.dir, 0700));
    BLANKET_CHECK(make_dirs(config.data(), 0700));
    return write_file(config.file(), render_etcd_config(config), 0600);
}

std::unique_ptr<EtcdRunner> make_unit_runner() { return std::make_unique<UnitRunner>(); }
std::unique_ptr<EtcdRunner> make_child_runner() { return std::make_unique<ChildRunner>(); }

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
