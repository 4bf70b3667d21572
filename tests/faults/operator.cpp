// SPDX-License-Identifier: GPL-2.0-or-later
// See operator.hpp.
#include "tests/faults/operator.hpp"

#include <thread>

#include "tests/lab/deadline.hpp"
#include "tests/lab/demo_checks.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using Wrongs = std::vector<std::string>;

// Reads VM web's record from etcd, lets a line of Python edit `vm`, writes it back: what somebody with the site's key can do.
Result<void> edit_record(Scene& scene, const std::string& site, const std::string& edit) {
    const std::string script = std::format(
        "python3 - <<'END'\n"
        "import base64, json, ssl, urllib.request\n"
        "pki = '/var/lib/blanket/pki/'\n"
        "context = ssl.create_default_context(cafile=pki + 'ca.crt')\n"
        "context.check_hostname = False\n"
        "context.load_cert_chain(pki + 'site.crt', pki + 'site.key')\n"
        "def call(path, body):\n"
        "    request = urllib.request.Request('https://127.0.0.1:2379/v3/kv/' + path, json.dumps(body).encode())\n"
        "    return json.load(urllib.request.urlopen(request, context=context, timeout=30))\n"
        "key = base64.b64encode(b'/blanket/v1/vms/{}').decode()\n"
        "vm = json.loads(base64.b64decode(call('range', {{'key': key}})['kvs'][0]['value']))\n"
        "{}\n"
        "call('put', {{'key': key, 'value': base64.b64encode(json.dumps(vm).encode()).decode()}})\n"
        "END\n",
        scene.clouds.web.uuid, edit);
    BLANKET_TRY(Ssh* const ssh, scene.clouds.lab.ssh(site));
    return ssh->script(script).transform([](const std::string&) {});
}

// `words` must be refused with `kind`, and the message must name `next`.
Result<void> expect_refusal(Scene& scene, const std::string& site, const Argv& words, Kind kind, const std::string& next, Wrongs& wrong) {
    BLANKET_TRY(BlanketCli blanket, scene.clouds.at(site));
    BLANKET_TRY(const CommandResult result, blanket.try_run(words, minutes(2)));
    const std::string said = result.errors + result.answer.dump();
    scene.clouds.story.say("{}: blanket {}: {} {}", site, to_string(words), result.status, trim(result.errors));
    if (result.status != exit_code(kind)) wrong.push_back(std::format("blanket {} ended with {}, not {}: {}", to_string(words), result.status, exit_code(kind), said));
    else if (said.find(next) == std::string::npos) wrong.push_back(std::format("blanket {} does not name the next step '{}': {}", to_string(words), next, said));
    return {};
}

Result<bool> domain_runs(Scene& scene, const std::string& site) {
    BLANKET_TRY(Ssh* const ssh, scene.clouds.lab.ssh(site));
    return ssh->script("set +e; set +o pipefail; xl list | awk '$1 == \"web\" { print \"up\" }'").transform([](const std::string& text) { return trim(text) == "up"; });
}

// Two operators, and one who would take the VM away in the middle of its move.
Result<Wrongs> commands_in_a_move(Scene& scene) {
    Wrongs wrong;
    bool asked = false;
    Result<void> lab;
    BLANKET_TRY(BlanketCli owner, scene.clouds.at(scene.source));
    BLANKET_TRY(const CommandResult moved, owner.follow({"vm", "migrate", "web", scene.target}, minutes(6), [&](std::string_view line) {
        if (asked || !trim(line).ends_with("memory ...")) return;
        asked = true;
        // --dry-run: refused at the same place, and harmless should the move be over by then.
        for (const auto& [site, words] : {std::pair(scene.source, Argv{"vm", "migrate", "web", scene.target}), std::pair(scene.source, Argv{"vm", "destroy", "web"}),
                                          std::pair(scene.source, Argv{"vm", "delete", "web"}), std::pair(scene.target, Argv{"vm", "migrate", "web", scene.target}),
                                          std::pair(scene.target, Argv{"vm", "stop", "web"}), std::pair(scene.target, Argv{"vm", "start", "web"})}) {
            Argv with_dry_run = words;
            with_dry_run.emplace_back("--dry-run");
            if (lab) lab = expect_refusal(scene, site, with_dry_run, Kind::kConflict, "blanket job watch", wrong);
        }
    }));
    BLANKET_CHECK(lab);
    if (!asked) wrong.emplace_back("the move never came to its memory");
    if (moved.status != 0) wrong.push_back("the move itself failed: " + moved.errors);
    return wrong;
}

