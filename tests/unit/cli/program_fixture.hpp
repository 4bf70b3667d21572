// SPDX-License-Identifier: GPL-2.0-or-later
// The real program against a fake daemon, which has a federation of two sites. BLANKET_UPDATE_GOLDEN=1 writes the golden files anew.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>

#include "tests/unit/cli/fake_daemon.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/cli/spec.hpp"

namespace blanket::cli {

inline void expect_golden(const std::string& name, const std::string& text) {
    const std::string path = std::string(BLANKET_SOURCE_DIR "/tests/golden/cli/") + name;
    if (std::getenv("BLANKET_UPDATE_GOLDEN") != nullptr) {
        ASSERT_TRUE(write_file(path, text));
        return;
    }
    const auto want = read_file(path);
    ASSERT_TRUE(want) << want.error().what;
    EXPECT_EQ(text, *want) << name;
}

class Program : public ::testing::Test {
protected:
    Output blanket(Argv words, std::string_view input = {}) {
        words.insert(words.begin(), BLANKET_PROGRAM);
        words.insert(words.end(), {"--socket", daemon.socket()});
        auto output = run_any(words, {.deadline = std::chrono::seconds(30), .input = input});
        EXPECT_TRUE(output) << output.error().what;
        return output.value_or(Output{});
    }
    // stdout, stderr and status in one text, for the golden files.
    std::string all(const Argv& words) {
        const Output output = blanket(words);
        std::string text = std::format("$ {}\n{}", to_string(words), output.out);
        if (!output.err.empty()) text += "--- stderr\n" + output.err;
        if (output.status != 0) text += std::format("--- exit {}\n", output.status);
        return text + "\n";
    }
    FakeDaemon daemon;
};

inline constexpr const char* kVm = R"({"uuid":"6f1b2a3c-0000-4000-8000-000000000001","name":"web","owner":"east","epoch":3,"phase":"running","memory_mib":256,"vcpus":1,
    "definition":"<domain type='xen'>\n  <name>web</name>\n</domain>\n","cpu_features":["aes","sse2"],"nics":[{"net":"lan","mac":"02:00:00:00:00:01","ip":"10.1.0.2"}],
    "volumes":[{"id":"v1","image":"0123456789abcdef0123456789abcdef","size":2147483648,"target":"xvda"}],"policy":"keep-running-no-failover",
    "seed":{"hostname":"web","sha256":"89abcdef89abcdef","size":1200,"ssh_keys":2},"created":"2026-01-02T03:04:05Z","state":"running","host_id":4})";

