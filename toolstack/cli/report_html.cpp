// SPDX-License-Identifier: GPL-2.0-or-later
// See report_html.hpp; the drawing is in report_svg.cpp.
#include "toolstack/cli/report_html.hpp"

#include <algorithm>
#include <array>

#include "toolstack/base/text.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/report_svg.hpp"

namespace blanket::cli {
namespace {

constexpr std::string_view kStyle =
    ":root{--bg:#fff;--fg:#1b1f24;--dim:#667085;--line:#d8dde3;--bad:#c62828;--source:#0b62c4;--target:#1a7f37;--both:#8250df;--rest:#c62828;"
    "--zero:#b7bfc9;--same:#5aa469;--delta:#e0a030;--reference:#4c8bd6;--store:#7a6fd0;--store_delta:#b565a7;--raw:#c0504d;--plain:#c3cfdd;--wire:#0b62c4}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e4e7eb;--dim:#98a2ad;--line:#333a42;--bad:#ff6b6b;--source:#62a8ff;--target:#4cc46a;--both:#b392f0;--rest:#ff6b6b;"
    "--zero:#59616b;--same:#5fb573;--delta:#d9a441;--reference:#5b9bea;--store:#9a90ee;--store_delta:#d98bc9;--raw:#d9706d;--plain:#4a5563;--wire:#62a8ff}}"
    "body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;max-width:1160px;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse}.wide{width:100%}"
    "td,th{border-bottom:1px solid var(--line);padding:.25rem .6rem;text-align:left;vertical-align:top}th{font-weight:600;color:var(--dim)}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}.bad{color:var(--bad);font-weight:600}.dim{color:var(--dim)}"
    "svg{width:100%;height:auto;display:block;margin:.5rem 0}svg text{fill:var(--fg);font:12px system-ui,sans-serif}svg .dim{fill:var(--dim)}svg .grid{stroke:var(--line)}"
    ".key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}"
    ".source{fill:var(--source);background:var(--source)}.target{fill:var(--target);background:var(--target)}.both{fill:var(--both);background:var(--both)}"
    ".rest{fill:var(--rest);background:var(--rest)}.zero{fill:var(--zero);background:var(--zero)}.same{fill:var(--same);background:var(--same)}"
    ".delta{fill:var(--delta);background:var(--delta)}.reference{fill:var(--reference);background:var(--reference)}.store{fill:var(--store);background:var(--store)}.store_delta{fill:var(--store_delta);background:var(--store_delta)}.raw{fill:var(--raw);background:var(--raw)}"
    ".plain{fill:var(--plain);background:var(--plain)}.wire{fill:var(--wire);background:var(--wire)}";

struct PageClass {
    std::string_view name, meaning;
    std::uint64_t TraceClasses::* count;
};
constexpr std::array<PageClass, 7> kClasses{{{"zero", "zeros", &TraceClasses::zero},
                                             {"same", "unchanged since they were sent", &TraceClasses::same},
                                             {"delta", "sent as a difference", &TraceClasses::delta},
                                             {"reference", "in a base image that the target has", &TraceClasses::reference},
                                             {"store", "in the target's content store", &TraceClasses::store},
                                             {"store_delta", "sent as a difference from a page there", &TraceClasses::store_delta},
                                             {"raw", "sent whole", &TraceClasses::raw}}};

std::string ms_text(std::int64_t ms) { return seconds_text(static_cast<double>(ms) / 1000); }

std::string count_text(std::uint64_t value) {
    std::string text = std::to_string(value);
    for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) text.insert(static_cast<std::size_t>(at), ",");
    return text;
}

std::string share_text(double part, double whole) { return whole > 0 ? std::format("{:.1f} %", 100 * part / whole) : "-"; }

std::string rate_text(std::uint64_t bytes, const std::optional<std::int64_t>& ms) {
    if (!ms || *ms <= 0) return "-";
    return format_bytes(static_cast<std::uint64_t>(static_cast<double>(bytes) * 1000 / static_cast<double>(*ms))) + "/s";
}

std::string key(std::string_view css, std::string_view text) { return std::format("<span class=\"key {}\"></span>{}", css, escape_html(text)); }

std::string number_cell(const std::string& text) { return "<td class=n>" + escape_html(text) + "</td>"; }

std::string round_name(const TraceMemoryRound& round) {
    const std::string number = round.to_round == round.round ? std::to_string(round.round) : std::format("{}-{}", round.round, round.to_round);
    return !round.suspended ? "round " + number : round.ms ? "round " + number + ", stopped" : "stopped";
}

std::string head_figures(const MoveTrace& trace) {
    std::string html = "<table>";
    const auto row = [&](std::string_view name, const std::string& value, std::string_view note = "") {
        html += std::format("<tr><td class=dim>{}</td><td class=n>{}</td><td class=dim>{}</td></tr>", name, escape_html(value), escape_html(note));
    };
    row("in all", ms_text(trace.ms));
    if (trace.downtime) {
        const auto& [start, ms, parts] = *trace.downtime;
        const auto end_of = [&](std::string_view name) -> std::optional<std::int64_t> {
            const auto at = std::ranges::find(parts, name, &TracePart::name);
            return at == parts.end() ? std::nullopt : std::optional(at->start_ms + at->ms);
        };
        row("the guest's stop", ms_text(ms), std::format("from {} until {}", end_of("guest stops") ? "the moment in which it was asked to stop" : "its suspension",
                                                         end_of("network") ? "its network was connected" : end_of("resumed") ? "it was resumed" : "the source heard that it runs, or it ran there again"));
        if (const auto resumed = end_of("resumed")) row("suspended to resumed", ms_text(*resumed - end_of("guest stops").value_or(start)));
    }
    if (trace.forecast_ms) row("the same, as foreseen", ms_text(*trace.forecast_ms), "when the last round began");
    if (trace.rtt_ms) row("round trip", ms_text(*trace.rtt_ms));
    if (trace.link && trace.link->cuts > 0)
        row("without a link", ms_text(trace.link->lost_ms), std::format("{} lost; {} were sent again", trace.link->cuts == 1 ? "a connection was" : std::format("{} connections were", trace.link->cuts), format_bytes(trace.link->again_bytes)));
    if (trace.link && !trace.link->congestion.empty()) row("connections", std::to_string(trace.link->streams), "TCP " + trace.link->congestion);
    row("memory", format_bytes(trace.memory_mib << 20));
    const auto bytes = [&](std::string_view name, std::uint64_t plain, std::uint64_t wire) {
        row(name, format_bytes(wire), wire == 0 ? std::string() : std::format("of {}: {:.1f} times less", format_bytes(plain), static_cast<double>(plain) / static_cast<double>(wire)));
    };
    if (trace.memory) bytes("memory on the wire", trace.memory->bytes, trace.memory->wire_bytes);
    std::uint64_t plain = 0, wire = 0;
    for (const auto& round : trace.disk_rounds) {
        plain += round.bytes;
        wire += round.wire_bytes;
    }
    if (!trace.disk_rounds.empty()) bytes("disk on the wire", plain, wire);
    if (!trace.stopped_because.empty()) row("why it was stopped then", "", trace.stopped_because);
    return html + "</table>";
}

std::string timeline(const MoveTrace& trace) {
    std::vector<BarRow> rows;
    double most = static_cast<double>(trace.ms);
    const auto add = [&](const TracePhase& phase, std::string_view css, std::int64_t ahead) {
        const auto from = static_cast<double>(phase.start_ms - ahead), to = static_cast<double>(phase.end_ms - ahead);
        const std::string took = ms_text(phase.end_ms - phase.start_ms);
        most = std::max(most, to);
        rows.push_back({phase.name, {{from, to, css, phase.name + ", " + took}}, took});
    };
    for (const auto& phase : trace.phases) add(phase, "source", 0);
    std::string note = key("source", std::format("at {}", trace.from));
    if (trace.target) {
        for (const auto& phase : trace.target->phases) add(phase, "target", trace.target->ahead_ms.value_or(0));
        note += key("target", std::format("at {}", trace.to));
        note += trace.target->ahead_ms ? std::format(", by its own clock, moved by {} ms onto the source's (give or take {} ms)", -*trace.target->ahead_ms, trace.target->ahead_error_ms.value_or(0))
                                       : std::string(", by its own clock: its begin is drawn at the move's, as nobody knows how the clocks differ");
    }
    return "<h2>Phases</h2><p>" + note + "</p>" + bar_svg("phases over time", rows, most, true);
}

std::string classes(const MoveTrace& trace) {
    std::vector<BarRow> rows;
    std::string table = "<table class=wide><tr><th>round</th><th class=n>began</th><th class=n>took</th><th class=n>frames to send</th><th class=n>dirty at its end</th>";
    const bool held = std::ranges::any_of(trace.memory_rounds, [](const auto& round) { return round.processor_percent.has_value(); });
    if (held) table += "<th class=n>processors</th>";
    std::string keys;
    for (const auto& one : kClasses) {
        table += std::format("<th class=n>{}</th>", one.name);
        keys += key(one.name, std::format("{}: {}", one.name, one.meaning));
    }
    table += "</tr>";
    for (const auto& round : trace.memory_rounds) {
        const auto optional = [](const auto& value, auto&& text) { return number_cell(value ? text(*value) : std::string("-")); };
        table += "<tr><td>" + escape_html(round_name(round)) + "</td>" + optional(round.start_ms, ms_text) + optional(round.ms, ms_text) + optional(round.pages, count_text) + optional(round.dirty, count_text);
        if (held) table += number_cell(std::format("{} %", round.processor_percent.value_or(100)));
        BarRow row{round_name(round), {}, "pages not told apart"};
        if (round.coded) {
            const auto total = static_cast<double>(round.coded->pages.sum());
            double at = 0;
            for (const auto& one : kClasses) {
                const auto count = static_cast<double>(round.coded->pages.*one.count);
                row.segments.push_back({at, at + (total > 0 ? count / total : 0), one.name, std::format("{} {}, {}", count_text(round.coded->pages.*one.count), one.name, share_text(count, total))});
                at = row.segments.back().to;
            }
            row.text = count_text(round.coded->pages.sum()) + " pages";
        }
        for (const auto& one : kClasses) table += number_cell(round.coded ? count_text(round.coded->pages.*one.count) : "-");
        table += "</tr>";
        rows.push_back(std::move(row));
    }
    if (trace.memory) {
        table += "<tr><th>all</th><td></td><td></td><td></td><td></td>";
        for (const auto& one : kClasses) table += number_cell(count_text(trace.memory->pages.*one.count));
        table += "</tr>";
    }
    if (rows.empty()) return "<h2>Memory</h2><p class=dim>none was sent</p>";
    return "<h2>Memory: pages by class</h2><p>" + keys + "</p><p class=dim>Each bar is a whole round.</p>" + bar_svg("share of each class of page by round", rows, 1) + table + "</table>";
}

std::string bytes_by_round(const MoveTrace& trace) {
    struct Round {
        std::string name;
        std::uint64_t bytes, wire;
        std::optional<std::int64_t> ms;
    };
    std::vector<Round> all;
    for (const auto& round : trace.disk_rounds) all.push_back({std::format("{} {}", round.volume, round.round), round.bytes, round.wire_bytes, round.ms});
    for (const auto& round : trace.memory_rounds)
        if (round.coded) all.push_back({round_name(round), round.coded->bytes, round.coded->wire_bytes, round.suspended ? std::nullopt : round.ms});
    if (all.empty()) return {};
    std::uint64_t most = 1;
    for (const auto& round : all) most = std::max({most, round.bytes, round.wire});
    std::vector<BarRow> rows;
    std::string table = "<table class=wide><tr><th>round</th><th class=n>before coding</th><th class=n>on the wire</th><th class=n>share</th><th class=n>took</th><th class=n>rate on the wire</th></tr>";
    for (const auto& [name, bytes, wire, ms] : all) {
        const std::string rate = rate_text(wire, ms);
        rows.push_back({name, {{0, static_cast<double>(bytes), "plain", format_bytes(bytes) + " before coding"}, {0, static_cast<double>(wire), "wire", format_bytes(wire) + " on the wire"}},
                        rate == "-" ? format_bytes(wire) : std::format("{}, {}", format_bytes(wire), rate)});
        table += "<tr><td>" + escape_html(name) + "</td>" + number_cell(format_bytes(bytes)) + number_cell(format_bytes(wire)) + number_cell(share_text(static_cast<double>(wire), static_cast<double>(bytes))) +
                 number_cell(ms ? ms_text(*ms) : "-") + number_cell(rate) + "</tr>";
    }
    return "<h2>Bytes and rate by round</h2><p>" + key("plain", "before coding") + key("wire", "on the wire") + "</p>" + bar_svg("bytes by round", rows, static_cast<double>(most)) + table + "</table>";
}

std::string stop(const MoveTrace& trace) {
    if (!trace.downtime) return "<h2>The guest's stop</h2><p class=dim>It was not stopped, or nobody knows when it ran again.</p>";
    const TraceDowntime& downtime = *trace.downtime;
    const auto whole = static_cast<double>(downtime.ms);
    std::vector<BarRow> rows;
    std::string table = "<table><tr><th>part</th><th class=n>took</th><th class=n>share</th><th>clock</th></tr>";
    const auto add = [&](const std::string& name, std::int64_t ms, std::string_view clock) {
        table += "<tr><td>" + escape_html(name) + "</td>" + number_cell(std::format("{} ms", ms)) + number_cell(share_text(static_cast<double>(ms), whole)) + std::format("<td class=dim>{}</td></tr>", clock);
    };
    for (const auto& part : downtime.parts) {
        const auto from = static_cast<double>(part.start_ms - downtime.start_ms);
        rows.push_back({part.name, {{from, from + static_cast<double>(part.ms), to_string(part.clock), part.name}}, std::format("{} ms, {}", part.ms, share_text(static_cast<double>(part.ms), whole))});
        add(part.name, part.ms, to_string(part.clock));
    }
    // Where nothing covers the stop.
    BarRow rest{"not explained", {}, std::format("{} ms, {}", downtime.unexplained_ms(), share_text(static_cast<double>(downtime.unexplained_ms()), whole))};
    std::int64_t at = downtime.start_ms;
    const auto gap = [&](std::int64_t to) {
        if (to > at) rest.segments.push_back({static_cast<double>(at - downtime.start_ms), static_cast<double>(to - downtime.start_ms), "rest", "not explained"});
    };
    for (const auto& part : downtime.parts) {
        gap(part.start_ms);
        at = std::max(at, part.start_ms + part.ms);
    }
    gap(downtime.start_ms + downtime.ms);
    rows.push_back(std::move(rest));
    add("not explained", downtime.unexplained_ms(), "");
    add("all", downtime.ms, "");
    return "<h2>The guest's stop</h2><p>" + key("source", "at " + trace.from) + key("both", "from one to the other") + key("target", "at " + trace.to) + key("rest", "not explained") + "</p>" +
           bar_svg("parts of the guest's stop", rows, whole, true) + table + "</table>";
}

}  // namespace

std::string report_html(const ReportHead& head, const MoveTrace& trace) {
    std::string html = std::format(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>{0}: {1} to {2}</title><style>{3}</style>"
        "<h1><bdi>{0}</bdi>: <bdi>{1}</bdi> &rarr; <bdi>{2}</bdi></h1><p class=dim>job {4}, {5}, begun {6}</p>",
        escape_html(trace.vm), escape_html(trace.from), escape_html(trace.to), kStyle, escape_html(head.job), escape_html(head.state), escape_html(trace.begun));
    if (!head.error.empty()) html += std::format("<p class=bad><bdi>{}</bdi></p>", escape_html(head.error));
    if (!head.hint.empty()) html += std::format("<p>next: <bdi>{}</bdi></p>", escape_html(head.hint));
    html += head_figures(trace) + stop(trace) + timeline(trace) + classes(trace) + bytes_by_round(trace);
    if (trace.left_out > 0) html += std::format("<p class=dim>{} entries were left out of this trace: its lists were full.</p>", trace.left_out);
    return html + "</html>\n";
}

}  // namespace blanket::cli
