// SPDX-License-Identifier: GPL-2.0-or-later
// The texts of dm_ioctl.hpp: table lines and info lines. Pure; used by the ioctl side and by whoever reads its answers.
#include "toolstack/base/text.hpp"
#include "toolstack/storage/dm_ioctl.hpp"

namespace blanket::storage {

Result<DmTarget> parse_dm_table(std::string_view line) {
    line = trim(line);
    const auto first = line.find(' ');
    const auto second = first == line.npos ? line.npos : line.find(' ', first + 1);
    if (second == line.npos || line.find('\n') != line.npos)
        return fail(Kind::kInvalid, "'{}' is not a table line 'start length type args'", line.substr(0, 80));
    const auto third = line.find(' ', second + 1);
    DmTarget target;
    BLANKET_TRY(target.start, parse_number(line.substr(0, first), 0, 0, "table start"));
    BLANKET_TRY(target.sectors, parse_number(line.substr(first + 1, second - first - 1), 1, 1ull << 50, "table length"));
    target.type = line.substr(second + 1, third == line.npos ? line.npos : third - second - 1);
    if (target.type.empty() || target.type.size() > 15) return fail(Kind::kInvalid, "table line '{}' has no usable type", line.substr(0, 80));
    if (third != line.npos) target.params = line.substr(third + 1);
    return target;
}

std::string format_dm_info(const DmInfo& info) {
    return std::format("{}:{} {} {} {}\n", info.major, info.minor, !info.live ? "NONE" : info.suspended ? "SUSPENDED" : "LIVE", info.open_count,
                       info.uuid);
}

Result<DmInfo> parse_dm_info(std::string_view line) {
    const auto fields = split(trim(line), ' ');
    const auto numbers = split(fields[0], ':');
    if (fields.size() < 3 || fields.size() > 4 || numbers.size() != 2) return fail(Kind::kInvalid, "'{}' is not an info line", line.substr(0, 80));
    DmInfo info;
    BLANKET_TRY(const auto major, parse_number(numbers[0], 0, 4095, "major"));
    BLANKET_TRY(const auto minor, parse_number(numbers[1], 0, 1u << 20, "minor"));
    BLANKET_TRY(const auto opens, parse_number(fields[2], 0, UINT32_MAX, "open count"));
    if (fields[1] != "LIVE" && fields[1] != "NONE" && fields[1] != "SUSPENDED") return fail(Kind::kInvalid, "'{}' is not a device state", fields[1]);
    info.major = static_cast<std::uint32_t>(major);
    info.minor = static_cast<std::uint32_t>(minor);
    info.open_count = static_cast<std::uint32_t>(opens);
    info.live = fields[1] != "NONE";
    info.suspended = fields[1] == "SUSPENDED";
    if (fields.size() == 4) info.uuid = fields[3];
    return info;
}

}  // namespace blanket::storage
