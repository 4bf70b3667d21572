// SPDX-License-Identifier: GPL-2.0-or-later
// See machine_identity.hpp.
#include "toolstack/daemon/machine_identity.hpp"

#include <algorithm>
#include <filesystem>

#include "toolstack/base/file.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

constexpr std::size_t kMaxMacs = 64;

// Firmware without an identity says all zeros, all F, or a vendor's placeholder of one digit.
bool meaningful(std::string_view uuid) {
    if (!check_uuid(uuid)) return false;
    const auto differs = [&](char c) { return c != '-' && c != uuid.front(); };
    return std::ranges::any_of(uuid, differs);
}

std::string line_of(const std::string& path) {
    const auto text = read_file(path, 4096);
    std::string line(text ? trim(*text) : std::string_view());
    std::ranges::transform(line, line.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return line;
}

}  // namespace

MachineFacts read_machine(const std::string& root) {
    namespace fs = std::filesystem;
    MachineFacts facts;
    if (std::string uuid = line_of(root + "/sys/class/dmi/id/product_uuid"); meaningful(uuid)) facts.system_uuid = std::move(uuid);
    std::error_code error;
    for (const auto& card : fs::directory_iterator(root + "/sys/class/net", error)) {
        std::error_code none;
        if (!fs::exists(card.path() / "device", none)) continue;  // a bridge, a guest's port, WireGuard
        if (const std::string mac = line_of((card.path() / "address").string()); mac.size() == 17 && mac != "00:00:00:00:00:00" && mac != "fe:ff:ff:ff:ff:ff") facts.macs.push_back(mac);
    }
    std::ranges::sort(facts.macs);
    if (facts.macs.size() > kMaxMacs) facts.macs.resize(kMaxMacs);
    return facts;
}

bool same_machine(const MachineFacts& a, const MachineFacts& b) {
    if (!a.system_uuid.empty() && a.system_uuid == b.system_uuid) return true;
    if (std::ranges::any_of(a.macs, [&](const auto& mac) { return std::ranges::find(b.macs, mac) != b.macs.end(); })) return true;
    const bool uuids = !a.system_uuid.empty() && !b.system_uuid.empty(), cards = !a.macs.empty() && !b.macs.empty();
    return !uuids && !cards;
}

Result<void> check_machine(const std::string& path, const MachineFacts& now) {
    const auto text = read_file(path, 65536);
    if (!text && text.error().kind != Kind::kNotFound) return std::unexpected(text.error());
    if (text) {
        const auto known = parse_json(*text);
        if (!known)
            return fail_hint(Kind::kPrecondition, std::format("{} cannot be read: {}", path, known.error().what),
                             std::format("if this disk is no copy of a site that runs elsewhere: rm {} && systemctl restart blanketd", path));
        MachineFacts before;
        before.system_uuid = json_string_or(*known, "system_uuid", "");
        if (const auto macs = known->find("macs"); macs != known->end() && macs->is_array())
            for (const auto& mac : *macs)
                if (mac.is_string()) before.macs.push_back(mac.get<std::string>());
        if (!same_machine(before, now))
            return fail_hint(Kind::kPrecondition,
                             std::format("this disk belongs to another machine (system {}, network card {}; here {}, {}): a copy of a site must not run beside it",
                                         before.system_uuid.empty() ? "unknown" : before.system_uuid, before.macs.empty() ? "unknown" : before.macs.front(),
                                         now.system_uuid.empty() ? "unknown" : now.system_uuid, now.macs.empty() ? "unknown" : now.macs.front()),
                             std::format("if the other machine is gone for good: rm {} && systemctl restart blanketd; to make this a site of its own: boot a fresh image", path));
        if (before == now) return {};
    }
    return write_file(path, Json{{"system_uuid", now.system_uuid}, {"macs", now.macs}}.dump(2) + "\n", 0600);
}

}  // namespace blanket
