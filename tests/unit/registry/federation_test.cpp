// SPDX-License-Identifier: GPL-2.0-or-later
// A whole federation of real etcd members over TLS on loopback addresses: registry and watch, tokens, join with learner and promotion, a failed join and
// its undo, loss of the quorum and its return.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "tests/unit/registry/members.hpp"
#include "toolstack/peer/rest_client.hpp"
#include "toolstack/peer/rest_server.hpp"
#include "toolstack/registry/snapshot_changes.hpp"

namespace blanket {
namespace {

using namespace std::chrono_literals;

using test::address_of;
using test::kQuiet;
using test::make_site;
using test::TestRunner;
using test::TestSite;

VmRecord sample_vm(const std::string& name) {
    VmRecord vm;
    vm.uuid = make_uuid();
    vm.name = name;
    vm.owner = "east";
    vm.memory_mib = 128;
    vm.definition = "<domain type='xen'/>";
    vm.created = "2026-01-01T00:00:00Z";
    return vm;
}

void check_registry(const std::shared_ptr<EtcdClient>& etcd, Registry& registry) {
    std::atomic<int> calls = 0;
    std::mutex following;
    Snapshot followed;  // as blanketd does
    std::vector<std::string> keys;  // of the events
    Watcher watcher(etcd, [&](std::span<const EtcdEvent> events) {
        const std::scoped_lock lock(following);
        for (const auto& event : events) keys.push_back(event.kv.key);
        if (events.empty() || !take_events(followed, events)) followed = registry.snapshot().value();
        ++calls;
    });
    const auto eventually = [](const auto& what) {
        for (const auto until = std::chrono::steady_clock::now() + 30s; std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(10ms))
            if (what()) return true;
        return what();
    };
    // What the watch told since the last time, now that it has told of all that was written: a marker comes after it.
    std::uint64_t marked = 0;
    const auto heard = [&] {
        const auto marker = registry.put("seq/marker", Json{{"by", random_hex(8)}}, marked);
        EXPECT_TRUE(marker) << marker.error().what;
        marked = marker.value_or(marked);
        EXPECT_TRUE(eventually([&] {
            const std::scoped_lock lock(following);
            return followed.revision >= marked;
        }));
        const std::scoped_lock lock(following);
        auto told = std::exchange(keys, {});
        std::erase(told, std::string(kRegistryPrefix) + "seq/marker");
        return told;
    };
    const std::vector<std::string> nothing;
    ASSERT_TRUE(eventually([&] { return calls >= 1; }));

    VmRecord vm = sample_vm("web");
    const auto created = registry.create_vm(vm);
    ASSERT_TRUE(created) << created.error().what;
    EXPECT_TRUE(eventually([&] { return calls >= 2; }));
    EXPECT_EQ(registry.create_vm(sample_vm("web")).error().kind, Kind::kConflict);
    EXPECT_EQ(registry.get("names/vm/web").value()->value, vm.uuid);
    const auto read = registry.vm(vm.uuid);
    ASSERT_TRUE(read && *read);
    EXPECT_EQ((*read)->value, vm);
    EXPECT_EQ((*read)->revision, *created);

    vm.epoch = 2;
    vm.phase = Phase::kRunning;
    const auto updated = registry.update_vm(vm, *created);
    ASSERT_TRUE(updated) << updated.error().what;
    EXPECT_GT(*updated, *created);
    const auto stale = registry.update_vm(vm, *created);
    ASSERT_FALSE(stale);
    EXPECT_EQ(stale.error().kind, Kind::kConflict);
    EXPECT_NE(stale.error().what.find("epoch 2"), std::string::npos) << stale.error().what;
    EXPECT_EQ(registry.remove_vm(vm, *created).error().kind, Kind::kConflict);
    // A take-over compares the record and the owner's beat.
    ASSERT_TRUE(registry.last_beat("east"));
    EXPECT_FALSE(*registry.last_beat("east"));
    EXPECT_EQ(registry.take_over_vm(vm, *updated, "east", 1).error().kind, Kind::kConflict);
    EXPECT_NE(heard(), nothing);
    ASSERT_TRUE(registry.beat("east", false));
    const auto beat = *registry.last_beat("east");
    ASSERT_TRUE(beat);
    EXPECT_FALSE(beat->leaving);
    ASSERT_TRUE(registry.beat("east", true));
    EXPECT_TRUE((*registry.last_beat("east"))->leaving);
    EXPECT_EQ(registry.take_over_vm(vm, *updated, "east", beat->revision).error().kind, Kind::kConflict);
    EXPECT_EQ(registry.take_over_vm(vm, *created, "east", (*registry.last_beat("east"))->revision).error().kind, Kind::kConflict);
    EXPECT_EQ(heard(), nothing);  // watchers do not see beats
    const auto taken = registry.take_over_vm(vm, *updated, "east", (*registry.last_beat("east"))->revision);
    ASSERT_TRUE(taken) << taken.error().what;
    EXPECT_EQ(registry.beat("no/name", false).error().kind, Kind::kInvalid);
    // Edited by hand into nonsense: its last good version counts, is told, and can be written back.
    Json nonsense = to_json(vm);
    nonsense["phase"] = "dancing";
    const auto edited = registry.put("vms/" + vm.uuid, nonsense, *taken);
    ASSERT_TRUE(edited) << edited.error().what;
    const auto twice = registry.put("vms/" + vm.uuid, Json("not even an object"), *edited);
    ASSERT_TRUE(twice) << twice.error().what;
    const auto good = registry.vm(vm.uuid);
    ASSERT_TRUE(good && *good) << good.error().what;
    EXPECT_EQ((*good)->value, vm);
    EXPECT_EQ((*good)->revision, *twice);
    const auto seen = registry.snapshot();
    ASSERT_TRUE(seen);
    ASSERT_EQ(seen->malformed.size(), 1u);
    EXPECT_EQ(seen->malformed[0].key, "vms/" + vm.uuid);
    EXPECT_TRUE(seen->malformed[0].replaced);
    ASSERT_EQ(seen->vms.size(), 1u);
    const auto healed = registry.update_vm(vm, *twice);
    ASSERT_TRUE(healed) << healed.error().what;
    EXPECT_TRUE(registry.snapshot()->malformed.empty());
    ASSERT_TRUE(registry.remove_vm(vm, *healed));
    EXPECT_FALSE(registry.vm(vm.uuid).value());
    EXPECT_FALSE(registry.get("names/vm/web").value());
    const auto gone = registry.gone(vm.uuid);  // the trace that it leaves
    ASSERT_TRUE(gone && *gone);
    EXPECT_EQ((*gone)->name, "web");
    ASSERT_EQ(registry.snapshot()->gone.size(), 1u);
    ASSERT_TRUE(registry.remove("gone/" + vm.uuid));
    EXPECT_FALSE(registry.gone(vm.uuid).value());

    // A seed lies beside the records: no watcher hears of it, no snapshot carries it.
    (void)heard();
    const auto seeded = registry.put("seeds/" + vm.uuid, Json{{"hostname", "web"}}, 0);
    ASSERT_TRUE(seeded) << seeded.error().what;
    EXPECT_EQ(registry.get("seeds/" + vm.uuid).value()->value["hostname"], "web");
    EXPECT_EQ(etcd->range_prefix(std::string(kSeedPrefix))->kvs.size(), 1u);
    const auto records = etcd->range_prefix(std::string(kRegistryPrefix));
    ASSERT_TRUE(records);
    for (const auto& kv : records->kvs) EXPECT_FALSE(kv.key.contains("seed")) << kv.key;
    ASSERT_TRUE(registry.remove("seeds/" + vm.uuid));
    EXPECT_FALSE(registry.get("seeds/" + vm.uuid).value());
    EXPECT_EQ(heard(), nothing);

    EXPECT_EQ(next_number(registry, "vni").value(), 1u);
    EXPECT_EQ(next_number(registry, "vni").value(), 2u);
    EXPECT_EQ(registry.put("nets/../x", Json(1), 0).error().kind, Kind::kInvalid);
    ASSERT_TRUE(registry.put("nets/broken", Json{{"name", 3}}, 0));
    const auto snapshot = registry.snapshot();  // a malformed record is left out
    ASSERT_TRUE(snapshot);
    EXPECT_TRUE(snapshot->nets.empty());
    EXPECT_EQ(snapshot->sites.size(), 1u);
    ASSERT_TRUE(registry.remove("nets/broken"));
    // A VM's record is written only while its networks take it.
    Net lan{"lan", 7, "10.1.0.0/24", "10.1.0.1", 1390, {}};
    VmRecord guest = sample_vm("guest");
    guest.nics = {{"lan", "02:00:00:00:00:01", "10.1.0.2"}, {"lan", "02:00:00:00:00:02", "10.1.0.3"}};
    EXPECT_EQ(registry.create_vm(guest).error().kind, Kind::kNotFound);
    const auto net_made = registry.put("nets/lan", to_json(lan), 0);
    ASSERT_TRUE(net_made) << net_made.error().what;
    const auto guest_made = registry.create_vm(guest);
    ASSERT_TRUE(guest_made) << guest_made.error().what;
    EXPECT_TRUE(registry.create_vm(guest).error().what.contains("exists already"));
    ASSERT_TRUE(registry.remove_vm(guest, *guest_made));
    ASSERT_TRUE(registry.remove("gone/" + guest.uuid));
    lan.deleting = true;
    const auto deleting = registry.put("nets/lan", to_json(lan), *net_made);
    ASSERT_TRUE(deleting) << deleting.error().what;
    EXPECT_TRUE(registry.create_vm(guest).error().what.contains("being deleted"));
    // A removal may compare as well.
    EXPECT_EQ(registry.remove("nets/lan", *net_made).error().kind, Kind::kConflict);
    EXPECT_TRUE(registry.remove("nets/lan", *deleting));
    EXPECT_EQ(registry.remove("nets/lan", *deleting).error().kind, Kind::kConflict);
    EXPECT_FALSE(registry.get("nets/lan").value());
    // A network's or site's record that somebody edited into nonsense: the last good version counts, everywhere.
    lan.deleting = false;
    const auto made_anew = registry.put("nets/lan", to_json(lan), 0);
    ASSERT_TRUE(made_anew) << made_anew.error().what;
    const auto site_now = registry.get("sites/east").value();
    ASSERT_TRUE(site_now);
    const auto bad_net = registry.put("nets/lan", Json{{"name", "lan"}, {"cidr", "everything"}}, *made_anew), bad_site = registry.put("sites/east", Json("here"), site_now->revision);
    ASSERT_TRUE(bad_net && bad_site);
    const auto edited_badly = registry.snapshot();
    ASSERT_TRUE(edited_badly);
    ASSERT_EQ(edited_badly->nets.size(), 1u);
    EXPECT_EQ(edited_badly->nets[0].value, lan);
    EXPECT_EQ(edited_badly->nets[0].revision, *bad_net);
    ASSERT_EQ(edited_badly->sites.size(), 1u);
    EXPECT_EQ(to_json(edited_badly->sites[0].value), site_now->value);
    ASSERT_EQ(edited_badly->malformed.size(), 2u);
    for (const auto& record : edited_badly->malformed) EXPECT_TRUE(record.replaced) << record.key;
    const auto counted = registry.get("nets/lan"), counted_site = registry.get("sites/east");  // for whoever changes it, too: that makes it good again
    ASSERT_TRUE(counted && *counted && counted_site && *counted_site);
    EXPECT_EQ((*counted)->value, to_json(lan));
    EXPECT_EQ((*counted)->revision, *bad_net);
    EXPECT_EQ((*counted_site)->value, site_now->value);
    ASSERT_TRUE(registry.put("nets/bad", Json("never good"), 0));  // that of another network is nobody's hindrance
    const auto guest_in_it = registry.create_vm(guest);
    ASSERT_TRUE(guest_in_it) << guest_in_it.error().what;
    ASSERT_TRUE(registry.remove_vm(guest, *guest_in_it));
    ASSERT_TRUE(registry.remove("gone/" + guest.uuid));
    EXPECT_EQ(registry.get("nets/bad").value()->value, Json("never good"));
    ASSERT_TRUE(registry.remove("nets/bad"));
    ASSERT_TRUE(registry.put("nets/lan", to_json(lan), (*counted)->revision));
    EXPECT_TRUE(std::ranges::none_of(registry.snapshot()->malformed, [](const Malformed& one) { return one.key == "nets/lan"; }));
    ASSERT_TRUE(registry.put("sites/east", site_now->value, *bad_site));
    ASSERT_TRUE(registry.remove("nets/lan"));
    ASSERT_TRUE(registry.put("nets/lan", Json(3), 0));
    const auto never_good = registry.snapshot();  // what a network that was deleted said is not taken for it
    ASSERT_TRUE(never_good);
    EXPECT_TRUE(never_good->nets.empty());
    ASSERT_EQ(never_good->malformed.size(), 1u);
    EXPECT_FALSE(never_good->malformed[0].replaced);
    ASSERT_TRUE(registry.remove("nets/lan"));
    // Racing writers: each increment is counted once.
    ASSERT_TRUE(registry.put("seq/race", Json{{"n", 0}}, 0));
    {
        std::vector<std::jthread> writers;
        for (int w = 0; w < 3; ++w)
            writers.emplace_back([&] {
                for (int done = 0; done < 8;) {
                    const auto now = registry.get("seq/race").value();
                    if (registry.put("seq/race", Json{{"n", now->value["n"].get<int>() + 1}, {"by", random_hex(4)}}, now->revision)) ++done;
                }
            });
    }
    EXPECT_EQ(registry.get("seq/race").value()->value["n"], 24);
    // Who followed the watch through all that has what a reading gives.
    ASSERT_TRUE(registry.put("images/debian", to_json(Image{.name = "debian", .sha256 = std::string(64, 'a'), .size = 1 << 20, .sites = {"east"}}), 0));
    (void)heard();
    const auto all = registry.snapshot();
    ASSERT_TRUE(all);
    const std::scoped_lock lock(following);
    EXPECT_EQ(followed.revision, all->revision);
    ASSERT_EQ(followed.images.size(), 1u);
    EXPECT_EQ(followed.images[0].value, all->images[0].value);
    EXPECT_EQ(followed.images[0].revision, all->images[0].revision);
    EXPECT_EQ(followed.gone, all->gone);
    EXPECT_TRUE(followed.vms.empty() && followed.nets.empty() && followed.malformed.empty());
    EXPECT_EQ(followed.sites.size(), all->sites.size());
}

TEST(Federation, BehindNatASiteReachesItsOwnEtcd) {
    const test::TempDir dir;
    FederationOptions options;
    options.site = "home";
    options.address = "203.0.113.9";  // the NAT's: nobody answers there
    options.listen = address_of(5);
    options.version = "0.1.0";
    options.root = dir.path() + "/home";
    options.client_port = static_cast<std::uint16_t>(20'000 + ::getpid() % 10'000);  // at 127.0.0.1, which all processes share
    options.heartbeat_ms = 100;
    options.election_ms = 1000;
    const auto home = Federation::create(options, std::make_unique<TestRunner>()).value();
    const auto started = home->ensure_local(kQuiet);
    ASSERT_TRUE(started) << started.error().what;
    const std::vector<std::string> own{std::format("127.0.0.1:{}", options.client_port)};
    EXPECT_EQ(home->local().endpoints, own);
    const auto sites = home->registry()->snapshot().value().sites;
    ASSERT_EQ(sites.size(), 1u);
    EXPECT_EQ(sites[0].value.address, "203.0.113.9") << "what the others are told";
    ASSERT_TRUE(home->refresh_endpoints(sites));
    EXPECT_EQ(home->local().endpoints, own) << "the NAT is not asked for what is here, and an address that changes is still our own business";
}

TEST(Federation, FromOneSiteToThreeVotersAndBack) {
    const test::TempDir dir;
    TestSite east = make_site(dir.path(), "east", 1);
    const auto started = east.federation->ensure_local(kQuiet);
    ASSERT_TRUE(started) << started.error().what;
    EXPECT_FALSE(east.federation->federated());
    check_registry(east.federation->etcd(), *east.federation->registry());
    if (HasFatalFailure()) return;

    EXPECT_EQ(east.federation->make_token("site", "", 60s).error().kind, Kind::kPrecondition);
    EXPECT_EQ(east.federation->show().error().kind, Kind::kNotFound);
    const auto founded = east.federation->init("lab");
    ASSERT_TRUE(founded) << founded.error().what;
    EXPECT_EQ((*founded)["federation"]["name"], "lab");
    EXPECT_EQ(east.federation->init("lab").error().kind, Kind::kConflict);
    EXPECT_TRUE(east.federation->federated());

    RestServer server;
    server.route("POST", "/1.0/peer/join", [&](const RestRequest& request) {
        const auto body = request.json();
        const auto answer = body ? east.federation->handle_join(*body) : Result<Json>(std::unexpected(body.error()));
        return answer ? RestResponse::of(*answer) : RestResponse::of(answer.error());
    }, Access::kOpen);
    const auto listening = server.listen_tls(east.federation->tls().value(), address_of(1), 7443);
    ASSERT_TRUE(listening) << listening.error().what;

    const auto token_text = [&](const std::string& role, std::chrono::seconds ttl, const std::string& name = "") {
        return east.federation->make_token(role, name, ttl).value()["token"].get<std::string>();
    };
    const std::string short_lived = token_text("site", 1s);
    const auto expired = std::chrono::steady_clock::now() + 1100ms;

    // Refusals that leave the token usable: clock, version, role, name; and a wrong secret.
    const std::string text = token_text("site", 300s, "west");
    const JoinToken token = parse_token_text(text).value();
    Newcomer stranger;
    stranger.name = "west";
    stranger.address = address_of(2);
    stranger.role = "site";
    stranger.version = "0.1.9";
    const std::string csr = make_csr({"west", address_of(2)}).value().csr;
    const auto refusal = [&](const auto& change) {
        Json body = join_request(stranger, token, csr);
        change(body);
        const auto answer = east.federation->handle_join(body);
        return answer ? Kind::kInternal : answer.error().kind;
    };
    EXPECT_EQ(refusal([](Json& body) { body["time"] = body["time"].get<std::uint64_t>() - 3600; }), Kind::kPrecondition);
    EXPECT_EQ(refusal([](Json& body) { body["version"] = "0.2.0"; }), Kind::kPrecondition);
    EXPECT_EQ(refusal([](Json& body) { body["role"] = "witness"; }), Kind::kConflict);
    EXPECT_EQ(refusal([](Json& body) { body["name"] = "north"; }), Kind::kConflict);
    EXPECT_EQ(refusal([](Json& body) { body["secret"] = std::string(64, '0'); }), Kind::kDenied);
    EXPECT_EQ(refusal([](Json& body) { body["id"] = std::string(16, '0'); }), Kind::kDenied);
    EXPECT_EQ(refusal([](Json& body) { body["address"] = "10.0.0.1,x"; }), Kind::kInvalid);
    EXPECT_EQ(refusal([](Json& body) { body.erase("csr"); }), Kind::kInvalid);

    // A newcomer whose etcd does not start: its member is gone again, the token is used up.
    Newcomer broken = stranger;
    broken.name = "north";
    broken.address = address_of(4);
    broken.root = dir.path() + "/north";
    broken.deadline = 5s;
    TestRunner never(true);
    const JoinToken lost = parse_token_text(token_text("site", 300s)).value();
    const auto failed = join_federation(broken, lost, never, kQuiet);
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().hint.find("used up"), std::string::npos) << failed.error().hint;
    EXPECT_EQ(load_local_state(broken.root).error().kind, Kind::kNotFound);
    EXPECT_FALSE(std::filesystem::exists(broken.root + "/pki/site.key"));
    EXPECT_EQ(east.federation->etcd()->members().value().size(), 1u);
    EXPECT_FALSE(east.federation->registry()->get("sites/north").value());

