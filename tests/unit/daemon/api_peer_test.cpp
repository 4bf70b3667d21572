// SPDX-License-Identifier: GPL-2.0-or-later
// What another member may do with this site's VMs over TLS, and that it is told who did it.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/daemon/app_host.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "tests/unit/peer/identity.hpp"
#include "toolstack/daemon/api_vms.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;

struct NoSites final : Neighbours {
    Result<std::unique_ptr<PeerLink>> link(const Site& site, std::chrono::milliseconds) override { return fail(Kind::kUnavailable, "no link to {}", site.name); }
    Result<Json> call(const Site& site, const std::string&, const std::string&, const Json*) override { return fail(Kind::kUnavailable, "no way to {}", site.name); }
    Result<void> lead_near(const Site&) override { return {}; }
};

TEST(ApiPeer, WhoAskedIsTold) {
    const test::TempDir dir;
    const test::Authority authority(dir.path());
    fakes::FakeRegistry registry;
    NoSites sites;
    AppHost host("east", registry, sites);
    VmRecord vm;
    vm.uuid = make_uuid();
    vm.name = "web";
    vm.owner = "east";
    vm.memory_mib = 128;
    vm.definition = "<domain type='xen'/>";
    vm.created = "2026-01-01T00:00:00Z";
    ASSERT_TRUE(registry.create_vm(vm));
    RestServer server;
    bind_vms(server, host.app);
    server.witness_if([](const std::string& site) { return site == "witness"; });
    const std::uint16_t port = server.listen_tls(authority.identity("east"), "127.0.0.1", 0).value();
    const auto as = [&](const std::string& site, const std::string& action, const Json& body) {
        const auto reply = RestClient::site(authority.identity(site), "127.0.0.1", port, "east").call("POST", "/1.0/vms/web/" + action, &body, 20s);
        return reply ? reply->status : 0;
    };
    const auto told = [&](const std::string& what) {
        const Json all = host.events.since(0, 0ms);
        return std::ranges::count_if(all["events"], [&](const Json& one) { return one["text"].get<std::string>().contains(what); });
    };
    for (const char* action : {"start", "stop", "destroy", "policy", "migrate"}) EXPECT_EQ(as("witness", action, Json::object()), 403) << action;
    EXPECT_EQ(told("site '"), 0);
    EXPECT_EQ(as("west", "policy", Json{{"policy", kPause}}), 200);
    EXPECT_EQ(told("site 'west' asks for the policy 'pause'"), 1);
    EXPECT_EQ(as("west", "start", Json::object()), 202);
    EXPECT_EQ(told("asked for by site 'west': POST /1.0/vms/web/start"), 1);
    const Json jobs = host.jobs->list();
    ASSERT_EQ(jobs.size(), 1u);
    EXPECT_TRUE(host.jobs->show(jobs[0]["id"].get<std::string>(), 0, 0ms).value().dump().contains("asked for by site 'west'"));
}

}  // namespace
}  // namespace blanket
