// SPDX-License-Identifier: GPL-2.0-or-later
// What an operator writes into /etc/blanket/blanket.toml, and what `ip` says of the machine.
#include "toolstack/daemon/settings.hpp"

#include "tests/fuzz/fuzz.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/addresses.hpp"

namespace blanket::fuzz {

const std::size_t target::kHeap = 2u << 20;

std::vector<std::string> target::seeds() {
    const std::string addresses = R"([{"ifname":"eth0","addr_info":[{"scope":"global","local":"192.0.2.1"}]},{"ifname":"lo","addr_info":[]}])";
    return {"t# nothing\n", "t[site]\nname = \"east\"\nuplink = 'eth0'\naddress = \"192.0.2.1\"\n[storage]\nvolume_group = \"blanket\"\n", "t[site]\nname = 1979-05-27T07:32:00Z\n",
            "t[site]\nnam = \"x\"\n", "tsite.name = \"\"\"\nx\"\"\"\n", "t[[site]]\nname = [1, {a = 0x1f}]\n", "t[site]\nname = \"\\u00e9\"\n",
            Output().text("u").piece(addresses).text(R"([{"dst":"default","dev":"eth0"}])"), Output().text("u").piece(addresses).text("[]"), Output().text("u").piece("{}").text("7")};
}

void target::run(Input input) {
    const char way = static_cast<char>(input.byte());
    if (way == 'u') {
        const std::string addresses = input.text(input.piece());
        const auto uplink = choose_uplink(addresses, input.rest_text(), "");
        require_refusal(uplink, "choose_uplink", Kind::kPrecondition);
        if (uplink) require(parse_ipv4(uplink->address).has_value() && parse_json(addresses).value().dump().contains(uplink->address), "an address that nobody has");  // \u0031 is 1, too
        return;
    }
    const std::string text = input.rest_text();
    const auto settings = parse_settings(text, "Host-1.example.org");
    require_refusal(settings, "parse_settings");
    if (!settings) return;
    require(check_name(settings->site, "site") && check_name(settings->volume_group, "group"), "a name that is none");
    const auto again = parse_settings(std::format("[site]\nname = \"{}\"\naddress = \"{}\"\n[storage]\nvolume_group = \"{}\"\n", settings->site, settings->address, settings->volume_group), "x");
    require_value(again, "settings that were printed");
    require(again->site == settings->site && again->address == settings->address && again->volume_group == settings->volume_group, "other settings after printing");
}

}  // namespace blanket::fuzz
