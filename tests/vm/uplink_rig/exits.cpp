// SPDX-License-Identifier: GPL-2.0-or-later
// See exits.hpp.
#include "tests/vm/uplink_rig/exits.hpp"

#include <array>
#include <cstring>

namespace blanket::rig {
namespace {

// A record: a word with the event (28 bits), the number of further words (3 bits) and whether 64 bits of cycles come first (1 bit).
constexpr std::uint32_t kLost = 0x1f001, kExit = 0x81002, kExit64 = 0x81103, kMsrWrite = 0x8200d, kSvmCpuid = 0x72;
constexpr std::uint32_t kUserHalf = 0x8000;  // of the upper word of an instruction's address

struct Record {
    std::uint32_t event = 0;
    std::uint64_t cycles = 0;  // 0: the record has none
    std::array<std::uint32_t, 7> words{};
};

bool take(std::string_view& rest, Record& record) {
    const auto word = [&rest](std::size_t at) {
        std::uint32_t value = 0;
        std::memcpy(&value, rest.data() + at, 4);
        return value;
    };
    if (rest.size() < 4) return false;
    const std::uint32_t head = word(0);
    const std::size_t extra = head >> 28 & 7, start = head >> 31 != 0 ? 12 : 4, bytes = start + 4 * extra;
    if (rest.size() < bytes) return false;
    record = {.event = head & 0xfffffff, .cycles = start == 12 ? word(4) | static_cast<std::uint64_t>(word(8)) << 32 : 0, .words = {}};
    for (std::size_t i = 0; i < extra; ++i) record.words[i] = word(start + 4 * i);
    rest.remove_prefix(bytes);
    return true;
}

}  // namespace

Result<std::vector<Stretch>> parse_exits(std::string_view trace) {
    std::vector<Stretch> all;
    Stretch now;
    std::uint64_t began = 0, cycles = 0;
    unsigned next = 0;  // the mark that is awaited
    for (Record record; !trace.empty();) {
        if (!take(trace, record)) return fail(Kind::kInvalid, "the trace ends within a record");
        if (record.cycles != 0) cycles = record.cycles;
        if (record.event == kLost && next % 2 == 1) return fail(Kind::kInvalid, "records were lost in stretch {}", next / 2);
        if (record.event == kMsrWrite) ++now.writes[record.words[0]];
        if (record.event != kExit && record.event != kExit64) continue;
        if (record.event == kExit || record.words[0] != kSvmCpuid || record.words[2] >= kUserHalf) {
            ++now.exits;
            ++now.reasons[record.words[0]];
            continue;
        }
        if (next % 2 == 0) {
            began = cycles;
        } else {
            now.cycles = cycles - began;
            all.push_back(now);
        }
        now = {};
        ++next;
    }
    if (next % 2 == 1 || all.empty()) return fail(Kind::kInvalid, "the trace has {} marks", next);
    return all;
}

}  // namespace blanket::rig
