// SPDX-License-Identifier: GPL-2.0-or-later
// What the console is told of user-data with a mistake, from the account that cloud-init leaves.
#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

struct Told {
    int status = -1;
    std::string console, err;
};

Told told(const std::string& account) {
    const FakeRoot root;
    root.file("/run/cloud-init/status.json", account);
    root.file("/dev/kmsg", "");
    const auto ran = run_any({"env", "ROOT=" + root.path(), "python3", BLANKET_SOURCE_DIR "/image-builder/extra/usr/libexec/blanket/userdata-errors"});
    EXPECT_TRUE(ran) << ran.error().what;
    if (!ran) return {};
    return {ran->status, read_file(root.path() + "/dev/kmsg", 1u << 16).value_or("?"), ran->err};
}

TEST(UserdataErrors, EachOnceInALineOfItsOwn) {
    const Told one = told(R"({"v1": {"datasource": "x", "stage": null, "init": {"errors": ["a\n  b"], "recoverable_errors": {"WARNING": ["a b", "Failed loading yaml blob", 3]}}, "modules-final": {"errors": []}}})");
    EXPECT_EQ(one.status, 0) << one.err;
    EXPECT_TRUE(one.console.starts_with("<3>blanket-userdata: cloud-init complains: a b\n<3>blanket-userdata: cloud-init complains: Failed loading yaml blob\n")) << one.console;
    EXPECT_TRUE(one.console.contains("Mend the user-data")) << one.console;
}

TEST(UserdataErrors, NothingWhereAllIsWell) {
    const Told one = told(R"({"v1": {"datasource": "x", "init": {"errors": [], "recoverable_errors": {}}}})");
    EXPECT_EQ(one.status, 0) << one.err;
    EXPECT_EQ(one.console, "");
}

TEST(UserdataErrors, ManyAndLongOnesAreCutShort) {
    std::string errors;
    for (int number = 0; number < 50; ++number) errors += std::format("{}\"{}{}\"", number == 0 ? "" : ", ", number, std::string(3000, 'x'));
    const Told one = told(R"({"v1": {"init": {"errors": [)" + errors + "]}}}");
    EXPECT_EQ(one.status, 0) << one.err;
    EXPECT_TRUE(one.console.contains("and 42 more")) << one.console;
    for (const auto& line : split(one.console, '\n')) EXPECT_LT(line.size(), 500u);
}

TEST(UserdataErrors, AnAccountThatIsNoneIsNoTraceback) {
    for (const char* account : {"", "[]", "{\"v1\": 3}", "{}"}) {
        const Told one = told(account);
        EXPECT_EQ(one.console, "") << account;
        EXPECT_FALSE(one.err.contains("Traceback")) << one.err;
    }
}

}  // namespace
}  // namespace blanket
