// SPDX-License-Identifier: GPL-2.0-or-later
// A base image over a link, once: within a migration (source pushes what the target lacks) or on its own (a site fetches what it needs).
//
//   kImage {sha256, size, from}, kBlock..., kImageEnd   ---------->   blocks in ascending order, those below `from` left out; verified against the hash before it becomes visible; then kAck
//
// Within a migration the link itself outlives its connections (resumable_link.hpp); fetch_image() asks again for what a lost connection still owed.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "toolstack/core/ports.hpp"
#include "toolstack/migrate/protocol.hpp"

namespace blanket::migrate {

// `progress(percent)` is called between messages; false ends it with kCancelled. `from`: bytes of the image that the other end has.
Result<void> send_image(PeerLink& link, BlockStore& blocks, const std::string& sha256, const std::function<bool(double)>& progress, std::uint64_t from = 0);
// Receives kImage and all that follows, and acknowledges.
Result<void> receive_image(PeerLink& link, BlockStore& blocks, const std::string& sha256);

struct FetchLimits {
    std::chrono::milliseconds silence{15'000};   // of a link that counts as lost
    std::chrono::milliseconds pause{1'000};      // before another one is tried
    std::chrono::milliseconds patience{90'000};  // without a new byte
};
// Asks a site for an image, over a link of `reach`: when it breaks, over the next one, for the rest. The first link must come at once. Blocks; kIo or kTimeout once the patience is over.
Result<void> fetch_image(const std::function<Result<std::unique_ptr<PeerLink>>()>& reach, BlockStore& blocks, const std::string& sha256, const FetchLimits& limits = {});
// The other end: the body of kFetchImage {sha256, from}.
Result<void> serve_image(PeerLink& link, BlockStore& blocks, const Json& request);

}  // namespace blanket::migrate
