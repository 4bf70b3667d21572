// SPDX-License-Identifier: GPL-2.0-or-later
// The report for people: one page, no scripts, nothing from elsewhere; see demo_result.hpp. The drawings are in report_plot.cpp.
#include "tests/lab/report_plot.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

constexpr std::string_view kStyle =
    ":root{--bg:#fff;--fg:#1b1f24;--dim:#667;--line:#d8dde3;--ok:#1a7f37;--bad:#c62828;--accent:#0b62c4;--band:#0b62c41f}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e4e7eb;--dim:#98a2ad;--line:#333a42;--ok:#4cc46a;--bad:#ff6b6b;--accent:#62a8ff;--band:#62a8ff2b}}"
    "body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;max-width:1160px;margin:2rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}table{border-collapse:collapse;width:100%}"
    "td,th{border-bottom:1px solid var(--line);padding:.3rem .6rem;text-align:left;vertical-align:top}th{font-weight:600;color:var(--dim)}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}"
    ".ok{color:var(--ok);font-weight:600}.bad{color:var(--bad);font-weight:600}.dim{color:var(--dim)}svg{width:100%;height:auto;display:block}"
    "svg text{fill:var(--fg);font:11px system-ui,sans-serif}svg .dim{fill:var(--dim)}pre{white-space:pre-wrap;font-size:13px}";

std::string verdict(bool ok, std::string_view good, std::string_view bad) { return std::format("<span class=\"{}\">{}</span>", ok ? "ok" : "bad", ok ? good : bad); }

std::string migrations_table(const DemoResult& result) {
    std::string html =
        "<table><tr><th>move</th><th></th><th class=n>in all</th><th class=n>VM stood still</th><th class=n>client's longest wait</th><th class=n>median then</th><th class=n>reconnects</th>"
        "<th class=n>lost writes</th><th class=n>memory sent</th><th class=n>disk sent</th><th class=n>rounds</th></tr>";
    for (const auto& move : result.migrations)
        html += std::format(
            "<tr><td>{} &rarr; {}</td><td>{}</td><td class=n>{:.1f} s</td><td class=n>{:.0f} ms</td><td class=n>{:.0f} ms</td><td class=n>{:.1f} ms</td><td class=n>{}</td><td class=n>{}</td>"
            "<td class=n>{}</td><td class=n>{}</td><td class=n>{}</td></tr>",
            escape_html(move.from), escape_html(move.to), verdict(move.ok, "done", escape_html(move.error)), move.total_s, move.downtime_ms, move.client_stall_ms, move.median_ms,
            move.tcp_reconnects, move.lost_writes, format_bytes(move.memory_wire_bytes), format_bytes(move.disk_wire_bytes), move.rounds);
    return html + "</table>";
}

std::string facts_table(const Json& facts) {
    std::string html = "<table>";
    for (const auto& [name, value] : facts.items())
        html += std::format("<tr><td class=dim>{}</td><td>{}</td></tr>", escape_html(name), escape_html(value.is_string() ? value.get<std::string>() : value.dump()));
    return html + "</table>";
}

}  // namespace

std::string report_html(const DemoResult& result) {
    std::string html = std::format(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>Blanket: two clouds, one live migration</title><style>{}</style>"
        "<h1>Two clouds, one live migration</h1><p>{} <span class=dim>after {:.0f} s, commit {}</span></p>",
        kStyle, verdict(result.ok, "Everything holds", "The demo failed"), result.total_s, escape_html(result.commit));
    if (!result.failure.empty()) html += std::format("<p class=bad>{}</p>", escape_html(result.failure));
    html += std::format(
        "<p>VM <b>web</b> moved between two sites with different virtual hardware over a WAN of {:.1f} ms round trip (as measured) and {:.0f} Mbit/s at most in any second, while a client "
        "held one TCP connection to it and asked 20 times a second, and while it wrote to its disk and dirtied {:.1f} MiB of memory per second. The processors are emulated ({}), so CPU-bound "
        "times are many times those of real machines; the network's delay is real.</p>",
        result.wan.rtt_ms, result.wan.peak_mbit_s, result.dirty_mib_per_s, escape_html(json_string_or(result.machine, "accelerator", "?")));
    html += "<h2>What the client saw</h2>" + latency_plot(result);
    html += "<h2>The moves</h2>" + migrations_table(result) + phases_plot(result);
    if (result.refusal.tried)
        html += std::format("<h2>The move that must be refused</h2><p>&rarr; {}: {} <span class=dim>(exit code {})</span><br>{}</p>", escape_html(result.refusal.to),
                            verdict(result.refusal.refused, "refused", "not refused"), result.refusal.exit_code, escape_html(result.refusal.message));
    html += "<h2>Checks from outside</h2><table>";
    for (const auto& check : result.checks)
        html += std::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>", verdict(check.ok, "ok", "failed"), escape_html(check.name), escape_html(check.detail));
    html += "</table><h2>On the wire between the sites</h2>" + facts_table(result.wan.traffic);
    html += "<h2>Made with</h2>" + facts_table(result.versions) + "<h2>Made on</h2>" + facts_table(result.machine) + "<h2>As it happened</h2><pre>";
    for (const auto& line : result.story) html += std::format("{:8.1f} s  {}\n", line.t_s, escape_html(line.text));
    return html + "</pre></html>\n";
}

}  // namespace blanket::lab
