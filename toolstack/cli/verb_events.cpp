// SPDX-License-Identifier: GPL-2.0-or-later
// blanket events.
#include <cstdio>

#include "toolstack/base/text.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

constexpr int kWaitSeconds = 20;

// One event a line: text, or the reply's event as one line of JSON, or one YAML document.
std::string followed(const Context& context, const Json& event) {
    switch (context.output) {
        case Format::kTable: return event_line(event);
        case Format::kJson: return event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
        case Format::kYaml: return "---\n" + to_text(event, Format::kYaml);
    }
    return {};
}

Result<int> run_events(Context& context, const Invocation& call) {
    BLANKET_TRY(std::uint64_t after, parse_number(call.option("after"), 0, UINT64_MAX >> 1, "sequence number"));
    if (!call.has("follow")) {
        BLANKET_TRY(const Json reply, context.client.get(std::format("/1.0/events?after={}&wait_s=0", after)));
        show(context, reply, [&](const Json& value) { return format_table(event_table(value), context.terminal); });
        return 0;
    }
    for (int wait_s = 0;; wait_s = kWaitSeconds) {
        auto reply = context.client.call({.path = std::format("/1.0/events?after={}&wait_s={}", after, wait_s), .deadline = std::chrono::seconds(wait_s + 30)});
        if (!reply && reply.error().kind == Kind::kCancelled) return 0;  // Ctrl-C is how one ends this
        if (!reply) return std::unexpected(std::move(reply).error());
        const auto events = reply->find("events");
        const bool some = events != reply->end() && events->is_array() && !events->empty();
        if (some)
            for (const auto& event : *events) {
                after = std::max(after, json_number_or(event, "seq", after));
                Context::out(followed(context, event));
            }
        after = std::max(after, json_number_or(*reply, "last", after));
        if (std::fflush(stdout) != 0) return fail(Kind::kIo, "cannot write to standard output");
        if (!some && !context.client.pause(std::chrono::milliseconds(50))) return 0;
    }
}

}  // namespace

std::vector<VerbSpec> events_verbs() {
    return {{.noun = "events",
             .verb = "",
             .summary = "show what happened, and with --follow what happens",
             .details = "Shows the events that this host remembers: changes of VMs, sites, networks and jobs. With --follow it goes on until Ctrl-C; in JSON, each event is then one line.",
             .action = "show events",
             .options = {{.name = "follow", .help = "go on with what happens from now", .letter = 'f'},
                         {.name = "after", .value = "SEQ", .help = "only events with a higher sequence number", .fallback = "0"}},
             .example = "blanket events --follow",
             .run = run_events}};
}

}  // namespace blanket::cli
