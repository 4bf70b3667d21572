// SPDX-License-Identifier: GPL-2.0-or-later
// What Open vSwitch is asked while a guest stands still, over its unix sockets instead of by its command line programs, each of which costs a third of a
// second of an emulated processor. Used by commands.cpp. Thread safe: a connection per call.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket::net {

// $OVS_RUNDIR or /run/openvswitch.
std::string switch_folder();

// The lines of a bundle to the bridge, as one atomic change. kPrecondition: nothing was sent, a line has words that only ovs-ofctl knows (openflow.hpp);
// kUnavailable: the switch does not answer; kIo: it refused; kTimeout: it did not take or do it all by the deadline.
Result<void> send_bundle(const std::string& bridge, std::string_view lines, std::chrono::milliseconds deadline);

// The tables Bridge, Port and Interface in the form of `ovs-vsctl --format=json`, one per line (ovs.hpp, parse_switch), of one moment.
// Source: RFC 7047 sections 4.1.3 and 5.2.2.
Result<std::string> read_tables(const std::string& bridge, std::chrono::milliseconds deadline);

}  // namespace blanket::net
