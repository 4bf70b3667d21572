// SPDX-License-Identifier: GPL-2.0-or-later
// The locks: what a root has that its lock does not say is told, line by line; and the locks of the tree are whole.
#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

Output shell(const FakeRoot& root, const std::string& text) {
    auto ran = run_any({"bash", "-euc", ". " BLANKET_SOURCE_DIR "/image-builder/locked.sh; cd " + root.path() + "; " + text});
    return ran ? *ran : Output{-1, "", ran.error().what};
}

std::string installed(const std::string& name, const std::string& version, const std::string& state = "install ok installed") {
    return std::format("Package: {}\nStatus: {}\nMaintainer: nobody\nArchitecture: amd64\nVersion: {}\nDescription: none\n\n", name, state, version);
}

struct Locked {
    FakeRoot root;
    explicit Locked(const std::string& status) {
        root.file("/lock", "# a comment\ntime 1700000000\na 1.0-1 amd64\nb 2:3.1+x amd64\nxen 4.20 source\n");
        root.file("/root/var/lib/dpkg/status", status);
    }
    [[nodiscard]] std::string differs() const {
        const auto said = shell(root, "lock_differs lock root");
        EXPECT_EQ(said.status, 0) << said.err;
        return said.out;
    }
};

TEST(Lock, ARootAsLocked) {
    EXPECT_EQ(Locked(installed("a", "1.0-1") + installed("b", "2:3.1+x")).differs(), "");
    EXPECT_EQ(Locked(installed("a", "1.0-1") + installed("b", "2:3.1+x") + installed("c", "1", "deinstall ok config-files")).differs(), "");
}

TEST(Lock, WhatDiffersIsTold) {
    EXPECT_EQ(Locked(installed("a", "1.0-2") + installed("c", "9")).differs(),
              "a: the lock has 1.0-1/amd64, the mirror 1.0-2/amd64\nb: 2:3.1+x/amd64 is in the lock, and was not installed\nc: 9/amd64 was installed, and is not in the lock\n");
}

TEST(Lock, ItsTimeAndSources) {
    const Locked locked("");
    EXPECT_EQ(shell(locked.root, "lock_time lock; lock_source lock xen; lock_packages lock | wc -l").out, "1700000000\n4.20\n2\n");
}

TEST(Lock, AnArchiveStandsInForTheMirror) {
    const FakeRoot root;
    EXPECT_TRUE(shell(root, "BLANKET_MIRROR=http://archive/x BLANKET_SECURITY_MIRROR=http://archive/s lock_mirror").out.starts_with("deb http://archive/x trixie main\n"));
    EXPECT_TRUE(shell(root, "unset BLANKET_MIRROR BLANKET_SECURITY_MIRROR; lock_mirror").out.contains("deb http://security.debian.org/debian-security trixie-security main\n"));
}

// Each package that a list names is in its lock: whoever changes the list runs ./dev lock.
TEST(Lock, TheTreesLocksAreWhole) {
    for (const char* list : {"packages/appliance", "packages/buildroot", "domu/packages/guest"}) {
        const FakeRoot root;
        const auto said = shell(root, std::string("list=" BLANKET_SOURCE_DIR "/image-builder/") + list +
                                          "; [ $(lock_time $list.lock) -gt 1700000000 ]; for name in $(sed 's/#.*//' $list); do grep -q \"^$name \" $list.lock || echo $name; done");
        EXPECT_EQ(said.status, 0) << list << said.err;
        EXPECT_EQ(said.out, "") << list << ": not in its lock; run ./dev lock";
    }
}

}  // namespace
}  // namespace blanket
