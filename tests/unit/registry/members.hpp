// SPDX-License-Identifier: GPL-2.0-or-later
// Sites with real etcd members on loopback addresses, for the tests of registry/.
#pragma once

#include <memory>
#include <string>
#include <unistd.h>

#include "tests/unit/peer/identity.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/daemon/newcomer.hpp"

namespace blanket::test {

// The tests of two build trees may run at the same time: each process has its own part of 127.0.0.0/8.
inline std::string address_of(int host) { return std::format("127.{}.{}.{}", 32 + (::getpid() >> 8) % 200, ::getpid() & 0xff, host); }

// A child that can be told to fail, and to stop from outside.
class TestRunner final : public EtcdRunner {
public:
    explicit TestRunner(bool broken = false) : broken_(broken) {}
    Result<void> start(const EtcdConfig& config) override {
        if (broken_) return fail(Kind::kIo, "etcd does not start (test)");
        return inner_->start(config);
    }
    Result<void> stop() override { return inner_->stop(); }
    Result<bool> running() override { return inner_->running(); }

private:
    bool broken_;
    std::unique_ptr<EtcdRunner> inner_ = make_child_runner();
};

struct TestSite {
    TestRunner* runner = nullptr;
    std::unique_ptr<Federation> federation;
};

inline TestSite make_site(const std::string& root, const std::string& name, int host, const std::string& wireguard_key = {}) {
    FederationOptions options;
    options.site = name;
    options.address = address_of(host);
    options.version = "0.1.0";
    options.wireguard_key = wireguard_key;
    options.root = root + "/" + name;
    options.loopback = false;
    options.join_deadline = std::chrono::seconds(60);
    options.heartbeat_ms = 100;
    options.election_ms = 1000;
    options.ask = std::chrono::seconds(5);
    options.tell = std::chrono::seconds(30);
    auto runner = std::make_unique<TestRunner>();
    TestSite site;
    site.runner = runner.get();
    site.federation = Federation::create(options, std::move(runner)).value();
    return site;
}

inline Newcomer make_witness(const std::string& root, int host) {
    Newcomer witness;
    witness.name = "witness";
    witness.role = "witness";
    witness.version = "0.1.0";
    witness.address = address_of(host);
    witness.root = root + "/witness";
    witness.loopback = false;
    witness.deadline = std::chrono::seconds(60);
    witness.heartbeat_ms = 100;
    witness.election_ms = 1000;
    return witness;
}

inline const Progress kQuiet = [](const std::string&) {};

}  // namespace blanket::test
