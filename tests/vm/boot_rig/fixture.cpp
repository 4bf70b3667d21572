// SPDX-License-Identifier: GPL-2.0-or-later
// See fixture.hpp.
#include "tests/vm/boot_rig/fixture.hpp"

#include <cstdlib>
#include <print>

#include "tests/lab/deadline.hpp"
#include "tests/lab/provider.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {

using std::chrono::minutes;
using std::chrono::seconds;

std::string Boot::artefact(const char* name) {
    const char* const value = std::getenv(name);
    EXPECT_TRUE(value != nullptr && *value != 0) << name << " names no file: run ./dev test boot";
    return value != nullptr ? value : "";
}

void Boot::SetUp() {
    image_ = artefact("BLANKET_IMAGE");
    ASSERT_FALSE(image_.empty());
    const auto key = public_key(machine_dir());
    ASSERT_TRUE(key) << key.error().what;
    key_ = *key;
}

std::string Boot::seed(const std::string& user_data, const std::string& name) const {
    const std::string path = std::string(kDir) + "/seed.img";
    const auto made = lab::make_seed({.meta_data = "instance-id: " + name + "\nlocal-hostname: " + name + "\npublic-keys: [\"" + key_ + "\"]\n", .user_data = user_data,
                                      .network_config = "version: 2\nethernets:\n  all:\n    match: {name: \"e*\"}\n    dhcp4: true\n"}, kDir, path);
    EXPECT_TRUE(made) << made.error().what;
    return path;
}

void Boot::healthy(Machine& machine, const std::string& name) {
    const auto started = std::chrono::steady_clock::now();
    const auto up = machine.wait_ssh(minutes(6));
    ASSERT_TRUE(up) << up.error().what << "\n" << tail(machine.console());
    EXPECT_EQ(trim(machine.ssh("hostname").value_or("?")), name);
    (void)green_findings(machine);
    std::println("    green after {} s", std::chrono::duration_cast<seconds>(std::chrono::steady_clock::now() - started).count());
    const auto confirmed = lab::wait_until("this start of Xen is confirmed", minutes(1), seconds(2), [&]() -> Result<bool> { return trim(machine.ssh("/usr/libexec/blanket/boot-tries").value_or("?")) == "0"; });
    EXPECT_TRUE(confirmed) << confirmed.error().what;
    EXPECT_EQ(trim(machine.ssh(lab::kUplinkTraces).value_or("?")), "") << "no Xen is around this machine";
}

std::map<std::string, std::string> green_findings(Machine& machine) {
    std::string said_last;
    std::map<std::string, std::string> found;
    const auto green = lab::wait_until("doctor has no failure", minutes(4), seconds(3), [&]() -> Result<bool> {
        const auto said = machine.ssh("blanket doctor --output json; true");
        if (!said) return false;
        said_last = *said;
        const auto report = parse_json(*said);
        if (!report || !report->contains("checks")) return false;
        found.clear();
        for (const auto& check : (*report)["checks"]) {
            if (check.value("status", "") == "fail") return false;
            found[check.value("name", "")] = check.value("status", "") + ": " + check.value("detail", "");
        }
        return true;
    });
    EXPECT_TRUE(green) << said_last;
    return green ? found : std::map<std::string, std::string>{};
}

}  // namespace blanket::boot_rig
