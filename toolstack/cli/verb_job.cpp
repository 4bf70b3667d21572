// SPDX-License-Identifier: GPL-2.0-or-later
// blanket job list|show|watch|report|cancel|cleanup, and blanket report.
#include "toolstack/cli/http.hpp"
#include "toolstack/cli/output_file.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/report_html.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<int> run_job_list(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/jobs"));
    show(context, reply, [&](const Json& value) { return format_table(job_table(value), context.terminal); });
    return 0;
}

Result<int> run_job_show(Context& context, const Invocation& call) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/jobs/" + percent_encode(call.arg(0))));
    show(context, reply, [&](const Json& value) {
        const Json& job = value.contains("job") ? value["job"] : value;
        std::string text = format_fields(job_fields(job));
        if (const Table phases = phase_table(job); !phases.rows.empty()) text += "\n" + format_table(phases, context.terminal);
        return text;
    });
    return 0;
}

Result<int> run_watch(Context& context, const Invocation& call) {
    BLANKET_TRY(const Json last, watch_job(context, call.arg(0)));
    const Json& job = last["job"];
    context.action = std::format("{} {}", json_string_or(job, "verb", "job"), subject_of(job));
    return finish_job(context, last);  // an error is then one of the job's verb, not of watching
}

Result<int> run_report(Context& context, const Invocation& call) {
    const std::string path = "/1.0/jobs/" + percent_encode(call.arg(0));
    BLANKET_TRY(const Json reply, context.client.get(path + "/trace"));
    std::string text;
    if (context.people()) {
        BLANKET_TRY(const Json shown, context.client.get(path));
        const Json job = shown.value("job", Json::object()), error = job.value("error", Json());
        BLANKET_TRY(const MoveTrace trace, parse_move_trace(reply.value("trace", Json())));
        text = report_html({json_string_or(job, "id", call.arg(0)), json_string_or(job, "state", "?"), json_string_or(error, "what", ""), json_string_or(error, "hint", "")}, trace);
    } else {
        text = to_text(reply, context.output);
    }
    if (!call.has("out")) {
        Context::out(text);
        return 0;
    }
    BLANKET_CHECK(write_output(call.option("out"), text));
    context.note(printable(std::format("written: {}", call.option("out"))) + "\n");
    return 0;
}

// The page is asked for by both names.
VerbSpec report_verb(std::string_view noun, std::string_view verb, std::string_view example) {
    return {.noun = noun,
            .verb = verb,
            .summary = "draw where a migration's time and bytes went",
            .details = "Writes one HTML page about a migration that has ended, to standard output or to a file: its figures, the parts of the guest's stop, its phases, and the rounds of "
                       "memory and disk. It holds all that it needs, and no scripts. With --output json or yaml it is the measured trace itself. `report` and `job report` are the same.",
            .action = "report on job {ID}",
            .args = {{"ID", "the job's id", ArgKind::kJob}},
            .options = {{.name = "out", .value = "FILE", .help = "where to write it", .kind = ArgKind::kFile}},
            .example = example,
            .run = run_report};
}

Result<int> run_cancel(Context& context, const Invocation& call) {
    BLANKET_TRY(const Json reply, context.client.call({.method = "DELETE", .path = "/1.0/jobs/" + percent_encode(call.arg(0))}));
    show(context, reply, [&](const Json&) { return std::format("asked job {} to end\n", call.arg(0)); });
    return 0;
}

Result<int> run_cleanup(Context& context, const Invocation&) { return mutate(context, {.request = {.method = "DELETE", .path = "/1.0/jobs"}}); }

}  // namespace

std::vector<VerbSpec> job_verbs() {
    return {{.noun = "job",
             .verb = "list",
             .summary = "list running and past jobs",
             .details = "Lists the jobs that this host knows, with their state and, while they run, their phase.",
             .action = "list the jobs",
             .example = "blanket job list",
             .run = run_job_list},
            {.noun = "job",
             .verb = "show",
             .summary = "show one job, its phases and its result",
             .details = "Shows what a job did: its phases and how long each took, its result, or its error and what to do next.",
             .action = "show job {ID}",
             .args = {{"ID", "the job's id", ArgKind::kJob}},
             .example = "blanket job show 7f3a",
             .run = run_job_show},
            {.noun = "job",
             .verb = "watch",
             .summary = "follow a job to its end",
             .details = "Shows the job's progress on standard error until it ends, and exits as the job did. Ctrl-C leaves; the job goes on.",
             .action = "watch job {ID}",
             .args = {{"ID", "the job's id", ArgKind::kJob}},
             .example = "blanket job watch 7f3a",
             .run = run_watch},
            report_verb("job", "report", "blanket job report 7f3a --out move.html"),
            {.noun = "job",
             .verb = "cancel",
             .summary = "ask a running job to end",
             .details = "Asks the job to give up at its next safe point and to undo what it began. A migration that has been committed goes on to its end. `job watch` shows how it ends.",
             .action = "cancel job {ID}",
             .args = {{"ID", "the job's id", ArgKind::kJob}},
             .example = "blanket job cancel 7f3a",
             .run = run_cancel},
            {.noun = "job",
             .verb = "cleanup",
             .summary = "put in order what broken jobs left, forget ended ones",
             .details = "Has every VM of this site looked at within seconds: what a broken action left behind is finished, taken back or removed, as the VM's record says. Jobs that "
                        "have ended are forgotten. blanketd does the first by itself; this verb is for who does not want to wait.",
             .action = "clean up after jobs",
             .mutates = true,
             .example = "blanket job cleanup",
             .run = run_cleanup},
            report_verb("report", "", "blanket report 7f3a --out move.html")};
}

}  // namespace blanket::cli
