// SPDX-License-Identifier: GPL-2.0-or-later
// The CPUID flags that a PV guest's user space sees and may use: what a VM has seen must be present wherever it moves (DESIGN.md, "CPU").
// Decoding is pure; read_cpuid() executes the instruction on this processor. Source: Intel SDM vol. 2A CPUID, AMD APM vol. 3 appendix E.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blanket {

struct CpuidRegs {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    bool operator==(const CpuidRegs&) const = default;
};

struct RawCpuid {
    CpuidRegs leaf1, leaf7, leaf7_1, leafd_1, ext1, ext8;
    std::uint64_t xcr0 = 0;  // 0 when the system enables no extended state
    std::string brand;       // "Intel(R) Core ..."
};

RawCpuid read_cpuid();

// Sorted names as in Linux's /proc/cpuinfo. AVX and AVX-512 flags count only when XCR0 enables their registers.
std::vector<std::string> decode_features(const RawCpuid& raw);

// Flags of `seen` that are not in `offered` (both sorted): empty = the VM can move there.
std::vector<std::string> missing_features(const std::vector<std::string>& seen, const std::vector<std::string>& offered);

}  // namespace blanket
