// SPDX-License-Identifier: GPL-2.0-or-later
// See listeners.hpp.
#include "net/listeners.hpp"

#include <charconv>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

constexpr std::size_t kMaxTable = 64u << 20;
constexpr std::string_view kListening = "0A", kBound = "07";  // include/net/tcp_states.h: TCP_LISTEN, TCP_CLOSE

Result<std::uint32_t> hex_of(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (text.empty() || code != std::errc() || end != text.data() + text.size()) return fail(Kind::kInvalid, "'{}' is no hexadecimal number", text.substr(0, 20));
    return value;
}

}  // namespace

Result<std::set<HostPort>> parse_listeners(std::string_view table, IpProto proto) {
    std::set<HostPort> out;
    bool head = true;
    for (const auto& line : split(table, '\n')) {
        if (std::exchange(head, false) || trim(line).empty()) continue;
        std::vector<std::string> words;
        for (auto& word : split(trim(line), ' '))
            if (!word.empty()) words.push_back(std::move(word));
        const auto colon = words.size() < 4 ? std::string::npos : words[1].find(':');
        if (colon == std::string::npos) return fail(Kind::kInvalid, "'{}' is no line of a table of sockets", line.substr(0, 60));
        if (words[3] != (proto == IpProto::kTcp ? kListening : kBound)) continue;
        if (colon == 8 && words[1].substr(6, 2) == "7F") continue;  // 127.x.y.z, as the machine stores it
        BLANKET_TRY(const auto port, hex_of(std::string_view(words[1]).substr(colon + 1)));
        if (port > 0xffff) return fail(Kind::kInvalid, "'{}' is no port", words[1].substr(0, 60));
        out.emplace(proto, static_cast<std::uint16_t>(port));
    }
    return out;
}

Result<std::set<HostPort>> listeners(const std::string& folder) {
    std::set<HostPort> out;
    for (const auto& [name, proto] : {std::pair("tcp", IpProto::kTcp), {"tcp6", IpProto::kTcp}, {"udp", IpProto::kUdp}, {"udp6", IpProto::kUdp}}) {
        const auto table = read_file(folder + "/" + name, kMaxTable);
        if (!table && table.error().kind == Kind::kNotFound) continue;
        if (!table) return std::unexpected(table.error());
        BLANKET_TRY(const auto ports, parse_listeners(*table, proto));
        out.insert(ports.begin(), ports.end());
    }
    return out;
}

}  // namespace blanket::net
