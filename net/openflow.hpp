// SPDX-License-Identifier: GPL-2.0-or-later
// The lines of a bundle (ovs.hpp, plan_bundle) as OpenFlow 1.4 messages, so that a change of flows within a guest's pause costs a round trip on a unix
// socket and not a process. Pure; switch_socket.cpp sends them. Knows the words that flow.cpp writes and no others: a line with another word (an entry of
// an older version of ours) is kPrecondition, and the caller takes ovs-ofctl.
// Sources: OpenFlow Switch Specification 1.4.0 (7.2.2, 7.2.3, 7.3.4, 7.3.9), ovs-fields(7) for the numbers of Nicira's fields.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::net {

using Bytes = std::vector<std::byte>;

inline constexpr std::size_t kOpenFlowHead = 8;
enum class OpenFlowType : std::uint8_t { kHello = 0, kError = 1, kEchoRequest = 2, kEchoReply = 3, kPacketOut = 13, kFlowMod = 14, kBarrierRequest = 20, kBarrierReply = 21, kBundleControl = 33, kBundleAdd = 34 };

struct OpenFlowHead {
    std::uint8_t version = 0;
    OpenFlowType type = OpenFlowType::kHello;
    std::uint16_t length = 0;  // of the message with this head; at least 8
    std::uint32_t xid = 0;
};
Result<OpenFlowHead> parse_head(std::span<const std::byte> head);  // needs 8 bytes; kInvalid for less, or a length below 8

Bytes hello(std::uint32_t xid);
Bytes echo_reply(std::span<const std::byte> request);  // the whole request

// Atomic and in order. The commit may be sent only when the barrier was answered without an error before: the switch would commit what it took of the rest.
struct Bundle {
    Bytes lines;   // open, each line, barrier
    Bytes commit;
    std::uint32_t barrier_xid = 0, commit_xid = 0;
};
// At most 100,000 lines. kInvalid: a line that is malformed; kPrecondition: a word of another version.
Result<Bundle> encode_bundle(std::string_view lines, std::uint32_t first_xid);

// What a message from the switch says about the bundle: all lines are taken, all is done, or nothing; an error when it refused something of it.
enum class BundleNews : std::uint8_t { kNone, kTaken, kCommitted };
Result<BundleNews> bundle_news(const OpenFlowHead& head, std::span<const std::byte> body, const Bundle& bundle);

}  // namespace blanket::net
