// SPDX-License-Identifier: GPL-2.0-or-later
// The client's HTTP: both body forms, in any pieces, and every way in which a reply can be wrong.
#include <gtest/gtest.h>

#include "toolstack/cli/http.hpp"

namespace blanket::cli {
namespace {

Result<std::string> parse(const std::string& text, std::size_t piece) {
    ReplyParser parser;
    for (std::size_t at = 0; at < text.size() && !parser.done(); at += piece) BLANKET_CHECK(parser.feed(std::string_view(text).substr(at, piece)));
    if (!parser.done()) BLANKET_CHECK(parser.end_of_stream());
    return std::format("{} {}", parser.status(), parser.body());
}

TEST(Http, GoodRepliesInPiecesOfAnySize) {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 hello"},
        {"HTTP/1.1 404 Not Found\r\ncontent-length:0\r\n\r\n", "404 "},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=1\r\n, world\r\n0\r\nTrailer: x\r\n\r\n", "200 hello, world"},
        {"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end", "200 until the end"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}", "202 {}"},
        {"HTTP/1.1 204 No Content\r\n\r\n", "204 "},
        // As long as may be, and cut within the end of the line.
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(127, '0') + "5\r\nhello\r\n0\r\n\r\n", "200 hello"},
        {"HTTP/1.1 200 OK\r\nX: " + std::string((32u << 10) - 20, 'x') + "\r\n\r\nhello", "200 hello"},
    };
    for (const auto& [text, want] : cases)
        for (const std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{7}, text.size()}) {
            const auto got = parse(text, piece);
            ASSERT_TRUE(got) << got.error().what << "\n" << text;
            EXPECT_EQ(*got, want) << piece;
        }
}

TEST(Http, WrongRepliesAreErrors) {
    const std::vector<std::string> cases{
        "",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nX: " + std::string(40000, 'x'),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(200, '0'),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(128, '0') + "5\r\nhello\r\n0\r\n\r\n",
    };
    for (const auto& text : cases)
        for (const std::size_t piece : {std::size_t{1}, std::size_t{4096}}) EXPECT_FALSE(parse(text, piece)) << text.substr(0, 80);
}

TEST(Http, BodyIsBounded) {
    ReplyParser parser;
    ASSERT_TRUE(parser.feed("HTTP/1.1 200 OK\r\n\r\n"));
    const std::string part(1u << 20, 'x');
    bool refused = false;
    for (int i = 0; i < 20 && !refused; ++i) refused = !parser.feed(part);
    EXPECT_TRUE(refused);
}

TEST(Http, RequestAndEncoding) {
    EXPECT_EQ(http_request("GET", "/1.0", ""), "GET /1.0 HTTP/1.1\r\nHost: blanketd\r\nAccept: application/json\r\nConnection: close\r\n\r\n");
    EXPECT_NE(http_request("POST", "/x", "{}").find("Content-Length: 2\r\n\r\n{}"), std::string::npos);
    EXPECT_NE(http_request("POST", "/x", "").find("Content-Length: 0\r\n"), std::string::npos);
    EXPECT_EQ(percent_encode("a/b?c d\n"), "a%2Fb%3Fc%20d%0A");
}

}  // namespace
}  // namespace blanket::cli
