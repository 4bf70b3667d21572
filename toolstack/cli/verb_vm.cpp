// SPDX-License-Identifier: GPL-2.0-or-later
// blanket vm list|show|start|stop|destroy|delete|migrate; the others are in verb_vm_create, verb_vm_console and verb_vm_import.
#include <tuple>

#include "toolstack/base/text.hpp"
#include "toolstack/cli/http.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

std::string vm_path(const Invocation& call, std::string_view verb = "") { return "/1.0/vms/" + percent_encode(call.arg(0)) + std::string(verb); }

Result<int> run_vm_list(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/vms"));
    show(context, reply, [&](const Json& value) { return format_table(vm_table(value), context.terminal); });
    return 0;
}

Result<int> run_vm_show(Context& context, const Invocation& call) {
    BLANKET_TRY(const Json reply, context.client.get(vm_path(call)));
    show(context, reply, [](const Json& value) { return format_fields(vm_fields(value.contains("vm") ? value["vm"] : value)); });
    return 0;
}

Result<int> run_start(Context& context, const Invocation& call) { return mutate(context, {.request = {.method = "POST", .path = vm_path(call, "/start"), .body = Json::object()}}); }

Result<int> run_stop(Context& context, const Invocation& call) {
    BLANKET_TRY(const auto seconds, parse_duration(call.option("timeout"), "timeout"));
    return mutate(context, {.request = {.method = "POST", .path = vm_path(call, "/stop"), .body = {{"timeout_s", seconds}}}});
}

Result<int> run_delete(Context& context, const Invocation& call) { return mutate(context, {.request = {.method = "DELETE", .path = vm_path(call)}}); }

Result<int> run_destroy(Context& context, const Invocation& call) {
    if (call.has("delete")) return run_delete(context, call);
    return mutate(context, {.request = {.method = "POST", .path = vm_path(call, "/destroy"), .body = Json::object()}});
}

Result<int> run_migrate(Context& context, const Invocation& call) {
    if (call.has("watch") && !context.wait) return fail_hint(Kind::kInvalid, "--watch and --no-wait are opposites", "leave one of them out");
    Json body{{"target", call.arg(1)}};
    constexpr std::uint64_t kHour = 3'600'000;
    for (const auto& [option, key, most] : {std::tuple("downtime-target", "downtime_target_ms", kHour), std::tuple("max-downtime", "max_downtime_ms", kHour),
                                            std::tuple("bandwidth", "bandwidth_mbit", std::uint64_t(1'000'000)), std::tuple("streams", "streams", std::uint64_t(16))}) {
        if (!call.has(option)) continue;
        BLANKET_TRY(body[key], parse_number(call.option(option), 1, most, option));
    }
    if (call.has("max-time")) {
        BLANKET_TRY(const auto seconds, parse_duration(call.option("max-time"), "max-time"));
        body["max_time_ms"] = seconds * 1000;
    }
    if (call.has("patience")) {
        BLANKET_TRY(const auto seconds, parse_duration(call.option("patience"), "patience"));
        body["patience_ms"] = seconds * 1000;
    }
    if (call.has("without")) body["without"] = split(call.option("without"), ',');
    return mutate(context, {.request = {.method = "POST", .path = vm_path(call, "/migrate"), .body = body}});
}

Result<int> run_policy(Context& context, const Invocation& call) {
    return mutate(context, {.request = {.method = "POST", .path = vm_path(call, "/policy"), .body = {{"policy", call.arg(1)}}}});
}

Result<int> run_recover(Context& context, const Invocation& call) {
    return mutate(context, {.request = {.method = "POST", .path = vm_path(call, "/recover"), .body = {{"accept_loss", call.has("accept-loss")}}}});
}

Result<int> run_drop_fork(Context& context, const Invocation& call) {
    return mutate(context, {.request = {.method = "POST", .path = vm_path(call, "/drop-fork"), .body = Json::object()}});
}

const ArgSpec kVm{"NAME", "the VM", ArgKind::kVm};

}  // namespace