Result<Wrongs> record_put_back(Scene& scene) {
    Wrongs wrong;
    BLANKET_TRY(BlanketCli owner, scene.clouds.at(scene.source));
    BLANKET_TRY(const VmView before, owner.vm("web"));
    BLANKET_CHECK(edit_record(scene, scene.target, std::format("vm.update(owner='{}', epoch=vm['epoch'] - 1)", scene.target)));
    const auto told = wait_until("it is told", minutes(1), seconds(2), [&]() -> Result<bool> {
        BLANKET_TRY(const Json events, owner.run({"events"}));
        return events.dump().find("the registry was put back to an older state") != std::string::npos;
    });
    if (!told) wrong.push_back("nothing tells that the record went back: " + told.error().what);
    bool runs = true;
    for (int look = 0; look < 10 && runs; ++look) {  // nothing may happen, and what would is asynchronous: it is watched for a while
        std::this_thread::sleep_for(seconds(1));
        BLANKET_TRY(runs, domain_runs(scene, scene.source));
    }
    if (!runs) wrong.emplace_back("the VM was ended for an old record");
    BLANKET_CHECK(expect_refusal(scene, scene.target, {"vm", "recover", "web"}, Kind::kPrecondition, "blanket", wrong));  // its disk is not there
    const auto recovered = owner.run({"vm", "recover", "web"}, minutes(3));
    if (!recovered) wrong.push_back("vm recover: " + recovered.error().what);
    BLANKET_TRY(const VmView after, owner.vm("web"));
    if (after.owner != scene.source || after.epoch <= before.epoch) wrong.push_back(std::format("recovered to '{}', epoch {}", after.owner, after.epoch));
    return wrong;
}

Result<Wrongs> nonsense_record(Scene& scene) {
    Wrongs wrong;
    BLANKET_CHECK(edit_record(scene, scene.target, "vm.update(phase='dancing')"));
    BLANKET_TRY(BlanketCli owner, scene.clouds.at(scene.source));
    std::string findings;
    const auto told = wait_until("doctor names it", minutes(1), seconds(2), [&]() -> Result<bool> {
        BLANKET_TRY(const bool green, owner.doctor_green(findings));
        return !green && findings.find("dancing") != std::string::npos;
    });
    if (!told) wrong.push_back("doctor does not name the record: " + findings);
    scene.clouds.story.say("doctor: {}", trim(findings));
    BLANKET_TRY(const bool runs, domain_runs(scene, scene.source));
    if (!runs) wrong.emplace_back("the VM was ended for a record that makes no sense");
    const auto recovered = owner.run({"vm", "recover", "web"}, minutes(3));
    if (!recovered) wrong.push_back("vm recover: " + recovered.error().what);
    return wrong;
}

// With the policy `pause`, a site without a registry suspends the VM, and lets it go on when the registry is back.
Result<Wrongs> pause_when_cut_off(Scene& scene) {
    Wrongs wrong;
    BLANKET_TRY(BlanketCli owner, scene.clouds.at(scene.source));
    BLANKET_CHECK(owner.run({"vm", "policy", "web", "pause"}));
    BLANKET_TRY(Ssh* const ssh, scene.clouds.lab.ssh(scene.source));
    BLANKET_CHECK(wait_until("the guard knows of it", seconds(30), seconds(1), [&]() -> Result<bool> {
        BLANKET_TRY(const std::string saved, ssh->script("if [ -e /run/blanket/guard.json ]; then cat /run/blanket/guard.json; fi"));
        return saved.find(scene.clouds.web.uuid) != std::string::npos;
    }));
    BLANKET_TRY(const Fault* const cut, find_fault("isolate-source-40s"));
    BLANKET_CHECK(cut->strike(scene));
    const auto goes_on = wait_until("it goes on", minutes(1), seconds(1), [&]() -> Result<bool> {
        BLANKET_TRY(const Json events, owner.run({"events"}));
        const std::string text = events.dump();
        const auto suspended = text.rfind("suspended: the registry does not confirm"), on = text.rfind("goes on: the registry says");
        return suspended != std::string::npos && on != std::string::npos && on > suspended;
    });
    if (!goes_on) wrong.push_back("not suspended, or not released: " + goes_on.error().what);
    BLANKET_CHECK(owner.run({"vm", "policy", "web", "keep-running-no-failover"}));
    return wrong;
}

