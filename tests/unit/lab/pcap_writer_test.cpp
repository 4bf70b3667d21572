// SPDX-License-Identifier: GPL-2.0-or-later
// The capture file byte for byte, and its bound.
#include "tests/lab/pcap_writer.hpp"

#include <gtest/gtest.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::lab {
namespace {

TEST(PcapWriter, WritesTheHeadAndTheFrame) {
    const std::string path = ::testing::TempDir() + "blanket-pcap-test.pcap";
    auto writer = PcapWriter::create(path, 1000);
    ASSERT_TRUE(writer) << writer.error().what;
    ASSERT_TRUE(writer->add(std::chrono::nanoseconds(5'000'000'007), as_bytes("hello")));
    ASSERT_TRUE(writer->flush());
    const auto text = read_file(path);
    ASSERT_TRUE(text);
    const unsigned char expected[] = {0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0,
                                      5,    0,    0,    0,    7, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'};
    EXPECT_EQ(*text, std::string(reinterpret_cast<const char*>(expected), sizeof expected));
    ASSERT_TRUE(remove_file(path));
}

TEST(PcapWriter, StopsAtItsBoundAndCounts) {
    const std::string path = ::testing::TempDir() + "blanket-pcap-bound.pcap";
    auto writer = PcapWriter::create(path, 24 + 2 * 116);
    ASSERT_TRUE(writer);
    const std::vector<std::byte> frame(100);
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(writer->add({}, frame));
    EXPECT_EQ(writer->frames(), 2u);
    EXPECT_EQ(writer->omitted(), 3u);
    EXPECT_EQ(writer->bytes(), 24u + 2 * 116);
    ASSERT_TRUE(remove_file(path));
}

TEST(PcapWriter, NamesThePathThatCannotBeMade) {
    const auto writer = PcapWriter::create("/nonexistent/x.pcap", 1000);
    ASSERT_FALSE(writer);
    EXPECT_NE(writer.error().what.find("/nonexistent/x.pcap"), std::string::npos);
}

}  // namespace
}  // namespace blanket::lab
