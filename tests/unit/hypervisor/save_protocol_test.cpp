// SPDX-License-Identifier: GPL-2.0-or-later
// Lines of blanket-save there and back, and libvirt's header byte by byte.
#include "toolstack/hypervisor/save_protocol.hpp"

#include <gtest/gtest.h>

namespace blanket {
namespace {

TEST(SaveProtocol, LinesGoThereAndBack) {
    using enum SaveLine::What;
    for (const auto what : {kProgress, kStopping, kSuspended, kDone, kError}) {
        const std::string text = format_line({.what = what, .round = 3, .bytes = 4096, .error = "a \"b\"\n", .cancelled = true});
        EXPECT_EQ(text.find('\n'), text.size() - 1);
        const auto line = parse_line(text);
        ASSERT_TRUE(line) << text;
        EXPECT_EQ(line->what, what);
        EXPECT_EQ(line->error, what == kError ? "a \"b\"\n" : "");
        EXPECT_EQ(line->bytes, what == kError ? 0u : 4096u);
    }
    for (const char* bad : {"", "[]", "{}", "{\"round\"", "null", "xc: info"}) EXPECT_FALSE(parse_line(bad)) << bad;
}

TEST(SaveProtocol, WhatTheRoundsBroughtAndWhyTheyEnded) {
    const SaveRound ended{.round = 2, .pages = 900, .ms = 310, .dirty = 42, .begin_ms = 123'456, .percent = 25};
    const auto round = parse_line(format_line({.what = SaveLine::What::kRound, .round = 3, .ended = ended}));
    ASSERT_TRUE(round);
    EXPECT_EQ(round->what, SaveLine::What::kRound);
    EXPECT_EQ(round->ended, ended);
    const auto stopping = parse_line(format_line({.what = SaveLine::What::kStopping, .why = "42 dirty pages are left", .forecast_ms = 7}));
    ASSERT_TRUE(stopping);
    EXPECT_EQ(stopping->why, "42 dirty pages are left");
    EXPECT_EQ(stopping->forecast_ms, 7);
    const auto progress = parse_line(format_line({.round = 3, .sending = 77, .forecast_ms = 210}));
    ASSERT_TRUE(progress);
    EXPECT_EQ(progress->what, SaveLine::What::kProgress);
    EXPECT_EQ(progress->sending, 77u);
    EXPECT_EQ(progress->forecast_ms, 210);
    const auto suspended = parse_line(format_line({.what = SaveLine::What::kSuspended, .asked_ms = 5000, .suspended_ms = 5040}));
    ASSERT_TRUE(suspended);
    EXPECT_EQ(suspended->asked_ms, 5000);
    EXPECT_EQ(suspended->suspended_ms, 5040);
    const auto error = parse_line(format_line({.what = SaveLine::What::kError, .error = "no", .hint = "allow more"}));
    ASSERT_TRUE(error);
    EXPECT_EQ(error->hint, "allow more");
}

TEST(SaveProtocol, Limits) {
    const auto limits = parse_limits(format_limits({.downtime_target_ms = 300, .max_downtime_ms = 3000, .max_time_ms = 60'000, .fixed_ms = 2100, .rounds = 5, .throttle = false}));
    ASSERT_TRUE(limits);
    EXPECT_EQ(limits->downtime_target_ms, 300);
    EXPECT_EQ(limits->max_downtime_ms, 3000);
    EXPECT_EQ(limits->max_time_ms, 60'000);
    EXPECT_EQ(limits->fixed_ms, 2100);
    EXPECT_EQ(limits->rounds, 5);
    EXPECT_FALSE(limits->throttle);
    EXPECT_TRUE(parse_limits(format_limits({}))->throttle);
    for (const char* bad : {"", "1", "1,2,3,4", "1,2,3,4,5", "1,2,3,4,5,1,7", "1,2,3,4,-5,0", "1,2,3,x,5,0", ",,,,,", "1,2,3,99999999999,5,0"}) EXPECT_FALSE(parse_limits(bad)) << bad;
}

TEST(SaveProtocol, LibvirtHeader) {
    const auto head = encode_save_header("<domain/>");
    ASSERT_TRUE(head);
    ASSERT_EQ(head->size(), 64u + 10u);
    const std::string bytes(reinterpret_cast<const char*>(head->data()), head->size());
    EXPECT_EQ(bytes.substr(0, 16), std::string("libvirt-xml\n \0 \r", 16));
    EXPECT_EQ(bytes.substr(16, 8), std::string("\2\0\0\0\12\0\0\0", 8));
    EXPECT_EQ(bytes.substr(24, 40), std::string(40, '\0'));
    EXPECT_EQ(bytes.substr(64), std::string("<domain/>\0", 10));
    EXPECT_FALSE(encode_save_header(""));
    EXPECT_FALSE(encode_save_header(std::string_view("a\0b", 3)));
    EXPECT_FALSE(encode_save_header(std::string(2u << 20, 'x')));
}

}  // namespace
}  // namespace blanket
