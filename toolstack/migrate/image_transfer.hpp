// SPDX-License-Identifier: GPL-2.0-or-later
// A base image over a link, once: within a migration (source pushes what the target lacks) or on its own (a site fetches what it needs).
//
//   kImage {sha256, size}, kBlock..., kImageEnd   ---------->   verified against the hash before it becomes visible; then kAck
#pragma once

#include <functional>

#include "toolstack/core/ports.hpp"
#include "toolstack/migrate/protocol.hpp"

namespace blanket::migrate {

// `progress(percent)` is called between messages; false ends it with kCancelled.
Result<void> send_image(PeerLink& link, BlockStore& blocks, const std::string& sha256, const std::function<bool(double)>& progress);
// Receives kImage and all that follows, and acknowledges.
Result<void> receive_image(PeerLink& link, BlockStore& blocks, const std::string& sha256);

}  // namespace blanket::migrate
