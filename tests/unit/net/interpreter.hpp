// SPDX-License-Identifier: GPL-2.0-or-later
// The packet interpreter (net/walk.hpp) under the tests' own namespace.
#pragma once

#include "net/walk.hpp"

namespace blanket::net::test {

using net::Frame;
using net::Sent;
using net::walk;

}  // namespace blanket::net::test
