// SPDX-License-Identifier: GPL-2.0-or-later
// Certificates and join tokens, with damaged input of every kind.
#include <gtest/gtest.h>

#include "tests/unit/peer/identity.hpp"
#include "toolstack/peer/join_token.hpp"

namespace blanket {
namespace {

const Subject kEast{"east", "10.0.2.15"};

TEST(Pki, SignsAndChecksAnIdentity) {
    const auto ca = make_ca("lab");
    ASSERT_TRUE(ca) << ca.error().what;
    const auto request = make_csr(kEast);
    ASSERT_TRUE(request) << request.error().what;
    const auto cert = sign_csr(*ca, request->csr, kEast);
    ASSERT_TRUE(cert) << cert.error().what;
    EXPECT_TRUE(check_identity(ca->cert, *cert, request->key, "east"));
    EXPECT_EQ(certificate_name(*cert).value(), "east");
    EXPECT_EQ(fingerprint(ca->cert).value().size(), 64u);
    EXPECT_NE(fingerprint(ca->cert).value(), fingerprint(*cert).value());
    EXPECT_EQ(check_identity(ca->cert, *cert, request->key, "west").error().kind, Kind::kDenied);
    const auto other = make_ca("lab");
    EXPECT_EQ(check_identity(other->cert, *cert, request->key, "east").error().kind, Kind::kDenied);
    EXPECT_EQ(check_identity(ca->cert, *cert, other->key, "east").error().kind, Kind::kDenied);
}

TEST(Pki, TheRequestsOwnNameIsNotBelieved) {
    const auto ca = make_ca("lab");
    const auto request = make_csr({"mallory", "10.9.9.9"});
    const auto cert = sign_csr(*ca, request->csr, kEast);
    ASSERT_TRUE(cert);
    EXPECT_EQ(certificate_name(*cert).value(), "east");
}

TEST(Pki, ExpiredCertificateIsRefused) {
    const auto ca = make_ca("lab");
    const auto request = make_csr(kEast);
    const std::string gone = sign_csr(*ca, request->csr, kEast, std::chrono::hours(-1)).value();
    EXPECT_EQ(check_identity(ca->cert, gone, request->key, "east").error().kind, Kind::kDenied);
}

TEST(Pki, DamagedTextsAreErrors) {
    const auto ca = make_ca("lab");
    const auto request = make_csr(kEast);
    for (std::size_t size = 0; size + 1 < request->csr.size(); ++size) {  // without its last newline it is whole
        const auto cert = sign_csr(*ca, request->csr.substr(0, size), kEast);
        EXPECT_FALSE(cert) << size;
    }
    std::string flipped = request->csr;
    flipped[flipped.size() / 2] = flipped[flipped.size() / 2] == 'A' ? 'B' : 'A';
    EXPECT_EQ(sign_csr(*ca, flipped, kEast).error().kind, Kind::kInvalid);
    EXPECT_EQ(fingerprint("").error().kind, Kind::kInvalid);
    EXPECT_EQ(make_csr({"Not A Name", "10.0.0.1"}).error().kind, Kind::kInvalid);
    EXPECT_EQ(make_csr({"east", "10.0.0.1,DNS:evil"}).error().kind, Kind::kInvalid);
}

JoinToken sample() { return {std::string(64, 'a'), {"10.0.2.15:7443", "east.example:7443"}, std::string(16, '1'), std::string(64, 'f')}; }

TEST(JoinTokenText, GoesRoundAndRefusesEveryTruncation) {
    const std::string text = format_token(sample());
    EXPECT_TRUE(text.starts_with("blanket1."));
    EXPECT_EQ(parse_token_text(text).value(), sample());
    EXPECT_EQ(parse_token_text("  " + text + "\n").value(), sample());
    for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(parse_token_text(text.substr(0, size))) << size;
}

TEST(JoinTokenText, RefusesEveryChangedCharacter) {
    const std::string text = format_token(sample());
    for (std::size_t at = 0; at < text.size() - 1; ++at) {  // the last one may carry unused bits
        std::string changed = text;
        changed[at] = changed[at] == 'A' ? 'B' : 'A';
        const auto parsed = parse_token_text(changed);
        EXPECT_FALSE(parsed) << at;
        if (!parsed) EXPECT_EQ(parsed.error().kind, Kind::kInvalid);
    }
    EXPECT_FALSE(parse_token_text(std::string(100000, 'x')));
}

}  // namespace
}  // namespace blanket
