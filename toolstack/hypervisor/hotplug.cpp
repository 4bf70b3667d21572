// SPDX-License-Identifier: GPL-2.0-or-later
// Arguments of hotplug calls and OVSDB requests; see hotplug.hpp.
#include "toolstack/hypervisor/hotplug.hpp"

#include <algorithm>
#include <charconv>


namespace blanket {
namespace {

// Not text.hpp's: that would pull libcrypto into a program that must start within a millisecond.
bool is_number(std::string_view text, unsigned max) {
    unsigned value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    return problem == std::errc() && end == text.data() + text.size() && value <= max;
}

bool is_uuid(std::string_view text) { return text.size() == 36 && text.find_first_not_of("0123456789abcdef-") == std::string_view::npos; }

// "backend/vif/5/0" or "/local/domain/0/backend/vbd/5/51712": nothing else may become part of a path that we write.
bool valid_path(std::string_view path) {
    constexpr std::string_view kHome = "/local/domain/0/";
    constexpr std::uint64_t kLastDevice = 0x1fff'ffff;  // disks behind xvdp have bit 28 (xen-vbd-interface(7))
    if (path.starts_with(kHome)) path.remove_prefix(kHome.size());
    std::vector<std::string_view> parts;
    for (std::size_t begin = 0, end = 0; end != std::string_view::npos; begin = end + 1) {
        end = path.find('/', begin);
        parts.push_back(path.substr(begin, end - begin));
    }
    return parts.size() == 4 && parts[0] == "backend" && (parts[1] == "vbd" || parts[1] == "vbd3" || parts[1] == "vif") && parts[2] != "0" &&
           is_number(parts[2], 0x7fef) && is_number(parts[3], kLastDevice);
}

bool valid_interface(std::string_view name) {
    constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return !name.empty() && name.size() <= 15 && name != "." && name != ".." && name.find_first_not_of(kAllowed) == std::string_view::npos;
}

Json transact(Json operations) {
    Json params = Json::array({"Open_vSwitch"});
    for (Json& operation : operations) params.push_back(std::move(operation));
    return {{"method", "transact"}, {"id", 1}, {"params", std::move(params)}};
}

Json drop_ports(const OvsFound& found) {
    Json set = Json::array();
    for (const auto& uuid : found.old_ports) set.push_back(Json::array({"uuid", uuid}));
    // Rows without a reference vanish: taking the port out of every bridge removes port and interface.
    return {{"op", "mutate"}, {"table", "Bridge"}, {"where", Json::array()},
            {"mutations", Json::array({Json::array({"ports", "delete", Json::array({"set", std::move(set)})})})}};
}

// ovs-vswitchd answers an increased next_cfg with cur_cfg when the change is in the data path; it also wakes it at once.
Json bump() {
    return {{"op", "mutate"}, {"table", "Open_vSwitch"}, {"where", Json::array()},
            {"mutations", Json::array({Json::array({"next_cfg", "+=", 1})})}};
}

Json string_map(const std::map<std::string, std::string>& values) {
    Json pairs = Json::array();
    for (const auto& [key, value] : values) pairs.push_back(Json::array({key, value}));
    return Json::array({"map", std::move(pairs)});
}

}  // namespace

Result<HotplugCall> parse_hotplug(const std::vector<std::string>& argv, const std::map<std::string, std::string>& env) {
    if (argv.size() < 2) return fail(Kind::kInvalid, "no action; called by libxl as block add|remove or vif-blanket online|offline");
    const std::string name = argv[0].substr(argv[0].rfind('/') + 1);
    HotplugCall call;
    if (name == "block") call.kind = HotplugKind::kBlock;
    else if (name == "vif-blanket" || name == "vif-bridge" || name == "vif-openvswitch") call.kind = HotplugKind::kVif;
    else return fail(Kind::kInvalid, "called as '{}': only block, vif-blanket, vif-bridge and vif-openvswitch are known", name);
    call.own_bridge = name == "vif-blanket";

    struct Verb {
        HotplugKind kind;
        std::string_view text;
        HotplugAction action;
    };
    // add and remove of a vif are for the tap device of an emulated card, which a PV guest has not.
    constexpr Verb kVerbs[] = {
        {HotplugKind::kBlock, "add", HotplugAction::kAttach},    {HotplugKind::kBlock, "remove", HotplugAction::kDetach},
        {HotplugKind::kVif, "online", HotplugAction::kAttach},   {HotplugKind::kVif, "offline", HotplugAction::kDetach},
        {HotplugKind::kVif, "add", HotplugAction::kNothing},     {HotplugKind::kVif, "remove", HotplugAction::kNothing},
    };
    bool known = false;
    for (const Verb& verb : kVerbs)
        if (verb.kind == call.kind && verb.text == argv[1]) {
            call.action = verb.action;
            known = true;
        }
    if (!known) return fail(Kind::kInvalid, "{} does not know the action '{}'", name, argv[1]);
    for (std::size_t i = 2; i < argv.size(); ++i)
        if (argv[i] == "type_if=tap") call.action = HotplugAction::kNothing;
    if (call.action == HotplugAction::kNothing) return call;

    const auto path = env.find("XENBUS_PATH");
    if (path == env.end() || !valid_path(path->second))
        return fail(Kind::kInvalid, "XENBUS_PATH is '{}', not a backend's path", path == env.end() ? "" : path->second);
    call.xenbus_path = path->second;
    if (call.kind == HotplugKind::kVif) {
        const auto vif = env.find("vif");
        if (vif == env.end() || !valid_interface(vif->second))
            return fail(Kind::kInvalid, "the environment's vif is '{}', not an interface name", vif == env.end() ? "" : vif->second);
        call.vif = vif->second;
    }
    return call;
}

Json ovs_find(const std::string& bridge, const std::string& vif) {
    const auto select = [](const char* table, const std::string& name) {
        return Json{{"op", "select"}, {"table", table}, {"where", Json::array({Json::array({"name", "==", name})})}, {"columns", Json::array({"_uuid"})}};
    };
    return transact(Json::array({select("Bridge", bridge), select("Port", vif)}));
}

Result<void> check_ovs_reply(const Json& reply) {
    if (reply.contains("error") && !reply["error"].is_null()) return fail(Kind::kIo, "OVSDB refused the request: {}", reply["error"].dump());
    if (!reply.contains("result") || !reply["result"].is_array()) return fail(Kind::kIo, "OVSDB answered without a result");
    for (const Json& part : reply["result"])
        if (part.is_object() && part.contains("error")) return fail(Kind::kIo, "OVSDB: {}", part.dump());
    return {};
}

Result<OvsFound> parse_ovs_found(const Json& reply) {
    BLANKET_CHECK(check_ovs_reply(reply));
    const Json& result = reply["result"];
    const auto rows = [&result](std::size_t index) -> std::vector<std::string> {
        std::vector<std::string> uuids;
        if (result.size() <= index || !result[index].is_object() || !result[index].contains("rows") || !result[index]["rows"].is_array()) return uuids;
        for (const Json& row : result[index]["rows"]) {
            if (!row.is_object() || !row.contains("_uuid")) continue;
            const Json& uuid = row["_uuid"];
            if (uuid.is_array() && uuid.size() == 2 && uuid[1].is_string() && is_uuid(uuid[1].get<std::string>())) uuids.push_back(uuid[1].get<std::string>());
        }
        return uuids;
    };
    return OvsFound{.bridge = !rows(0).empty(), .old_ports = rows(1)};
}

Json ovs_attach(const VifPort& port, const OvsFound& found) {
    Json operations = Json::array();
    if (!found.old_ports.empty()) operations.push_back(drop_ports(found));
    operations.push_back({{"op", "insert"}, {"table", "Interface"}, {"uuid-name", "i"},
                          {"row", {{"name", port.vif}, {"external_ids", string_map({{"vm-uuid", port.vm_uuid}, {"vm-mac", port.mac}})}}}});
    operations.push_back({{"op", "insert"}, {"table", "Port"}, {"uuid-name", "p"},
                          {"row", {{"name", port.vif}, {"interfaces", Json::array({"set", Json::array({Json::array({"named-uuid", "i"})})})},
                                   {"external_ids", string_map({{"vm-uuid", port.vm_uuid}, {"vm-mac", port.mac}})}}}});
    operations.push_back({{"op", "mutate"}, {"table", "Bridge"}, {"where", Json::array({Json::array({"name", "==", port.bridge})})},
                          {"mutations", Json::array({Json::array({"ports", "insert", Json::array({"set", Json::array({Json::array({"named-uuid", "p"})})})})})}});
    operations.push_back(bump());
    return transact(std::move(operations));
}

Json ovs_detach(const OvsFound& found) { return transact(Json::array({drop_ports(found), bump()})); }

std::string physical_device(unsigned major_number, unsigned minor_number) { return std::format("{:x}:{:x}", major_number, minor_number); }

}  // namespace blanket
