// SPDX-License-Identifier: GPL-2.0-or-later
// See progress.hpp.
#include "toolstack/cli/progress.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"
#include "toolstack/cli/render.hpp"

namespace blanket::cli {
namespace {

const Json& list(const Json& job, std::string_view name) {
    static const Json kEmpty = Json::array();
    const auto at = job.find(name);
    return at != job.end() && at->is_array() ? *at : kEmpty;
}

std::string line(double at_ms, std::string_view text) { return std::format("{:>8.1f} s  {}\n", at_ms / 1000, printable(text)); }

// "round 2, 12.4 MiB sent": what a migration adds to its progress.
std::string details(const Json& progress) {
    std::string text;
    if (const auto round = json_number_or(progress, "round", 0); round != 0) text = std::format("round {}", round);
    if (const auto sent = json_number_or(progress, "bytes", 0); sent != 0) text += std::format("{}{} sent", text.empty() ? "" : ", ", format_bytes(sent));
    return text;
}

}  // namespace

std::string Progress::news(const Json& job) {
    std::string out;
    const Json& phases = list(job, "phases");
    const bool ended = json_string_or(job, "state", "running") != "running";
    phases_begun_ = std::min(phases_begun_, phases.size());  // a list that shrank is another daemon's
    phases_ended_ = std::min(phases_ended_, phases_begun_);
    for (; phases_begun_ < phases.size() || phases_ended_ < phases_begun_;) {
        // Phases follow one another: end the open one before the next begins.
        if (phases_ended_ < phases_begun_) {
            const Json& phase = phases[phases_ended_];
            const auto start = json_number_or(phase, "start_ms", 0), end = json_number_or(phase, "end_ms", 0);
            const bool over = ended || phases_ended_ + 1 < phases.size() || (end != 0 && end >= start);
            if (!over) break;
            if (end >= start && end != 0)
                out += line(static_cast<double>(end), std::format("{} took {}", json_string_or(phase, "name", "?"), seconds_text(static_cast<double>(end - start) / 1000)));
            ++phases_ended_;
            continue;
        }
        const Json& phase = phases[phases_begun_++];
        if (!terminal_.err) out += line(static_cast<double>(json_number_or(phase, "start_ms", 0)), std::format("{} ...", json_string_or(phase, "name", "?")));
    }
    const Json& messages = list(job, "messages");
    for (messages_ = std::min(messages_, messages.size()); messages_ < messages.size(); ++messages_)
        out += line(static_cast<double>(json_number_or(messages[messages_], "ms", 0)), json_string_or(messages[messages_], "text", ""));
    return out;
}

std::string Progress::bar(const Json& job, double elapsed_s) const {
    const auto at = job.find("progress");
    const Json progress = at != job.end() ? *at : Json::object();
    const auto percent_at = progress.is_object() ? progress.find("percent") : progress.end();
    const double percent = progress.is_object() && percent_at != progress.end() && percent_at->is_number() ? std::clamp(percent_at->get<double>(), 0.0, 100.0) : 0;
    constexpr int kCells = 24;
    const int full = static_cast<int>(percent / 100 * kCells);
    std::string cells;
    for (int i = 0; i < kCells; ++i) cells += terminal_.utf8 ? (i < full ? "█" : "░") : (i < full ? "#" : "-");
    std::string text = std::format("{} {}  {} {:>3.0f}%  {}", json_string_or(job, "verb", "job"), subject_of(job), cells, percent, json_string_or(progress, "phase", ""));
    if (const auto more = details(progress); !more.empty()) text += ", " + more;
    text += std::format("  {}", seconds_text(elapsed_s));
    // Cut to the terminal's width by whole characters, or the line would wrap and stay.
    text = printable(text);
    std::size_t columns = 0, end = 0;
    const auto width = static_cast<std::size_t>(std::max(terminal_.width - 1, 10));
    while (end < text.size() && columns < width) {
        ++columns;
        for (++end; end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80;) ++end;
    }
    return text.substr(0, end);
}

std::string Progress::update(const Json& job, double elapsed_s) {
    std::string out = news(job);
    if (!terminal_.err) {
        // A job without a list of phases still tells its phase.
        const auto at = job.find("progress");
        const std::string phase = at != job.end() ? json_string_or(*at, "phase", "") : "";
        if (list(job, "phases").empty() && !phase.empty() && phase != phase_) out += line(elapsed_s * 1000, std::format("{} ...", phase));
        phase_ = phase;
        return out;
    }
    if (!out.empty()) out = clear() + out;
    if (json_string_or(job, "state", "running") != "running") return out + clear();
    bar_shown_ = true;
    return out + "\r\033[K" + bar(job, elapsed_s);
}

std::string Progress::clear() {
    if (!bar_shown_) return {};
    bar_shown_ = false;
    return "\r\033[K";
}

}  // namespace blanket::cli