inline void fill(FakeDaemon& daemon) {
    daemon.on("GET /1.0", 200, R"({"api":"1.0","version":"0.1.0","site":"east","federation":"mycloud"})");
    daemon.on("GET /1.0/vms", 200, std::format(R"({{"vms":[{},{{"uuid":"u2","name":"database","owner":"west","phase":"migrating","state":"running","memory_mib":1024,"vcpus":2,
        "nics":[{{"net":"lan","ip":"10.1.0.3"}},{{"net":"dmz","ip":"10.2.0.3"}}]}}]}})", kVm));
    daemon.on("GET /1.0/vms/web", 200, kVm);
    daemon.on("GET /1.0/sites", 200, R"j({"sites":[{"name":"east","index":1,"address":"192.0.2.1","wireguard_key":"k1","role":"voter","version":"0.1.0","member":1,"state":"joined",
        "provider":"Xen (HVM); xen 4.17 around this one, with paravirtual devices for dom0","uplinks":["xvda by uplink-blk, paravirtual","eth0 by 8139cp, emulated (the provider's Xen gives none of this kind: ask it for a paravirtual one)"]},
        {"name":"west","index":2,"address":"198.51.100.7","wireguard_key":"k2","role":"voter","version":"0.1.0","member":2,"state":"joined"}]})j");
    daemon.on("GET /1.0/images", 200, R"({"images":[{"name":"debian","sha256":"0123456789abcdef0123456789abcdef","size":1073741824,"sites":["east","west"]}]})");
    daemon.on("GET /1.0/nets", 200, R"({"nets":[{"name":"lan","vni":1001,"cidr":"10.1.0.0/24","gateway":"10.1.0.1","mtu":1390,"groups":[
        {"name":"web","everybody":false,"vms":["6f1b2a3c-0000-4000-8000-000000000001"],"rules":[{"direction":"egress","proto":"any","ports":"","established":false,"remote":"","remote_group":""},
        {"direction":"ingress","proto":"tcp","ports":"","established":true,"remote":"","remote_group":""},{"direction":"ingress","proto":"tcp","ports":"80-443","established":false,"remote":"","remote_group":"office"}]},
        {"name":"office","everybody":true,"vms":[],"rules":[]}],
        "anchors":[{"site":"east","ip":"10.1.0.254","ports":[{"vm":"6f1b2a3c-0000-4000-8000-000000000001","proto":"tcp","port":8080,"to":80},{"vm":"u2","proto":"udp","port":5353,"to":53}]}]}]})");
    daemon.on("GET /1.0/nets/lan", 200, R"({"name":"lan","vni":1001,"cidr":"10.1.0.0/24","gateway":"10.1.0.1","mtu":1390,"state":"active","guest_mtu":{"mtu":1350,"why":"the path between east and west carries 1460, less 60 of WireGuard and 50 of VXLAN"},
        "groups":[{"name":"web","everybody":false,"vms":["6f1b2a3c-0000-4000-8000-000000000001"],"rules":[{"direction":"egress"}]},{"name":"office","everybody":true,"vms":[],"rules":[]}],
        "anchors":[{"site":"east","ip":"10.1.0.254","ports":[{"vm":"6f1b2a3c-0000-4000-8000-000000000001","proto":"tcp","port":8080,"to":80},{"vm":"u2","proto":"udp","port":5353,"to":53}]}],
        "public":[{"site":"east","address":"192.0.2.1","proto":"tcp","port":8080,"vm":"web","to":80},{"site":"east","address":"192.0.2.1","proto":"udp","port":5353,"vm":"database","to":53}],
        "vms":[{"name":"web","uuid":"6f1b2a3c-0000-4000-8000-000000000001","ip":"10.1.0.2","mac":"02:00:00:00:00:01","site":"east","state":"running"},
        {"name":"database","uuid":"u2","ip":"10.1.0.3","mac":"02:00:00:00:00:02","site":"west","state":"migrating"}]})");
    daemon.on("GET /1.0/nets/dmz", 200, R"({"name":"dmz","vni":1002,"cidr":"10.2.0.0/24","gateway":"10.2.0.1","mtu":1390,"state":"being deleted","vms":[]})");
    daemon.on("GET /1.0/trace?from=web&to=10.1.0.3&proto=tcp&port=443", 200, R"x({"trace":{"net":"lan","from":"web","from_ip":"10.1.0.2","to_ip":"10.1.0.3","verdict":"dropped","answer":"",
        "reason":"VM 'database' is stopped","next":"blanket vm start database","hops":[{"way":"there","site":"east","table":"classify","entry":"in_port=5 (priority 100)","verdict":"goes on to remote","installed":"yes"},
        {"way":"there","site":"west","table":"local","entry":"everything else","verdict":"dropped","installed":""}],"paths":[{"site":"west","way":"direct","why":""}],"differences":["in the switch, but not planned: table=0,priority=65000,ip"]}})x");
    daemon.on("GET /1.0/federation", 200, R"({"federation":{"name":"mycloud","id":"f00d","sites":["east","west"],"members":[{"name":"east","role":"voter","healthy":true},
        {"name":"witness","role":"voter","healthy":false}]}})");
    daemon.on("GET /1.0/jobs", 200, R"({"jobs":[{"id":"j1","verb":"migrate","subject":"vm/web","state":"done","created":"2026-01-02T03:04:05Z","progress":{"phase":"clean","percent":100}}]})");
    daemon.on("GET /1.0/events", 200, R"({"events":[{"seq":7,"time":"2026-01-02T03:04:05Z","type":"vm","subject":"web","text":"moved to west"}],"last":7})");
    daemon.on("GET /1.0/paths", 200, R"({"paths":[{"site":"west","way":"direct","why":"","endpoint":"203.0.113.7:51820","rtt_ms":52.5,"loss_percent":0.0,"mtu":1500,"handshake_s":42,"received":148210000,"sent":12000},
        {"site":"home","way":"via west","why":"not reached at 198.51.100.9:51820, and its NAT gives each destination another port; tried 3 times since","endpoint":"10.213.2.1:61004","rtt_ms":110.0,"loss_percent":0.0,"mtu":1440,"handshake_s":7,"received":4096,"sent":4096},
        {"site":"south","way":"-","why":"nothing is heard of it, now tried at 192.0.2.3:51820","endpoint":"","rtt_ms":null,"loss_percent":100.0,"mtu":null,"handshake_s":null,"received":0,"sent":0}]})");
    daemon.on("GET /1.0/uplinks", 200, R"({"uplinks":[{"name":"xvda","kind":"disk","driver":"uplink-blk","device":"vbd-51712","state":"connected","path":"paravirtual","better":"",
        "counters":{"reads":12,"read_bytes":65536,"writes":3,"written_bytes":1048576}},{"name":"eth0","kind":"nic","driver":"8139cp","device":"0000:00:04.0","state":"","path":"emulated",
        "better":"the provider's Xen gives none of this kind: ask it for a paravirtual one","counters":{"reads":7,"read_bytes":900,"writes":8,"written_bytes":1000,"errors":1}}],
        "provider_xen":"xen 4.17","bus":{"ports":4,"grants":779,"grant_frames":2,"granted_own":5120,"granted_guests":96,"upcalls":230,"forwarded":229,"dropped":1,"sends":537,"send_failures":0}})");
    daemon.on("GET /1.0/doctor", 200, R"({"checks":[{"name":"xen","status":"ok","detail":"Xen 4.20.3-blanket","hint":""},
        {"name":"clock","status":"warning","detail":"the clock is not synchronised","hint":"timedatectl set-ntp true"}]})");
}

inline constexpr const char* kDone = R"({"job":{"id":"j1","verb":"migrate","subject":"vm/web","state":"done","seq":9,"created":"2026-01-02T03:04:05Z","ended":"2026-01-02T03:04:36Z",
    "progress":{"phase":"clean","percent":100},
    "phases":[{"name":"prepare","start_ms":0,"end_ms":800},{"name":"disk","start_ms":800,"end_ms":20000},{"name":"memory","start_ms":20000,"end_ms":31200}],
    "messages":[{"ms":21000,"text":"memory round 1: 40.0 MiB sent"}],
    "result":{"from":"east","to":"west","ok":true,"total_s":31.2,"downtime_ms":412,"memory_wire_bytes":66060288,
    "memory_pages":{"zero":26214,"same":310,"delta":1207,"reference":16384,"raw":22101},"disk_wire_bytes":12582912,"rounds":5,"epoch":4},"error":null}})";
inline constexpr const char* kRunning = R"({"job":{"id":"j1","verb":"migrate","subject":"vm/web","state":"running","seq":2,"progress":{"phase":"disk","percent":40},
    "phases":[{"name":"prepare","start_ms":0,"end_ms":800},{"name":"disk","start_ms":800,"end_ms":null}],"messages":[],"result":null,"error":null}})";

}  // namespace blanket::cli
