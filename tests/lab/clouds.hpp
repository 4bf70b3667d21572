// SPDX-License-Identifier: GPL-2.0-or-later
// The chapters that the demo, the VM tests and the benches share: two green clouds, one federation, the VMs that serve and ask, and one move with everything measured.
#pragma once

#include <map>
#include <string>

#include "tests/lab/blanket_cli.hpp"
#include "tests/lab/demo_result.hpp"
#include "tests/lab/lab.hpp"

namespace blanket::lab {

constexpr std::uint16_t kGuestPort = 8090;  // of demo-guest
constexpr const char* kFederation = "demo";

// Everything that is known about the story's world while it goes on.
struct Clouds {
    Lab& lab;
    Story& story;
    ClientLog client{};
    VmView web{}, asker{};       // as created
    std::string home = "east";   // where the image is added and the VMs begin; the client stays there
    Json web_facts{}, asker_facts{};
    std::uint64_t driver_acked = 0;  // the highest acknowledged record that the driver itself has seen

    Result<BlanketCli> at(const std::string& site);
    Result<Json> guest(const std::string& site, const VmView& vm, const std::string& method, const std::string& target);  // JSON answers of demo-guest
};

// VM web's user-data: on its seed disk wherever it runs, and in nothing that a command shows.
constexpr const char* kUserData = "#cloud-config\nruncmd: [[echo, the-seed-is-read]]\n";

// The plaintext that must not be seen between the sites, and the one that the lab sends there itself to prove that it would be seen.
std::vector<std::string> forbidden_plaintext();
constexpr const char* kCanary = "BLANKET-DEMO-CANARY";

Result<void> boot_site(Clouds& clouds, const MachineProfile& profile);   // starts it
Result<void> wait_green(Clouds& clouds, const std::string& site);        // ssh, then doctor without a failure
Result<void> send_canary(Clouds& clouds);                               // east -> west in clear; the search must find it
Result<void> federate(Clouds& clouds);                                  // init at east, west joins, witness joins, three voters are healthy
Result<void> join_site(Clouds& clouds, const std::string& site);
Result<void> add_image(Clouds& clouds, const std::string& file);        // copied to home, added there as "debian"
// Net lan, VMs web and client at home, started, both answer. A seed is one disk more for web, so what is measured goes without.
Result<void> create_vms(Clouds& clouds, bool with_client = true, bool with_seed = false);
Result<void> start_traffic(Clouds& clouds);                             // load in web, probe in client, some seconds of quiet measure
Result<void> read_client_log(Clouds& clouds);
// One move, watched from all sides. An error only when the lab itself fails; a failed move is a result with ok = false.
Result<MigrationResult> move_web(Clouds& clouds, const std::string& from, const std::string& to, const std::string& without = {});

}  // namespace blanket::lab
