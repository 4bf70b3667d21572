// SPDX-License-Identifier: GPL-2.0-or-later
// See demo_checks.hpp. The volume's check is in demo_checks_volume.cpp.
#include "tests/lab/demo_checks.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

CheckResult broken(std::string name, const Error& error) { return {std::move(name), false, error.what}; }

// Every place where a VM leaves something at a host. Prints one line per trace.
constexpr std::string_view kTraces =
    "found() { sed \"s/^/$1: /\"; }\n"
    "{ virsh list --all --uuid | grep -x \"$uuid\" || true; } | found libvirt\n"
    "{ xl list | grep -w \"^$name\" || true; } | found xen\n"
    "for id in $volumes; do { dmsetup ls | grep \"^bs-$id-\" || true; } | found device-mapper; done\n"
    "for id in $volumes; do { grep -o \"\\\"[a-z]*-$id[-0-9]*\\\"\" /var/lib/blanket/state/storage.json || true; } | found thin-pool; done\n"
    "for id in $volumes; do { lvs --noheadings -o lv_name | grep -w \"$id\" || true; } | found lvm; done\n"
    "for id in $volumes; do { drbdsetup status 2>/dev/null | grep -w \"bs-$id\" || true; } | found drbd; done\n"
    "{ ls /dev/blanket /var/lib/blanket/seeds 2>/dev/null | grep \"$uuid\" || true; } | found seed\n"
    "ovs-vsctl --bare --columns=name find Interface external_ids:vm-uuid=\"$uuid\" | found ovs\n";

}  // namespace

CheckResult check_same_vm(Clouds& clouds, const std::string& site) {
    const std::string name = std::format("same IP, MAC and boot at {}", site);
    const auto facts = clouds.guest(site, clouds.web, "GET", "/facts");
    if (!facts) return broken(name, facts.error());
    const bool same = facts->value("nics", Json()) == clouds.web_facts.value("nics", Json()) && facts->value("boot_id", "") == clouds.web_facts.value("boot_id", "?") &&
                      facts->value("nics", Json()).dump().find(clouds.web.ip) != std::string::npos && facts->value("nics", Json()).dump().find(clouds.web.mac) != std::string::npos;
    return {name, same, std::format("{} {}, boot id {}", clouds.web.ip, clouds.web.mac, facts->value("boot_id", "?"))};
}

CheckResult check_seed(Clouds& clouds, const std::string& site) {
    const std::string name = std::format("its user-data at {}, shown by no command", site);
    const auto ssh = clouds.lab.ssh(site);
    if (!ssh) return broken(name, ssh.error());
    const auto found = (*ssh)->guest_http(clouds.web.ip, kGuestPort, "GET", "/seed");
    if (!found) return broken(name, found.error());
    const auto cli = clouds.at(site);
    const auto shown = cli ? BlanketCli(*cli).run({"vm", "show", "web"}) : std::unexpected(cli.error());
    if (!shown) return broken(name, shown.error());
    return {name, *found == kUserData && !shown->dump().contains("the-seed-is-read"), std::format("{} bytes on its seed disk", found->size())};
}

CheckResult check_connection(Clouds& clouds) {
    const std::string name = "one TCP connection all along";
    if (const auto read = read_client_log(clouds); !read) return broken(name, read.error());
    return {name, clouds.client.reconnects() == 0 && clouds.client.errors() == 0,
            std::format("{} requests, {} reconnects, {} errors", clouds.client.size(), clouds.client.reconnects(), clouds.client.errors())};
}

CheckResult check_no_trace(Clouds& clouds, const std::string& site) {
    const std::string name = std::format("no trace of web at {}", site);
    const auto ssh = clouds.lab.ssh(site);
    if (!ssh) return broken(name, ssh.error());
    std::string volumes;
    for (const auto& id : clouds.web.volumes) volumes += id + " ";
    const std::string script = std::format("uuid={}; name=web; volumes='{}'\n{}", clouds.web.uuid, trim(volumes), kTraces);
    const auto traces = (*ssh)->script(script);
    if (!traces) return broken(name, traces.error());
    const std::string_view text = trim(*traces);
    return {name, text.empty() && !clouds.web.volumes.empty(), text.empty() ? "libvirt, xen, device-mapper, thin pool, lvm, drbd, seed, ovs: nothing" : std::string(text)};
}

CheckResult check_acknowledged(Clouds& clouds, const std::string& site) {
    const std::string name = "no acknowledged record lost";
    if (const auto read = read_client_log(clouds); !read) return broken(name, read.error());
    const std::uint64_t acked = std::max(clouds.client.highest_acked(), clouds.driver_acked);
    const auto check = clouds.guest(site, clouds.web, "GET", "/check");
    if (!check) return broken(name, check.error());
    const auto of = [&](const char* field) { return json_number_or(*check, field, ~0ull); };
    return {name, acked > 0 && of("records") >= acked && of("damaged") == 0 && of("gaps") == 0,
            std::format("{} acknowledged, {} on disk, {} damaged, {} out of place", acked, of("records"), of("damaged"), of("gaps"))};
}

