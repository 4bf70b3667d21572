// SPDX-License-Identifier: GPL-2.0-or-later
// The API's objects as tables and lines for people. Pure. Called by the verbs. A field that is absent shows as "-", never fails.
#pragma once

#include <string>

#include "toolstack/base/json.hpp"
#include "toolstack/cli/args.hpp"
#include "toolstack/cli/table.hpp"

namespace blanket::cli {

std::string to_text(const Json& value, Format format);  // json (two spaces of indent) or yaml

Table vm_table(const Json& reply);
Table site_table(const Json& reply);
Table image_table(const Json& reply);
Table net_table(const Json& reply);
std::string net_text(const Json& net, const Terminal& terminal);  // of one, with its groups and VMs
Table security_group_table(const Json& reply);
std::string security_group_text(const Json& net, const Json& group, const Terminal& terminal);  // of one, with its rules
std::string trace_text(const Json& reply, const Terminal& terminal);  // of `net trace`
Table job_table(const Json& reply);
Table event_table(const Json& reply);
std::string event_line(const Json& event);  // for --follow
Table uplink_table(const Json& reply);
Table path_table(const Json& reply);
std::string path_notes(const Json& reply);  // why a way is not a better one; empty: all are direct
Table uplink_stat_table(const Json& reply);
Fields uplink_bus_fields(const Json& reply);  // empty where no provider's Xen is
Fields vm_fields(const Json& vm);
Fields site_fields(const Json& site);
Fields job_fields(const Json& job);
Table phase_table(const Json& job);
std::string federation_text(const Json& reply, const Terminal& terminal);
std::string doctor_text(const Json& reply, const Terminal& terminal);
std::string steps_text(const Json& reply);  // of a --dry-run
std::string error_text(const Error& error, const std::string& action);  // "blanket: cannot ...\n  next: ...\n"
// One line for a job that ended well: "started web in 3.2 s", for a migration also the downtime and the bytes.
std::string job_summary(const Json& job, const std::string& action);
std::string subject_of(const Json& job);  // "web" of "vm/web"
double job_seconds(const Json& job);  // from its phases' last end, else from "total_s"; < 0 = not known
std::string seconds_text(double seconds);  // "412 ms", "3.2 s", "2 min 05 s"

}  // namespace blanket::cli
