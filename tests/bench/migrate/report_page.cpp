// SPDX-License-Identifier: GPL-2.0-or-later
// bench-migrate's report for people: one page, no scripts, nothing from elsewhere. Bars on a scale of powers of ten, for a method may take a hundred times of another.
#include <algorithm>
#include <array>
#include <cmath>
#include <format>

#include "tests/bench/migrate/report.hpp"
#include "tests/lab/report_plot.hpp"

namespace blanket::bench {
namespace {

constexpr std::string_view kPageStyle =
    ":root{--bg:#fff;--fg:#1b1f24;--dim:#667;--line:#d8dde3;--ok:#1a7f37;--bad:#c62828;--accent:#0b62c4;--other:#9aa5b1}"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e4e7eb;--dim:#98a2ad;--line:#333a42;--ok:#4cc46a;--bad:#ff6b6b;--accent:#62a8ff;--other:#5c6670}}"
    "body{background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,sans-serif;max-width:1160px;margin:2rem auto;padding:0 1rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}"
    "table{border-collapse:collapse}td,th{border-bottom:1px solid var(--line);padding:.2rem .6rem;text-align:left}td.n{text-align:right;font-variant-numeric:tabular-nums}"
    ".ok{color:var(--ok)}.bad{color:var(--bad)}.dim{color:var(--dim)}svg{width:100%;height:auto;display:block}svg text{fill:var(--fg);font:11px system-ui,sans-serif}";

constexpr double kBarsLeft = 270, kBarsWidth = 760, kBarStep = 16;

struct Measured {
    const char *title, *field, *unit;
    double scale, least;  // of the field's number; where the bars begin
};
constexpr std::array kMeasured{Measured{"Bytes on the wire", "wire_bytes", "MB", 1e-6, 1}, Measured{"Time until it runs at the target", "seconds", "s", 1, 0.1}, Measured{"It stands still (the link's part)", "downtime_ms", "ms", 1, 1}};

// One bar for each move of this case over this link, the loads under each other.
std::string bars(const Json& moves, const std::string& what, const std::string& link, const Measured& measured) {
    double most = measured.least * 10;
    std::string body, load;
    std::vector<const Json*> found;
    for (const auto& move : moves)
        if (move["case"].get<std::string>() == what && move["link"].get<std::string>() == link) {
            found.push_back(&move);
            most = std::max(most, move[measured.field].get<double>() * measured.scale);
        }
    if (found.empty()) return {};
    const double decades = std::log10(most / measured.least);
    double y = 0;
    for (const Json* const move : found) {
        if (const auto next = (*move)["load"].get<std::string>(); next != load) {
            load = next;
            y += kBarStep;
            body += std::format("<text x=0 y={:.0f} font-weight=bold>{}</text>", y + 11, lab::escape_html(load));
        }
        const double value = (*move)[measured.field].get<double>() * measured.scale;
        const double width = std::max(1.0, std::log10(std::max(value, measured.least) / measured.least) / decades * kBarsWidth);
        const auto method = (*move)["method"].get<std::string>();
        body += std::format("<text x=80 y={0:.0f}>{1}</text><rect x={2} y={3:.0f} width={4:.1f} height={5} fill=\"var({6})\"/><text x={7:.1f} y={0:.0f}>{8:.4g} {9}</text>", y + 11, lab::escape_html(method), kBarsLeft, y + 1,
                            width, kBarStep - 3, method.starts_with("blanket") ? "--accent" : "--other", kBarsLeft + width + 4, value, measured.unit);
        y += kBarStep;
    }
    return std::format("<h3>{} <span class=dim>{}, scale of powers of ten</span></h3><svg viewBox=\"0 0 1130 {:.0f}\" role=img aria-label=\"{}\">{}</svg>", measured.title, measured.unit, y + 4, measured.title, body);
}

std::string goals(const Json& metrics) {
    std::string html = "<table><tr><th>goal</th><th>value</th><th></th><th></th></tr>";
    for (const auto& one : metrics)
        html += std::format("<tr><td>{}</td><td class=n>{:.4g} {}</td><td class=dim>{}</td><td class={}>{}</td></tr>", lab::escape_html(one["name"].get<std::string>()), one["value"].get<double>(),
                            lab::escape_html(one["unit"].get<std::string>()), lab::escape_html(one["goal"].get<std::string>()), one["met"].get<bool>() ? "ok" : "bad", one["met"].get<bool>() ? "met" : "not met");
    return html + "</table>";
}

}  // namespace

std::string report_html(const Json& report) {
    std::string html = std::format("<!doctype html><html lang=en><meta charset=utf-8><title>Blanket: live migration, trace replay</title><style>{}</style><h1>Live migration by trace replay</h1>"
                                   "<p>Seed {}, guests of {} MiB. Coding is real, links and time are a model.</p>",
                                   kPageStyle, report["seed"].dump(), report["guest_mib"].dump());
    html += "<h2>Goals</h2>" + goals(report["metrics"]) + "<ul>";
    for (const auto& note : report["notes"]) html += "<li>" + lab::escape_html(note.get<std::string>());
    html += "</ul>";
    for (const char* const what : {"cold", "return", "four", "ablation", "stop_1000"})
        for (const auto& link : report["links"]) {
            std::string parts;
            for (const Measured& measured : kMeasured) parts += bars(report["moves"], what, link["name"].get<std::string>(), measured);
            if (!parts.empty()) html += std::format("<h2>{}, {}</h2>{}", what, lab::escape_html(link["name"].get<std::string>()), parts);
        }
    return html + "</html>\n";
}

}  // namespace blanket::bench
