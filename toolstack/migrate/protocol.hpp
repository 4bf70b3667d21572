// SPDX-License-Identifier: GPL-2.0-or-later
// The migration protocol between two blanketd: message types, their binary and JSON forms. Pure. Used by source.cpp and target.cpp.
//
//   source                                             target
//   kHello {version, session}           ---------->    on the bare connection: the link that outlives it is agreed (link_session.hpp); what follows is numbered
//                                       <----------    kHello {version, session}
//   kHello {version, job, time_ms}      ---------->    refuses another protocol version, or a clock that is too far off
//                                       <----------    kHello {version, time_ms}
//   kPrepare {record, cache_pages}      ---------->    checks memory, CPU features, pool, names; changes nothing
//                                       <----------    kReady {missing:[image], cache_pages}  or kError; the lesser of both is what both keep
//   CAS: phase = migrating
//   kBegin {revision, pages}            ---------->    reads the record itself; pages: whether the source would refer to the target's content store
//   kImage, kBlock..., kImageEnd        ---------->    for each missing base image       (<- kAck each)
//                                       <----------    kAck {images, offers}: volumes exist, tops suspended; these base images can be referred to, and pages of the content store
//   kBlock..., kRoundEnd {volume}       ---------->    CoW delta, round by round          (<- kAck each, data on disk)
//   kMirror {volume, port, ips, another} -------->     DRBD at the target                 (<- kAck; kAck {taken}: not by this port, where the source says that
//                                                      it would offer another, which it does then)
//   kAskPages                           ---------->    only where it said that it offers some: what has the content store of this VM's tenant?
//                                       <----------    kPages: stream/known_pages.hpp, at most one for each page of the VM
//   kMemoryBegin {stream, images, pages} --------->    the version of stream/format.hpp; the images that are referred to, in this order; whether offered pages are
//   kMemory...                          ---------->    into libvirt's restore, paused
//   guest suspended; frames redirected
//   kMemoryEnd {bytes, digest}          ---------->    restore completes
//   top suspended, mirror drained
//   kDrained                            ---------->    CAS: owner = target, epoch + 1     <- the commit
//                                       <----------    kCommitted {epoch}
//                                       <----------    kResumed                            or kError any time before the commit
//                                       <----------    kTrace {phases, times}: what this took here (move_times.hpp); nothing depends on it
//   Version rule: both ends must speak the same kProtocolVersion; another one is refused in kHello, before anything changes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "toolstack/core/ports.hpp"
#include "toolstack/stream/coding.hpp"

namespace blanket::migrate {

inline constexpr std::uint64_t kProtocolVersion = 4;
using stream::kMaxBlock;                                 // bytes of plain data in one kBlock
inline constexpr std::int64_t kMaxClockSkewMs = 30'000;  // certificates and DHCP leases tolerate more, operators' logs do not

enum class Type : std::uint32_t {
    kHello = 1, kPrepare, kReady, kBegin, kImage, kImageEnd, kBlock, kRoundEnd, kAck, kMirror,
    kMemoryBegin, kMemory, kMemoryEnd, kDrained, kCommitted, kResumed, kError, kAbort,
    kFetchImage,  // instead of kHello: "send me this image" (image_transfer.hpp)
    kTrace,
    kAskPages, kPages,
    kResumeLink, kLinkResumed,  // instead of kHello: a session has another connection, or one anew (link_session.hpp)
};
std::string_view to_string(Type type);

using stream::Coded;
using stream::Coding;
using stream::decode;
using stream::encode;

// kBlock: volume index (or image), position, plain length, coding, data.
struct Block {
    std::uint32_t volume = 0;
    std::uint64_t offset = 0;
    std::uint32_t length = 0;
    Coding coding = Coding::kRaw;
    std::vector<std::byte> data;
};
std::vector<std::byte> pack_block(const Block& block);
Result<Block> parse_block(std::span<const std::byte> payload);  // bounds checked; data still coded

// Pages of its memory that both ends keep of a VM while it moves (stream/page_cache.hpp), as one end offers it: a tenth, at least 8 MiB, at most 128 MiB.
std::uint64_t cache_pages_for(std::uint64_t memory_mib);
// Pages of the content store that a VM's move may be offered.
std::size_t offered_pages_for(std::uint64_t memory_mib);

// A running digest over a byte stream, cheap enough for the memory path. It finds bugs and torn streams; the peer's honesty is TLS's job.
class StreamDigest final {
public:
    void add(std::span<const std::byte> data);
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
    [[nodiscard]] std::string value() const;

private:
    void mix(std::uint64_t word);
    std::uint64_t state_ = 0x6a09e667f3bcc908u, bytes_ = 0, tail_ = 0;
    unsigned tail_bits_ = 0;
};

Result<void> send_json(PeerLink& link, Type type, const Json& value);
Result<void> send_error(PeerLink& link, const Error& error);
// Receives one message that must be of `type`; kError becomes its Error, kAbort kCancelled, anything else kInvalid.
Result<Json> expect(PeerLink& link, Type type, std::chrono::milliseconds deadline);
Result<Message> expect_message(PeerLink& link, Type type, std::chrono::milliseconds deadline);  // the same, whatever its payload
Result<Json> payload_json(const Message& message);

}  // namespace blanket::migrate
