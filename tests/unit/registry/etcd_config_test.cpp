// SPDX-License-Identifier: GPL-2.0-or-later
// The configuration of a member, and the state file, without etcd.
#include <gtest/gtest.h>

#include "tests/unit/peer/identity.hpp"
#include "toolstack/daemon/newcomer.hpp"

namespace blanket {
namespace {

EtcdConfig sample() {
    EtcdConfig config;
    config.name = "east";
    config.dir = "/var/lib/blanket/etcd";
    config.address = "10.0.2.15";
    config.tls = {"/p/ca.crt", "/p/site.crt", "/p/site.key"};
    return config;
}

TEST(EtcdConfig, SaysWhatAMemberNeeds) {
    const std::string text = render_etcd_config(sample());
    for (const char* line : {"name: \"east\"\n", "data-dir: \"/var/lib/blanket/etcd/data\"\n", "listen-peer-urls: \"https://10.0.2.15:2380\"\n",
                             "listen-client-urls: \"https://10.0.2.15:2379,https://127.0.0.1:2379\"\n", "initial-cluster: \"east=https://10.0.2.15:2380\"\n",
                             "initial-cluster-state: \"new\"\n", "heartbeat-interval: 500\n", "election-timeout: 5000\n", "client-cert-auth: true\n",
                             "trusted-ca-file: \"/p/ca.crt\"\n"})
        EXPECT_NE(text.find(line), std::string::npos) << line << "in\n" << text;
}

TEST(EtcdConfig, NamesTheListOfRevokedCertificatesForClientsAndPeers) {
    EXPECT_FALSE(render_etcd_config(sample()).contains("CRLFile"));
    EtcdConfig config = sample();
    config.tls.crl = "/p/revoked.crl";
    const std::string text = render_etcd_config(config);
    EXPECT_TRUE(text.contains("\nClientTLSInfo:\n  CRLFile: \"/p/revoked.crl\"\n")) << text;
    EXPECT_TRUE(text.contains("\nPeerTLSInfo:\n  CRLFile: \"/p/revoked.crl\"\n")) << text;
}

TEST(EtcdConfig, ListensElsewhereBehindNatAndJoins) {
    EtcdConfig config = sample();
    config.listen = "0.0.0.0";
    config.existing = true;
    config.initial_cluster = "a=https://1.1.1.1:2380,east=https://10.0.2.15:2380";
    const std::string text = render_etcd_config(config);
    EXPECT_NE(text.find("listen-client-urls: \"https://0.0.0.0:2379\"\n"), std::string::npos);
    EXPECT_NE(text.find("advertise-client-urls: \"https://10.0.2.15:2379\"\n"), std::string::npos);
    EXPECT_NE(text.find("initial-cluster-state: \"existing\"\n"), std::string::npos);
}

TEST(EtcdConfig, TextCannotBreakOutOfItsLine) {
    EtcdConfig config = sample();
    config.dir = "/x\"\nname: \"evil";
    EXPECT_EQ(render_etcd_config(config).find("\nname: \"evil"), std::string::npos);
}

TEST(LocalState, GoesRoundAndRefusesDamage) {
    const test::TempDir dir;
    const LocalState state{"east", "10.0.2.15", "voter", 3, {"10.0.2.15:2379"}, "east=https://10.0.2.15:2380", true};
    EXPECT_EQ(load_local_state(dir.path()).error().kind, Kind::kNotFound);
    ASSERT_TRUE(save_local_state(dir.path(), state));
    EXPECT_EQ(load_local_state(dir.path()).value(), state);
    const std::string text = to_json(state).dump();
    for (std::size_t size = 0; size < text.size(); ++size) {
        const auto json = parse_json(text.substr(0, size));
        EXPECT_FALSE(json && parse_local_state(*json)) << size;
    }
}

}  // namespace
}  // namespace blanket
