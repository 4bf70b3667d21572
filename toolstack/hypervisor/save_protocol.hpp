// SPDX-License-Identifier: GPL-2.0-or-later
// What blanket-save prints, one JSON object a line, and the head of libvirt's Xen save image. Pure. Used by blanket-save (writes) and
// LibvirtHypervisor (reads).
//
//   blanketd                    blanket-save DOMID FD                 libxl-save-helper
//      | spawn, fd passed on -------->| libxl_domain_suspend(LIVE) --------->|
//      |<- {"round":0,"bytes":...} ---|<------------- progress --------------|
//      |<- {"stopping":true} ---------|<-- (libxl is about to ask the guest)
//      | a byte ------------------->|   ask it now; without a byte after a second, or at the end of its input
//      |<- {"suspended":true} --------|<------ "Domain now suspended" -------|
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

namespace blanket {

struct SaveLine {
    enum class What { kProgress, kStopping, kSuspended, kDone, kError } what = What::kProgress;
    std::uint32_t round = 0;
    std::uint64_t bytes = 0;  // of page data sent so far, all rounds
    std::string error;
    bool cancelled = false;
};

std::string format_line(const SaveLine& line);  // with its newline
Result<SaveLine> parse_line(std::string_view line);

// "Frames iteration 3" -> 3; anything else is kInvalid. (Xen 4.20 tools/libs/guest/xg_sr_save.c update_progress_string)
Result<std::uint32_t> parse_round(std::string_view progress_text);

// libvirt's src/libxl/libxl_conf.h: 16 bytes of magic, u32 version 2, u32 length of the XML with its NUL, 40 bytes of zero; then the XML and its NUL.
// kInvalid when the XML is empty, holds a NUL or is longer than 1 MiB.
Result<std::vector<std::byte>> encode_save_header(std::string_view xml);

}  // namespace blanket