    // The second site, which had a registry of its own.
    TestSite west = make_site(dir.path(), "west", 2);
    ASSERT_TRUE(west.federation->ensure_local(kQuiet).has_value());
    std::this_thread::sleep_until(expired);
    const auto late = west.federation->join(short_lived, kQuiet);
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().kind, Kind::kDenied) << late.error().what;
    VmRecord vm = sample_vm("old");
    const std::uint64_t revision = west.federation->registry()->create_vm(vm).value();
    EXPECT_EQ(west.federation->join(text, kQuiet).error().kind, Kind::kConflict);
    ASSERT_TRUE(west.federation->registry()->remove_vm(vm, revision));
    EXPECT_EQ(west.federation->join(text.substr(0, 60), kQuiet).error().kind, Kind::kInvalid);
    std::vector<std::string> steps;
    Result<void> joined = fail(Kind::kConflict, "not tried");
    for (int i = 0; i < 20 && !joined && joined.error().kind == Kind::kConflict; ++i) {  // the broken one may still be in the way
        if (i > 0) std::this_thread::sleep_for(300ms);
        joined = west.federation->join(text, [&](const std::string& step) { steps.push_back(step); });
    }
    ASSERT_TRUE(joined) << joined.error().what;
    EXPECT_GE(steps.size(), 4u);
    EXPECT_TRUE(west.federation->federated());
    EXPECT_EQ(west.federation->local().index, 3u);  // 2 went to the one that failed
    EXPECT_EQ(west.federation->join(text, kQuiet).error().kind, Kind::kConflict);
    const auto again = RestClient::pinned(token.ca_sha256, address_of(1), 7443);
    Json reuse = join_request(stranger, token, csr);
    const auto twice = again.call_ok("POST", "/1.0/peer/join", &reuse, 10s);
    ASSERT_FALSE(twice);
    EXPECT_EQ(twice.error().kind, Kind::kConflict);
    EXPECT_NE(twice.error().what.find("used"), std::string::npos) << twice.error().what;

