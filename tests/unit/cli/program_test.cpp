// SPDX-License-Identifier: GPL-2.0-or-later
// The real program against a fake daemon (program_fixture.hpp): golden texts, requests sent, exit codes.
#include "tests/unit/cli/program_fixture.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/restart.hpp"

namespace blanket::cli {
namespace {

TEST_F(Program, HelpOfEveryVerb) {
    std::string text = blanket({"--help"}).out;
    for (const auto& verb : verbs()) {
        Argv words = split(command_of(verb), ' ');
        words.push_back("--help");
        const Output by_option = blanket(words);
        EXPECT_EQ(by_option.status, 0);
        text += std::format("\n==== blanket {} --help\n{}", command_of(verb), by_option.out);
        words.pop_back();
        words.insert(words.begin(), "help");
        EXPECT_EQ(blanket(words).out, by_option.out);
    }
    expect_golden("help.txt", text);
}

TEST_F(Program, Tables) {
    fill(daemon);
    daemon.on("GET /1.0/jobs/j1", 200, kDone);
    std::string text;
    for (const Argv& words : std::vector<Argv>{{"vm", "list"}, {"vm", "show", "web"}, {"site", "list"}, {"site", "show"}, {"site", "show", "west"}, {"image", "list"}, {"net", "list"}, {"net", "show", "lan"}, {"net", "show", "dmz"},
                                               {"security-group", "list"}, {"security-group", "show", "lan", "web"}, {"security-group", "show", "lan", "office"},
                                               {"net", "trace", "web", "--to", "10.1.0.3", "--proto", "tcp", "--port", "443"},
                                               {"federation", "show"}, {"job", "list"}, {"job", "show", "j1"}, {"events"}, {"doctor"}, {"uplink", "list"}, {"uplink", "stat"}, {"path", "list"}, {"vm", "show", "web", "-o", "yaml"}})
        text += all(words);
    expect_golden("tables.txt", text);
}

TEST_F(Program, JsonIsTheApisObject) {
    fill(daemon);
    EXPECT_EQ(Json::parse(blanket({"vm", "show", "web", "--output", "json"}).out), Json::parse(kVm));
    EXPECT_EQ(Json::parse(blanket({"doctor", "-o", "json"}).out)["checks"].size(), 2u);
}

TEST_F(Program, Errors) {
    fill(daemon);
    daemon.on("POST /1.0/vms/web/migrate", 412, R"({"error":{"kind":"precondition","what":"west has 120 MiB free, web needs 256 MiB","hint":"blanket site show west; free memory there or choose another site"}})");
    daemon.on("GET /1.0/vms/wbe", 404, R"({"error":{"kind":"not-found","what":"there is no VM 'wbe'","hint":"blanket vm list"}})");
    daemon.on("POST /1.0/vms", 404, R"({"error":{"kind":"not-found","what":"there is no image 'debain'","hint":""}})");
    daemon.on("POST /1.0/federation", 409, R"({"error":{"kind":"conflict","what":"this site belongs to the federation 'mycloud' already","hint":"blanket federation show"}})");
    daemon.on("DELETE /1.0/nets/lan", 409, R"({"error":{"kind":"conflict","what":"network 'lan' is used by 2 VMs: database, web","hint":"delete what is no longer wanted, then try again: blanket vm delete database"}})");
    daemon.on("GET /1.0/nets/lna", 404, R"({"error":{"kind":"not-found","what":"there is no network 'lna'","hint":"there are: lan"}})");
    daemon.on_raw("GET /1.0/nets?broken", "");
    std::string text;
    for (const Argv& words : std::vector<Argv>{{"vm", "migrate", "web", "west"}, {"vm", "show", "wbe"}, {"vm", "create", "x", "--image", "debain", "--memory", "256M", "--disk", "2G", "--net", "lan"},
                                               {"federation", "init", "again"}, {"site", "show", "wets"}, {"vm", "start", "ghost"}, {"vm", "create", "x", "--image", "debian", "--memory", "12Q", "--disk", "2G", "--net", "lan"},
                                               {"vm", "lst"}, {"image", "add", "debian", "/nonexistent.raw"}, {"site", "join", "nonsense"}, {"vm", "import", "/nonexistent", "--net", "lan"},
                                               {"net", "delete", "lan"}, {"net", "show", "lna"}, {"net", "expose", "web", "--port", "tcp:80"}, {"net", "expose", "web", "--public"}, {"net", "trace", "web"},
                                               {"net", "trace", "web", "--to", "10.1.0.3", "--public", "tcp:80"}})
        text += all(words);
    expect_golden("errors.txt", text);
}

TEST_F(Program, DaemonsThatDoNotAnswerProperly) {
    daemon.on_raw("GET /1.0/vms", "");
    EXPECT_EQ(blanket({"vm", "list"}).status, 8);
    daemon.on_raw("GET /1.0/nets", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"nets\":[");
    EXPECT_EQ(blanket({"net", "list"}).status, 8);
    daemon.on("GET /1.0/sites", 200, "<html>");
    EXPECT_EQ(blanket({"site", "list"}).status, 1);
    daemon.on("GET /1.0/images", 500, "oops");
    const Output oops = blanket({"image", "list"});
    EXPECT_EQ(oops.status, 1);
    EXPECT_NE(oops.err.find("blanketd answered 500"), std::string::npos) << oops.err;
    daemon.on_raw("GET /1.0/federation", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
    EXPECT_EQ(blanket({"federation", "show"}).out, "no federation\n");
    const auto none = run_any({BLANKET_PROGRAM, "vm", "list", "--socket", daemon.folder() + "/none"});
    ASSERT_TRUE(none);
    EXPECT_EQ(none->status, 8);
    EXPECT_NE(none->err.find("systemctl status blanketd"), std::string::npos);
}

TEST_F(Program, SecurityGroupsAreEditedOneRequestEach) {
    const std::string reply = R"({"net":"lan","group":{"name":"web","everybody":false,"vms":[],"rules":[{"direction":"ingress","proto":"tcp","ports":"80"}]}})";
    daemon.on("POST /1.0/nets/lan/groups", 200, reply);
    daemon.on("POST /1.0/nets/lan/groups/web/rules", 200, reply);
    daemon.on("DELETE /1.0/nets/lan/groups/web/rules/2", 200, reply);
    daemon.on("POST /1.0/nets/lan/groups/web/vms", 200, reply);
    daemon.on("DELETE /1.0/nets/lan/groups/web/vms/web1", 200, reply);
    daemon.on("DELETE /1.0/nets/lan/groups/web", 200, R"({"net":"lan","group":null})");
    for (const Argv& words : std::vector<Argv>{{"security-group", "create", "lan", "web", "--all-vms"}, {"security-group", "add-rule", "lan", "web", "ingress", "--proto", "tcp", "--port", "80", "--remote", "10.1.0.0/28"},
                                               {"security-group", "remove-rule", "lan", "web", "2"}, {"security-group", "attach", "lan", "web", "web1"}, {"security-group", "detach", "lan", "web", "web1"},
                                               {"security-group", "delete", "lan", "web"}}) {
        const Output output = blanket(words);
        EXPECT_EQ(output.status, 0) << to_string(words) << output.err;
        EXPECT_EQ(output.out.contains("ingress"), words[1] != "delete") << output.out;
    }
    const auto asked = daemon.asked();
    ASSERT_EQ(asked.size(), 6u);
    EXPECT_EQ(asked[0].body, (Json{{"name", "web"}, {"everybody", true}}));
    EXPECT_EQ(asked[1].body, (Json{{"direction", "ingress"}, {"proto", "tcp"}, {"ports", "80"}, {"established", false}, {"remote", "10.1.0.0/28"}, {"remote_group", ""}}));
    EXPECT_EQ(asked[3].body, (Json{{"vm", "web1"}}));
    EXPECT_EQ(asked[2].path, "/1.0/nets/lan/groups/web/rules/2");
}

TEST_F(Program, ANewCaIsAskedForByOneRequest) {
    daemon.on("POST /1.0/federation/rotate-ca", 202, R"({"job":{"id":"j1","state":"running","seq":1}})");
    daemon.on("POST /1.0/federation/rotate-ca?dry_run=1", 200, R"({"steps":["one"]})");
    daemon.on("GET /1.0/jobs/j1", 200, R"({"job":{"id":"j1","verb":"rotate-ca","subject":"federation/ca","state":"done","seq":2,"result":{"ca":{}}}})");
    EXPECT_EQ(blanket({"federation", "rotate-ca", "--dry-run"}).out, " 1. one\n");
    const Output done = blanket({"federation", "rotate-ca", "--without", "west", "--without", "north", "--patience", "2m", "-q"});
    EXPECT_EQ(done.status, 0) << done.err;
    EXPECT_TRUE(done.out.starts_with("done: replace the federation's CA")) << done.out;
    EXPECT_EQ(blanket({"federation", "rotate-ca", "--without", "a/b"}).status, 2);
    EXPECT_EQ(blanket({"federation", "rotate-ca", "--patience", "soon"}).status, 2);
    const auto asked = daemon.asked();
    ASSERT_EQ(asked.size(), 3u);
    EXPECT_EQ(asked[0].body, (Json{{"without", Json::array()}, {"patience_s", 600}}));
    EXPECT_EQ(asked[1].body, (Json{{"without", {"west", "north"}}, {"patience_s", 120}}));
}

TEST_F(Program, ANetworkIsDeletedByOneRequest) {
    daemon.on("DELETE /1.0/nets/lan", 200, R"({"net":"lan"})");
    EXPECT_EQ(blanket({"net", "delete", "lan"}).out, "done: delete network lan\n");
    daemon.on("DELETE /1.0/nets/dmz?dry_run=1", 200, R"({"steps":["mark the record","remove it"]})");
    EXPECT_EQ(blanket({"net", "delete", "dmz", "--dry-run"}).out, " 1. mark the record\n 2. remove it\n");
    const auto asked = daemon.asked();
    ASSERT_EQ(asked.size(), 2u);
    EXPECT_EQ(asked[1].path, "/1.0/nets/dmz?dry_run=1");
}

TEST_F(Program, WhatChangesSomethingAnswersInEveryForm) {
    const std::string group = R"({"net":"lan","group":{"name":"web","everybody":false,"vms":[],"rules":[]}})";
    struct Case {
        std::string request, reply;
        Argv words;
    };
    const std::vector<Case> cases{
        {"POST /1.0/site/rotate-key", R"({"rotated":{"site":"east","key":"k3"}})", {"site", "rotate-key"}},
        {"POST /1.0/sites/west/revoke", R"({"revoked":{"site":"west","ms":12,"confirmed":["south"]}})", {"site", "revoke", "west"}},
        {"POST /1.0/vms/web/expose", R"({"net":"lan","vm":"web","site":"east","address":"192.0.2.1","ip":"10.1.0.254","ports":"tcp:80"})", {"net", "expose", "web", "--public", "--port", "tcp:80"}},
        {"POST /1.0/vms/web/unexpose", R"({"vm":"web","nets":["lan"]})", {"net", "unexpose", "web"}},
        {"DELETE /1.0/nets/lan", R"({"net":"lan"})", {"net", "delete", "lan"}},
        {"POST /1.0/nets/lan/groups", group, {"security-group", "create", "lan", "web"}},
        {"POST /1.0/nets/lan/groups/web/rules", group, {"security-group", "add-rule", "lan", "web", "ingress"}},
        {"DELETE /1.0/nets/lan/groups/web/rules/1", group, {"security-group", "remove-rule", "lan", "web", "1"}},
        {"POST /1.0/nets/lan/groups/web/vms", group, {"security-group", "attach", "lan", "web", "web"}},
        {"DELETE /1.0/nets/lan/groups/web/vms/web", group, {"security-group", "detach", "lan", "web", "web"}},
        {"DELETE /1.0/nets/lan/groups/web", R"({"net":"lan","group":null})", {"security-group", "delete", "lan", "web"}}};
    for (const auto& [request, reply, words] : cases) {
        daemon.on(request, 200, reply);
        daemon.on(request + "?dry_run=1", 200, R"({"steps":["one"]})");
        const auto with = [&](std::initializer_list<std::string> more) {
            Argv all = words;
            all.insert(all.end(), more);
            return blanket(all);
        };
        EXPECT_EQ(Json::parse(with({"-o", "json"}).out, nullptr, false), Json::parse(reply)) << request;
        const Output yaml = with({"-o", "yaml"}), plain = with({});
        EXPECT_EQ(yaml.status, 0) << request << yaml.err;
        EXPECT_TRUE(yaml.out.contains(": ") && yaml.out != plain.out) << yaml.out;
        EXPECT_TRUE(plain.status == 0 && !plain.out.empty() && !plain.out.starts_with("{")) << plain.out;
        EXPECT_EQ(with({"--dry-run"}).out, " 1. one\n") << request;
    }
    daemon.on("POST /1.0/drain", 202, R"({"job":{"id":"j1","state":"running","seq":1}})");
    const std::string drained = R"({"job":{"id":"j1","verb":"drain","subject":"host/east","state":"done","seq":2,"result":{"moved":["web to west"]}}})";
    daemon.on("GET /1.0/jobs/j1", 200, drained);
    EXPECT_EQ(Json::parse(blanket({"host", "drain", "-q", "-o", "json"}).out, nullptr, false), Json::parse(drained));
    // What is refused names the next step, whoever refuses it.
    FakeDaemon other;
    other.on("POST /1.0/vms/web/unexpose", 400, R"({"error":{"kind":"invalid","what":"port '0' is not a number from 1 to 65535","hint":""}})");
    const auto refused = run_any({BLANKET_PROGRAM, "net", "unexpose", "web", "--port", "tcp:0", "--socket", other.socket()}, {.deadline = std::chrono::seconds(30), .input = {}});
    ASSERT_TRUE(refused);
    EXPECT_TRUE(refused->err.ends_with("next: blanket net unexpose --help\n")) << refused->err;
    if (::geteuid() != 0) return;
    const Output slots = blanket({"update", "show", "-o", "json"}), confirm = blanket({"update", "confirm"}), back = blanket({"update", "rollback", "--dry-run"});
    EXPECT_TRUE(Json::parse(slots.out, nullptr, false).contains("slots")) << slots.out << slots.err;
    for (const auto& none : {confirm, back}) EXPECT_TRUE(none.status == 5 && none.err.contains("  next: ")) << none.err;
}

TEST_F(Program, ARevocationTellsWhatEtcdStillHas) {
    daemon.on("POST /1.0/sites/west/revoke", 200, R"({"revoked":{"site":"west","ms":12,"confirmed":["south"],"member_removed":false,"unclaimed":[]}})");
    EXPECT_TRUE(blanket({"site", "revoke", "west"}).out.contains("it had no vote, or was removed before\n"));
    daemon.on("POST /1.0/sites/north/revoke", 200, R"({"revoked":{"site":"north","ms":12,"confirmed":["south"],"member_removed":false,"unclaimed":["8e9e05c5 witness"]}})");
    const Output left = blanket({"site", "revoke", "north", "--unknown"});
    EXPECT_TRUE(left.out.contains("no member of etcd went with it\nthe member of etcd '8e9e05c5 witness' is no site's")) << left.out << left.err;
    const auto asked = daemon.asked();
    ASSERT_EQ(asked.size(), 2u);
    EXPECT_EQ(asked[0].body, (Json{{"unknown", false}}));
    EXPECT_EQ(asked[1].body, (Json{{"unknown", true}}));
}

TEST_F(Program, PublicPortsAreOpenedAndClosedByOneRequestEach) {
    daemon.on("POST /1.0/vms/web/expose", 200, R"({"net":"lan","vm":"web","site":"east","address":"192.0.2.1","ip":"10.1.0.254","ports":"tcp:80, tcp:8443:443"})");
    daemon.on("POST /1.0/vms/web/unexpose", 200, R"({"vm":"web","nets":["lan"]})");
    daemon.on("GET /1.0/trace?from=web&public=tcp%3A80&at=east", 200, R"({"trace":{"net":"lan","from":"outside","from_ip":"10.1.0.254","to_ip":"10.1.0.2","verdict":"delivered","answer":"delivered","reason":"VM 'web' at 'west' gets it","next":"","hops":[],"differences":[]}})");
    const Output opened = blanket({"net", "expose", "web", "--public", "--port", "tcp:80,tcp:8443:443", "--at", "east"});
    EXPECT_EQ(opened.status, 0) << opened.err;
    EXPECT_EQ(opened.out, "done: expose web\n");
    EXPECT_EQ(blanket({"net", "unexpose", "web"}).status, 0);
    const auto asked = daemon.asked();
    ASSERT_EQ(asked.size(), 2u);
    EXPECT_EQ(asked[0].body, (Json{{"ports", {"tcp:80", "tcp:8443:443"}}, {"at", "east"}}));
    EXPECT_EQ(asked[1].body, Json::object());
    const Output traced = blanket({"net", "trace", "web", "--public", "tcp:80", "--at", "east"});
    EXPECT_EQ(traced.status, 0) << traced.err;
    EXPECT_TRUE(traced.out.contains("outside (10.1.0.254) to 10.1.0.2 in lan: delivered, answer delivered")) << traced.out;
}

TEST_F(Program, DryRunShowsStepsAndChangesNothing) {
    const char* const steps = R"({"steps":["make a thin snapshot of debian","define web"]})";
    daemon.on("POST /1.0/vms?dry_run=1", 200, steps);
    const Output output = blanket({"vm", "create", "web", "--image", "debian", "--memory", "256M", "--disk", "2G", "--net", "lan", "--start", "--dry-run"});
    EXPECT_EQ(output.out, " 1. make a thin snapshot of debian\n 2. define web\n 3. start web\n");
    ASSERT_EQ(daemon.asked().size(), 1u);
    EXPECT_EQ(daemon.asked()[0].body,
              (Json{{"name", "web"}, {"image", "debian"}, {"memory_mib", 256u}, {"vcpus", 1u}, {"disk_bytes", 2147483648u}, {"net", "lan"}, {"policy", "keep-running-no-failover"}}));
    daemon.on("DELETE /1.0/vms/web?dry_run=1", 200, steps);
    EXPECT_EQ(Json::parse(blanket({"vm", "destroy", "web", "--delete", "--dry-run", "-o", "json"}).out), Json::parse(steps));
}

TEST_F(Program, CreateSendsTheSeedAndNamesWhatIsWrongWithIt) {
    const std::string data = daemon.folder() + "/user-data", key = daemon.folder() + "/key.pub";
    const std::string one = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3nYnRiw4uVQZ3lJcYgFZ6nq0n0mTq1oYw2f8m1w0aB me";
    ASSERT_TRUE(write_file(key, one + "\n"));
    daemon.on("POST /1.0/vms?dry_run=1", 200, R"({"steps":["define web"]})");
    const auto create = [&](const std::string& text, Argv more) {
        EXPECT_TRUE(write_file(data, text));
        Argv words{"vm", "create", "my_web", "--image", "debian", "--memory", "256M", "--disk", "2G", "--net", "lan", "--dry-run"};
        words.insert(words.end(), more.begin(), more.end());
        return blanket(words);
    };
    const Output good = create("#cloud-config\n", {"--user-data", data, "--ssh-key", key, "--ssh-key", key});
    EXPECT_EQ(good.status, 0) << good.err;
    EXPECT_EQ(good.err, "");
    EXPECT_EQ(daemon.asked().back().body["seed"], (Json{{"hostname", "my-web"}, {"user_data", "#cloud-config\n"}, {"ssh_keys", {one, one}}}));
    EXPECT_EQ(create("", {"--hostname", "web.example.org"}).status, 0);
    EXPECT_EQ(daemon.asked().back().body["seed"], (Json{{"hostname", "web.example.org"}, {"user_data", ""}, {"ssh_keys", Json::array()}}));
    const Output doubtful = create("packages: [nginx]\n", {"--user-data", data});
    EXPECT_EQ(doubtful.status, 0);
    EXPECT_TRUE(doubtful.err.contains("warning") && doubtful.err.contains("#cloud-config")) << doubtful.err;
    const auto sent = [&] { return std::ranges::count(daemon.asked(), "POST", &FakeDaemon::Asked::method); };
    const auto before = sent();
    const Output big = create(std::string(70'000, 'a'), {"--user-data", data});
    EXPECT_EQ(big.status, 2);
    EXPECT_TRUE(big.err.contains("70000 bytes") && big.err.contains("next:")) << big.err;
    EXPECT_EQ(create(std::string("\0\1", 2), {"--user-data", data}).status, 2);
    EXPECT_EQ(create("", {"--user-data", data + ".no"}).status, 3);
    EXPECT_EQ(create("", {"--user-data", daemon.folder()}).status, 1);
    EXPECT_EQ(create("secret", {"--ssh-key", data}).status, 2);
    EXPECT_FALSE(create("secret", {"--ssh-key", data}).err.contains("secret"));
    EXPECT_EQ(create("", {"--hostname", "not a name"}).status, 2);
    EXPECT_EQ(sent(), before);  // refused here
}

TEST_F(Program, AnUpdateThatIsInstalledAndNotStartedSaysSo) {
    const Client client(daemon.socket());
    Context context{.client = client, .terminal = {}, .quiet = true, .action = "install the update x.update"};
    int restarts = 0;
    const auto restart = [&]() -> Result<void> { return ++restarts, Result<void>(); };
    const auto stays = restart_if_free(context, "version 0.2.0 is installed", [] { return Result<void>(fail_hint(Kind::kConflict, "1 VM runs here: web", "blanket host drain")); }, restart);
    ASSERT_FALSE(stays);
    EXPECT_EQ(restarts, 0);
    EXPECT_EQ(stays.error().kind, Kind::kConflict);
    EXPECT_EQ(error_text(stays.error(), context.action),
              "blanket: version 0.2.0 is installed; this machine was not restarted: 1 VM runs here: web\n  next: blanket host drain; then: systemctl reboot\n");
    EXPECT_TRUE(restart_if_free(context, "", [] { return Result<void>(); }, restart));
    EXPECT_EQ(restarts, 1);
}

TEST_F(Program, TokenAloneOnStdout) {
    daemon.on("POST /1.0/tokens", 200, R"({"token":"blanket1.abc"})");
    const Output output = blanket({"site", "token", "--name", "west", "--ttl", "30m"});
    EXPECT_EQ(output.out, "blanket1.abc\n");
    EXPECT_NE(output.err.find("blanket site join -"), std::string::npos);
    EXPECT_EQ(daemon.asked()[0].body, (Json{{"role", "site"}, {"name", "west"}, {"ttl_s", 1800u}}));
    EXPECT_EQ(blanket({"site", "token", "-q", "--witness"}).err, "");
    EXPECT_EQ(daemon.asked()[1].body["role"], "witness");
}

TEST_F(Program, JoinReadsTheTokenFromStandardInput) {
    daemon.on("POST /1.0/join", 202, R"({"job":{"id":"j1","state":"running","seq":1}})");
    daemon.on("GET /1.0/jobs/j1", 200, R"({"job":{"id":"j1","state":"done","seq":2}})");
    EXPECT_EQ(blanket({"site", "join", "-"}, "blanket1.abc\n").out, "done: join the federation\n");
    EXPECT_EQ(daemon.asked()[0].body, (Json{{"token", "blanket1.abc"}}));
}

TEST_F(Program, ImportSendsTheTextAndItsForm) {
    const std::string file = daemon.folder() + "/web.cfg", text = "name = \"web\"\nmemory = 256\n";
    ASSERT_TRUE(write_file(file, text));
    daemon.on("POST /1.0/import", 200, R"({"steps":["define web"]})");
    EXPECT_EQ(blanket({"vm", "import", file, "--net", "lan", "--dry-run"}).out, " 1. define web\n");
    EXPECT_EQ(daemon.asked()[0].body, (Json{{"format", "xl-cfg"}, {"text", text}, {"net", "lan"}}));
}

TEST_F(Program, ConsoleRunsVirshHereAndPointsElsewhere) {
    fill(daemon);
    const std::string virsh = daemon.folder() + "/virsh";
    ASSERT_TRUE(write_file(virsh, "#!/bin/sh\necho \"$@\"\n", 0755));
    const auto here = run_any({"env", "PATH=" + daemon.folder() + ":/bin", BLANKET_PROGRAM, "vm", "console", "web", "--socket", daemon.socket()});
    ASSERT_TRUE(here);
    EXPECT_EQ(here->out, "-c xen:///system console --domain 6f1b2a3c-0000-4000-8000-000000000001\n") << here->err;
    daemon.on("GET /1.0/vms/database", 200, R"({"name":"database","uuid":"u2","owner":"west","state":"running"})");
    const Output there = blanket({"vm", "console", "database"});
    EXPECT_EQ(there.status, 5);
    EXPECT_EQ(there.err, "blanket: cannot open the console of database: database is at site west, and this is east\n"
                         "  next: log in to site west (198.51.100.7) and run: blanket vm console database\n");
    daemon.on("GET /1.0/vms/off", 200, R"({"name":"off","uuid":"u3","owner":"east","state":"shutoff"})");
    EXPECT_EQ(blanket({"vm", "console", "off"}).status, 4);
}

TEST_F(Program, DoctorsExitCode) {
    daemon.on("GET /1.0/doctor", 200, R"({"checks":[{"name":"xen","status":"ok","detail":"x"},{"name":"storage","status":"fail","detail":"no pool","hint":"lvs"}]})");
    const Output output = blanket({"doctor"});
    EXPECT_EQ(output.status, 5);
    EXPECT_TRUE(output.out.ends_with("1 ok, 0 warnings, 1 failed\n"));
}

TEST_F(Program, EventsFollowFromTheLastOne) {
    daemon.on("GET /1.0/events?after=0&wait_s=0", 200, R"({"events":[{"seq":1,"time":"t","type":"vm","subject":"web","text":"a"}],"last":1})");
    daemon.on("GET /1.0/events?after=1&wait_s=20", 503, R"({"error":{"kind":"unavailable","what":"stopping","hint":""}})");
    const Output output = blanket({"events", "--follow", "-o", "json"});
    EXPECT_EQ(output.out, "{\"seq\":1,\"subject\":\"web\",\"text\":\"a\",\"time\":\"t\",\"type\":\"vm\"}\n");
    EXPECT_EQ(output.status, 8);
}

TEST_F(Program, VersionAndFullDisk) {
    EXPECT_TRUE(blanket({"--version"}).out.starts_with("blanket "));
    EXPECT_TRUE(Json::parse(blanket({"--version", "--output", "json"}).out).contains("version"));
    const UniqueFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
    auto child = Child::spawn({BLANKET_PROGRAM, "--help"}, {.in = -1, .out = full.get(), .err = -1, .pass = {}});
    ASSERT_TRUE(child);
    EXPECT_EQ(child->wait(std::chrono::seconds(10)).value_or(-1), 1);
}

// Names for completion, and a bar with colours only on a real terminal.
TEST_F(Program, CompletionNamesAndTerminal) {
    fill(daemon);
    EXPECT_EQ(blanket({"completion", "names", "--of", "vm"}).out, "web\ndatabase\n");
    daemon.on("GET /1.0/jobs/j1", 200, kRunning);
    daemon.on("GET /1.0/jobs/j1", 200, kDone);
    const UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(master);
    ASSERT_EQ(::grantpt(master.get()), 0);
    ASSERT_EQ(::unlockpt(master.get()), 0);
    UniqueFd slave(::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(slave);
    auto child = Child::spawn({"env", "TERM=xterm", "LC_ALL=C.UTF-8", BLANKET_PROGRAM, "job", "watch", "j1", "--socket", daemon.socket()},
                              {.in = -1, .out = slave.get(), .err = slave.get(), .pass = {}});
    ASSERT_TRUE(child);
    EXPECT_EQ(child->wait(std::chrono::seconds(10)).value_or(-1), 0);
    std::array<std::byte, 8192> buffer;
    std::string text;
    for (pollfd more{master.get(), POLLIN, 0}; !text.contains("epoch 4") && ::poll(&more, 1, 2000) > 0;) {  // a terminal gives what it likes at a time
        const auto got = read_some(master.get(), buffer);
        ASSERT_TRUE(got);
        text.append(reinterpret_cast<const char*>(buffer.data()), *got);
    }
    EXPECT_NE(text.find("\r\033[Kmigrate web  █████████░"), std::string::npos) << text;
    EXPECT_NE(text.find("web moved from east to west"), std::string::npos);
}

}  // namespace
}  // namespace blanket::cli
