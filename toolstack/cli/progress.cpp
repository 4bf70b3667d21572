// SPDX-License-Identifier: GPL-2.0-or-later
// See progress.hpp.
#include "toolstack/cli/progress.hpp"

#include <algorithm>
#include <optional>

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

constexpr double kLineEvery = 10'000;  // ms between two lines of figures within a round
constexpr int kCells = 24, kLeastCells = 6;

std::optional<std::uint64_t> figure(const Json& progress, std::string_view name) {
    const auto at = progress.find(name);
    return at != progress.end() && at->is_number_unsigned() ? std::optional(at->get<std::uint64_t>()) : std::nullopt;
}

std::string time_text(std::uint64_t ms) { return seconds_text(static_cast<double>(ms) / 1000); }

// What a migration adds to its progress: "round 2, 4.8 MiB left, 45.0 MiB/s, 3.0 s left, stop 320 ms", in full with pages and the wire. Empty where it adds nothing.
std::string details(const Json& progress, bool full) {
    if (!progress.is_object()) return {};
    std::string text;
    const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
    if (const auto lost = figure(progress, "link_lost_ms")) return std::format("link lost, trying again ({} s of {})", *lost / 1000, figure(progress, "link_patience_ms").value_or(0) / 1000);
    const auto pages = figure(progress, "pages_left"), bytes = figure(progress, "bytes_left");
    if (const auto round = figure(progress, "round"); round && (*round != 0 || bytes)) add(std::format("round {}", *round));
    if (const auto sent = figure(progress, "bytes"); sent.value_or(0) != 0) add(format_bytes(*sent) + " sent");
    if (bytes) add(full && pages ? std::format("{} pages ({}) left", *pages, format_bytes(*bytes)) : format_bytes(*bytes) + " left");
    if (const auto rate = figure(progress, "bytes_per_s")) add(format_bytes(*rate) + "/s");
    if (const auto wire = figure(progress, "wire_bytes_per_s"); full && wire) add(format_bytes(*wire) + "/s on the wire");
    if (const auto left = figure(progress, "left_ms")) add(std::format("{}{} left", full ? "about " : "", time_text(*left)));
    if (const auto left = figure(progress, "round_left_ms")) add(std::format("round ends in {}", time_text(*left)));
    if (const auto stop = figure(progress, "forecast_ms")) add(full ? std::format("a stop after this round takes about {}", time_text(*stop)) : "stop " + time_text(*stop));
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
    const std::string before = std::format("{} {}  ", json_string_or(job, "verb", "job"), subject_of(job));
    std::string behind = std::format(" {:>3.0f}%  {}", percent, json_string_or(progress, "phase", ""));
    if (const auto more = details(progress, false); !more.empty()) behind += ", " + more;
    behind += std::format("  {}", seconds_text(elapsed_s));
    // The figures matter more than a long bar.
    const int cell_count = std::clamp(terminal_.width - 1 - static_cast<int>(display_width(before) + display_width(behind)), kLeastCells, kCells);
    const int full = static_cast<int>(percent / 100 * cell_count);
    std::string text = before;
    for (int i = 0; i < cell_count; ++i) text += terminal_.utf8 ? (i < full ? "█" : "░") : (i < full ? "#" : "-");
    text += behind;
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

// Off a terminal: the figures of a new round, and of a long one now and then.
std::string Progress::live_line(const Json& job) {
    const auto at = job.find("progress");
    if (at == job.end() || !at->is_object() || json_string_or(job, "state", "running") != "running") return {};
    const bool lost = figure(*at, "link_lost_ms").has_value();
    const auto ms = figure(*at, "ms"), round = lost ? figure(*at, "link_patience_ms") : figure(*at, "round");
    if (!round || !ms || (!lost && !figure(*at, "bytes_left") && !figure(*at, "bytes_per_s"))) return {};
    const std::string phase = json_string_or(*at, "phase", "");
    const auto now = static_cast<double>(*ms), this_round = lost ? -1 : static_cast<double>(*round);
    if (phase == live_phase_ && this_round == live_round_ && now - live_ms_ < kLineEvery) return {};
    live_phase_ = phase;
    live_round_ = this_round;
    live_ms_ = now;
    return line(now, std::format("{}: {}", phase, details(*at, true)));
}

std::string Progress::update(const Json& job, double elapsed_s) {
    std::string out = news(job);
    if (!terminal_.err) {
        // A job without a list of phases still tells its phase.
        const auto at = job.find("progress");
        const std::string phase = at != job.end() ? json_string_or(*at, "phase", "") : "";
        if (list(job, "phases").empty() && !phase.empty() && phase != phase_) out += line(elapsed_s * 1000, std::format("{} ...", phase));
        phase_ = phase;
        return out + live_line(job);
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
