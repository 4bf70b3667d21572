// SPDX-License-Identifier: GPL-2.0-or-later
// The link model with a clock and chance of the test's own.
#include "tests/lab/shaper_link.hpp"

#include <gtest/gtest.h>

namespace blanket::lab {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct LinkTest : ::testing::Test {
    std::mt19937_64 random{1};
    static Nanos at(std::int64_t ms) { return seconds(1000) + milliseconds(ms); }
};

TEST_F(LinkTest, DelaysAnIdleFrameByTheDelayAlone) {
    Link link({.delay = milliseconds(25), .rate = 100'000'000, .burst = 3000});
    EXPECT_EQ(link.admit(at(0), 1500, random), at(25));
}

TEST_F(LinkTest, SpacesFramesByTheRateBeyondTheBurst) {
    Link link({.delay = milliseconds(10), .rate = 12'000'000, .burst = 1500});  // 1500 bytes = 1 ms
    EXPECT_EQ(link.admit(at(0), 1500, random), at(10));
    EXPECT_EQ(link.admit(at(0), 1500, random), at(11));
    EXPECT_EQ(link.admit(at(0), 1500, random), at(12));
    EXPECT_EQ(link.admit(at(50), 1500, random), at(60));  // the bucket is full again, and holds one burst, not 50 ms worth
    EXPECT_EQ(link.admit(at(50), 1500, random), at(61));
}

TEST_F(LinkTest, RateIsByteAccurateOverALongTime) {
    Link link({.delay = milliseconds(0), .rate = 100'000'000, .burst = 0, .queue = 1u << 30});
    Nanos last{};
    for (int i = 0; i < 100'000; ++i) last = *link.admit(at(0), 1250, random);  // 100'000 * 10'000 bit at 100 Mbit/s = 10 s
    EXPECT_EQ(last, at(10'000));
}

TEST_F(LinkTest, DropsAtTheTailOfTheQueue) {
    Link link({.delay = milliseconds(1), .rate = 8'000'000, .burst = 0, .queue = 10'000});
    int admitted = 0;
    for (int i = 0; i < 100; ++i) admitted += link.admit(at(0), 1000, random).has_value() ? 1 : 0;
    EXPECT_EQ(admitted, 10);
    EXPECT_EQ(link.stats().overflowed, 90u);
    EXPECT_EQ(link.stats().queue_peak, 10'000u);
    EXPECT_TRUE(link.admit(at(5), 1000, random).has_value());  // half of it has left
}

TEST_F(LinkTest, UnlimitedRateNeverQueues) {
    Link link({.delay = milliseconds(10), .rate = 0});
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(link.admit(at(0), 1500, random), at(10));
}

TEST_F(LinkTest, JitterStaysWithinItsBoundAndKeepsTheOrder) {
    Link link({.delay = milliseconds(10), .jitter = milliseconds(5), .rate = 0});
    Nanos last{};
    for (int i = 0; i < 1000; ++i) {
        const auto out = link.admit(at(i), 100, random);
        ASSERT_TRUE(out);
        EXPECT_GE(*out, std::max(last, at(i + 10)));
        EXPECT_LE(*out, at(i + 15));
        last = *out;
    }
}

TEST_F(LinkTest, LosesTheStatedShare) {
    Link link({.rate = 0, .loss = 0.1});
    for (int i = 0; i < 10'000; ++i) link.admit(at(i), 100, random);
    EXPECT_NEAR(static_cast<double>(link.stats().lost), 1000, 120);
}

TEST_F(LinkTest, CutAndFlapDropFrames) {
    Link link({.rate = 0, .up = false});
    EXPECT_FALSE(link.admit(at(0), 100, random));
    link.set({.rate = 0, .flap_period = milliseconds(100), .flap_down = milliseconds(40)});
    EXPECT_FALSE(link.admit(at(0), 100, random));
    EXPECT_FALSE(link.admit(at(39), 100, random));
    EXPECT_TRUE(link.admit(at(40), 100, random));
    EXPECT_FALSE(link.admit(at(100), 100, random));
    EXPECT_EQ(link.stats().cut, 4u);
}

TEST(RateMeter, FindsTheBusiestSecondAcrossSlotBorders) {
    RateMeter meter;
    for (int i = 0; i < 300; ++i) meter.add(seconds(50) + milliseconds(i * 10), i >= 95 && i < 195 ? 1000 : 10);
    EXPECT_GE(meter.peak_bps(), 95u * 8000);  // windows begin every 100 ms, so up to a tenth may fall outside
    EXPECT_LE(meter.peak_bps(), 100u * 8000);
    meter.add(seconds(500), 7);
    EXPECT_LE(meter.peak_bps(), 100u * 8000);
}

TEST(ParseLink, TakesWhatIsPresentAndNamesWhatIsWrong) {
    const LinkSettings before;
    const auto after = parse_link({{"delay_ms", 12.5}, {"rate_bps", 1000}, {"up", false}}, before);
    ASSERT_TRUE(after);
    EXPECT_EQ(after->delay, std::chrono::microseconds(12'500));
    EXPECT_EQ(after->rate, 1000u);
    EXPECT_FALSE(after->up);
    EXPECT_EQ(after->queue, before.queue);
    for (const auto& bad : {Json{{"delay_ms", -1}}, Json{{"delay_ms", "x"}}, Json{{"loss", 1.5}}, Json{{"up", 1}}, Json{{"rate_bps", -5}}, Json{{"flap_down_ms", 5}}}) {
        const auto refused = parse_link(bad, before);
        ASSERT_FALSE(refused) << bad.dump();
        EXPECT_EQ(refused.error().kind, Kind::kInvalid);
        EXPECT_NE(refused.error().what.find(bad.begin().key()), std::string::npos);
    }
}

}  // namespace
}  // namespace blanket::lab
