// SPDX-License-Identifier: GPL-2.0-or-later
// From cold machines to a federation with VMs that serve; see clouds.hpp. The move itself is in clouds_move.cpp.
#include "tests/lab/clouds.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "tests/lab/deadline.hpp"
#include "tests/lab/guest/load.hpp"
#include "tests/lab/guest/records.hpp"
#include "tests/lab/machine_facts.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

Result<BlanketCli> Clouds::at(const std::string& site) {
    BLANKET_TRY(Ssh* const ssh, lab.ssh(site));
    return BlanketCli(*ssh);
}

Result<Json> Clouds::guest(const std::string& site, const VmView& vm, const std::string& method, const std::string& target) {
    BLANKET_TRY(Ssh* const ssh, lab.ssh(site));
    BLANKET_TRY(const std::string body, ssh->guest_http(vm.ip, kGuestPort, method, target, seconds(60)));
    return parse_json(trim(body));
}

std::vector<std::string> forbidden_plaintext() { return {std::string(kRecordMark), std::string(kMemoryMark), "GET /ping HTTP/1.1", kCanary}; }

Result<void> boot_site(Clouds& clouds, const MachineProfile& profile) {
    BLANKET_CHECK(clouds.lab.start(profile));
    BLANKET_TRY(Machine* const machine, clouds.lab.machine(profile.name));
    const MachineProfile& made = machine->profile();
    if (made.inside_xen()) clouds.story.say("{}: inside a provider's Xen, as {} guest of the machine below", made.name, made.provider == Provider::kXenHvm ? "an HVM" : "a PVH");
    clouds.story.say("{}: {} {}, disk {}, nic {}, cpu {}, {} x {} MiB, {}", made.name, made.chipset, made.firmware == Firmware::kOvmf ? "UEFI" : "BIOS",
                     made.disk == DiskModel::kNvme ? "NVMe" : "virtio-blk", made.nic == NicModel::kE1000e ? "e1000e" : "virtio-net", made.cpu, made.cpus, made.memory_mib,
                     name_of(clouds.lab.accelerator()));
    return {};
}

Result<void> wait_green(Clouds& clouds, const std::string& site) {
    BLANKET_CHECK(clouds.lab.wait_ready(site, minutes(5)));
    clouds.story.say("{}: ssh answers", site);
    BLANKET_TRY(BlanketCli blanket, clouds.at(site));
    std::string findings;
    const auto green = wait_until(std::format("blanket doctor is green at '{}'", site), minutes(4), seconds(2), [&]() -> Result<bool> {
        const auto now = blanket.doctor_green(findings);
        return now && *now;  // blanketd may still be starting
    });
    if (!green) return fail(green.error().kind, "{}; its findings: {}", green.error().what, findings);
    BLANKET_TRY(Machine* const machine, clouds.lab.machine(site));
    clouds.story.say("{}: blanket doctor is green{}; {:.0f} % of its memory are huge pages of the host", site, findings.empty() ? "" : "; warnings: " + std::string(trim(findings)),
                     100 * std::max(0.0, huge_page_share(machine->pid())));
    return {};
}

Result<void> send_canary(Clouds& clouds) {
    BLANKET_TRY(Ssh* const east, clouds.lab.ssh("east"));
    BLANKET_CHECK(east->script(std::format("for i in 1 2 3; do echo {} > /dev/udp/{}/9; sleep 0.2; done", kCanary, west_profile().address)));
    return {};
}

Result<void> join_site(Clouds& clouds, const std::string& site) {
    BLANKET_TRY(BlanketCli east, clouds.at("east"));
    BLANKET_TRY(BlanketCli newcomer, clouds.at(site));
    BLANKET_TRY(const std::string token, east.token(site, false));
    BLANKET_CHECK(newcomer.run({"site", "join", "-"}, minutes(6), token + "\n"));
    clouds.story.say("{} joined: blanket site token --name {} | blanket site join -", site, site);
    return {};
}

Result<void> federate(Clouds& clouds) {
    BLANKET_TRY(BlanketCli east, clouds.at("east"));
    BLANKET_CHECK(east.run({"federation", "init", kFederation}, minutes(2)));
    clouds.story.say("east: blanket federation init {}", kFederation);
    BLANKET_CHECK(join_site(clouds, "west"));
    BLANKET_TRY(const std::string token, east.token(kWitnessNode, true));
    BLANKET_CHECK(clouds.lab.start_witness(token));
    std::string seen;
    const auto voting = wait_until("three healthy voters", minutes(4), seconds(2), [&]() -> Result<bool> {
        BLANKET_CHECK(clouds.lab.check_witness());
        const auto answer = east.run({"federation", "show"});
        if (!answer) return false;
        const Json members = answer->value("federation", Json::object()).value("members", Json::array());
        std::size_t healthy = 0;
        for (const auto& member : members) healthy += json_bool_or(member, "healthy", false) && json_string_or(member, "role", "voter") != "learner" ? 1 : 0;
        seen = members.dump();
        return healthy >= 3;
    });
    if (!voting) return fail(voting.error().kind, "{}; members: {}", voting.error().what, seen);
    clouds.story.say("the registry has three healthy voters: east, west and the witness on the lab host");
    return {};
}

