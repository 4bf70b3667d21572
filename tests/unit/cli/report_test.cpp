// SPDX-License-Identifier: GPL-2.0-or-later
// A migration's page: all that comes from outside is escaped, the bars add up, what was not measured is not drawn.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "tests/unit/fakes/sample_trace.hpp"
#include "toolstack/cli/report_html.hpp"
#include "toolstack/cli/report_svg.hpp"

namespace blanket::cli {
namespace {

constexpr const char* kHostile = "</title></svg><script>alert('1')</script><img src=x onerror=\"x()\"> & \x01 'q' \"";

struct Rect {
    std::string css;
    double x = 0, y = 0, width = 0;
};

std::string attribute(std::string_view tag, std::string_view name) {
    const auto at = tag.find(std::string(" ") + std::string(name) + "=\"");
    if (at == std::string_view::npos) return {};
    const auto begin = at + name.size() + 3;
    return std::string(tag.substr(begin, tag.find('"', begin) - begin));
}

// Of the drawing with this name.
std::vector<Rect> rects(const std::string& html, std::string_view what) {
    std::vector<Rect> all;
    const auto begin = html.find("aria-label=\"" + std::string(what) + "\"");
    if (begin == std::string::npos) return all;
    const std::string svg = html.substr(begin, html.find("</svg>", begin) - begin);
    for (auto at = svg.find("<rect"); at != std::string::npos; at = svg.find("<rect", at + 1)) {
        const std::string tag = svg.substr(at, svg.find('>', at) - at);
        all.push_back({attribute(tag, "class"), std::strtod(attribute(tag, "x").c_str(), nullptr), std::strtod(attribute(tag, "y").c_str(), nullptr), std::strtod(attribute(tag, "width").c_str(), nullptr)});
    }
    return all;
}

std::size_t times(const std::string& text, std::string_view part) {
    std::size_t count = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
    return count;
}

// Every "<" of the page begins one of the tags that it is made of, and tags that must be closed are.
void expect_sound(const std::string& html) {
    static const std::set<std::string, std::less<>> kTags{"!doctype", "html", "meta", "title", "style", "h1", "h2", "p", "bdi", "span", "table", "tr", "td", "th", "svg", "line", "text", "rect"};
    for (auto at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
        const auto begin = at + (html[at + 1] == '/' ? 2 : 1);
        EXPECT_TRUE(kTags.contains(html.substr(begin, html.find_first_of(" >/", begin) - begin))) << html.substr(at, 40);
    }
    for (const char* tag : {"svg", "rect", "text", "title", "table", "tr", "td", "th", "bdi", "span", "p"})
        EXPECT_EQ(times(html, std::string("<") + tag + ">") + times(html, std::string("<") + tag + " "), times(html, std::string("</") + tag + ">")) << tag;
    for (const char* bad : {"http://", "https://", "<script", "url(", "@import", "nan", "inf\"", "\x01"}) EXPECT_EQ(html.find(bad), std::string::npos) << bad;
}

TEST(Report, WholePageOfAWholeTrace) {
    const std::string html = report_html({"1a2b-c3", "done", "", ""}, fakes::sample_trace());
    expect_sound(html);
    for (const char* text : {"<title>web: east to west</title>", "31.2 s", "prefers-color-scheme:dark", ">30 ms, 3.0 %<", "<td class=n>65,536</td>", "moved by 30 ms onto the source's",
                             "round 1-2", "2 entries were left out", "suspended to resumed</td><td class=n>750 ms</td>", "stop until its network was connected"})
        EXPECT_NE(html.find(text), std::string::npos) << text;
    EXPECT_LT(html.size(), 60'000u);
}

TEST(Report, PagesByClassFillTheirRound) {
    const MoveTrace trace = fakes::sample_trace();
    std::map<double, double> widths;
    std::map<std::pair<double, std::string>, double> of_class;
    for (const auto& rect : rects(report_html({}, trace), "share of each class of page by round")) {
        EXPECT_NEAR(rect.x, 150 + widths[rect.y], 0.06);  // side by side
        widths[rect.y] += rect.width;
        of_class[{rect.y, rect.css}] = rect.width;
    }
    ASSERT_EQ(widths.size(), trace.memory_rounds.size());
    for (const auto& [y, width] : widths) EXPECT_NEAR(width, kBarWidth, 0.06);
    const auto& first = trace.memory_rounds[0].coded->pages;
    EXPECT_NEAR((of_class[{widths.begin()->first, "reference"}]), kBarWidth * static_cast<double>(first.reference) / static_cast<double>(first.sum()), 0.02);
}

TEST(Report, ThePartsOfTheStopAndTheRestCoverIt) {
    const MoveTrace trace = fakes::sample_trace();
    double covered = 0, rest = 0;
    for (const auto& rect : rects(report_html({}, trace), "parts of the guest&#39;s stop")) (rect.css == "rest" ? rest : covered) += rect.width;
    EXPECT_NEAR(covered + rest, kBarWidth, 0.06);
    EXPECT_NEAR(rest, kBarWidth * static_cast<double>(trace.downtime->unexplained_ms()) / static_cast<double>(trace.downtime->ms), 0.06);
}

TEST(Report, BytesOnTheWireAreDrawnToScale) {
    const MoveTrace trace = fakes::sample_trace();
    const auto all = rects(report_html({}, trace), "bytes by round");
    ASSERT_EQ(all.size(), 2 * (trace.disk_rounds.size() + trace.memory_rounds.size()));
    const auto most = static_cast<double>(trace.memory_rounds[0].coded->bytes);
    EXPECT_NEAR(all[0].width, kBarWidth * 120'000'000 / most, 0.02);
    EXPECT_NEAR(all[1].width, kBarWidth * 30'000'000 / most, 0.02);
    EXPECT_NEAR(all[6].width, kBarWidth, 0.02);
}

TEST(Report, TextsFromOutsideStayTexts) {
    MoveTrace trace = fakes::sample_trace();
    for (std::string* text : {&trace.vm, &trace.from, &trace.to, &trace.begun, &trace.stopped_because, &trace.phases[1].name, &trace.disk_rounds[0].volume, &trace.downtime->parts[0].name,
                              &trace.target->phases[0].name})
        *text = kHostile;
    const std::string html = report_html({kHostile, kHostile, kHostile, kHostile}, trace);
    expect_sound(html);
    EXPECT_EQ(html.find("onerror=\""), std::string::npos);
    EXPECT_GT(times(html, "&lt;script&gt;"), 12u);
    EXPECT_EQ(escape_html("<a href='x'>&\"\n\x7f\x02é"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot; é");
}

// Any part may be missing, and any number may be any: the page is sound, and says nothing of what is not there.
TEST(Report, WhatIsMissingIsNotDrawn) {
    MoveTrace bare;
    bare.vm = "web";
    const std::string html = report_html({"j", "failed", "no memory", "free some"}, bare);
    expect_sound(html);
    EXPECT_TRUE(rects(html, "parts of the guest&#39;s stop").empty());
    EXPECT_EQ(html.find("on the wire"), std::string::npos);
    EXPECT_NE(html.find("no memory"), std::string::npos);
    std::mt19937_64 random(7);
    const auto draw = [&] { return random() % 3 == 0 ? 0 : static_cast<std::int64_t>(random() >> (11 + random() % 50)); };
    for (int i = 0; i < 300; ++i) {
        MoveTrace trace = fakes::sample_trace();
        trace.ms = draw();
        for (auto& round : trace.memory_rounds) {
            if (random() % 3 == 0) round.coded.reset();
            else round.coded->pages = {0, 0, static_cast<std::uint64_t>(draw()), 0, static_cast<std::uint64_t>(draw())};
            round.ms = draw();
        }
        for (auto& phase : trace.phases) phase.end_ms = (phase.start_ms = draw()) + draw();
        trace.downtime->ms = draw();
        trace.downtime->parts.clear();
        trace.target->ahead_ms = random() % 2 == 0 ? std::optional(-draw()) : std::nullopt;
        expect_sound(report_html({}, trace));
    }
}

}  // namespace
}  // namespace blanket::cli
