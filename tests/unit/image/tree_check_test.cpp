// SPDX-License-Identifier: GPL-2.0-or-later
// image-builder/tree-check: a tree as an appliance's passes; each thing that may not be in it is refused by its path.
#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"

namespace blanket {
namespace {

struct Tree {
    FakeRoot root;

    Tree() {
        root.file("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
        root.file("/etc/shadow", "root:*:20000:0:99999:7:::\nsshd:!:20000::::::\nold:!*:20000::::::\n");
        root.file("/etc/gshadow", "root:*::\nsudo:!::\n");
        root.file("/etc/machine-id", "");
        root.file("/usr/bin/su", "a program");
        root.file("/usr/bin/tool", "it knows the words -----BEGIN PRIVATE KEY----- and no key\n");
        sh("chmod 4755 usr/bin/su; mkdir -p tmp var/log; chmod 1777 tmp; ln -s nowhere etc/link");
    }
    void sh(const std::string& text) const {
        const auto ran = run_any({"bash", "-euc", "cd " + root.path() + "; " + text});
        ASSERT_TRUE(ran && ran->status == 0) << text << ": " << (ran ? ran->err : ran.error().what);
    }
    [[nodiscard]] Output check() const {
        auto ran = run_any({BLANKET_SOURCE_DIR "/image-builder/tree-check", root.path(), "usr/bin/su"});
        return ran ? *ran : Output{-1, "", ran.error().what};
    }
};

TEST(TreeCheck, ATreeAsItShouldBe) {
    const auto said = Tree().check();
    EXPECT_EQ(said.status, 0) << said.err;
    EXPECT_EQ(said.err, "");
}

TEST(TreeCheck, WhatMayNotBeThere) {
    struct Case {
        const char *change, *said;
    };
    for (const Case& one : {
             Case{"chmod o+w etc/passwd", "etc/passwd: all may write it (mode 0"},
             Case{"chmod 777 var/log", "var/log: all may write it"},
             Case{"chmod u+s usr/bin/tool", "usr/bin/tool: runs with rights of its owner"},
             Case{"chmod g+s usr/bin/tool", "usr/bin/tool: runs with rights of its owner or group (mode 2"},
             Case{"sed -i 's/^root:[*]/root:$6$x$y/' etc/shadow", "etc/shadow: root has a password"},
             Case{"sed -i 's/^root:[*]/root:/' etc/shadow", "etc/shadow: root has a password, or needs none"},
             Case{"sed -i 's/:x:/::/' etc/passwd", "etc/passwd: root has a password, or needs none"},
             Case{"cp etc/shadow etc/shadow-; sed -i 's/^sshd:!/sshd:$y$j/' etc/shadow-", "etc/shadow-: sshd has a password"},
             Case{"rm etc/shadow", "etc/shadow: missing"},
             Case{"openssl genpkey -algorithm ed25519 -out etc/some.conf", "etc/some.conf: a private key"},
             Case{"mkdir -p etc/ssh; echo x >etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ed25519_key: the identity"},
             Case{"echo 1234 >etc/machine-id", "etc/machine-id: not empty"},
             Case{"mkdir -p root/.ssh; echo x >root/.ssh/authorized_keys", "root/.ssh/authorized_keys: the identity"},
             Case{"mkdir -p var/lib/cloud/instances", "var/lib/cloud/instances: the identity or the past"},
         }) {
        const Tree tree;
        tree.sh(one.change);
        const auto said = tree.check();
        EXPECT_EQ(said.status, 1) << one.change;
        EXPECT_TRUE(said.err.contains(one.said)) << one.change << ": " << said.err;
    }
}

}  // namespace
}  // namespace blanket
