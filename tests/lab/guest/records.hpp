// SPDX-License-Identifier: GPL-2.0-or-later
// The demo's acknowledged records: numbered, checksummed, each on disk before it counts. The writer runs in the guest, the checker in the guest and on the lab host.
// A record is 1024 bytes of text: "BLANKET-DEMO-RECORD <number:20> <unix ms:20> <fill> <crc32:8>\n"; number n is the n-th of the file, from 1.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "toolstack/base/fd.hpp"

namespace blanket::lab {

constexpr std::size_t kRecordSize = 1024;
constexpr std::string_view kRecordMark = "BLANKET-DEMO-RECORD";

std::uint32_t crc32_of(std::string_view data);
std::string make_record(std::uint64_t number, std::int64_t unix_ms);
// The number in a well-formed record; kInvalid says what is wrong with it.
Result<std::uint64_t> parse_record(std::string_view record);

struct RecordCheck {
    std::uint64_t records = 0;  // well-formed ones with the number that belongs there
    std::uint64_t last = 0;     // highest number seen
    std::uint64_t gaps = 0;     // places with another number
    std::uint64_t damaged = 0;  // places with a wrong form or checksum
    std::uint64_t tail = 0;     // bytes after the last whole record (a write that was never acknowledged)
    // Acknowledged records that are not there.
    [[nodiscard]] std::uint64_t lost(std::uint64_t acknowledged) const;
    bool operator==(const RecordCheck&) const = default;
};
// `drop_cache`: read from the disk, not from memory. Records may be added meanwhile.
Result<RecordCheck> check_records(const std::string& path, bool drop_cache);

class RecordWriter final {
public:
    // Opens or makes the file, cuts off an unfinished tail and goes on after its last record.
    static Result<RecordWriter> open(const std::string& path);
    Result<std::uint64_t> append(std::int64_t unix_ms);  // returns its number after fsync

private:
    RecordWriter(UniqueFd fd, std::uint64_t last) : fd_(std::move(fd)), last_(last) {}
    UniqueFd fd_;
    std::uint64_t last_;
};

}  // namespace blanket::lab
