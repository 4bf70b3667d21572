// SPDX-License-Identifier: GPL-2.0-or-later
// What the tests of the boot rig share: the artefacts under test, a seed, and what a healthy machine is. BLANKET_IMAGE: the appliance (qcow2); BLANKET_ISO, BLANKET_PXE: of a release.
#pragma once

#include <gtest/gtest.h>

#include "tests/vm/boot_rig/machine.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::boot_rig {

class Boot : public testing::Test {
protected:
    static constexpr const char* kDir = "/cache/lab/boot";

    void SetUp() override;
    static std::string machine_dir() { return std::string(kDir) + "/m"; }
    // The environment's word for an artefact; a test without its artefact fails.
    static std::string artefact(const char* name);
    // A NoCloud seed with root's key and a name.
    [[nodiscard]] std::string seed(const std::string& user_data, const std::string& name) const;
    // Reachable under its name, doctor without a failure, this start of Xen confirmed, and no trace of the modules for a provider's Xen.
    static void healthy(Machine& machine, const std::string& name);
    static std::string tail(const std::string& text) { return text.size() > 3000 ? text.substr(text.size() - 3000) : text; }

    std::string image_, key_;
};

// The findings of doctor by name, once none of them is a failure; empty, and a failed test, when that does not come about.
std::map<std::string, std::string> green_findings(Machine& machine);

}  // namespace blanket::boot_rig
