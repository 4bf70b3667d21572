// SPDX-License-Identifier: GPL-2.0-or-later
// See run.hpp.
#include "toolstack/cli/run.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "toolstack/cli/help.hpp"
#include "toolstack/cli/http.hpp"
#include "toolstack/cli/progress.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/suggest.hpp"

namespace blanket::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kPollSeconds = 5;                          // a long poll; on a terminal shorter, so that the clock in the bar moves
constexpr std::chrono::seconds kDaemonMayBeGone{30};     // while a job is watched: its restart, for one

void to_stderr(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
}

std::unexpected<Error> left_job(const std::string& id) {
    return fail_hint(Kind::kCancelled, std::format("no longer watching job {}, which goes on", id), std::format("blanket job watch {0}, or to end it: blanket job cancel {0}", id));
}

std::string job_path(const std::string& id) { return "/1.0/jobs/" + percent_encode(id); }

struct NameList {
    ArgKind kind;
    std::string_view noun, path, list, field;
};
constexpr std::array<NameList, 5> kNameLists{{{ArgKind::kVm, "vm", "/1.0/vms", "vms", "name"},
                                              {ArgKind::kSite, "site", "/1.0/sites", "sites", "name"},
                                              {ArgKind::kImage, "image", "/1.0/images", "images", "name"},
                                              {ArgKind::kNet, "net", "/1.0/nets", "nets", "name"},
                                              {ArgKind::kJob, "job", "/1.0/jobs", "jobs", "id"}}};

}  // namespace

