// SPDX-License-Identifier: GPL-2.0-or-later
// image-builder/verify: what is as signed passes; truncated, altered, unsigned or foreign files are refused by name.
#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"

namespace blanket {
namespace {

struct Release {
    FakeRoot root;
    std::string dir = root.path() + "/out", key = root.path() + "/release.key", pub = root.path() + "/release.pub";

    Release() {
        root.file("/out/a.qcow2", "the image");
        root.file("/out/manifest.json", "{}");
        sh("cd out && sha256sum a.qcow2 manifest.json >SHA256SUMS");
        sh("openssl genpkey -algorithm ed25519 -out release.key && openssl pkey -in release.key -pubout -out release.pub");
        sh("openssl pkeyutl -sign -rawin -inkey release.key -in out/SHA256SUMS -out out/SHA256SUMS.sig");
    }
    void sh(const std::string& text) const {
        const auto ran = run_any({"bash", "-euc", "cd " + root.path() + "; " + text});
        ASSERT_TRUE(ran && ran->status == 0) << text << ": " << (ran ? ran->err : ran.error().what);
    }
    [[nodiscard]] Output verify(const std::string& with, const std::string& file = "a.qcow2") const {
        auto ran = run_any({BLANKET_SOURCE_DIR "/image-builder/verify", with, dir + "/" + file});
        return ran ? *ran : Output{-1, "", ran.error().what};
    }
    void refused(const std::string& why, const std::string& file = "a.qcow2") const {
        const auto said = verify(pub, file);
        EXPECT_EQ(said.status, 1) << why;
        EXPECT_TRUE(said.err.contains(why)) << said.err;
    }
};

TEST(Verify, WhatIsAsSigned) {
    const Release release;
    const auto said = release.verify(release.pub);
    EXPECT_EQ(said.status, 0) << said.err;
    EXPECT_EQ(said.out, "a.qcow2: as signed\n");
    EXPECT_EQ(release.verify(release.pub, "manifest.json").status, 0);
}

TEST(Verify, TruncatedOrAltered) {
    const Release release;
    release.root.file("/out/a.qcow2", "the imag");
    release.refused("'a.qcow2' is truncated or was altered");
}

TEST(Verify, SumsThatWereAlteredWithTheFile) {
    const Release release;
    release.root.file("/out/a.qcow2", "another image");
    release.sh("cd out && sha256sum a.qcow2 >SHA256SUMS");
    release.refused("was not signed with this key");
}

TEST(Verify, AnotherKey) {
    const Release release, other;
    EXPECT_EQ(release.verify(other.pub).status, 1);
}

TEST(Verify, NotSignedNotNamedNotThere) {
    const Release release;
    release.root.file("/out/b.qcow2", "x");
    release.refused("does not name 'b.qcow2'", "b.qcow2");
    release.sh("rm out/SHA256SUMS.sig");
    release.refused("nobody has signed this");
    release.sh("rm out/SHA256SUMS");
    release.refused("no SHA256SUMS");
    EXPECT_EQ(release.verify(release.root.path() + "/none.pub").status, 1);
}

}  // namespace
}  // namespace blanket
