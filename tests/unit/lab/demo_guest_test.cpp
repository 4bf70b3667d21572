// SPDX-License-Identifier: GPL-2.0-or-later
// The guest program's parts: records and their checker, HTTP heads, and a probe against a server of its own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <thread>
#include <unistd.h>

#include "tests/lab/guest/http_server.hpp"
#include "tests/lab/guest/records.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::lab {
namespace {

struct RecordsTest : ::testing::Test {
    std::string path = ::testing::TempDir() + "blanket-records-" + std::to_string(::getpid());
    ~RecordsTest() override { ::unlink(path.c_str()); }
    void write(int count) {
        auto writer = RecordWriter::open(path);
        ASSERT_TRUE(writer);
        for (int i = 0; i < count; ++i) ASSERT_TRUE(writer->append(1000 + i));
    }
    std::string content() { return *read_file(path); }
};

TEST_F(RecordsTest, GoodFileHasAll) {
    write(3000);
    const auto check = check_records(path, true);
    ASSERT_TRUE(check);
    EXPECT_EQ(*check, (RecordCheck{.records = 3000, .last = 3000}));
    EXPECT_EQ(check->lost(3000), 0u);
    EXPECT_EQ(check->lost(3002), 2u);
}

TEST_F(RecordsTest, WriterGoesOnAfterItsLastWholeRecord) {
    write(2);
    ASSERT_TRUE(write_file(path, content() + "half a rec"));
    EXPECT_EQ(check_records(path, false)->tail, 10u);
    write(2);
    EXPECT_EQ(*check_records(path, false), (RecordCheck{.records = 4, .last = 4}));
}

TEST_F(RecordsTest, EveryFlippedByteIsSeen) {
    const std::string good = make_record(7, 123);
    ASSERT_EQ(good.size(), kRecordSize);
    EXPECT_EQ(parse_record(good).value_or(0), 7u);
    for (std::size_t i = 0; i < good.size(); i += 13) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 4);
        EXPECT_FALSE(parse_record(bad)) << i;
    }
    EXPECT_FALSE(parse_record(good.substr(1)));
}

TEST_F(RecordsTest, DamageAndDisorderAreCounted) {
    std::string text = make_record(1, 0) + make_record(2, 0) + make_record(2, 0) + make_record(4, 0);
    text[100] = '!';
    ASSERT_TRUE(write_file(path, text));
    EXPECT_EQ(*check_records(path, false), (RecordCheck{.records = 2, .last = 4, .gaps = 1, .damaged = 1}));
}

TEST_F(RecordsTest, ZeroesAreDamageNotRecords) {
    ASSERT_TRUE(write_file(path, make_record(1, 0) + std::string(2 * kRecordSize, '\0')));
    EXPECT_EQ(*check_records(path, false), (RecordCheck{.records = 1, .last = 1, .damaged = 2}));
}

TEST_F(RecordsTest, AbsentFileIsAnError) { EXPECT_EQ(check_records(path, false).error().kind, Kind::kNotFound); }

TEST(Crc32, KnownValue) { EXPECT_EQ(crc32_of("123456789"), 0xcbf43926u); }

TEST(HttpHead, ReadsMethodPathAndQuery) {
    const auto request = parse_http_head("POST /load?rate_kib=2&pause_ms=20&flag HTTP/1.1\r\nHost: x");
    ASSERT_TRUE(request);
    EXPECT_EQ(request->method, "POST");
    EXPECT_EQ(request->path, "/load");
    EXPECT_EQ(request->number("rate_kib", 9), 2u);
    EXPECT_EQ(request->number("absent", 9), 9u);
    EXPECT_EQ(request->number("flag", 9), 9u);
    EXPECT_EQ(request->get("flag", "x"), "");
}

TEST(HttpHead, RefusesWhatIsNoRequest) {
    for (const char* bad : {"", "GET", "GET /", "GET nothing HTTP/1.1", "hello world foo", "GET  SSH-2.0"}) EXPECT_FALSE(parse_http_head(bad)) << bad;
    EXPECT_TRUE(wants_close("GET / HTTP/1.1\r\nConnection: close"));
    EXPECT_FALSE(wants_close("GET / HTTP/1.1\r\nHost: x"));
}

}  // namespace
}  // namespace blanket::lab