void Context::out(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void Context::note(std::string_view text) const {
    if (!quiet && !text.empty()) to_stderr(text);
}

void show(const Context& context, const Json& reply, const std::function<std::string(const Json&)>& table) {
    Context::out(context.people() && table ? table(reply) : to_text(reply, context.people() ? Format::kJson : context.output));
}

Result<Json> watch_job(const Context& context, const std::string& id) {
    Progress progress(context.terminal);
    const auto begin = Clock::now();
    const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
    const int wait_s = context.terminal.err && !context.quiet ? 1 : kPollSeconds;
    std::string path = job_path(id);
    auto last_answer = Clock::now();
    bool told = false;
    for (;;) {
        auto reply = context.client.call({.path = path, .deadline = std::chrono::seconds(wait_s + 30)});
        if (!reply) {
            Error error = std::move(reply).error();
            const bool gone = error.kind == Kind::kUnavailable || error.kind == Kind::kTimeout;
            if (gone && Clock::now() - last_answer < kDaemonMayBeGone) {
                if (!told) context.note(progress.clear() + std::format("blanketd does not answer; trying for {} s\n", kDaemonMayBeGone.count()));
                told = true;
                if (auto slept = context.client.pause(std::chrono::milliseconds(500)); slept) continue;
                else error = std::move(slept).error();
            }
            context.note(progress.clear());
            if (error.kind == Kind::kCancelled)
                return left_job(id);
            return std::unexpected(std::move(error));
        }
        last_answer = Clock::now();
        told = false;
        const auto job = reply->find("job");
        if (job == reply->end() || !job->is_object()) return fail(Kind::kIo, "blanketd's answer about job {} has no job", id);
        context.note(progress.update(*job, elapsed()));
        if (json_string_or(*job, "state", "running") != "running") return reply;
        path = std::format("{}?after={}&wait_s={}", job_path(id), json_number_or(*job, "seq", 0), wait_s);
        // A daemon that answers long polls at once must not make us spin.
        if (auto slept = context.client.pause(std::chrono::milliseconds(50)); !slept) {
            context.note(progress.clear());
            return left_job(id);
        }
    }
}

Result<int> finish_job(const Context& context, const Json& reply) {
    const Json& job = reply["job"];
    const std::string state = json_string_or(job, "state", "");
    if (!context.people()) Context::out(to_text(reply, context.output));
    if (state == "done") {
        if (context.people()) Context::out(job_summary(job, context.action));
        return 0;
    }
    const auto error = job.find("error");
    if (error != job.end() && error->is_object()) return std::unexpected(error_from_json({{"error", *error}}));
    const std::string id = json_string_or(job, "id", "?");
    return fail_hint(state == "cancelled" ? Kind::kCancelled : Kind::kInternal, std::format("job {} {}", id, state), std::format("blanket job show {}", id));
}

Result<int> mutate(Context& context, Mutation mutation) {
    if (context.dry_run) mutation.request.path += "?dry_run=1";
    auto answer = context.client.call(mutation.request);
    if (!answer) {
        Error error = std::move(answer).error();  // blanketd has heard it, and does not stop because nobody listens any more
        if (!context.dry_run && (error.kind == Kind::kTimeout || error.kind == Kind::kCancelled)) error.hint = "it may go on all the same; look: blanket job list, blanket events";
        return std::unexpected(std::move(error));
    }
    Json reply = std::move(*answer);
    if (context.dry_run) {
        if (auto steps = reply.find("steps"); steps != reply.end() && steps->is_array())
            for (const auto& step : mutation.more_steps) steps->push_back(step);
        show(context, reply, steps_text);
        return 0;
    }
    const auto job = reply.find("job");
    if (job == reply.end() || !job->is_object()) {
        show(context, reply, mutation.table ? mutation.table : [&](const Json&) { return std::format("done: {}\n", context.action); });
        return mutation.then ? mutation.then() : 0;
    }
    BLANKET_TRY(const std::string id, json_string(*job, "id"));
    if (!context.wait) {
        show(context, reply, [&](const Json&) { return id + "\n"; });
        context.note(std::format("started; to see how it goes on: blanket job watch {}\n", id));
        return 0;
    }
    BLANKET_TRY(const Json last, watch_job(context, id));
    if (mutation.then && json_string_or(last["job"], "state", "") == "done") return mutation.then();
    return finish_job(context, last);
}

std::vector<std::string> names_of(const Client& client, ArgKind kind) {
    std::vector<std::string> names;
    const auto at = std::ranges::find(kNameLists, kind, &NameList::kind);
    if (at == kNameLists.end()) return names;
    const auto reply = client.call({.path = std::string(at->path), .deadline = std::chrono::seconds(5)});
    if (!reply || !reply->is_object() || !reply->contains(at->list)) return names;
    for (const auto& one : (*reply)[at->list])
        if (auto name = json_string(one, at->field); name) names.push_back(std::move(*name));
    return names;
}

Error with_suggestion(Error error, const Client& client, const Invocation& call) {
    if (error.kind != Kind::kNotFound || call.verb == nullptr) return error;
    std::vector<std::pair<ArgKind, std::string>> given;
    for (std::size_t i = 0; i < call.args.size(); ++i) given.emplace_back(call.verb->args[i].kind, call.args[i]);
    for (const auto& option : call.verb->options)
        if (call.has(option.name)) given.emplace_back(option.kind, call.option(option.name));
    for (const auto& [kind, name] : given) {
        const auto at = std::ranges::find(kNameLists, kind, &NameList::kind);
        if (at == kNameLists.end()) continue;
        const auto names = names_of(client, kind);
        if (names.empty() || std::ranges::find(names, name) != names.end()) continue;
        auto near = nearest(name, names);
        if (kind == ArgKind::kJob && !near.starts_with(name)) near.clear();  // any two of their ids are alike: the next one is no more meant than another, and may be one to be cancelled
        if (!near.empty()) error.hint = std::format("did you mean '{}'? blanket {} list shows all", near, at->noun);
        else if (error.hint.empty()) error.hint = std::format("blanket {} list shows all", at->noun);
        return error;
    }
    return error;
}

int run_program(std::span<const std::string> words, const Terminal& terminal, int interrupt_fd) {
    const auto complain = [](const Error& error, const std::string& action) {
        std::fflush(stdout);
        to_stderr(error_text(error, action));
        return exit_code(error.kind);
    };
    auto call = parse_args(words);
    if (!call) return complain(call.error(), "");
    int code = 0;
    if (call->version) {
        const Json version{{"version", BLANKET_VERSION}, {"api", "1.0"}};
        Context::out(call->output == Format::kTable ? std::format("blanket {}\n", BLANKET_VERSION) : to_text(version, call->output));
    } else if (call->help) {
        Context::out(call->verb != nullptr ? verb_help(*call->verb) : call->noun.empty() ? program_help() : noun_help(call->noun));
    } else {
        const Client client(call->option("socket"), interrupt_fd);
        Context context{.client = client,
                        .terminal = terminal,
                        .output = call->output,
                        .dry_run = call->has("dry-run"),
                        .wait = !call->has("no-wait"),
                        .quiet = call->has("quiet"),
                        .action = action_text(*call)};
        const auto done = call->verb->run(context, *call);
        if (!done) {
            Error error = with_suggestion(done.error(), client, *call);
            if (error.kind == Kind::kInvalid && error.hint.empty()) error.hint = std::format("blanket {} --help", command_of(*call->verb));
            return complain(error, context.action);
        }
        code = *done;
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) return complain(Error{Kind::kIo, std::format("cannot write to standard output: {}", std::strerror(errno)), {}}, "");
    return code;
}

}  // namespace blanket::cli
