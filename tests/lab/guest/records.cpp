// SPDX-License-Identifier: GPL-2.0-or-later
// See records.hpp.
#include "tests/lab/guest/records.hpp"

#include <array>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace blanket::lab {
namespace {

constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t value = i;
        for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? 0xedb88320u ^ value >> 1 : value >> 1;
        table[i] = value;
    }
    return table;
}();
constexpr std::size_t kCrcAt = kRecordSize - 9;  // eight digits and the line's end

}  // namespace

std::uint32_t crc32_of(std::string_view data) {
    std::uint32_t crc = 0xffffffff;
    for (const char c : data) crc = kCrcTable[(crc ^ static_cast<unsigned char>(c)) & 255] ^ crc >> 8;
    return ~crc;
}

std::string make_record(std::uint64_t number, std::int64_t unix_ms) {
    std::string record = std::format("{} {:020} {:020} ", kRecordMark, number, unix_ms);
    for (std::uint64_t fill = number * 0x9e3779b97f4a7c15; record.size() < kCrcAt - 1; fill = fill * 6364136223846793005ull + 1442695040888963407ull)
        record += static_cast<char>('a' + (fill >> 59) % 26);
    record += ' ';
    record += std::format("{:08x}\n", crc32_of(record));
    return record;
}

Result<std::uint64_t> parse_record(std::string_view record) {
    if (record.size() != kRecordSize) return fail(Kind::kInvalid, "record of {} bytes", record.size());
    if (!record.starts_with(kRecordMark)) return fail(Kind::kInvalid, "no record's mark");
    std::uint32_t crc = 0;
    const char* const digits = record.data() + kCrcAt;
    if (const auto [end, error] = std::from_chars(digits, digits + 8, crc, 16); error != std::errc() || end != digits + 8 || *end != '\n') return fail(Kind::kInvalid, "no checksum");
    if (crc != crc32_of(record.substr(0, kCrcAt))) return fail(Kind::kInvalid, "checksum is {:08x}, not {:08x}", crc, crc32_of(record.substr(0, kCrcAt)));
    std::uint64_t number = 0;
    const char* const begin = record.data() + kRecordMark.size() + 1;
    if (const auto [end, error] = std::from_chars(begin, begin + 20, number); error != std::errc() || end != begin + 20) return fail(Kind::kInvalid, "no number");
    return number;
}

std::uint64_t RecordCheck::lost(std::uint64_t acknowledged) const { return acknowledged > records ? acknowledged - records : 0; }

Result<RecordCheck> check_records(const std::string& path, bool drop_cache) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open", path);
    if (drop_cache && (::fsync(fd.get()) != 0 || ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED) != 0)) return fail_errno("fsync", path);
    struct stat info{};
    if (::fstat(fd.get(), &info) != 0) return fail_errno("stat", path);
    const auto size = static_cast<std::uint64_t>(info.st_size);
    RecordCheck check;
    check.tail = size % kRecordSize;
    std::vector<std::byte> chunk(1024 * kRecordSize);
    std::uint64_t number = 0;
    for (std::uint64_t at = 0; at + kRecordSize <= size;) {
        const std::size_t take = std::min<std::uint64_t>(chunk.size(), (size - at) / kRecordSize * kRecordSize);
        BLANKET_CHECK(pread_all(fd.get(), std::span(chunk).first(take), at));
        for (std::size_t in = 0; in < take; in += kRecordSize) {
            const auto found = parse_record({reinterpret_cast<const char*>(chunk.data()) + in, kRecordSize});
            ++number;
            if (!found) {
                ++check.damaged;
                continue;
            }
            check.last = std::max(check.last, *found);
            ++(*found == number ? check.records : check.gaps);
        }
        at += take;
    }
    return check;
}

Result<RecordWriter> RecordWriter::open(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!fd) return fail_errno("open", path);
    const off_t end = ::lseek(fd.get(), 0, SEEK_END);
    if (end < 0) return fail_errno("lseek", path);
    const std::uint64_t last = static_cast<std::uint64_t>(end) / kRecordSize;
    if (::ftruncate(fd.get(), static_cast<off_t>(last * kRecordSize)) != 0 || ::lseek(fd.get(), 0, SEEK_END) < 0) return fail_errno("ftruncate", path);
    return RecordWriter(std::move(fd), last);
}

Result<std::uint64_t> RecordWriter::append(std::int64_t unix_ms) {
    const std::string record = make_record(last_ + 1, unix_ms);
    BLANKET_CHECK(write_all(fd_.get(), as_bytes(record)));
    if (::fsync(fd_.get()) != 0) return fail_errno("fsync", "records");
    return ++last_;
}

}  // namespace blanket::lab