// The site that lost the VM is back: its copy is a fork, which never runs, keeps its disk, and bars moves there until it is dropped.
Result<void> check_fork(Scene& scene, const std::string& lost, const std::string& heir, Wrongs& wrong) {
    BLANKET_TRY(BlanketCli old, scene.clouds.at(lost));
    const auto kept = wait_until("its copy is kept as a fork", minutes(1), seconds(2), [&]() -> Result<bool> {
        BLANKET_TRY(const Json events, old.run({"events"}));
        return events.dump().find("its disk is kept until") != std::string::npos;
    });
    if (!kept) wrong.push_back("the old owner does not tell that it keeps a fork: " + kept.error().what);
    BLANKET_TRY(const bool runs, domain_runs(scene, lost));
    if (runs) wrong.emplace_back("the old owner runs its copy again");
    BLANKET_TRY(Ssh* const ssh, scene.clouds.lab.ssh(lost));
    BLANKET_TRY(const std::string devices, ssh->script("dmsetup ls"));
    if (devices.find("bs-web-") == std::string::npos) wrong.push_back("the old owner's disk was not kept: " + devices);
    BLANKET_CHECK(expect_refusal(scene, heir, {"vm", "migrate", "web", lost}, Kind::kConflict, "drop-fork", wrong));
    if (const auto dropped = old.run({"vm", "drop-fork", "web"}, minutes(2)); !dropped) wrong.push_back("vm drop-fork: " + dropped.error().what);
    return {};
}

Result<void> power_off(Scene& scene, const std::string& site) {
    BLANKET_TRY(Machine* const machine, scene.clouds.lab.machine(site));
    BLANKET_TRY(Ssh* const ssh, scene.clouds.lab.ssh(site));
    BLANKET_CHECK(machine->kill());
    ssh->disconnect();
    return {};
}

Result<void> power_on(Scene& scene, const std::string& site) {
    BLANKET_TRY(Machine* const machine, scene.clouds.lab.machine(site));
    BLANKET_CHECK(machine->start_again());
    return wait_green(scene.clouds, site);
}

// The owner has no power any more. Another site takes the VM over; then the owner comes back.
Result<Wrongs> owner_lost(Scene& scene) {
    Wrongs wrong;
    BLANKET_CHECK(power_off(scene, scene.source));
    BLANKET_TRY(BlanketCli heir, scene.clouds.at(scene.target));
    BLANKET_CHECK(expect_refusal(scene, scene.target, {"vm", "recover", "web"}, Kind::kPrecondition, "--accept-loss", wrong));
    const auto taken = heir.run({"vm", "recover", "web", "--accept-loss"}, minutes(6));
    if (!taken) {
        wrong.push_back("vm recover --accept-loss: " + taken.error().what);
    } else {
        scene.clouds.story.say("{} has taken web over", scene.target);
        BLANKET_CHECK(welcome(scene.clouds, scene.target));
    }
    BLANKET_CHECK(power_on(scene, scene.source));
    BLANKET_CHECK(check_fork(scene, scene.source, scene.target, wrong));
    return wrong;
}

