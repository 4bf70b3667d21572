// SPDX-License-Identifier: GPL-2.0-or-later
// The base library: errors, text from outside, files, processes.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <sys/stat.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/memory.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

constexpr std::array kKinds{Kind::kInternal, Kind::kInvalid, Kind::kNotFound, Kind::kConflict, Kind::kPrecondition,
                            Kind::kTimeout,  Kind::kDenied,  Kind::kUnavailable, Kind::kIo,     Kind::kCancelled};

TEST(Result, KindsRoundTripByNameAndHaveStableExitCodes) {
    for (const Kind kind : kKinds) EXPECT_EQ(kind_from_string(to_string(kind)), kind);
    EXPECT_EQ(exit_code(Kind::kInvalid), 2);
    EXPECT_EQ(exit_code(Kind::kNotFound), 3);
    EXPECT_EQ(exit_code(Kind::kConflict), 4);
    EXPECT_EQ(exit_code(Kind::kPrecondition), 5);
    EXPECT_EQ(exit_code(Kind::kUnavailable), 8);
}

Result<int> check_inside_if(bool outer) {
    if (outer)
        BLANKET_CHECK(Result<void>{});
    else
        return 2;
    return 1;
}

TEST(Result, AnElseAfterACheckBelongsToTheIfBeforeIt) {
    EXPECT_EQ(check_inside_if(true), 1);
    EXPECT_EQ(check_inside_if(false), 2);
}

TEST(Json, ErrorsTravel) {
    const Error error{Kind::kPrecondition, "too small", "grow it"};
    const Error back = error_from_json(to_json(error));
    EXPECT_EQ(back.kind, error.kind);
    EXPECT_EQ(back.what, error.what);
    EXPECT_EQ(back.hint, error.hint);
    EXPECT_EQ(error_from_json(Json(3)).kind, Kind::kInternal);
}

