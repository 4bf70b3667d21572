// SPDX-License-Identifier: GPL-2.0-or-later
// See report_plot.hpp.
#include "tests/lab/report_plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace blanket::lab {
namespace {

constexpr double kWidth = 1100, kLeft = 56, kRight = 12, kHeight = 300, kTop = 18, kBottom = 30;

// A step of 1, 2 or 5 times a power of ten that gives at most `most` marks.
double nice_step(double span, int most) {
    const double raw = std::max(span, 1e-9) / most, power = std::pow(10, std::floor(std::log10(raw)));
    for (const double factor : {1.0, 2.0, 5.0}) {
        if (factor * power >= raw) return factor * power;
    }
    return 10 * power;
}

struct Column {
    double low = 0, high = 0;
    bool any = false;
};

}  // namespace

std::string escape_html(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '&') out += "&amp;";
        else if (c == '<') out += "&lt;";
        else if (c == '>') out += "&gt;";
        else if (c == '"') out += "&quot;";
        else if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') out += c;
    }
    return out;
}

std::string latency_plot(const DemoResult& result) {
    if (result.client.empty()) return "<p class=dim>no measurements</p>";
    const double begin = result.client.front().t_s, end = std::max(begin + 1, result.client.back().t_s + result.client.back().latency_ms / 1000);
    double most = 100;
    for (const auto& sample : result.client) most = std::max(most, sample.latency_ms);
    const double top = std::ceil(std::log10(most));
    const auto x = [&](double t) { return kLeft + std::clamp((t - begin) / (end - begin), 0.0, 1.0) * (kWidth - kLeft - kRight); };
    const auto y = [&](double ms) { return kTop + (1 - std::clamp(std::log10(std::max(ms, 1.0)) / top, 0.0, 1.0)) * (kHeight - kTop - kBottom); };
    std::string svg = std::format("<svg viewBox=\"0 0 {} {}\" role=img aria-label=\"latency of each request over time\">", kWidth, kHeight);
    for (const auto& move : result.migrations) {
        svg += std::format("<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"var(--band)\"/><text x=\"{:.1f}\" y=\"12\">{} &#8594; {}</text>", x(move.begin_s), kTop,
                           std::max(1.0, x(move.end_s) - x(move.begin_s)), kHeight - kTop - kBottom, x(move.begin_s), escape_html(move.from), escape_html(move.to));
    }
    for (int power = 0; power <= static_cast<int>(top); ++power) {
        const double at = y(std::pow(10, power));
        svg += std::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"var(--line)\"/><text class=dim x=\"{}\" y=\"{:.1f}\" text-anchor=end>{}</text>", kLeft, kWidth - kRight, at,
                           at, kLeft - 6, at + 4, power < 3 ? std::format("{:.0f} ms", std::pow(10, power)) : std::format("{:.0f} s", std::pow(10, power - 3)));
    }
    const double step = nice_step(end - begin, 10);
    for (double t = std::ceil(begin / step) * step; t <= end; t += step)
        svg += std::format("<text class=dim x=\"{:.1f}\" y=\"{}\" text-anchor=middle>{:.0f} s</text>", x(t), kHeight - 10, t);
    // One column per unit of width: from the lowest to the highest latency of the requests sent then. A request that waits is drawn as long as it waited.
    std::array<Column, static_cast<std::size_t>(kWidth)> columns{};
    for (const auto& sample : result.client) {
        const auto from = static_cast<std::size_t>(x(sample.t_s)), to = static_cast<std::size_t>(x(sample.t_s + sample.latency_ms / 1000));
        for (std::size_t i = from; i <= to && i < columns.size(); ++i) {
            Column& column = columns[i];
            column.low = column.any ? std::min(column.low, sample.latency_ms) : sample.latency_ms;
            column.high = std::max(column.high, sample.latency_ms);
            column.any = true;
        }
    }
    std::string path;
    for (std::size_t i = 0; i < columns.size(); ++i) {
        if (columns[i].any) path += std::format("M{} {:.1f}V{:.1f}", i, y(columns[i].low) + 0.7, y(columns[i].high) - 0.7);
    }
    svg += std::format("<path d=\"{}\" stroke=\"var(--accent)\" fill=none stroke-width=1.2 />", path);
    return svg + "</svg>";
}

std::string phases_plot(const DemoResult& result) {
    std::string all;
    for (const auto& move : result.migrations) {
        if (move.phases.empty()) continue;
        std::int64_t last = 1;
        for (const auto& phase : move.phases) last = std::max(last, phase.end_ms);
        const double row = 18, height = row * static_cast<double>(move.phases.size()) + 26, left = 110;
        const auto x = [&](double ms) { return left + ms / static_cast<double>(last) * (kWidth - left - 90); };
        all += std::format("<h2>{} &rarr; {}, phase by phase</h2><svg viewBox=\"0 0 {} {}\" role=img aria-label=\"phases of the move\">", escape_html(move.from), escape_html(move.to), kWidth, height);
        double top = 2;
        for (const auto& phase : move.phases) {
            const double from = x(static_cast<double>(phase.start_ms)), to = std::max(from + 1.5, x(static_cast<double>(phase.end_ms)));
            all += std::format("<text class=dim x=\"{}\" y=\"{}\" text-anchor=end>{}</text><rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" rx=2 fill=\"var(--accent)\"/>"
                               "<text x=\"{:.1f}\" y=\"{}\">{} ms</text>",
                               left - 8, top + 12, escape_html(phase.name), from, top + 2, to - from, row - 5, to + 6, top + 12, phase.end_ms - phase.start_ms);
            top += row;
        }
        const double step = nice_step(static_cast<double>(last) / 1000, 10);
        for (double t = 0; t <= static_cast<double>(last) / 1000; t += step)
            all += std::format("<text class=dim x=\"{:.1f}\" y=\"{}\" text-anchor=middle>{:g} s</text>", x(t * 1000), top + 16, t);
        all += "</svg>";
    }
    return all;
}

}  // namespace blanket::lab
