// SPDX-License-Identifier: GPL-2.0-or-later
// The choice between zstd and plain bytes against links and processors in virtual time, with the buffer that the kernel puts between them.
#include "toolstack/stream/coding_choice.hpp"

#include <algorithm>
#include <gtest/gtest.h>

namespace blanket::stream {
namespace {

// Rates in bytes per ms. What is sent goes into a buffer that the link empties; a full one is waited for.
struct Road {
    double zstd = 400'000, cipher = 3e6, link = 12'000, ratio = 0.35, buffer = 4e6;
    double filled = 0, now = 0;

    void pass_time(double ms) {
        now += ms;
        filled = std::max(0.0, filled - link * ms);
    }
    void send(CodingChoice& choice, std::size_t bytes) {
        const double begin = now;
        const auto plain = static_cast<double>(bytes), wire = choice.compress() ? plain * ratio : plain;
        if (choice.compress()) pass_time(plain / zstd);
        const double coded = now;
        pass_time(wire / cipher);
        if (filled + wire > buffer) pass_time((filled + wire - buffer) / link);
        filled += wire;
        const auto whole = [](double ms) { return static_cast<std::int64_t>(ms); };  // as a clock of ms tells it
        choice.took({.bytes = bytes, .wire = static_cast<std::uint64_t>(wire), .coding_ms = whole(coded) - whole(begin), .sending_ms = whole(now) - whole(coded)});
    }
};

struct Outcome {
    double ms = 0, compressed = 0;  // time in all; share of the bytes that were compressed
};

Outcome drive(Road road, CodingChoice::Rule rule, double mib) {
    CodingChoice choice(rule);
    constexpr std::size_t kBatch = 256 * 1024;
    const auto batches = static_cast<int>(mib * 4);
    int compressed = 0;
    for (int i = 0; i < batches; ++i) {
        compressed += choice.compress() ? 1 : 0;
        road.send(choice, kBatch);
    }
    road.pass_time(road.filled / road.link);
    return {road.now, static_cast<double>(compressed) / batches};
}

TEST(CodingChoice, ASlowLinkIsCompressedFor) {
    const auto measured = drive({}, CodingChoice::Rule::kMeasure, 500), always = drive({}, CodingChoice::Rule::kAlways, 500);
    EXPECT_GT(measured.compressed, 0.9);
    EXPECT_LT(measured.ms, 1.1 * always.ms);
}

TEST(CodingChoice, AFastLinkIsNotSlowed) {
    const Road fast{.zstd = 300'000, .link = 1'250'000};
    const auto measured = drive(fast, CodingChoice::Rule::kMeasure, 4000), plain = drive(fast, CodingChoice::Rule::kNever, 4000);
    EXPECT_LT(measured.compressed, 0.15);
    EXPECT_LT(measured.ms, 1.6 * plain.ms);
}

// An emulated processor for which what is sent costs more than what is compressed: there is nothing to try.
TEST(CodingChoice, WhereTheCipherIsTheSlowestNothingIsTried) {
    const Road slow{.zstd = 60'000, .cipher = 20'000, .link = 12'000};
    EXPECT_EQ(drive(slow, CodingChoice::Rule::kMeasure, 300).compressed, 1.0);
}

// One that compresses as slowly as the link would send the plain bytes.
TEST(CodingChoice, ASlowProcessorIsSeen) {
    const Road slow{.zstd = 8'000, .link = 12'000};
    const auto measured = drive(slow, CodingChoice::Rule::kMeasure, 400), plain = drive(slow, CodingChoice::Rule::kNever, 400), always = drive(slow, CodingChoice::Rule::kAlways, 400);
    EXPECT_LT(plain.ms, 0.8 * always.ms);
    EXPECT_LT(measured.ms, 1.1 * plain.ms);
}

TEST(CodingChoice, WhereBothAreAboutAsFastTheBytesDecide) {
    const Road even{.zstd = 11'500, .link = 12'000};
    EXPECT_GT(drive(even, CodingChoice::Rule::kMeasure, 500).compressed, 0.7);
}

TEST(CodingChoice, ARuleIsARule) {
    EXPECT_EQ(drive({}, CodingChoice::Rule::kNever, 100).compressed, 0.0);
    EXPECT_EQ(drive({.link = 1e9}, CodingChoice::Rule::kAlways, 100).compressed, 1.0);
}

}  // namespace
}  // namespace blanket::stream
