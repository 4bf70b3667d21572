// SPDX-License-Identifier: GPL-2.0-or-later
// A move's trace as JSON: the golden form, there and back, and a parser that nothing gets past. BLANKET_UPDATE_GOLDEN=1 writes the golden file anew.
#include "toolstack/core/move_trace.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "tests/unit/fakes/sample_trace.hpp"
#include "toolstack/base/file.hpp"

namespace blanket {
namespace {

TEST(MoveTrace, GoldenForm) {
    const std::string path = BLANKET_SOURCE_DIR "/tests/golden/core/move_trace.json", text = to_json(fakes::sample_trace()).dump(1) + "\n";
    if (std::getenv("BLANKET_UPDATE_GOLDEN") != nullptr) {
        ASSERT_TRUE(write_file(path, text));
    }
    EXPECT_EQ(text, read_file(path).value_or("no golden file"));
}

TEST(MoveTrace, ThereAndBack) {
    const MoveTrace trace = fakes::sample_trace();
    EXPECT_EQ(parse_move_trace(*parse_json(to_json(trace).dump())).value(), trace);
    EXPECT_EQ(trace.downtime->unexplained_ms(), 30);
    const MoveTrace empty;
    const Json json = to_json(empty);
    for (const char* absent : {"rtt_ms", "forecast_ms", "memory", "downtime", "target", "link", "left_out"}) EXPECT_FALSE(json.contains(absent)) << absent;
    EXPECT_EQ(parse_move_trace(json).value(), empty);
}

// Full lists of the longest texts stay within the bound of what is kept.
TEST(MoveTrace, TheLargestIsBounded) {
    MoveTrace trace = fakes::sample_trace();
    const auto fill = [](auto& list) { list.resize(kMaxTraceList, list.back()); };
    constexpr std::int64_t kMost = std::int64_t{1} << 53;
    const TraceClasses most{kMost, kMost, kMost, kMost, kMost, kMost, kMost};
    trace.memory_rounds = {{.round = kMost, .to_round = kMost, .suspended = false, .start_ms = kMost, .ms = kMost, .pages = kMost, .dirty = kMost, .coded = TraceCoded{kMost, kMost, most, most}}};
    fill(trace.phases);
    fill(trace.disk_rounds);
    fill(trace.memory_rounds);
    fill(trace.target->phases);
    const std::string text = to_json(trace).dump();
    EXPECT_LT(text.size(), kMaxTraceBytes);
    EXPECT_TRUE(parse_move_trace(*parse_json(text)));
    trace.memory_rounds.push_back(trace.memory_rounds.back());
    const auto refused = parse_move_trace(to_json(trace));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().what.find("memory_rounds"), std::string::npos) << refused.error().what;
}

// Every value of the trace in turn becomes something else: it is refused with a name, or what comes back is a trace.
void wreck(const Json& whole, Json& here, int& refused) {
    static const std::vector<Json> kOthers{nullptr, -1, 1.5, 1e300, std::uint64_t{1} << 54, "x", std::string(300, 'y'), Json::array(), Json::object(), Json::array({1}), true};
    const Json kept = here;
    for (const Json& other : kOthers) {
        here = other;
        const auto parsed = parse_move_trace(whole);
        if (!parsed) {
            ++refused;
            EXPECT_EQ(parsed.error().kind, Kind::kInvalid);
            EXPECT_FALSE(parsed.error().what.empty());
            EXPECT_LT(parsed.error().what.size(), 300u);
        } else {
            EXPECT_TRUE(parse_move_trace(to_json(*parsed))) << to_json(*parsed).dump();
            if (parsed->downtime) EXPECT_GE(parsed->downtime->unexplained_ms(), 0);
        }
    }
    here = kept;
    if (here.is_structured())
        for (auto& item : here) wreck(whole, item, refused);
}

TEST(MoveTrace, NonsenseAtAnyPlaceIsRefusedOrHarmless) {
    Json json = to_json(fakes::sample_trace());
    int refused = 0;
    wreck(json, json, refused);
    EXPECT_GT(refused, 1000);
    EXPECT_EQ(parse_move_trace(json).value(), fakes::sample_trace());
    for (const char* key : {"version", "vm", "from", "to", "begun", "memory_mib", "ms", "stopped_because", "phases", "disk_rounds", "memory_rounds"}) {
        Json less = json;
        less.erase(key);
        EXPECT_FALSE(parse_move_trace(less)) << key;
    }
    json["version"] = 2;
    EXPECT_NE(parse_move_trace(json).error().hint.find("same version"), std::string::npos);
}

TEST(MoveTrace, CutAndFlippedTextsAreRefusedOrHarmless) {
    const std::string text = to_json(fakes::sample_trace()).dump();
    for (std::size_t length = 0; length < text.size(); ++length) EXPECT_FALSE(parse_json(std::string_view(text).substr(0, length), kMaxTraceBytes));
    std::mt19937 random(6);
    for (int i = 0; i < 20'000; ++i) {
        std::string other = text;
        for (unsigned flips = 1 + random() % 4; flips > 0; --flips) other[random() % other.size()] = static_cast<char>(random());
        if (const auto json = parse_json(other, kMaxTraceBytes); json) (void)parse_move_trace(*json);
    }
    EXPECT_FALSE(parse_json(std::string(kMaxTraceBytes + 1, ' '), kMaxTraceBytes));
}

}  // namespace
}  // namespace blanket