TEST(Json, RefusesDepthSizeAndNonsense) {
    EXPECT_FALSE(parse_json(std::string(65, '[') + std::string(65, ']')));
    EXPECT_TRUE(parse_json(std::string(60, '[') + std::string(60, ']')));
    EXPECT_FALSE(parse_json("[1,2,3]", 4));
    for (const char* text : {"", "{", "{\"a\":}", "nul", "[1 2]"}) EXPECT_FALSE(parse_json(text)) << text;
    const auto object = parse_json(R"({"s":"x","n":5,"neg":-1,"brackets":"[[[["})");
    ASSERT_TRUE(object);
    EXPECT_EQ(*json_string(*object, "s"), "x");
    EXPECT_FALSE(json_string(*object, "n"));
    EXPECT_FALSE(json_number(*object, "neg"));
    EXPECT_FALSE(json_number(Json(1), "n"));
}

TEST(Text, NumbersSizesAndNames) {
    EXPECT_EQ(*parse_number("42", 0, 100, "x"), 42u);
    for (const char* text : {"", "-1", "4 2", "101", "0x10", "999999999999999999999"}) EXPECT_FALSE(parse_number(text, 0, 100, "x")) << text;
    EXPECT_EQ(*parse_size("2G", "x"), std::uint64_t{2} << 30);
    EXPECT_EQ(*parse_size("512M", "x"), std::uint64_t{512} << 20);
    EXPECT_EQ(*parse_size("7", "x"), 7u);
    for (const char* text : {"", "G", "1Q", "99999999999T", "1.5G"}) EXPECT_FALSE(parse_size(text, "x")) << text;
    for (const char* name : {"web", "a", "web-1.x_y"}) EXPECT_TRUE(check_name(name, "VM")) << name;
    for (const char* name : {"", "-a", "a-", "A", "a b", "a/b", "../x", "a\nb"}) EXPECT_FALSE(check_name(name, "VM")) << name;
    EXPECT_FALSE(check_name(std::string(64, 'a'), "VM"));
}

TEST(Text, UuidsAreWellFormedAndDiffer) {
    std::set<std::string> seen;
    for (int i = 0; i < 100; ++i) {
        const std::string uuid = make_uuid();
        EXPECT_TRUE(check_uuid(uuid)) << uuid;
        EXPECT_TRUE(seen.insert(uuid).second);
    }
    EXPECT_FALSE(check_uuid("11111111-2222-4333-8444-55555555555"));
    EXPECT_FALSE(check_uuid("11111111-2222-4333-8444-55555555555G"));
}

TEST(Text, Base64AndSha256KnowTheirVectors) {
    EXPECT_EQ(base64_encode("foob"), "Zm9vYg==");
    for (const std::string& text : {std::string(), std::string("f"), std::string("fo"), std::string("foo"), std::string("foob"), std::string("\0\xff", 2)}) EXPECT_EQ(*base64_decode(base64_encode(text)), text);
    EXPECT_FALSE(base64_decode("Zm9"));
    EXPECT_FALSE(base64_decode("Zm9!"));
    for (const std::string_view other : {"Zm9vYh==", "\n\n\n\nZm9v", "Zm9v\n\n\n\n", "Zg==Zg==", "====", " \t \n", "Zm9vY==="}) EXPECT_FALSE(base64_decode(other)) << other;
    EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Text, Utf8IsToldFromOtherBytes) {
    for (const char* good : {"", "web", "K\u00f6ln", "\u20ac", "\U0001f600", "\U0010ffff"}) EXPECT_TRUE(is_utf8(good)) << good;
    for (const char* bad : {"\xff", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xe2\x82", "\x80"}) EXPECT_FALSE(is_utf8(bad)) << bad;
}

TEST(File, WritesWithModeAndReadsWithBound) {
    const auto folder = std::filesystem::temp_directory_path() / ("base-" + random_hex(4));
    std::filesystem::create_directories(folder);
    const std::string path = folder / "secret";
    ASSERT_TRUE(write_file(path, "one", 0600));
    ASSERT_TRUE(write_file(path, "two", 0600));
    struct stat info{};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0600u);
    EXPECT_EQ(*read_file(path), "two");
    EXPECT_FALSE(read_file(path, 2));
    EXPECT_EQ(read_file(path + "x").error().kind, Kind::kNotFound);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1) << "a temporary file was left";
    std::filesystem::remove_all(folder);
}

TEST(Files, ControlsAreWrittenInPlace) {
    const auto before = read_file("/proc/self/comm");
    ASSERT_TRUE(before);
    EXPECT_FALSE(write_file("/proc/self/comm", "x")) << "nothing can be made there";
    ASSERT_TRUE(write_control("/proc/self/comm", "controlled"));
    EXPECT_EQ(read_file("/proc/self/comm").value(), "controlled\n");
    ASSERT_TRUE(write_control("/proc/self/comm", *before));
    EXPECT_EQ(write_control("/proc/self/no-such-file", "1").error().kind, Kind::kNotFound);
}

TEST(Process, ReturnsOutputStatusAndText) {
    EXPECT_EQ(*run({"printf", "%s", "a b"}), "a b");
    EXPECT_EQ(run_any({"sh", "-c", "exit 7"})->status, 7);
    const auto failed = run({"sh", "-c", "echo why >&2; exit 3"});
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().what.find("why"), std::string::npos);
    EXPECT_EQ(run({"/no/such/program"}).error().kind, Kind::kNotFound);
    EXPECT_EQ(*run({"cat"}, {.input = "through"}), "through");
    const std::string more_than_a_pipe(1 << 20, 'x');  // a child that ends without reading it: its status, and no SIGPIPE for us
    EXPECT_EQ(run_any({"false"}, {.input = more_than_a_pipe})->status, 1);
    EXPECT_EQ(run_any({"true"}, {.input = more_than_a_pipe})->status, 0);
}

TEST(Process, EndsWhatHangsOrFloods) {
    const auto hangs = run({"sh", "-c", "sleep 60 & wait"}, {.deadline = std::chrono::milliseconds(200)});
    ASSERT_FALSE(hangs);
    EXPECT_EQ(hangs.error().kind, Kind::kTimeout);
    EXPECT_FALSE(run({"yes"}, {.max_output = 100'000}));
}

TEST(Process, QuotesForPeople) { EXPECT_EQ(to_string(Argv{"a", "b c", "it's", ""}), "a 'b c' 'it'\\''s' ''"); }

TEST(Memory, OnlyWhatMirrorsAFileIsDropped) {
    const std::string smaps =
        "1000-3000 r-xp 00000000 fd:01 11  /usr/lib/a.so\nSize: 8 kB\nAnonymous:             0 kB\nVmFlags: rd ex\n"
        "3000-4000 r--p 00002000 fd:01 11  /usr/lib/a.so\nAnonymous:             4 kB\n"  // relocated
        "4000-5000 rw-p 00003000 fd:01 11  /usr/lib/a.so\nAnonymous:             0 kB\n"
        "5000-6000 r--s 00000000 fd:01 12  /usr/lib/shared\nAnonymous:             0 kB\n"
        "6000-7000 r--p 00000000 00:00 0 \nAnonymous:             0 kB\n"
        "7000-9000 r--p 00000000 fd:01 13  /usr/share/with blank\nAnonymous:             0 kB\n"
        "nonsense\nAnonymous:             0 kB\n"
        "a000-9000 r-xp 00000000 fd:01 11  /upside/down\nAnonymous:             0 kB\n";
    EXPECT_EQ(droppable(smaps), (std::vector<Mapping>{{0x1000, 0x2000}, {0x7000, 0x2000}}));
    EXPECT_TRUE(droppable("").empty());
}

TEST(Memory, AProgramGoesOnAfterItsPagesWereDropped) {
    EXPECT_GT(drop_start_up_pages(), 1u << 20);
    EXPECT_EQ(parse_json(R"({"a": [1, 2]})")->dump(), R"({"a":[1,2]})");
    EXPECT_EQ(*run({"printf", "%s", "still here"}), "still here");
    EXPECT_FALSE(parse_json("{"));  // exceptions unwind through tables that were dropped
}

}  // namespace
}  // namespace blanket