    // The witness.
    const Newcomer witness = test::make_witness(dir.path(), 3);
    auto third = make_child_runner();
    const JoinToken witness_token = parse_token_text(token_text("witness", 300s)).value();
    const auto voted = join_federation(witness, witness_token, *third, kQuiet);
    ASSERT_TRUE(voted) << voted.error().what;
    for (int i = 0; i < 300; ++i) {
        const auto site = east.federation->registry()->get("sites/witness").value();
        if (site && site->value["state"] == "joined") break;
        std::this_thread::sleep_for(100ms);
    }
    const auto shown = west.federation->show();
    ASSERT_TRUE(shown) << shown.error().what;
    ASSERT_EQ((*shown)["federation"]["members"].size(), 3u) << shown->dump(1);
    for (const auto& member : (*shown)["federation"]["members"]) {
        EXPECT_EQ(member["role"], "voter");
        EXPECT_EQ(member["healthy"], true);
    }
    EXPECT_EQ((*shown)["federation"]["sites"].size(), 3u);

    const auto endpoints = [](TestSite& site) {
        const auto snapshot = site.federation->registry()->snapshot();
        static_cast<void>(site.federation->refresh_endpoints(snapshot.value().sites));
        return site.federation->etcd()->endpoints().size();
    };
    EXPECT_EQ(endpoints(east), 3u);
    EXPECT_EQ(endpoints(west), 3u);
    vm = sample_vm("both");
    const std::uint64_t first = east.federation->registry()->create_vm(vm).value();
    EXPECT_EQ(west.federation->registry()->vm(vm.uuid).value()->value, vm);

