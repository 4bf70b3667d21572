// SPDX-License-Identifier: GPL-2.0-or-later
// CPUID words as literals -> flag names.
#include "toolstack/hypervisor/cpu_features.hpp"

#include <algorithm>
#include <gtest/gtest.h>

namespace blanket {
namespace {

using Names = std::vector<std::string>;

TEST(CpuFeatures, KernelOnlyFlagsAreLeftOut) {
    RawCpuid raw;
    raw.leaf1.ecx = 1u << 5 | 1u << 3 | 1u << 17 | 1u << 31;  // vmx, monitor, pcid, hypervisor
    raw.leaf1.edx = 1u << 25 | 1u << 6 | 1u << 9;             // sse, pae, apic
    raw.leaf7.ebx = 1u << 7 | 1u << 20;                       // smep, smap
    EXPECT_EQ(decode_features(raw), Names{"sse"});
}

TEST(CpuFeatures, AvxCountsOnlyWhenXcr0EnablesIt) {
    RawCpuid raw;
    raw.leaf1.ecx = 1u << 26 | 1u << 28 | 1u << 12;
    raw.leaf7.ebx = 1u << 5 | 1u << 16;
    EXPECT_EQ(decode_features(raw), Names{});
    raw.xcr0 = 0x7;
    EXPECT_EQ(decode_features(raw), (Names{"avx", "avx2", "fma", "xsave"}));
    raw.xcr0 = 0xe7;
    EXPECT_EQ(decode_features(raw), (Names{"avx", "avx2", "avx512f", "fma", "xsave"}));
}

TEST(CpuFeatures, Haswell) {
    // A Core i7-4770's words (family 6, model 60) under a system with AVX on.
    RawCpuid raw;
    raw.leaf1 = {0x306c3, 0x100800, 0x7ffafbff, 0xbfebfbff};
    raw.leaf7 = {0, 0x27ab, 0, 0};
    raw.leafd_1.eax = 1;
    raw.ext1 = {0, 0, 0x21, 0x2c100800};
    raw.xcr0 = 7;
    const Names expected{"abm", "aes", "avx", "avx2", "bmi1", "bmi2", "clflush", "cmov", "cx16", "cx8", "erms", "f16c", "fma", "fpu", "fsgsbase", "fxsr",
                         "lahf_lm", "lm", "mmx", "movbe", "pclmulqdq", "pni", "popcnt", "rdrand", "rdtscp", "sse", "sse2", "sse4_1", "sse4_2", "ssse3", "syscall",
                         "tsc", "xsave", "xsaveopt"};
    EXPECT_EQ(decode_features(raw), expected);
}

TEST(CpuFeatures, MissingNamesWhatTheTargetLacks) {
    EXPECT_EQ(missing_features({"avx", "sse", "sse2"}, {"sse", "sse2", "xsave"}), Names{"avx"});
    EXPECT_EQ(missing_features({"sse"}, {"avx", "sse"}), Names{});
}

TEST(CpuFeatures, ThisProcessor) {
    const auto names = decode_features(read_cpuid());
    EXPECT_TRUE(std::ranges::is_sorted(names));
    EXPECT_TRUE(std::ranges::contains(names, "sse2"));
}

}  // namespace
}  // namespace blanket
