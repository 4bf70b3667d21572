// SPDX-License-Identifier: GPL-2.0-or-later
// What a provider's Xen (xentrace, class 0x81000) says of a guest's exits between the guest's own marks. A mark is a CPUID of a program in the guest: nothing else there asks, and it leaves
// the guest also from a PV dom0 inside, whose own Xen sees it only after that (it has CPUID fault). Pure. Used by bench-uplink.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::rig {

constexpr std::uint32_t kSvmHypercall = 0x81;

struct Stretch {  // from mark 2n to mark 2n+1; the marks' own exits are not in it
    std::uint64_t exits = 0, cycles = 0;
    std::uint64_t requests = 0, sends = 0;           // in it, and events that the guest sent, by its own count: the trace does not tell
    std::map<std::uint32_t, std::uint64_t> reasons;  // by SVM's exit code (AMD64 manual, volume 2, appendix C)
    std::map<std::uint32_t, std::uint64_t> writes;   // of model-specific registers, by their number; reason 0x7c
};

// The complete stretches in their order. kInvalid: records were lost, a mark is missing, or it is no such trace. Formats: Xen's public/trace.h.
Result<std::vector<Stretch>> parse_exits(std::string_view trace);

}  // namespace blanket::rig