// The same with the policy `pause`: the site that the VM came from takes it over without anybody's word.
Result<Wrongs> owner_silent(Scene& scene) {
    Wrongs wrong;
    const std::string &heir = scene.source, &lost = scene.target;
    BLANKET_TRY(BlanketCli cli, scene.clouds.at(heir));
    BLANKET_CHECK(cli.run({"vm", "policy", "web", "pause"}));
    BLANKET_CHECK(cli.run({"vm", "migrate", "web", lost}, minutes(6)));
    BLANKET_TRY(const Json shown, cli.run({"vm", "show", "web"}));
    if (shown.dump().find("\"standby\"") == std::string::npos) wrong.push_back("no standby after the move: " + shown.dump());
    BLANKET_CHECK(power_off(scene, lost));
    const double begin_s = scene.clouds.story.now_s();
    const auto taken = wait_until("its standby takes it over", minutes(4), seconds(2), [&]() -> Result<bool> {
        const auto vm = cli.vm("web");
        return vm && vm->owner == heir;
    });
    if (!taken) wrong.push_back(taken.error().what);
    else scene.clouds.story.say("{} has taken web over, {:.0f} s after {} lost its power", heir, scene.clouds.story.now_s() - begin_s, lost);
    if (taken) BLANKET_CHECK(welcome(scene.clouds, heir));
    BLANKET_CHECK(power_on(scene, lost));
    BLANKET_CHECK(check_fork(scene, lost, heir, wrong));
    BLANKET_CHECK(cli.run({"vm", "policy", "web", "keep-running-no-failover"}));
    return wrong;
}

// Somebody copies a site's disk to a second machine: blanketd there must not start, and say why; the site itself is as before.
Result<Wrongs> cloned_disk(Scene& scene) {
    Wrongs wrong;
    BLANKET_CHECK(power_off(scene, scene.target));
    MachineProfile profile = scene.target == "east" ? east_profile() : west_profile();
    const MachineProfile other = south_profile();
    profile.name = other.name;
    profile.mac = other.mac;
    profile.address = other.address;
    BLANKET_CHECK(scene.clouds.lab.start_with_copy(profile, scene.target));
    BLANKET_CHECK(scene.clouds.lab.wait_ready(profile.name, minutes(6)));
    BLANKET_TRY(Ssh* const ssh, scene.clouds.lab.ssh(profile.name));
    std::string said;
    const auto refused = wait_until("blanketd of the copy gives up", minutes(3), seconds(3), [&]() -> Result<bool> {
        BLANKET_TRY(said, ssh->script("set +e; set +o pipefail; journalctl -u blanketd --no-pager -o cat | grep 'a copy of a site must not run beside it' | tail -n 1"));
        return !trim(said).empty();
    });
    if (!refused) wrong.push_back("blanketd of the copy does not say that it is one: " + refused.error().what);
    scene.clouds.story.say("the copy says: {}", trim(said));
    BLANKET_TRY(const std::string running, ssh->script("set +e; set +o pipefail; pgrep -a etcd; xl list | awk 'NR > 2'; ss -Hltn 'sport = :7443'; true"));
    if (!trim(running).empty()) wrong.push_back("the copy runs: " + running);
    scene.clouds.lab.end(profile.name);
    BLANKET_CHECK(power_on(scene, scene.target));
    return wrong;
}

}  // namespace

const std::vector<OperatorCase>& operator_cases() {
    static const std::vector<OperatorCase> all{
        {"commands-in-a-move", commands_in_a_move}, {"record-put-back", record_put_back}, {"nonsense-record", nonsense_record}, {"pause-when-cut-off", pause_when_cut_off}, {"cloned-disk", cloned_disk}, {"owner-lost", owner_lost, true}, {"owner-silent", owner_silent, true}};
    return all;
}

Result<FaultResult> run_operator_case(Clouds& clouds, const OperatorCase& which) {
    Situation before;
    BLANKET_CHECK(begin_fault(clouds, "operator", which.name, before));
    Scene scene{clouds, before.result.source, before.result.target};
    const double begin_s = clouds.story.now_s();
    BLANKET_TRY(before.result.violations, which.run(scene));
    before.result.struck = true;
    const double over_s = clouds.story.now_s();
    before.result.fault_s = over_s - begin_s;
    if (which.guest_dies) {  // what it had acknowledged was given up, with its operator's word; the new life counts from here
        BLANKET_TRY(BlanketCli cli, clouds.at(before.result.source));
        BLANKET_TRY(const VmView web, cli.vm("web"));
        BLANKET_TRY(before.acknowledged, acknowledged(clouds, web.owner));
        before.anew_at = web.owner;
    }
    return heal(clouds, std::move(before), over_s);
}

}  // namespace blanket::lab
