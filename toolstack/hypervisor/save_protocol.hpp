// SPDX-License-Identifier: GPL-2.0-or-later
// What blanket-save prints, one JSON object a line, and the head of libvirt's Xen save image. Pure. Used by blanket-save (writes) and
// LibvirtHypervisor (reads).
//
//   blanketd                    blanket-save DOMID FD LIMITS          libxenguest
//      | spawn, fd passed on -------->| xc_domain_save(LIVE) --------------->|
//      |<- {"round":0,"bytes":...} ---|<------ pages sent, and the policy ---|     with "sending", the round's pages, and "forecast_ms"
//      |<- {"ended":{...}} -----------|
//      |<- {"stopping":true,...} -----|<------ suspend callback -------------|
//      | a byte -------------------->|   asks the guest now; without a byte after a second, or at the end of its input
//      |<- {"suspended":true,...} ----|      with the times, in ms of CLOCK_BOOTTIME
//      |<- {"done":true}, exit 0 -----|          or {"error":"..."}, exit 1: the guest runs on
//      | SIGTERM -------------------->|  give up: {"error":..., "cancelled":true}, the guest runs on
//
// Version rule: both ends ship in one package; a line of another form is ignored.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/result.hpp"
#include "toolstack/core/ports.hpp"

namespace blanket {

struct SaveLine {
    enum class What { kProgress, kRound, kStopping, kSuspended, kDone, kError } what = What::kProgress;
    std::uint32_t round = 0;
    std::uint64_t bytes = 0;        // of page data sent so far, all rounds
    std::uint64_t sending = 0;      // kProgress: pages of this round
    SaveRound ended = {};           // kRound
    std::string why = {};           // kStopping: what ended the copying
    std::int64_t forecast_ms = 0;   // kProgress, kStopping: the guest's stop, as foreseen
    std::int64_t asked_ms = 0, suspended_ms = 0;  // kSuspended
    std::string error = {}, hint = {};  // kError; a hint: the user's limits ended it
    bool cancelled = false;
};

std::string format_line(const SaveLine& line);  // with its newline
Result<SaveLine> parse_line(std::string_view line);

// LIMITS: "target,max,time,fixed,rounds,throttle", the first four in ms, the last 0 or 1. kInvalid beyond a day.
std::string format_limits(const SaveLimits& limits);
Result<SaveLimits> parse_limits(std::string_view text);

// libvirt's src/libxl/libxl_conf.h: 16 bytes of magic, u32 version 2, u32 length of the XML with its NUL, 40 bytes of zero; then the XML and its NUL.
// kInvalid when the XML is empty, holds a NUL or is longer than 1 MiB.
Result<std::vector<std::byte>> encode_save_header(std::string_view xml);

}  // namespace blanket
