// SPDX-License-Identifier: GPL-2.0-or-later
// See client_log.hpp.
#include "tests/lab/client_log.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"

namespace blanket::lab {

Result<void> ClientLog::add(std::string_view answer, double asked_s, double answered_s) {
    const auto lines = split(answer, '\n');
    BLANKET_TRY(const Json head, parse_json(lines[0]));
    BLANKET_TRY(const std::uint64_t now_ms, json_number(head, "now_ms"));
    BLANKET_TRY(reconnects_, json_number(head, "reconnects"));
    BLANKET_TRY(errors_, json_number(head, "errors"));
    std::vector<Raw> fresh;
    std::uint64_t expected = raw_.empty() ? 1 : raw_.back().sequence + 1;
    for (std::size_t i = 1; i < lines.size(); ++i) {
        if (lines[i].empty()) continue;
        const auto fields = split(lines[i], ' ');
        if (fields.size() != 4) return fail(Kind::kInvalid, "client log line '{}' has {} fields, not 4", lines[i], fields.size());
        constexpr std::uint64_t kMax = 1ull << 50;
        BLANKET_TRY(const auto t_ms, parse_number(fields[0], 0, kMax, "time"));
        BLANKET_TRY(const auto latency_us, parse_number(fields[1], 0, kMax, "latency"));
        BLANKET_TRY(const auto sequence, parse_number(fields[2], 1, kMax, "sequence"));
        BLANKET_TRY(const auto acked, parse_number(fields[3], 0, kMax, "acknowledged record"));
        if (sequence != expected) return fail(Kind::kInvalid, "client log jumps from request {} to {}", expected - 1, sequence);
        ++expected;
        fresh.push_back({static_cast<std::int64_t>(t_ms), static_cast<std::int64_t>(latency_us), sequence, acked});
    }
    raw_.insert(raw_.end(), fresh.begin(), fresh.end());
    if (answered_s - asked_s < uncertainty_s_) {
        uncertainty_s_ = answered_s - asked_s;
        offset_s_ = (asked_s + answered_s) / 2 - static_cast<double>(now_ms) / 1000;
    }
    return {};
}

std::vector<ClientSample> ClientLog::samples() const {
    std::vector<ClientSample> out;
    out.reserve(raw_.size());
    for (const auto& line : raw_)
        out.push_back({static_cast<double>(line.t_ms) / 1000 + offset_s_, static_cast<double>(line.latency_us) / 1000, line.sequence, line.acked});
    return out;
}

std::uint64_t ClientLog::highest_acked() const {
    std::uint64_t highest = 0;
    for (const auto& line : raw_) highest = std::max(highest, line.acked);
    return highest;
}

std::optional<ClientSample> ClientLog::longest_wait(double begin_s, double end_s) const {
    std::optional<ClientSample> longest;
    for (const auto& sample : samples()) {
        if (sample.t_s > end_s || sample.t_s + sample.latency_ms / 1000 < begin_s) continue;
        if (!longest || sample.latency_ms > longest->latency_ms) longest = sample;
    }
    return longest;
}

double ClientLog::stall_ms(double begin_s, double end_s) const {
    const auto longest = longest_wait(begin_s, end_s);
    return longest ? longest->latency_ms : 0;
}

double ClientLog::median_ms(double begin_s, double end_s) const {
    std::vector<double> values;
    for (const auto& sample : samples()) {
        if (sample.t_s >= begin_s && sample.t_s <= end_s) values.push_back(sample.latency_ms);
    }
    if (values.empty()) return 0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

}  // namespace blanket::lab
