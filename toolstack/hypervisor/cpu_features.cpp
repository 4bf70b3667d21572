// SPDX-License-Identifier: GPL-2.0-or-later
// The table of user-visible CPUID flags and its decoder; see cpu_features.hpp. Flags that only a kernel can use (vmx, smep, pcid, ...) are left out.
#include "toolstack/hypervisor/cpu_features.hpp"

#include <algorithm>
#include <array>
#include <cpuid.h>
#include <cstring>
#include <iterator>
#include <string_view>

namespace blanket {
namespace {

enum class Word : std::uint8_t { k1Ecx, k1Edx, k7Ebx, k7Ecx, k7Edx, k71Eax, k71Edx, kD1Eax, kExt1Ecx, kExt1Edx, kExt8Ebx };
enum class State : std::uint8_t { kNone, kSse, kAvx, kAvx512, kMpx, kPkru, kTile };  // what XCR0 must enable for the flag to be usable

struct Flag {
    Word word;
    std::uint8_t bit;
    State state;
    std::string_view name;
};

using enum Word;
using enum State;

constexpr auto kFlags = std::to_array<Flag>({
    {k1Edx, 0, kNone, "fpu"},           {k1Edx, 4, kNone, "tsc"},            {k1Edx, 8, kNone, "cx8"},
    {k1Edx, 15, kNone, "cmov"},         {k1Edx, 19, kNone, "clflush"},       {k1Edx, 23, kNone, "mmx"},
    {k1Edx, 24, kNone, "fxsr"},         {k1Edx, 25, kNone, "sse"},           {k1Edx, 26, kNone, "sse2"},
    {k1Ecx, 0, kNone, "pni"},           {k1Ecx, 1, kNone, "pclmulqdq"},      {k1Ecx, 9, kNone, "ssse3"},
    {k1Ecx, 12, kAvx, "fma"},           {k1Ecx, 13, kNone, "cx16"},          {k1Ecx, 19, kNone, "sse4_1"},
    {k1Ecx, 20, kNone, "sse4_2"},       {k1Ecx, 22, kNone, "movbe"},         {k1Ecx, 23, kNone, "popcnt"},
    {k1Ecx, 25, kNone, "aes"},          {k1Ecx, 26, kSse, "xsave"},          {k1Ecx, 28, kAvx, "avx"},
    {k1Ecx, 29, kAvx, "f16c"},          {k1Ecx, 30, kNone, "rdrand"},
    {k7Ebx, 0, kNone, "fsgsbase"},      {k7Ebx, 3, kNone, "bmi1"},           {k7Ebx, 4, kNone, "hle"},
    {k7Ebx, 5, kAvx, "avx2"},           {k7Ebx, 8, kNone, "bmi2"},           {k7Ebx, 9, kNone, "erms"},
    {k7Ebx, 11, kNone, "rtm"},          {k7Ebx, 14, kMpx, "mpx"},            {k7Ebx, 16, kAvx512, "avx512f"},
    {k7Ebx, 17, kAvx512, "avx512dq"},   {k7Ebx, 18, kNone, "rdseed"},        {k7Ebx, 19, kNone, "adx"},
    {k7Ebx, 21, kAvx512, "avx512ifma"}, {k7Ebx, 23, kNone, "clflushopt"},    {k7Ebx, 24, kNone, "clwb"},
    {k7Ebx, 26, kAvx512, "avx512pf"},   {k7Ebx, 27, kAvx512, "avx512er"},    {k7Ebx, 28, kAvx512, "avx512cd"},
    {k7Ebx, 29, kNone, "sha_ni"},       {k7Ebx, 30, kAvx512, "avx512bw"},    {k7Ebx, 31, kAvx512, "avx512vl"},
    {k7Ecx, 1, kAvx512, "avx512vbmi"},  {k7Ecx, 4, kPkru, "ospke"},          {k7Ecx, 5, kNone, "waitpkg"},
    {k7Ecx, 6, kAvx512, "avx512_vbmi2"}, {k7Ecx, 8, kNone, "gfni"},          {k7Ecx, 9, kAvx, "vaes"},
    {k7Ecx, 10, kAvx, "vpclmulqdq"},    {k7Ecx, 11, kAvx512, "avx512_vnni"}, {k7Ecx, 12, kAvx512, "avx512_bitalg"},
    {k7Ecx, 14, kAvx512, "avx512_vpopcntdq"}, {k7Ecx, 22, kNone, "rdpid"},   {k7Ecx, 25, kNone, "cldemote"},
    {k7Ecx, 27, kNone, "movdiri"},      {k7Ecx, 28, kNone, "movdir64b"},
    {k7Edx, 2, kAvx512, "avx512_4vnniw"}, {k7Edx, 3, kAvx512, "avx512_4fmaps"}, {k7Edx, 4, kNone, "fsrm"},
    {k7Edx, 8, kAvx512, "avx512_vp2intersect"}, {k7Edx, 14, kNone, "serialize"}, {k7Edx, 16, kNone, "tsxldtrk"},
    {k7Edx, 22, kTile, "amx_bf16"},     {k7Edx, 23, kAvx512, "avx512_fp16"}, {k7Edx, 24, kTile, "amx_tile"},
    {k7Edx, 25, kTile, "amx_int8"},
    {k71Eax, 0, kAvx, "sha512"},        {k71Eax, 1, kAvx, "sm3"},            {k71Eax, 2, kAvx, "sm4"},
    {k71Eax, 4, kAvx, "avx_vnni"},      {k71Eax, 5, kAvx512, "avx512_bf16"}, {k71Eax, 7, kNone, "cmpccxadd"},
    {k71Eax, 21, kTile, "amx_fp16"},    {k71Eax, 23, kAvx, "avx_ifma"},
    {k71Edx, 4, kAvx, "avx_vnni_int8"}, {k71Edx, 5, kAvx, "avx_ne_convert"}, {k71Edx, 10, kAvx, "avx_vnni_int16"},
    {kD1Eax, 0, kSse, "xsaveopt"},      {kD1Eax, 1, kSse, "xsavec"},         {kD1Eax, 2, kSse, "xgetbv1"},
    {kExt1Ecx, 0, kNone, "lahf_lm"},    {kExt1Ecx, 5, kNone, "abm"},         {kExt1Ecx, 6, kNone, "sse4a"},
    {kExt1Ecx, 7, kNone, "misalignsse"}, {kExt1Ecx, 8, kNone, "3dnowprefetch"}, {kExt1Ecx, 11, kAvx, "xop"},
    {kExt1Ecx, 16, kAvx, "fma4"},       {kExt1Ecx, 21, kNone, "tbm"},        {kExt1Ecx, 29, kNone, "mwaitx"},
    {kExt1Edx, 11, kNone, "syscall"},   {kExt1Edx, 22, kNone, "mmxext"},     {kExt1Edx, 25, kNone, "fxsr_opt"},
    {kExt1Edx, 27, kNone, "rdtscp"},    {kExt1Edx, 29, kNone, "lm"},         {kExt1Edx, 30, kNone, "3dnowext"},
    {kExt1Edx, 31, kNone, "3dnow"},
    {kExt8Ebx, 0, kNone, "clzero"},     {kExt8Ebx, 4, kNone, "rdpru"},
});

std::uint32_t word_of(const RawCpuid& raw, Word word) {
    switch (word) {
    case k1Ecx: return raw.leaf1.ecx;
    case k1Edx: return raw.leaf1.edx;
    case k7Ebx: return raw.leaf7.ebx;
    case k7Ecx: return raw.leaf7.ecx;
    case k7Edx: return raw.leaf7.edx;
    case k71Eax: return raw.leaf7_1.eax;
    case k71Edx: return raw.leaf7_1.edx;
    case kD1Eax: return raw.leafd_1.eax;
    case kExt1Ecx: return raw.ext1.ecx;
    case kExt1Edx: return raw.ext1.edx;
    case kExt8Ebx: return raw.ext8.ebx;
    }
    return 0;
}

// Bits of XCR0: 0 x87, 1 SSE, 2 AVX, 3-4 MPX, 5-7 AVX-512, 9 PKRU, 17-18 AMX tiles.
bool enabled(std::uint64_t xcr0, State state) {
    const auto has = [xcr0](std::uint64_t mask) { return (xcr0 & mask) == mask; };
    switch (state) {
    case kNone: return true;
    case kSse: return has(0x3);
    case kAvx: return has(0x7);
    case kAvx512: return has(0xe7);
    case kMpx: return has(0x18);
    case kPkru: return has(0x200);
    case kTile: return has(0x60000);
    }
    return false;
}

CpuidRegs cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
    CpuidRegs regs;
    if (__get_cpuid_count(leaf, subleaf, &regs.eax, &regs.ebx, &regs.ecx, &regs.edx) == 0) return {};
    return regs;
}

}  // namespace

