// SPDX-License-Identifier: GPL-2.0-or-later
// See settings.hpp.
#include "toolstack/daemon/settings.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <unistd.h>

// Compiled in here: the packaged library only has the variant that throws.
#undef TOML_SHARED_LIB
#undef TOML_HEADER_ONLY
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
// Version 3.4.0 asserts, and without asserts tells the compiler to assume, of "[=" and "x=[}" what is not so, though it goes on to refuse both by itself.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(condition) static_cast<void>(0)
#include <toml++/toml.hpp>
#pragma pop_macro("NDEBUG")

#include "toolstack/base/file.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/records.hpp"

namespace blanket {
namespace {

const std::map<std::string, std::set<std::string>>& known_keys() {
    static const std::map<std::string, std::set<std::string>> kKeys{{"site", {"name", "uplink", "address"}}, {"storage", {"volume_group", "content_store_mib"}}};
    return kKeys;
}

constexpr std::size_t kQuoted = 60;  // bytes of a key in an error
constexpr std::uint64_t kLeastStoreMib = 64, kMostStoreMib = 1u << 20;

std::string short_hostname(const std::string& hostname) {
    std::string name = hostname.substr(0, hostname.find('.'));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return name;
}

bool is_ours(const std::string& interface) {  // never an uplink: what the blanket itself makes
    return interface == "lo" || interface.starts_with("wg-") || interface.starts_with("gw") || interface.starts_with("vif") ||
           interface.starts_with("br-") || interface.starts_with("ovs") || interface.starts_with("vxlan") || interface.starts_with("virbr");
}

}  // namespace

Result<Settings> parse_settings(const std::string& text, const std::string& hostname) {
    auto parsed = toml::parse(std::string_view(text));
    if (!parsed)
        return fail(Kind::kInvalid, "line {}: {}", parsed.error().source().begin.line, parsed.error().description());
    const toml::table& table = parsed.table();
    for (const auto& [section, value] : table) {
        const auto known = known_keys().find(std::string(section.str()));
        if (known == known_keys().end() || !value.is_table())
            return fail_hint(Kind::kInvalid, std::format("unknown section '{}'", section.str().substr(0, kQuoted)), "sections: [site], [storage]");
        for (const auto& [key, item] : *value.as_table())
            if (!known->second.contains(std::string(key.str())) || !item.is_string())
                return fail(Kind::kInvalid, "unknown key '{}' in [{}], or its value is not text", key.str().substr(0, kQuoted), section.str());
    }
    Settings settings;
    settings.site = table["site"]["name"].value_or(short_hostname(hostname));
    settings.uplink = table["site"]["uplink"].value_or(std::string());
    settings.address = table["site"]["address"].value_or(std::string());
    settings.volume_group = table["storage"]["volume_group"].value_or(settings.volume_group);
    const std::string store = table["storage"]["content_store_mib"].value_or(std::string("1024"));
    BLANKET_TRY(settings.content_store_mib, parse_number(store, 0, kMostStoreMib, "[storage] content_store_mib"));
    if (settings.content_store_mib != 0 && settings.content_store_mib < kLeastStoreMib)
        return fail(Kind::kInvalid, "[storage] content_store_mib is {}, at least {}, or 0 for none", settings.content_store_mib, kLeastStoreMib);
    BLANKET_CHECK(check_name(settings.site, "site"));
    BLANKET_CHECK(check_name(settings.volume_group, "volume group"));
    if (!settings.address.empty()) BLANKET_CHECK(parse_ipv4(settings.address));
    return settings;
}

Result<Settings> load_settings(const std::string& path) {
    auto text = read_file(path, 64 * 1024);
    if (!text && text.error().kind != Kind::kNotFound) return std::unexpected(std::move(text).error());
    char name[256] = {};
    ::gethostname(name, sizeof name - 1);
    auto settings = parse_settings(text ? *text : std::string(), name);
    if (!settings) return std::unexpected(std::move(settings).error().context(path));
    return settings;
}

Result<Uplink> choose_uplink(const std::string& addresses_json, const std::string& routes_json, const std::string& wanted) {
    BLANKET_TRY(const Json addresses, parse_json(addresses_json));
    BLANKET_TRY(const Json routes, parse_json(routes_json));
    std::string interface = wanted;
    if (interface.empty() && routes.is_array())
        for (const auto& route : routes)
            if (const auto dev = json_string_or(route, "dev", ""); interface.empty() && !is_ours(dev)) interface = dev;
    std::vector<Uplink> found;
    if (addresses.is_array())
        for (const auto& link : addresses) {
            const auto name = json_string_or(link, "ifname", "");
            if (is_ours(name) || (!interface.empty() && name != interface)) continue;
            const auto list = link.find("addr_info");
            if (list == link.end() || !list->is_array()) continue;
            for (const auto& entry : *list)
                if (json_string_or(entry, "scope", "") == "global") {
                    found.push_back({name, json_string_or(entry, "local", "")});
                    break;
                }
        }
    if (found.empty())
        return fail_hint(Kind::kPrecondition, interface.empty() ? "no interface has an IPv4 address" : std::format("interface '{}' has no IPv4 address", interface),
                         "look at 'networkctl', or set [site] uplink in /etc/blanket/blanket.toml");
    if (found.size() > 1)
        return fail_hint(Kind::kPrecondition, std::format("{} interfaces have addresses and none has the default route", found.size()),
                         "set [site] uplink in /etc/blanket/blanket.toml");
    BLANKET_CHECK(parse_ipv4(found.front().address));
    return found.front();
}

bool has_address(const std::string& addresses_json, const std::string& address) {
    const auto addresses = parse_json(addresses_json);
    if (!addresses || !addresses->is_array()) return false;
    for (const auto& link : *addresses) {
        const auto list = link.find("addr_info");
        if (list == link.end() || !list->is_array()) continue;
        if (std::ranges::any_of(*list, [&](const Json& entry) { return json_string_or(entry, "local", "") == address; })) return true;
    }
    return false;
}

}  // namespace blanket
