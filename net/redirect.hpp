// SPDX-License-Identifier: GPL-2.0-or-later
// The flows of a VM in flight. Called by pipeline.cpp; pure.
//
//   third site C          source A (suspended)              target B
//      |--frame for V------->|                                 |
//      |                     |--divert (kLocal, strict)------->| kTunnelIngress: V's relay rule hears A's tunnel
//      |                     |                                 | kLocal: waits in the hold; V's port, once its driver is back
//      |                     |<--V speaks, the moment B runs it-| A hears B's tunnel for V from the redirect on
//
// A site never has both a redirect and a relay rule for one VM (model.cpp, resolve), so a relayed frame is never relayed again: no loop, whatever
// the order in which the sites learn of the commit.
#pragma once

#include "net/model.hpp"

namespace blanket::net {

// Source: the endpoint's frames go to endpoint.redirect, from local ports and tunnels alike; its speech from there is accepted. From kOut on its own
// vif here has no flows (model.cpp): a copy that wakes up unfenced is heard by nobody, not even under cover of the relay.
// Empty when there is no redirect or no tunnel port.
std::vector<Flow> redirect_flows(const Endpoint& endpoint, std::uint32_t tunnel_port);
// Target: frames for the endpoint are heard from endpoint.relay whoever their first sender was, except in the gateway's name.
std::vector<Flow> relay_flows(const Endpoint& endpoint);
// Target: frames for the endpoint wait in its hold (hold.hpp), and what comes out of the hold goes to the VM's port
// once that is connected.
std::vector<Flow> hold_flows(const Endpoint& endpoint);
// What a tunnel frame in the endpoint's name must look like to be heard from `tunnel`.
Flow ingress_flow(const Endpoint& endpoint, std::uint32_t tunnel);

}  // namespace blanket::net