RawCpuid read_cpuid() {
    RawCpuid raw;
    raw.leaf1 = cpuid(1, 0);
    raw.leaf7 = cpuid(7, 0);
    if (raw.leaf7.eax >= 1) raw.leaf7_1 = cpuid(7, 1);
    raw.ext1 = cpuid(0x80000001, 0);
    raw.ext8 = cpuid(0x80000008, 0);
    constexpr std::uint32_t kOsxsave = 1u << 27;
    if ((raw.leaf1.ecx & kOsxsave) != 0) {
        std::uint32_t low = 0, high = 0;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        raw.xcr0 = (std::uint64_t{high} << 32) | low;
        raw.leafd_1 = cpuid(0xd, 1);
    }
    std::array<char, 48> text{};
    for (std::uint32_t part = 0; part < 3; ++part) {
        const CpuidRegs regs = cpuid(0x80000002 + part, 0);
        std::memcpy(text.data() + part * 16, &regs, sizeof regs);
    }
    raw.brand.assign(text.data(), strnlen(text.data(), text.size()));
    while (!raw.brand.empty() && raw.brand.back() == ' ') raw.brand.pop_back();
    raw.brand.erase(0, std::min(raw.brand.find_first_not_of(' '), raw.brand.size()));
    return raw;
}

std::vector<std::string> decode_features(const RawCpuid& raw) {
    std::vector<std::string> names;
    for (const Flag& flag : kFlags)
        if ((word_of(raw, flag.word) >> flag.bit & 1u) != 0 && enabled(raw.xcr0, flag.state)) names.emplace_back(flag.name);
    std::ranges::sort(names);
    return names;
}

std::vector<std::string> missing_features(const std::vector<std::string>& seen, const std::vector<std::string>& offered) {
    std::vector<std::string> missing;
    std::ranges::set_difference(seen, offered, std::back_inserter(missing));
    return missing;
}

}  // namespace blanket
