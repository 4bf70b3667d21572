// SPDX-License-Identifier: GPL-2.0-or-later
// The metadata fakes themselves: EC2's tokens and how far they go, without a machine.
#include "tests/vm/boot_rig/metadata_service.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

constexpr const char* kAskToken = "PUT /latest/api/token HTTP/1.1\r\nHost: metadata\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n\r\n";
std::string ask_id(const std::string& token) { return "GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: metadata\r\n" + (token.empty() ? "" : "X-aws-ec2-metadata-token: " + token + "\r\n") + "\r\n"; }

// What somebody behind so many routers gets to see within a second: the kernel drops the packets that would not have lived so long (RFC 5082 is what it has that for).
std::string answer_behind(int routers, const std::string& address, const std::string& request) {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int least = routers + 1;
    const timeval patience{.tv_sec = 1, .tv_usec = 0};
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<std::uint16_t>(parse_number(address.substr(address.find(':') + 1), 1, 65535, "port").value_or(0)));
    if (!fd || ::setsockopt(fd.get(), IPPROTO_IP, IP_MINTTL, &least, sizeof least) != 0 || ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 || ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
        return "no connection";
    std::string all;
    char some[4096];
    for (ssize_t got = 0; (got = ::recv(fd.get(), some, sizeof some, 0)) > 0;) all.append(some, static_cast<std::size_t>(got));
    return all;
}
std::string body(const std::string& answer) {
    const auto at = answer.find("\r\n\r\n");
    return answer.starts_with("HTTP/1.1 200 ") && at != std::string::npos ? answer.substr(at + 4) : "";
}

TEST(MetadataService, Ec2WantsATokenOfItsOwn) {
    const MetadataService service(ec2_metadata({{"meta-data/instance-id", "i-1"}}));
    EXPECT_TRUE(answer_behind(0, service.address(), ask_id("")).starts_with("HTTP/1.1 401 "));
    EXPECT_TRUE(answer_behind(0, service.address(), ask_id("0123456789abcdef")).starts_with("HTTP/1.1 401 "));
    EXPECT_TRUE(answer_behind(0, service.address(), "PUT /latest/api/token HTTP/1.1\r\nHost: metadata\r\nContent-Length: 0\r\n\r\n").starts_with("HTTP/1.1 400 ")) << "a token without an end";
    EXPECT_EQ(service.refused(), 3u);
    const std::string token = body(answer_behind(0, service.address(), kAskToken));
    ASSERT_FALSE(token.empty());
    EXPECT_EQ(body(answer_behind(0, service.address(), ask_id(token))), "i-1");
    EXPECT_EQ(service.answered(), 2u);
}

// A VM whose packets its host routes does not get one of the host's tokens; whoever has one is answered anywhere, as the limit is the token's only.
TEST(MetadataService, Ec2sTokensDieAtTheirHopLimit) {
    const MetadataService service(ec2_metadata({{"meta-data/instance-id", "i-1"}})), wider(ec2_metadata({{"meta-data/instance-id", "i-1"}}, 2));
    const std::string token = body(answer_behind(0, service.address(), kAskToken));
    EXPECT_FALSE(token.empty());
    EXPECT_EQ(answer_behind(1, service.address(), kAskToken), "");
    EXPECT_EQ(body(answer_behind(5, service.address(), ask_id(token))), "i-1");
    EXPECT_NE(body(answer_behind(1, wider.address(), kAskToken)), "");
    EXPECT_EQ(answer_behind(2, wider.address(), kAskToken), "");
}

}  // namespace
}  // namespace blanket::boot_rig