    // The leader moves to the target's side; the witness goes; commits go on.
    const auto moved = east.federation->move_leader_to("west");
    ASSERT_TRUE(moved) << moved.error().what;
    const auto status = west.federation->etcd()->status(west.federation->local().endpoints.front());
    ASSERT_TRUE(status);
    EXPECT_EQ(status->leader, status->member);
    ASSERT_TRUE(east.federation->move_leader_to("east"));
    third->stop().value();
    vm.epoch = 2;
    vm.owner = "west";
    const auto second = east.federation->registry()->update_vm(vm, first);
    ASSERT_TRUE(second) << second.error().what;

    // Without the witness and west there is no quorum and no commit.
    west.runner->stop().value();
    EtcdClient impatient({east.federation->local().endpoints.front()}, etcd_tls(dir.path() + "/east"), 2s);
    const auto unknown = impatient.txn({}, {{"/blanket/v1/seq/lost", "1"}});
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().kind, Kind::kUnavailable);
    EXPECT_FALSE(unknown.error().hint.empty());
    // West returns, and with it the quorum.
    const auto back = west.federation->ensure_local(kQuiet);
    ASSERT_TRUE(back) << back.error().what;
    vm.epoch = 3;
    const auto third_epoch = east.federation->registry()->update_vm(vm, *second);
    ASSERT_TRUE(third_epoch) << third_epoch.error().what;
}

}  // namespace
}  // namespace blanket
