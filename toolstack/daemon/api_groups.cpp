// SPDX-License-Identifier: GPL-2.0-or-later
// See api_groups.hpp.
#include "toolstack/daemon/api_groups.hpp"

#include <algorithm>
#include <optional>

#include "toolstack/base/text.hpp"
#include "toolstack/core/group_edits.hpp"
#include "toolstack/daemon/api_vms.hpp"
#include "toolstack/daemon/nets.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {
namespace {

using Edit = std::function<Result<void>(Net&)>;

// `what`: for the steps and the events. Answers with the group as it is then, if it is still there.
Result<Json> edit_group(App& app, const RestRequest& request, const std::string& group, const std::string& what, const Edit& edit) {
    const std::string& name = request.matches.at(0);
    if (is_dry_run(request)) {
        BLANKET_TRY(Net net, app.world.net(name));
        BLANKET_CHECK(edit(net));
        return steps_json({std::format("{}, in the record of network '{}'", what, name), "every site changes its flows to match"});
    }
    BLANKET_TRY(const Net net, change_net(app, name, edit));
    app.events.add("net", name, what);
    const auto at = std::ranges::find(net.groups, group, &SecurityGroup::name);
    return Json{{"net", name}, {"group", at == net.groups.end() ? Json(nullptr) : to_json(*at)}};
}

Result<VmRecord> vm_named(App& app, const std::string& name) {
    BLANKET_TRY(const auto vm, app.world.vm(name));
    return vm.value;
}

}  // namespace

void bind_groups(RestServer& server, App& app) {
    server.route("POST", "/1.0/nets/*/groups", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_TRY(const std::string name, json_string(body, "name"));
        const bool everybody = json_bool_or(body, "everybody", false);
        return edit_group(app, request, name, std::format("security group '{}' is added{}", name.substr(0, 70), everybody ? ", with all VMs" : ""),
                          [&](Net& net) { return add_group(net, name, everybody); });
    }), Access::kLocal);
    server.route("DELETE", "/1.0/nets/*/groups/*", respond([&](const RestRequest& request) {
        const std::string name = request.matches.at(1);
        return edit_group(app, request, name, std::format("security group '{}' is removed", name.substr(0, 70)), [&](Net& net) { return remove_group(net, name); });
    }), Access::kLocal);
    server.route("POST", "/1.0/nets/*/groups/*/rules", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_TRY(const SecurityRule rule, parse_rule(body));
        const std::string name = request.matches.at(1);
        return edit_group(app, request, name, std::format("security group '{}' gets the rule '{}'", name.substr(0, 70), to_text(rule)), [&](Net& net) { return add_rule(net, name, rule); });
    }), Access::kLocal);
    server.route("DELETE", "/1.0/nets/*/groups/*/rules/*", respond([&](const RestRequest& request) -> Result<Json> {
        const std::string name = request.matches.at(1);
        BLANKET_TRY(const auto number, parse_number(request.matches.at(2), 1, kMaxGroupRules, "number of a rule"));
        std::optional<SecurityRule> meant;  // when somebody else changes the group meanwhile, the number stands for the same rule as at first
        return edit_group(app, request, name, std::format("security group '{}' loses its rule {}", name.substr(0, 70), number), [&](Net& net) -> Result<void> {
            BLANKET_TRY(const SecurityGroup* const group, find_group(net, name));
            if (!meant && number <= group->rules.size()) meant = group->rules[number - 1];
            if (!meant) return remove_rule(net, name, number);  // says how many there are
            const auto at = std::ranges::find(group->rules, *meant);
            if (at == group->rules.end()) return fail_hint(Kind::kConflict, std::format("somebody else has just removed rule {} of security group '{}'", number, name), std::format("blanket security-group show {} {}", net.name, name));
            return remove_rule(net, name, static_cast<std::size_t>(at - group->rules.begin()) + 1);
        });
    }), Access::kLocal);
    server.route("POST", "/1.0/nets/*/groups/*/vms", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const Json body, request.json());
        BLANKET_TRY(const std::string vm_name, json_string(body, "vm"));
        BLANKET_TRY(const VmRecord vm, vm_named(app, vm_name));
        const std::string name = request.matches.at(1);
        return edit_group(app, request, name, std::format("VM '{}' comes into security group '{}'", vm.name, name.substr(0, 70)), [&](Net& net) { return add_member(net, name, vm); });
    }), Access::kLocal);
    server.route("DELETE", "/1.0/nets/*/groups/*/vms/*", respond([&](const RestRequest& request) -> Result<Json> {
        BLANKET_TRY(const VmRecord vm, vm_named(app, request.matches.at(2)));
        const std::string name = request.matches.at(1);
        return edit_group(app, request, name, std::format("VM '{}' leaves security group '{}'", vm.name, name.substr(0, 70)), [&](Net& net) { return remove_member(net, name, vm); });
    }), Access::kLocal);
}

}  // namespace blanket
