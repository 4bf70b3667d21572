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

TEST(SaveProtocol, Rounds) {
    EXPECT_EQ(parse_round("Frames iteration 0").value(), 0u);
    EXPECT_EQ(parse_round("Frames iteration 12").value(), 12u);
    EXPECT_FALSE(parse_round("Frames verify"));
    EXPECT_FALSE(parse_round("Frames iteration x"));
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
