// SPDX-License-Identifier: GPL-2.0-or-later
// Jobs over the REST API: those of this site, and those that another one runs for a command given here.
#include "toolstack/daemon/api_jobs.hpp"

#include <atomic>
#include <gtest/gtest.h>
#include <mutex>
#include <thread>

#include "tests/unit/daemon/app_host.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;

struct AskedSites final : Neighbours {
    std::atomic<bool> away = false;
    [[nodiscard]] std::vector<std::string> asked() {
        const std::lock_guard lock(mutex_);
        return asked_;
    }
    Result<std::unique_ptr<PeerLink>> link(const Site& site, std::chrono::milliseconds) override { return fail(Kind::kUnavailable, "no link to {}", site.name); }
    Result<Json> call(const Site& site, const std::string& method, const std::string& path, const Json*) override {
        {
            const std::lock_guard lock(mutex_);
            asked_.push_back(std::format("{} {} at {}", method, path, site.name));
        }
        if (away) return fail_hint(Kind::kUnavailable, std::format("site '{}' does not answer", site.name), "blanket path list");
        return Json{{"from", site.name}};
    }
    Result<void> lead_near(const Site&) override { return {}; }

private:
    std::mutex mutex_;
    std::vector<std::string> asked_;
};

TEST(ApiJobs, AJobElsewhereIsAskedForAndEndedThere) {
    fakes::FakeRegistry registry;
    AskedSites sites;
    AppHost host("east", registry, sites);
    Site west;
    west.name = "west";
    west.index = 2;
    west.address = "10.0.0.2";
    west.role = "voter";
    ASSERT_TRUE(registry.put("sites/west", to_json(west), 0));
    ASSERT_TRUE(host.world.refresh());
    host.jobs->remember("18c-aa", "west");
    host.jobs->remember("18c-bb", "gone");
    RestServer server;
    bind_jobs(server, host.app, [] {});
    ASSERT_TRUE(server.listen_unix(host.folder + "/sock"));
    const RestClient client = RestClient::unix_socket(host.folder + "/sock");
    EXPECT_EQ(client.call_ok("DELETE", "/1.0/jobs/18c-aa", nullptr, 5s).value_or(Json()), (Json{{"from", "west"}}));
    EXPECT_TRUE(client.call_ok("GET", "/1.0/jobs/18c-aa?after=3&wait_s=50", nullptr, 5s));
    EXPECT_TRUE(client.call_ok("GET", "/1.0/jobs/18c-aa/trace", nullptr, 5s));
    EXPECT_EQ(sites.asked(), (std::vector<std::string>{"DELETE /1.0/jobs/18c-aa at west", "GET /1.0/jobs/18c-aa?after=3&wait_s=30 at west", "GET /1.0/jobs/18c-aa/trace at west"}));
    sites.away = true;
    const auto away = client.call_ok("DELETE", "/1.0/jobs/18c-aa", nullptr, 5s), gone = client.call_ok("DELETE", "/1.0/jobs/18c-bb", nullptr, 5s);
    ASSERT_FALSE(away || gone);
    EXPECT_EQ(away.error().kind, Kind::kUnavailable);
    EXPECT_EQ(gone.error().kind, Kind::kNotFound);
    // Ours, and nobody's.
    std::atomic<bool> ended = false;
    const auto job = host.jobs->start("start", "vm/web", [&](Job& self) -> Result<Json> {
        while (!self.cancelled()) std::this_thread::sleep_for(5ms);
        ended = true;
        return fail(Kind::kCancelled, "given up");
    });
    ASSERT_TRUE(job);
    const auto asked = sites.asked().size();
    EXPECT_TRUE(client.call_ok("DELETE", "/1.0/jobs/" + (*job)->id(), nullptr, 5s));
    (void)(*job)->wait(1'000'000, 10s);
    EXPECT_TRUE(ended);
    EXPECT_EQ(client.call_ok("DELETE", "/1.0/jobs/18c-cc", nullptr, 5s).error().kind, Kind::kNotFound);
    EXPECT_EQ(sites.asked().size(), asked);
}

}  // namespace
}  // namespace blanket
