// SPDX-License-Identifier: GPL-2.0-or-later
// What each verb_*.cpp gives to the table of verbs.
#pragma once

#include <vector>

#include "toolstack/cli/run.hpp"
#include "toolstack/cli/spec.hpp"

namespace blanket::cli {

std::vector<VerbSpec> federation_verbs();
std::vector<VerbSpec> site_verbs();
std::vector<VerbSpec> image_verbs();
std::vector<VerbSpec> net_verbs();
std::vector<VerbSpec> security_group_verbs();
std::vector<VerbSpec> vm_verbs();
std::vector<VerbSpec> host_verbs();
std::vector<VerbSpec> update_verbs();
std::vector<VerbSpec> job_verbs();
std::vector<VerbSpec> events_verbs();
std::vector<VerbSpec> uplink_verbs();
std::vector<VerbSpec> path_verbs();
std::vector<VerbSpec> doctor_verbs();
std::vector<VerbSpec> help_verbs();

// verb_vm_create.cpp, verb_vm_console.cpp: the long ones of `vm`.
VerbSpec vm_create_verb();
VerbSpec vm_import_verb();
VerbSpec vm_console_verb();

// "libvirt-xml" or "xl-cfg" by what the text looks like; kInvalid when it is neither.
Result<std::string> detect_definition(std::string_view text);

}  // namespace blanket::cli
