// SPDX-License-Identifier: GPL-2.0-or-later
// See move_times.hpp.
#include "toolstack/migrate/move_times.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace blanket::migrate {
namespace {

constexpr std::int64_t kUnbounded = std::int64_t{1} << 60;
constexpr std::size_t kMostTargetPhases = 32;  // what a peer says must not fill the trace

struct NamedMoment {
    const char* name;
    Moment TargetTimes::* at;
};
constexpr std::array kTargetMoments{NamedMoment{"hello_heard", &TargetTimes::hello_heard}, NamedMoment{"hello_said", &TargetTimes::hello_said},
                                    NamedMoment{"end_heard", &TargetTimes::end_heard},     NamedMoment{"restored", &TargetTimes::restored},
                                    NamedMoment{"complete", &TargetTimes::complete},       NamedMoment{"committed", &TargetTimes::committed},
                                    NamedMoment{"disk_opened", &TargetTimes::disk_opened}, NamedMoment{"resumed", &TargetTimes::resumed},
                                    NamedMoment{"connected", &TargetTimes::connected}};

struct Bounds {
    std::int64_t least = -kUnbounded, most = kUnbounded;
    // Said at the source, heard at the target; and the other way.
    void there(const Moment& said, const Moment& heard) {
        if (said && heard) most = std::min(most, *heard - *said);
    }
    void back(const Moment& said, const Moment& heard) {
        if (said && heard) least = std::max(least, *said - *heard);
    }
    [[nodiscard]] std::optional<ClockOffset> offset() const {
        if (least == -kUnbounded || most == kUnbounded || least > most) return std::nullopt;
        return ClockOffset{least + (most - least) / 2, (most - least + 1) / 2};
    }
};

// A part ends at each.
struct Cut {
    const char* part;
    Moment at;
    TraceClock clock;
};

TraceDowntime parts_of(std::int64_t start, std::int64_t end, std::span<const Cut> cuts) {
    TraceDowntime downtime{.start_ms = start, .ms = std::max<std::int64_t>(end - start, 0), .parts = {}};
    std::int64_t at = start;  // never goes back: what overlaps counts once, for what came first
    bool known = true;        // where the last part ended
    for (const Cut& cut : cuts) {
        if (!cut.at) {
            known = false;
            continue;
        }
        const std::int64_t to = std::clamp(*cut.at, at, std::max(end, at));
        if (known) downtime.parts.push_back({cut.part, at, to - at, cut.clock});
        known = true;
        at = to;
    }
    return downtime;
}

}  // namespace

std::optional<ClockOffset> clock_offset(const SourceTimes& source, const TargetTimes& target) {
    Bounds near;  // of moments that were written down before the saying and after the hearing; `drained` is not one
    near.there(source.end_said, target.end_heard);
    near.back(target.committed, source.committed_heard);
    near.back(target.resumed, source.resumed_heard);
    Bounds all = near;
    all.there(source.hello_said, target.hello_heard);
    all.back(target.hello_said, source.hello_heard);
    // The greeting is the tightest pair. After a long move the clocks may have drifted apart since: then only what is near counts.
    if (const auto offset = all.offset()) return offset;
    return near.offset();
}

std::optional<TraceDowntime> downtime_of(const SourceTimes& source, const TargetTimes& target) {
    using enum TraceClock;
    const Moment start = source.asked ? source.asked : source.suspended;
    if (!start || !source.suspended) return std::nullopt;
    std::vector<Cut> cuts;
    if (source.asked) cuts.push_back({"guest stops", source.suspended, kSource});
    if (source.last_pages || !source.resumed_here) cuts.push_back({"last pages", source.last_pages, kSource});
    if (source.resumed_here) {
        cuts.push_back({"taken back", source.resumed_here, kSource});
        return parts_of(*start, *source.resumed_here, cuts);
    }
    if (!source.resumed_heard) return std::nullopt;
    cuts.push_back({"disk drained", source.drained, kSource});
    const auto offset = clock_offset(source, target);
    if (!offset) return parts_of(*start, *source.resumed_heard, cuts);
    const auto here = [&](const Moment& there) { return there ? Moment(*there - offset->ahead_ms) : Moment(); };
    cuts.push_back({"in flight", here(target.end_heard), kBoth});
    cuts.push_back({"restored", here(target.restored), kTarget});
    cuts.push_back({"checked", here(target.complete), kTarget});
    cuts.push_back({"commit", here(target.committed), kTarget});
    cuts.push_back({"disk opened", here(target.disk_opened), kTarget});
    cuts.push_back({"resumed", here(target.resumed), kTarget});
    cuts.push_back({"network", here(target.connected), kTarget});
    const Moment end = target.connected ? here(target.connected) : target.resumed ? here(target.resumed) : source.resumed_heard;
    return parts_of(*start, *end, cuts);
}

Json to_json(const TargetReport& report) {
    Json times = Json::object();
    for (const auto& [name, at] : kTargetMoments)
        if (report.times.*at) times[name] = *(report.times.*at);
    return {{"phases", to_json(report.phases)}, {"times", times}};
}

Result<TargetReport> parse_target_report(const Json& json) {
    if (!json.is_object() || !json.contains("phases") || !json.contains("times")) return fail(Kind::kInvalid, "a target's times without phases or times");
    TargetReport report;
    BLANKET_TRY(report.phases, parse_trace_phases(json["phases"]));
    if (report.phases.size() > kMostTargetPhases) return fail(Kind::kInvalid, "a target's times with {} phases, at most {}", report.phases.size(), kMostTargetPhases);
    for (const auto& [name, at] : kTargetMoments) {
        if (!json["times"].contains(name)) continue;
        BLANKET_TRY(const std::uint64_t value, json_number(json["times"], name));
        if (value > static_cast<std::uint64_t>(kUnbounded) >> 8) return fail(Kind::kInvalid, "'{}' of a target's times is {}", name, value);
        report.times.*at = static_cast<std::int64_t>(value);
    }
    return report;
}

void PhaseLog::begin(const std::string& name) {
    const bool follows = open_;
    end();
    if (phases_.size() == kMaxTraceList) {
        ++left_out_;
        return;
    }
    phases_.push_back({name, follows ? phases_.back().end_ms : now(), 0});  // one reading of the clock for both
    open_ = true;
}

void PhaseLog::end() {
    if (open_) phases_.back().end_ms = std::max(now(), phases_.back().start_ms);
    open_ = false;
}

}  // namespace blanket::migrate