std::vector<CheckResult> check_wan(Clouds& clouds, WanResult& wan) {
    const Json stats = clouds.lab.shaper().stats();
    const Json &there = stats["links"]["east>west"], &back = stats["links"]["west>east"], &recorder = stats["recorder"];
    const auto delay = [](const Json& link) { return link["min_delay_ms"].is_number() ? link["min_delay_ms"].get<double>() : 0.0; };
    wan.rtt_ms = delay(there) + delay(back);
    wan.peak_mbit_s = static_cast<double>(std::max(json_number_or(there, "peak_bps_1s", 0), json_number_or(back, "peak_bps_1s", 0))) / 1e6;
    wan.east_west_bytes = json_number_or(there, "bytes", 0);
    wan.west_east_bytes = json_number_or(back, "bytes", 0);
    wan.traffic = recorder["traffic"];
    const Json search = recorder.value("search", Json::object());
    wan.searched_bytes = json_number_or(search, "bytes", 0);
    std::uint64_t canaries = 0, missed = json_number_or(recorder, "missed_frames", 1);
    std::string seen;
    for (const auto& pattern : search.value("patterns", Json::array())) {
        const std::uint64_t count = json_number_or(pattern, "count", 0);
        if (json_string_or(pattern, "pattern", "") == kCanary) {
            canaries = count;
            continue;
        }
        wan.plaintext_found += count;
        if (count > 0) seen += std::format("; '{}' {} times, first in frame {}", json_string_or(pattern, "pattern", "?"), count, json_number_or(pattern, "first_frame", 0));
    }
    if (const auto east = clouds.lab.ssh("east"); east) {
        const auto ping = (*east)->run({"ping", "-n", "-q", "-c", "5", "-i", "0.3", west_profile().address});
        if (const auto at = ping ? ping->find(" = ") : std::string::npos; at != std::string::npos) {  // rtt min/avg/max/mdev = 50.3/51.2/...
            const auto parts = split(std::string_view(*ping).substr(at + 3), '/');
            if (parts.size() > 1) wan.ping_ms = std::strtod(parts[1].c_str(), nullptr);
        }
    }
    return {{"WAN round trip >= 45 ms", wan.rtt_ms >= 45, std::format("{:.2f} ms applied at least; ping sees {:.1f} ms on average", wan.rtt_ms, wan.ping_ms)},
            {"WAN rate <= 110 Mbit/s", wan.peak_mbit_s > 0 && wan.peak_mbit_s <= 110, std::format("busiest second {:.1f} Mbit/s", wan.peak_mbit_s)},
            {"plaintext search works", canaries > 0 && missed == 0, std::format("a line sent in clear on purpose was found {} times; {} frames not searched", canaries, missed)},
            {"no known plaintext on the WAN", wan.plaintext_found == 0 && wan.searched_bytes > (1u << 20),
             std::format("{} searched, {} matches{}", format_bytes(wan.searched_bytes), wan.plaintext_found, seen)}};
}

CheckResult judge_granted(const std::string& site, const std::string& counters) {
    const auto lines = split(trim(counters), '\n');
    const auto guests = parse_number(lines.front(), 0, ~0ull, "counter"), own = parse_number(lines.back(), 0, ~0ull, "counter");
    const bool read = lines.size() == 2 && guests && own;
    return {std::format("guests' pages at {} go to the provider without a copy", site), read && *guests > 0,
            read ? std::format("{} pages of guests granted on as they are, {} of dom0's own", *guests, *own) : std::format("the counters say '{}'", std::string(trim(counters)))};
}

CheckResult check_granted(Clouds& clouds, const std::string& site) {
    const auto ssh = clouds.lab.ssh(site);
    const auto counters = ssh ? (*ssh)->run({"cat", "/sys/bus/blanket/granted_guests", "/sys/bus/blanket/granted_own"}) : std::unexpected(ssh.error());
    return counters ? judge_granted(site, *counters) : broken(judge_granted(site, "").name, counters.error());
}

CheckResult check_consoles(Clouds& clouds) {
    const std::string name = "consoles are clean";
    const auto alarms = clouds.lab.alarms();
    if (!alarms) return broken(name, alarms.error());
    return {name, alarms->empty(), alarms->empty() ? "no BUG, Oops, assertion or panic" : std::format("{} lines, first: {}", alarms->size(), alarms->front())};
}

Result<CheckResult> check_refusal(Clouds& clouds, const std::string& owner, const std::string& to, Refusal& refusal) {
    refusal.tried = true;
    refusal.to = to;
    BLANKET_TRY(BlanketCli blanket, clouds.at(owner));
    BLANKET_TRY(const CommandResult command, blanket.try_run({"vm", "migrate", "web", to}, std::chrono::minutes(3)));
    refusal.exit_code = command.status;
    refusal.message = command.errors;
    if (command.answer.is_object()) {
        const Json error = command.answer.value("job", command.answer).value("error", Json());
        if (error.is_object()) refusal.message = json_string_or(error, "what", refusal.message);
    }
    const bool names_cpu = refusal.message.find("avx") != std::string::npos;  // the message must list what is missing
    BLANKET_TRY(const VmView vm, blanket.vm("web"));
    refusal.refused = command.status == exit_code(Kind::kPrecondition) && names_cpu && vm.owner == owner && vm.phase == "running";
    const CheckResult trace = check_no_trace(clouds, to);
    return CheckResult{std::format("the move to {} is refused", to), refusal.refused && trace.ok,
                       std::format("exit code {}, web still runs at {}; {}", command.status, vm.owner, trace.ok ? "nothing left at " + to : trace.detail)};
}

}  // namespace blanket::lab
