// SPDX-License-Identifier: GPL-2.0-or-later
// Two rates of this machine that the models need.
#pragma once

#include "toolstack/base/result.hpp"

namespace blanket::bench {

// Seconds that AES-128-GCM takes of a processor for a byte, in TLS records of 16 KiB.
Result<double> measure_cipher();
// Bytes a second from one thread to another through a local stream socket, in writes of 256 KiB: the link that is not shaped.
Result<double> measure_socket();

}  // namespace blanket::bench