std::vector<VerbSpec> vm_verbs() {
    return {vm_create_verb(),
            {.noun = "vm",
             .verb = "list",
             .summary = "list the VMs of all sites",
             .details = "Lists every VM of the federation with its state, the site that owns it, and its addresses.",
             .action = "list the VMs",
             .example = "blanket vm list",
             .run = run_vm_list},
            {.noun = "vm",
             .verb = "show",
             .summary = "show one VM",
             .details = "Shows the VM's record: owner, epoch, addresses, volumes. With --output json or yaml also its libvirt definition.",
             .action = "show VM {NAME}",
             .args = {kVm},
             .example = "blanket vm show web",
             .run = run_vm_show},
            {.noun = "vm",
             .verb = "start",
             .summary = "start a VM at the site that owns it",
             .details = "Starts a stopped VM. It runs at its owner; from then on the record says that it runs, and it is started again after a crash of the host.",
             .action = "start {NAME}",
             .args = {kVm},
             .mutates = true,
             .job = true,
             .example = "blanket vm start web",
             .run = run_start},
            {.noun = "vm",
             .verb = "stop",
             .summary = "shut a VM down",
             .details = "Asks the guest to shut down and waits for it. A guest that does not within the time goes on running, and the verb fails with 6; see `vm destroy`.",
             .action = "stop {NAME}",
             .args = {kVm},
             .options = {{.name = "timeout", .value = "TIME", .help = "how long to wait: a number with s, m, h or d", .fallback = "120s"}},
             .mutates = true,
             .job = true,
             .example = "blanket vm stop web --timeout 60s",
             .run = run_stop},
            {.noun = "vm",
             .verb = "destroy",
             .summary = "power a VM off, without asking the guest",
             .details = "The same as pulling the plug. The record and the disk stay, unless --delete is given.",
             .action = "destroy {NAME}",
             .args = {kVm},
             .options = {{.name = "delete", .help = "remove its record and disk too, as `vm delete` does"}},
             .mutates = true,
             .job = true,
             .example = "blanket vm destroy web",
             .run = run_destroy},
            {.noun = "vm",
             .verb = "delete",
             .summary = "remove a VM: its domain, disk and record",
             .details = "Powers the VM off where it runs, and removes its disk and its record. What is on the disk is lost.",
             .action = "delete {NAME}",
             .args = {kVm},
             .mutates = true,
             .job = true,
             .example = "blanket vm delete web --dry-run",
             .run = run_delete},
            vm_console_verb(),
            vm_import_verb(),
            {.noun = "vm",
             .verb = "migrate",
             .summary = "move a running VM to another site, live",
             .details = "Moves memory and disk while the VM runs, stops it for a moment, and lets it go on at the target with the same addresses and connections. Any error before the commit "
                        "leaves it running where it is. Phases and progress go to standard error: the round, what is left of it, rates, how long the copying goes on, and how long the VM would stand still "
                        "now; the last line says how long it took, how long the VM stood still, and what was sent. "
                        "Memory is copied in rounds, until what is left takes no time worth speaking of, until the downtime to be expected is within --downtime-target, or until rounds bring "
                        "nothing because the VM writes as fast as the link sends. A VM that writes faster than the link sends is "
                        "given less processor time meanwhile, down to a twentieth of what it used, where its stop would be longer than --max-downtime, --downtime-target or 5 s. Then it stops for what is "
                        "left, however long that takes, unless --max-downtime says how long it may: then the move ends, the VM runs on, and the error says what it writes and what the link takes. "
                        "Before memory is copied, the VM's writes to each disk wait once, while what is left of it is sent: for no longer than --max-downtime either (1 s is always allowed), or 10 s if nothing is said.",
             .action = "migrate {NAME} to {TARGET}",
             .args = {kVm, {"TARGET", "the site that it moves to", ArgKind::kSite}},
             .options = {{.name = "watch", .help = "show its progress to its end: so it is without this option too"},
                         {.name = "downtime-target", .value = "MS", .help = "stop copying as soon as the VM would stand still for no longer than this"},
                         {.name = "max-downtime", .value = "MS", .help = "give up rather than let the VM, or before that its writes to a disk (10 s if nothing is said), stand still for longer, as far as that can be foreseen"},
                         {.name = "max-time", .value = "TIME", .help = "copy memory for no longer than this, then stop or give up: a number with s, m, h or d"},
                         {.name = "bandwidth", .value = "MBIT", .help = "send no more than this, in Mbit/s, while the VM runs"},
                         {.name = "patience", .value = "TIME", .help = "while the VM runs, wait so long for a lost link between the sites, instead of 90s; the move then goes on where it was"},
                         {.name = "streams", .value = "N", .help = "send over so many TCP connections at once, 1 to 16, instead of 4"},
                         {.name = "without", .value = "LIST", .help = "to measure what they are worth: references, store, store-deltas, versions, compression, measuring, policy, throttle, with commas between"}},
             .mutates = true,
             .job = true,
             .example = "blanket vm migrate web west",
             .run = run_migrate},
            {.noun = "vm",
             .verb = "policy",
             .summary = "what a VM does while its site is cut off from the registry",
             .details = "keep-running-no-failover: it runs on, and nobody takes it over without your word (the default). pause: it is suspended after 15 s without the registry, memory and "
                        "disk kept, and goes on as soon as the registry says that it still belongs there. With pause, the site that it last moved away from keeps its disk as a standby "
                        "(`vm show`), and takes the VM over by itself when the owner has been silent for 60 s: it starts again from that disk, and what it wrote since is lost.",
             .action = "set the policy of {NAME}",
             .args = {kVm, {"POLICY", "keep-running-no-failover or pause"}},
             .mutates = true,
             .example = "blanket vm policy web pause",
             .run = run_policy},
            {.noun = "vm",
             .verb = "recover",
             .summary = "take a VM over at this site",
             .details = "For a VM whose site is lost, or whose record is older than this site's disk because the registry was put back to an older state. It goes on here, from the disk that "
                        "this site last had of it, or from its base image; what it wrote elsewhere since is lost, so --accept-loss must be given then. Refused while a site with a newer state "
                        "answers. A lost site that comes back keeps its copy, stopped, for inspection; see `vm drop-fork`.",
             .action = "recover {NAME}",
             .args = {kVm},
             .options = {{.name = "accept-loss", .help = "the owner is lost for good, and what the VM wrote there too"}},
             .mutates = true,
             .job = true,
             .example = "blanket vm recover web --accept-loss --dry-run",
             .run = run_recover},
            {.noun = "vm",
             .verb = "drop-fork",
             .summary = "remove the copy that this site kept of a VM that was taken over",
             .details = "Removes the disk that this site has of a VM which another site took over without it (`vm recover`). What only that copy holds is lost.",
             .action = "drop the fork of {NAME}",
             .args = {kVm},
             .mutates = true,
             .job = true,
             .example = "blanket vm drop-fork web",
             .run = run_drop_fork}};
}

}  // namespace blanket::cli
