// SPDX-License-Identifier: GPL-2.0-or-later
// See report_svg.hpp.
#include "toolstack/cli/report_svg.hpp"

#include <algorithm>
#include <cmath>
#include <format>

#include "toolstack/cli/render.hpp"

namespace blanket::cli {
namespace {

constexpr double kSheetWidth = 1100, kLeft = 150, kRow = 22, kBar = 14, kHair = 1.5;

// A step of 1, 2 or 5 times a power of ten that gives at most ten marks.
double step_of(double most) {
    const double raw = most / 10, power = std::pow(10, std::floor(std::log10(raw)));
    for (const double factor : {1.0, 2.0, 5.0})
        if (factor * power >= raw) return factor * power;
    return 10 * power;
}

}  // namespace

std::string escape_html(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            case '\'': out += "&#39;"; break;
            default:
                if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) out += c;
                else if (c == '\n' || c == '\t') out += ' ';
        }
    }
    return out;
}

std::string bar_svg(std::string_view what, const std::vector<BarRow>& rows, double most, bool times) {
    most = std::max(most, 1.0);
    const double height = kRow * static_cast<double>(rows.size()) + (times ? 22 : 4);
    const auto x = [&](double at) { return kLeft + std::clamp(at / most, 0.0, 1.0) * kBarWidth; };
    std::string svg = std::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", kSheetWidth, height, escape_html(what));
    if (times) {
        const double step = step_of(most);
        for (double at = 0; at <= most; at += step)
            svg += std::format("<line class=\"grid\" x1=\"{0:.2f}\" x2=\"{0:.2f}\" y1=\"0\" y2=\"{1}\"/><text class=\"dim\" x=\"{0:.2f}\" y=\"{2}\" text-anchor=\"middle\">{3}</text>", x(at), height - 16,
                               height - 3, escape_html(at == 0 ? "0" : seconds_text(at / 1000)));
    }
    double top = 2;
    for (const auto& row : rows) {
        svg += std::format("<text class=\"dim\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", kLeft - 8, top + kBar - 2, escape_html(row.label));
        for (const auto& segment : row.segments) {
            const double from = x(segment.from), width = x(segment.to) - from;
            if (width <= 0 && !times) continue;
            svg += std::format("<rect class=\"{}\" x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\"><title>{}</title></rect>", segment.css, from, top, times ? std::max(width, kHair) : width, kBar,
                               escape_html(segment.title));
        }
        svg += std::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", kSheetWidth - 4, top + kBar - 2, escape_html(row.text));
        top += kRow;
    }
    return svg + "</svg>\n";
}

}  // namespace blanket::cli
