// SPDX-License-Identifier: GPL-2.0-or-later
// What bench-uplink has measured, as tables, as metrics, and whole. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/lab/tool.hpp"
#include "tests/vm/uplink_rig/exits.hpp"

namespace blanket::rig {

struct Value {
    double best = 0;
    std::string unit;
};
using Values = std::map<std::string, Value>;

// Each way to the provider's disk and network. `plain`: the kernel of dom0 in a PVH guest of the provider, with the kernel's own frontends; pv_on_hvm: in an HVM guest, with them; ide, ahci: in an HVM guest, with such a disk and an
// e1000; dom0: inside, by uplink; copied: that with the disk's persistent grants, whose pages are copied; domu: a PV guest of that dom0.
struct Kinds {
    Values plain, pv_on_hvm, ide, ahci, dom0, copied, domu;
    std::map<std::string, std::vector<Stretch>> exits;  // by plain, dom0, ide, ahci
};

// The lines "PROBE bench NAME VALUE UNIT" into the best of all rounds.
Result<void> keep_best(Values& into, const std::string& console);
double of(const Values& values, const std::string& name);  // 0: not measured

// On the standard output, with metrics for the report.
void tell_rates(const Kinds& all, Json& metrics);
void tell_times(const Kinds& all, Json& metrics);      // of the processor's work in such guests
void tell_run_times(const Kinds& all, Json& metrics);  // what moving a MiB costs the provider's processor
void tell_exits(const Kinds& all, Json& metrics);
void tell_alone(const Kinds& all);                     // of parts without a plain guest beside them

// Everything, as it was measured; and the tables of blanket-drivers/README.md out of it, as lines.
Json everything(const Kinds& all);
Json readme_lines(const Kinds& all);

}  // namespace blanket::rig
