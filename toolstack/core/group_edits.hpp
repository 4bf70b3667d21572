// SPDX-License-Identifier: GPL-2.0-or-later
// Changes of a network's security groups, each checked before it is made. Pure; the daemon writes the network's record by compare-and-swap afterwards.
#pragma once

#include "toolstack/core/records.hpp"

namespace blanket {

// kNotFound with the groups that there are.
Result<SecurityGroup*> find_group(Net& net, const std::string& name);

Result<void> add_group(Net& net, const std::string& name, bool everybody);  // with default_rules()
Result<void> remove_group(Net& net, const std::string& name);               // kConflict while another group's rule names it
Result<void> add_rule(Net& net, const std::string& group, const SecurityRule& rule);
Result<void> remove_rule(Net& net, const std::string& group, std::size_t number);  // from 1, as `security-group show` counts
Result<void> add_member(Net& net, const std::string& group, const VmRecord& vm);   // which has a card in the network
Result<void> remove_member(Net& net, const std::string& group, const VmRecord& vm);

}  // namespace blanket
