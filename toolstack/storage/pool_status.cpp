// SPDX-License-Identifier: GPL-2.0-or-later
// See pool_status.hpp.
#include "toolstack/storage/pool_status.hpp"

#include "toolstack/base/text.hpp"
#include "toolstack/storage/names.hpp"

namespace blanket::storage {
namespace {

Result<void> parse_fraction(std::string_view text, std::uint64_t& used, std::uint64_t& total) {
    const auto parts = split(text, '/');
    if (parts.size() != 2) return fail(Kind::kInvalid, "'{}' is not used/total", text.substr(0, 40));
    BLANKET_TRY(total, parse_number(parts[1], 1, 1ull << 50, "total blocks"));
    BLANKET_TRY(used, parse_number(parts[0], 0, total, "used blocks"));
    return {};
}

}  // namespace

Result<PoolStatus> parse_pool_status(std::string_view line) {
    const auto fields = split(trim(line), ' ');
    if (fields.size() < 4 || fields[2] != "thin-pool") return fail(Kind::kInvalid, "'{}' is not a thin pool's status", line.substr(0, 100));
    PoolStatus status;
    if (fields[3] == "Fail" || fields[3] == "Error") {
        status.failed = true;
        return status;
    }
    if (fields.size() < 8) return fail(Kind::kInvalid, "'{}' is cut off", line.substr(0, 100));
    BLANKET_TRY(status.transaction, parse_number(fields[3], 0, UINT64_MAX, "transaction"));
    BLANKET_CHECK(parse_fraction(fields[4], status.used_metadata, status.total_metadata));
    BLANKET_CHECK(parse_fraction(fields[5], status.used_data, status.total_data));
    status.metadata_snapshot = fields[6] != "-";
    status.writable = fields[7] == "rw";
    status.out_of_space = fields[7] == "out_of_data_space";
    for (std::size_t i = 8; i < fields.size(); ++i) status.needs_check |= fields[i] == "needs_check";
    return status;
}

PoolFacts facts_of(const PoolStatus& status) {
    PoolFacts facts;
    facts.size = status.total_data * kBlock;
    facts.used = status.used_data * kBlock;
    if (status.total_metadata != 0) facts.metadata_percent = 100.0 * static_cast<double>(status.used_metadata) / static_cast<double>(status.total_metadata);
    return facts;
}

Result<void> admit_new(const PoolStatus& status) {
    const std::string extend = "add a disk: pvcreate DISK, vgextend the pool's group, lvextend its LV, then restart blanketd";
    if (status.failed || status.needs_check || (!status.writable && !status.out_of_space))
        return fail_hint(Kind::kPrecondition, std::format("the thin pool is {}", status.failed ? "failed" : status.needs_check ? "in need of a check" : "read-only"),
                         "stop the VMs and blanketd, run thin_check on the pool's metadata LV, and thin_repair if it finds errors");
    if (status.out_of_space || status.used_data * 10 >= status.total_data * 9)
        return fail_hint(Kind::kPrecondition, std::format("the thin pool is full: {} of {} used, new ones are refused from 90 %", format_bytes(status.used_data * kBlock), format_bytes(status.total_data * kBlock)), extend);
    if (status.used_metadata * 10 >= status.total_metadata * 9)
        return fail_hint(Kind::kPrecondition, std::format("the thin pool's metadata is full: {} of {} blocks used, new ones are refused from 90 %", status.used_metadata, status.total_metadata), extend);
    return {};
}

}  // namespace blanket::storage
