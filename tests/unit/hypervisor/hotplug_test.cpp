// SPDX-License-Identifier: GPL-2.0-or-later
// Hotplug calls as libxl makes them, and the OVSDB requests they lead to.
#include "toolstack/hypervisor/hotplug.hpp"

#include <gtest/gtest.h>

namespace blanket {
namespace {

using Env = std::map<std::string, std::string>;

TEST(Hotplug, Calls) {
    const Env disk{{"XENBUS_PATH", "backend/vbd/5/51712"}}, card{{"XENBUS_PATH", "backend/vif/5/0"}, {"vif", "vif5.0"}};
    auto call = parse_hotplug({"/etc/xen/scripts/block", "add"}, disk);
    ASSERT_TRUE(call);
    EXPECT_EQ(call->kind, HotplugKind::kBlock);
    EXPECT_EQ(call->action, HotplugAction::kAttach);
    call = parse_hotplug({"/usr/libexec/blanket/vif-blanket", "online", "type_if=vif"}, card);
    ASSERT_TRUE(call);
    EXPECT_EQ(call->action, HotplugAction::kAttach);
    EXPECT_TRUE(call->own_bridge);
    EXPECT_EQ(call->vif, "vif5.0");
    call = parse_hotplug({"vif-bridge", "offline", "type_if=vif"}, card);
    ASSERT_TRUE(call);
    EXPECT_EQ(call->action, HotplugAction::kDetach);
    EXPECT_FALSE(call->own_bridge);
    call = parse_hotplug({"vif-bridge", "add", "type_if=tap"}, {});
    ASSERT_TRUE(call);
    EXPECT_EQ(call->action, HotplugAction::kNothing);
}

TEST(Hotplug, TakesTheDisksBehindXvdp) {
    EXPECT_TRUE(parse_hotplug({"block", "add"}, {{"XENBUS_PATH", "backend/vbd/1/268441856"}}));  // xvdz
    EXPECT_FALSE(parse_hotplug({"block", "add"}, {{"XENBUS_PATH", "backend/vbd/1/536870912"}}));
}

TEST(Hotplug, RefusesWhatIsNotABackend) {
    for (const char* path : {"", "backend/vbd/5", "backend/vbd/5/x", "backend/vbd/0/1", "backend/vbd/5/1/../../tool", "/local/domain/3/backend/vif/5/0", "device/vbd/5/51712"})
        EXPECT_FALSE(parse_hotplug({"block", "add"}, {{"XENBUS_PATH", path}})) << path;
    for (const char* vif : {"", "../x", "vif5.0 -- del-br", "averyverylongname"})
        EXPECT_FALSE(parse_hotplug({"vif-blanket", "online"}, {{"XENBUS_PATH", "backend/vif/5/0"}, {"vif", vif}})) << vif;
    EXPECT_FALSE(parse_hotplug({"block", "online"}, {{"XENBUS_PATH", "backend/vbd/5/51712"}}));
    EXPECT_FALSE(parse_hotplug({"rm", "add"}, {{"XENBUS_PATH", "backend/vbd/5/51712"}}));
    EXPECT_FALSE(parse_hotplug({"block"}, {}));
}

TEST(Hotplug, PortRequest) {
    const Json reply = Json::parse(R"({"id":1,"error":null,"result":[{"rows":[{"_uuid":["uuid","11111111-2222-3333-4444-555555555555"]}]},
                                       {"rows":[{"_uuid":["uuid","aaaaaaaa-2222-3333-4444-555555555555"]}]}]})");
    const auto found = parse_ovs_found(reply);
    ASSERT_TRUE(found);
    EXPECT_TRUE(found->bridge);
    ASSERT_EQ(found->old_ports.size(), 1u);
    const Json request = ovs_attach({.bridge = "br-int", .vif = "vif5.0", .vm_uuid = "u", .mac = "02:00:00:00:00:05"}, *found);
    EXPECT_EQ(request["method"], "transact");
    const Json& ops = request["params"];
    ASSERT_EQ(ops.size(), 6u);
    EXPECT_EQ(ops[0], "Open_vSwitch");
    EXPECT_EQ(ops[1]["mutations"][0][1], "delete");  // the leftover first
    EXPECT_EQ(ops[2]["row"]["name"], "vif5.0");
    EXPECT_EQ(ops[2]["row"]["external_ids"], Json::parse(R"(["map",[["vm-mac","02:00:00:00:00:05"],["vm-uuid","u"]]])"));
    EXPECT_EQ(ops[4]["where"], Json::parse(R"([["name","==","br-int"]])"));
    EXPECT_EQ(ovs_attach({}, {.bridge = true, .old_ports = {}})["params"].size(), 5u);
}

TEST(Hotplug, BadReplies) {
    for (const char* text : {"{}", R"({"error":"x","result":null})", R"({"error":null,"result":[{"error":"constraint violation"}]})", R"({"result":5})"})
        EXPECT_FALSE(parse_ovs_found(Json::parse(text))) << text;
    const auto found = parse_ovs_found(Json::parse(R"({"error":null,"result":[{"rows":[]},{"rows":[{"_uuid":["uuid","no uuid"]},5]}]})"));
    ASSERT_TRUE(found);
    EXPECT_FALSE(found->bridge);
    EXPECT_TRUE(found->old_ports.empty());
}

TEST(Hotplug, PhysicalDevice) { EXPECT_EQ(physical_device(253, 18), "fd:12"); }

}  // namespace
}  // namespace blanket
