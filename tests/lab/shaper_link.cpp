// SPDX-License-Identifier: GPL-2.0-or-later
// The token bucket, delay, chance and counters of one link direction; see shaper_link.hpp.
#include "tests/lab/shaper_link.hpp"

#include <algorithm>
#include <cmath>

namespace blanket::lab {
namespace {

constexpr double kNanosPerSecond = 1e9;

Nanos time_on_line(std::uint64_t bytes, std::uint64_t rate) {
    return Nanos(std::llround(static_cast<double>(bytes) * 8.0 * kNanosPerSecond / static_cast<double>(rate)));
}

double in_ms(Nanos time) { return std::round(static_cast<double>(time.count()) / 1e3) / 1e3; }

Result<void> take_time(const Json& change, const char* field, Nanos& out) {
    const auto found = change.find(field);
    if (found == change.end()) return {};
    if (!found->is_number()) return fail(Kind::kInvalid, "{} is not a number", field);
    const double value = found->get<double>();
    if (!(value >= 0 && value <= 600'000)) return fail(Kind::kInvalid, "{} is {}, want 0..600000 ms", field, value);
    out = Nanos(std::llround(value * 1e6));
    return {};
}

Result<void> take_count(const Json& change, const char* field, std::uint64_t max, std::uint64_t& out) {
    const auto found = change.find(field);
    if (found == change.end()) return {};
    const bool whole = found->is_number_integer() && (found->is_number_unsigned() || found->get<std::int64_t>() >= 0);
    if (!whole || found->get<std::uint64_t>() > max) return fail(Kind::kInvalid, "{} is not a number within 0..{}", field, max);
    out = found->get<std::uint64_t>();
    return {};
}

}  // namespace

Result<LinkSettings> parse_link(const Json& change, LinkSettings settings) {
    BLANKET_CHECK(take_time(change, "delay_ms", settings.delay));
    BLANKET_CHECK(take_time(change, "jitter_ms", settings.jitter));
    BLANKET_CHECK(take_time(change, "flap_period_ms", settings.flap_period));
    BLANKET_CHECK(take_time(change, "flap_down_ms", settings.flap_down));
    BLANKET_CHECK(take_count(change, "rate_bps", 100'000'000'000ull, settings.rate));
    BLANKET_CHECK(take_count(change, "burst_bytes", 64u << 20, settings.burst));
    BLANKET_CHECK(take_count(change, "queue_bytes", 1ull << 30, settings.queue));
    if (const auto loss = change.find("loss"); loss != change.end()) {
        if (!loss->is_number() || !(loss->get<double>() >= 0 && loss->get<double>() <= 1)) return fail(Kind::kInvalid, "loss is not within 0..1");
        settings.loss = loss->get<double>();
    }
    if (const auto up = change.find("up"); up != change.end()) {
        if (!up->is_boolean()) return fail(Kind::kInvalid, "up is neither true nor false");
        settings.up = up->get<bool>();
    }
    if (settings.flap_down > settings.flap_period) return fail(Kind::kInvalid, "flap_down_ms is longer than flap_period_ms");
    return settings;
}

Json to_json(const LinkSettings& settings) {
    return {{"delay_ms", in_ms(settings.delay)},   {"jitter_ms", in_ms(settings.jitter)},
            {"rate_bps", settings.rate},                  {"burst_bytes", settings.burst},
            {"queue_bytes", settings.queue},              {"loss", settings.loss},
            {"up", settings.up},                          {"flap_period_ms", in_ms(settings.flap_period)},
            {"flap_down_ms", in_ms(settings.flap_down)}};
}

void RateMeter::add(Nanos now, std::uint64_t bytes) {
    const std::int64_t slot = now / std::chrono::milliseconds(100);
    const std::int64_t steps = slot_ < 0 ? std::int64_t{kSlots} : std::min<std::int64_t>(slot - slot_, kSlots);
    for (std::int64_t i = 1; i <= steps; ++i) slots_[static_cast<std::size_t>((slot - steps + i) % std::int64_t{kSlots})] = 0;
    slot_ = std::max(slot_, slot);
    slots_[static_cast<std::size_t>(slot_ % std::int64_t{kSlots})] += bytes;
    std::uint64_t sum = 0;
    for (const auto value : slots_) sum += value;
    peak_ = std::max(peak_, sum);
}

bool Link::is_up(Nanos now) const {
    if (!settings_.up) return false;
    return settings_.flap_period.count() == 0 || now % settings_.flap_period >= settings_.flap_down;
}

std::optional<Nanos> Link::admit(Nanos now, std::uint64_t bytes, std::mt19937_64& random) {
    ++stats_.frames_in;
    stats_.bytes_in += bytes;
    if (!is_up(now)) {
        ++stats_.cut;
        return std::nullopt;
    }
    if (settings_.loss > 0 && std::uniform_real_distribution<double>(0, 1)(random) < settings_.loss) {
        ++stats_.lost;
        return std::nullopt;
    }
    Nanos sent = now;
    if (settings_.rate > 0) {  // a bucket of `burst` bytes, as the time at which the line has sent everything (GCRA)
        const Nanos credit = time_on_line(settings_.burst, settings_.rate);
        const Nanos begin = std::max(free_at_, now - credit);
        const auto waiting = static_cast<std::uint64_t>(static_cast<double>(std::max(Nanos(0), begin - now).count()) * static_cast<double>(settings_.rate) / 8.0 / kNanosPerSecond);
        if (waiting + bytes > settings_.queue) {
            ++stats_.overflowed;
            return std::nullopt;
        }
        stats_.queue_peak = std::max(stats_.queue_peak, waiting + bytes);
        free_at_ = begin + time_on_line(bytes, settings_.rate);
        sent = std::max(now, free_at_);
    }
    Nanos out = sent + settings_.delay;
    if (settings_.jitter.count() > 0) out += Nanos(std::uniform_int_distribution<std::int64_t>(0, settings_.jitter.count())(random));
    last_out_ = std::max(last_out_, out);
    return last_out_;
}

void Link::count_delivered(Nanos entered, Nanos now, std::uint64_t bytes) {
    const Nanos delay = now - entered;
    ++stats_.frames_out;
    stats_.bytes_out += bytes;
    stats_.min_delay = std::min(stats_.min_delay, delay);
    stats_.max_delay = std::max(stats_.max_delay, delay);
    stats_.sum_delay += delay;
    meter_.add(now, bytes);
}

Json Link::report() const {
    const bool any = stats_.frames_out > 0;
    return {{"settings", to_json(settings_)},
            {"frames_in", stats_.frames_in},
            {"bytes_in", stats_.bytes_in},
            {"frames", stats_.frames_out},
            {"bytes", stats_.bytes_out},
            {"lost", stats_.lost},
            {"overflowed", stats_.overflowed},
            {"cut", stats_.cut},
            {"queue_peak_bytes", stats_.queue_peak},
            {"min_delay_ms", any ? Json(in_ms(stats_.min_delay)) : Json()},
            {"mean_delay_ms", any ? Json(in_ms(stats_.sum_delay / static_cast<std::int64_t>(stats_.frames_out))) : Json()},
            {"max_delay_ms", any ? Json(in_ms(stats_.max_delay)) : Json()},
            {"peak_bps_1s", meter_.peak_bps()}};
}

}  // namespace blanket::lab