Result<void> add_image(Clouds& clouds, const std::string& file) {
    BLANKET_TRY(Ssh* const ssh, clouds.lab.ssh(clouds.home));
    BLANKET_TRY(BlanketCli home, clouds.at(clouds.home));
    const std::string remote = file.ends_with(".zst") ? "/var/tmp/debian.raw.zst" : "/var/tmp/debian.raw";
    BLANKET_CHECK(ssh->put_file(file, remote, minutes(10)));
    std::error_code error;
    clouds.story.say("{} copied to {}", format_bytes(std::filesystem::file_size(file, error)), clouds.home);
    BLANKET_CHECK(home.run({"image", "add", "debian", remote}, minutes(10)));
    BLANKET_CHECK(ssh->run({"rm", "-f", remote}));
    clouds.story.say("{}: blanket image add debian {}", clouds.home, remote);
    return {};
}

namespace {

Result<void> wait_guest(Clouds& clouds, const VmView& vm, const std::string& name, Json& facts) {
    std::string last;
    const auto up = wait_until(std::format("guest '{}' answers at {}", name, vm.ip), minutes(10), seconds(2), [&]() -> Result<bool> {
        auto answer = clouds.guest(clouds.home, vm, "GET", "/facts");
        if (!answer) {
            last = answer.error().what;
            return false;
        }
        facts = std::move(*answer);
        return true;
    });
    if (!up) return fail(up.error().kind, "{}: {}", up.error().what, last);
    clouds.story.say("{} serves: {} {}, kernel {}", name, vm.ip, vm.mac, json_string_or(facts, "kernel", "?"));
    return {};
}

Result<void> create_vm(Clouds& clouds, BlanketCli& home, const std::string& name, VmView& vm, Json& facts, const Argv& more = {}) {
    Argv words{"vm", "create", name, "--image", "debian", "--memory", "256M", "--disk", "2G", "--net", "lan"};
    std::ranges::copy(more, std::back_inserter(words));
    BLANKET_CHECK(home.run(words, minutes(5)));
    BLANKET_CHECK(home.run({"vm", "start", name}, minutes(5)));
    clouds.story.say("{}: blanket {}; blanket vm start {}", clouds.home, to_string(words), name);
    BLANKET_TRY(vm, home.vm(name));
    return wait_guest(clouds, vm, name, facts);
}

}  // namespace

Result<void> create_vms(Clouds& clouds, bool with_client, bool with_seed) {
    BLANKET_TRY(BlanketCli home, clouds.at(clouds.home));
    BLANKET_CHECK(home.run({"net", "create", "lan", "--cidr", "10.42.0.0/24"}));
    clouds.story.say("{}: blanket net create lan --cidr 10.42.0.0/24", clouds.home);
    constexpr const char* kSeedFile = "/root/web.yaml";
    if (with_seed) {
        BLANKET_TRY(Ssh* const ssh, clouds.lab.ssh(clouds.home));
        BLANKET_CHECK(ssh->script(std::format("cat >{} <<'END'\n{}END\n", kSeedFile, kUserData)));
    }
    // One after the other: an emulated processor forgets its translated addresses at each switch of domains, and two that boot at once take longer than two in turn.
    BLANKET_CHECK(create_vm(clouds, home, "web", clouds.web, clouds.web_facts, with_seed ? Argv{"--user-data", kSeedFile} : Argv{}));
    return with_client ? create_vm(clouds, home, "client", clouds.asker, clouds.asker_facts) : Result<void>{};
}

Result<void> start_traffic(Clouds& clouds) {
    // 3 MiB/s are asked for, so that the measured rate stays above 2 when an emulated CPU is late. A Xen inside an emulated Xen does a tenth of the work: its dom0 was at its end with
    // the mirror's 50 flushed writes a second alone, and takes in a quarter of a MiB a second.
    const bool inside_xen = !clouds.lab.options().providers.empty();
    BLANKET_CHECK(clouds.guest(clouds.home, clouds.web, "POST", inside_xen ? "/load?rate_kib=256&pause_ms=1000" : "/load?rate_kib=3072&pause_ms=20"));
    BLANKET_TRY(Ssh* const home, clouds.lab.ssh(clouds.home));
    BLANKET_CHECK(home->guest_http(clouds.asker.ip, kGuestPort, "POST", std::format("/probe?host={}&port=80", clouds.web.ip)));
    return wait_until("the client gets answers", minutes(1), seconds(2), [&]() -> Result<bool> {
        BLANKET_CHECK(read_client_log(clouds));
        return clouds.client.size() >= 40 && clouds.client.highest_acked() > 0;
    });
}

Result<void> read_client_log(Clouds& clouds) {
    BLANKET_TRY(Ssh* const home, clouds.lab.ssh(clouds.home));
    const double asked = clouds.story.now_s();
    BLANKET_TRY(const std::string text, home->guest_http(clouds.asker.ip, kGuestPort, "GET", std::format("/probe/log?since={}", clouds.client.size()), seconds(60)));
    return clouds.client.add(text, asked, clouds.story.now_s());
}

}  // namespace blanket::lab
