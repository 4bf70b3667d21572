// SPDX-License-Identifier: GPL-2.0-or-later
// blanket update install|show|confirm|rollback. These work by themselves, without blanketd: also where it, or Xen, does not come up.
#include <csignal>
#include <unistd.h>

#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/restart.hpp"
#include "toolstack/cli/verb_lists.hpp"
#include "toolstack/update/install.hpp"

namespace blanket::cli {
namespace {

Result<void> as_root() {
    if (::geteuid() == 0) return {};
    return fail_hint(Kind::kDenied, "only root may change what this machine starts", "sudo blanket update ...");
}

Result<void> restart_now(Context& context, const std::string& done) {
    return restart_if_free(context, done, [] { return update::check_no_guests({}); }, [] { return run({"systemctl", "reboot"}).transform([](const std::string&) {}); });
}

void show_steps(const Context& context, const std::vector<std::string>& steps) { show(context, Json{{"steps", steps}}, steps_text); }

Table update_table(const Json& status) {
    Table table{.columns = {"SLOT", "VERSION", "STATE", "INSTALLED"}, .rows = {}};
    for (const auto& slot : status["slots"])
        table.rows.push_back({json_string_or(slot, "slot", ""), json_string_or(slot, "version", ""), json_string_or(slot, "state", ""), json_string_or(slot, "installed", "")});
    return table;
}

Result<int> run_install(Context& context, const Invocation& call) {
    BLANKET_CHECK(as_root());
    const update::Options options{.any_version = call.has("any-version")};
    if (context.dry_run) {
        BLANKET_TRY(const auto plan, update::judge(call.arg(0), update::read_status(), options, {}));
        show_steps(context, plan.steps);
        return 0;
    }
    std::signal(SIGPIPE, SIG_IGN);  // tar may end before all is written to it
    const auto plan = update::install(call.arg(0), options, {}, [&](const std::string& step) { context.note(step + "\n"); });
    if (!plan) {
        update::remember_refusal(call.arg(0), plan.error(), {});
        return std::unexpected(plan.error());
    }
    show(context, update::to_json(update::read_status()),
         [&](const Json&) { return std::format("version {} is in slot {}, signed by {}\n", plan->manifest.version, plan->slot, plan->signer); });
    if (call.has("reboot")) {
        BLANKET_CHECK(restart_now(context, std::format("version {} is installed, and started at the next start, on trial", plan->manifest.version)));
        return 0;
    }
    context.note("it is started at the next start, on trial: reboot\n");
    return 0;
}

Result<int> run_update_show(Context& context, const Invocation&) {
    BLANKET_CHECK(as_root());
    show(context, update::to_json(update::read_status()), [&](const Json& status) {
        std::string text = format_table(update_table(status), context.terminal);
        if (const auto refused = status.find("refused"); refused != status.end())
            text += std::format("\nnot installed at {}: {}\n", printable(json_string_or(*refused, "time", "-")), printable(json_string_or(*refused, "what", "")));
        return text;
    });
    return 0;
}

Result<int> change(Context& context, const update::BootEnv& env, const std::string& step, const std::string& done) {
    if (context.dry_run) {
        show_steps(context, {step});
        return 0;
    }
    BLANKET_CHECK(update::write_boot_env(std::string(update::kEnvFile), env));
    show(context, update::to_json(update::read_status()), [&](const Json&) { return done + "\n"; });
    return 0;
}

Result<int> run_confirm(Context& context, const Invocation&) {
    BLANKET_CHECK(as_root());
    const auto status = update::read_status();
    BLANKET_TRY(const auto env, update::confirmed(status));
    const std::string version = status.slot(status.running).version;
    return change(context, env, std::format("start version {} (slot {}) from now on", version, env.slot), std::format("version {} is confirmed: it is started from now on", version));
}

Result<int> run_rollback(Context& context, const Invocation& call) {
    BLANKET_CHECK(as_root());
    const auto status = update::read_status();
    BLANKET_TRY(const auto env, update::rolled_back(status));
    if (env.slot != status.running) BLANKET_CHECK(update::check_no_guests({}));
    const std::string version = status.slot(env.slot).version;
    BLANKET_TRY(const int code, change(context, env, std::format("start version {} (slot {}) from now on", version, env.slot), std::format("version {} is started from the next start on", version)));
    if (!context.dry_run && call.has("reboot")) BLANKET_CHECK(restart_now(context, std::format("version {} is started from the next start on", version)));
    return code;
}

}  // namespace

Result<void> restart_if_free(Context& context, const std::string& done, const std::function<Result<void>()>& check, const std::function<Result<void>()>& restart) {
    auto gone = check();  // a VM may have come meanwhile
    if (gone) {
        context.note("restarting this machine\n");
        gone = restart();
    }
    if (gone) return {};
    context.action.clear();  // that has been done
    Error error = std::move(gone).error();
    const std::string then = "then: systemctl reboot";
    return fail_hint(error.kind, std::format("{}; this machine was not restarted: {}", done, error.what), error.hint.empty() ? then : std::format("{}; {}", error.hint, then));
}

std::vector<VerbSpec> update_verbs() {
    const OptionSpec reboot{.name = "reboot", .help = "restart this machine when it is done"};
    return {{.noun = "update",
             .verb = "install",
             .summary = "put a new version beside the running one, and start it at the next start",
             .details = "Checks the signature of FILE before anything else, then its version, the space and that no VM runs here, and unpacks it into the slot that is not in use, with what this machine "
                        "has changed in /etc. The next start is the new version's, once: when the machine can be reached then and blanketd is ready, it is confirmed, by itself; otherwise the start after "
                        "it is the old version's. /var and /root belong to both. Until all of it is done, the machine starts as before.",
             .action = "install the update {FILE}",
             .args = {{"FILE", "what ./dev image --format update made", ArgKind::kFile}},
             .options = {{.name = "any-version", .help = "also the version that runs, or an older one"}, reboot},
             .mutates = true,
             .example = "blanket update install blanket-0.2.0-amd64.update --reboot",
             .run = run_install},
            {.noun = "update",
             .verb = "show",
             .summary = "show the versions that this machine has",
             .details = "Shows both slots: the version in each, which of them runs, which is started next, whether a new one did not come up, and why the last update was not installed.",
             .action = "show the versions",
             .example = "blanket update show -o json",
             .run = run_update_show},
            {.noun = "update",
             .verb = "confirm",
             .summary = "keep the version that runs",
             .details = "Starts the running version from now on. A new version does it by itself when it is well; this is for a person who wants to keep one that is not, or that was chosen in the boot menu.",
             .action = "confirm the running version",
             .mutates = true,
             .example = "blanket update confirm",
             .run = run_confirm},
            {.noun = "update",
             .verb = "rollback",
             .summary = "go back to the other version",
             .details = "Starts the version that ran before from the next start on. An update that was installed and not started yet is taken back. Refused while VMs run here, where that needs a restart.",
             .action = "go back to the other version",
             .options = {reboot},
             .mutates = true,
             .example = "blanket update rollback --reboot",
             .run = run_rollback}};
}

}  // namespace blanket::cli
