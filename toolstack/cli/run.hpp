// SPDX-License-Identifier: GPL-2.0-or-later
// What the verbs share: where output goes, requests that become jobs, watching them, errors with a suggestion. Called by main and verb_*.cpp.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "toolstack/cli/args.hpp"
#include "toolstack/cli/client.hpp"
#include "toolstack/cli/table.hpp"

namespace blanket::cli {

struct Context {
    const Client& client;
    Terminal terminal;
    Format output = Format::kTable;
    bool dry_run = false, wait = true, quiet = false;
    std::string action;  // "migrate web to west"

    static void out(std::string_view text);                // stdout: data
    void note(std::string_view text) const;                // stderr, not with --quiet; printable() is the caller's job
    [[nodiscard]] bool people() const { return output == Format::kTable; }
};

// The object as JSON or YAML, or what `table` makes of it.
void show(const Context& context, const Json& reply, const std::function<std::string(const Json&)>& table);

// Sends a mutation. With --dry-run shows its steps. An answer with a job is watched to its end (or, with --no-wait, its id printed); one without is shown by `table`.
// `then` runs after a job that ended well, before its summary; its code is returned.
struct Mutation {
    Request request;
    std::function<std::string(const Json&)> table = {};        // of an answer without a job
    std::vector<std::string> more_steps = {};                   // of --dry-run, for what the program itself does afterwards
    std::function<Result<int>()> then = {};
};
Result<int> mutate(Context& context, Mutation mutation);

// Follows a job until it ends, with progress on stderr. Returns its last state ({"job":...}). kCancelled = the person left with Ctrl-C; the job goes on.
Result<Json> watch_job(const Context& context, const std::string& id);
// Shows a job that ended and turns its state into an exit code; a failed one is returned as its error.
Result<int> finish_job(const Context& context, const Json& reply);

// The names that exist, for suggestions and completion; empty when the daemon cannot tell.
std::vector<std::string> names_of(const Client& client, ArgKind kind);
// Adds "did you mean" to a kNotFound error when a name given by the person is not among those that exist.
Error with_suggestion(Error error, const Client& client, const Invocation& call);

// Runs the program; returns its exit code. `interrupt_fd` becomes readable on SIGINT or SIGTERM.
int run_program(std::span<const std::string> words, const Terminal& terminal, int interrupt_fd);

}  // namespace blanket::cli
