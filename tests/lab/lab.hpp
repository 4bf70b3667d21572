// SPDX-License-Identifier: GPL-2.0-or-later
// The two (or three) clouds: shaper, machines, witness and the ways to them, in one folder. blanket-lab, the demo, the VM tests and the benches own one each.
// Must be made and destroyed on one thread that lives as long as the lab, in a network namespace of its own.
//
//   DIR/lab.pid control.sock               DIR/<site>/  disk.qcow2 seed.img console.log console.sock qemu.log ...
//   DIR/ssh/ key known_hosts <site>.ctl    DIR/witness/ its data; DIR/witness.log     DIR.lock      DIR.previous: the logs of the lab before
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/lab/machine.hpp"
#include "tests/lab/shaper.hpp"
#include "tests/lab/shaper_control.hpp"
#include "tests/lab/ssh.hpp"

namespace blanket::lab {

struct LabOptions {
    std::string name = "default";
    std::string dir;               // empty: lab_dir(name)
    std::string image;             // the appliance
    std::string witness_program;   // blanket-witness; may be empty when no witness is started
    std::string provider_image;    // of make_provider.sh, for machines inside a Xen; made beside the lab when empty
    std::map<std::string, Provider> providers;  // of sites whose provider runs Xen; all CPUs are then of that provider's kind
    std::string device_model;      // of make_device_model.sh, for Provider::kXenHvm
    std::string cpu;               // instead of the profiles' own; empty = theirs (south keeps its own)
    std::uint64_t capture_bytes = 1ull << 30;  // of the capture of east-west; 0 = none
    std::vector<std::string> forbidden;        // plaintext that must never appear between east and west
    bool durable_disks = false;    // MachineProfile::durable_disk, for all
    bool keep_disks = false;       // leave the overlays behind at the end
};

std::string lab_dir(const std::string& name);  // /cache/lab/<name>
constexpr const char* kWitnessNode = "witness";
constexpr const char* kProvider = "-provider";  // added to a site's name: the Xen around it

class Lab final {
public:
    // Takes the folder (kConflict when a lab runs there), sets the logs of the last lab aside, and starts the shaper. No machine yet.
    static Result<std::unique_ptr<Lab>> create(LabOptions options);
    ~Lab();
    Lab(const Lab&) = delete;
    Lab& operator=(const Lab&) = delete;

    Result<void> start(const MachineProfile& profile);  // boots it; does not wait
    // Another machine with a copy of the disk of `site`, which has no power. end() takes it and the copy away.
    Result<void> start_with_copy(const MachineProfile& profile, const std::string& site);
    void end(const std::string& site);
    Result<void> wait_ready(const std::string& site, std::chrono::milliseconds deadline);  // ssh answers
    // The witness on the lab host: joins with the token and stays; its output is in witness.log.
    Result<void> start_witness(const std::string& token);
    Result<void> check_witness();  // an error when it has ended

    Result<Machine*> machine(const std::string& site);
    Result<Ssh*> ssh(const std::string& site);
    Result<Ssh*> provider_ssh(const std::string& site);  // of a machine inside a Xen: that Xen's own dom0
    Shaper& shaper() { return *shaper_; }
    [[nodiscard]] const std::string& dir() const { return options_.dir; }
    [[nodiscard]] const LabOptions& options() const { return options_; }
    [[nodiscard]] Accelerator accelerator() const { return accelerator_; }
    [[nodiscard]] std::vector<std::string> sites() const;
    // {"machines":{name:{running,address,pid,console}},"accelerator","dir"}: for `blanket-lab status`; thread safe as long as no machine is being started.
    Json status();
    // Alarming console lines of all machines, prefixed by the machine's name.
    Result<std::vector<std::string>> alarms();
    // Journals, doctor and domain lists of each dom0 that still answers, into DIR/<site>/; best effort, for a failure.
    void collect_logs();

private:
    Result<void> start_from(const std::string& base_image, const MachineProfile& given);
    Result<void> rent_out(const std::string& site, std::chrono::milliseconds deadline);
    explicit Lab(LabOptions options) : options_(std::move(options)) {}
    LabOptions options_;
    UniqueFd lock_;
    std::string ssh_key_;
    Accelerator accelerator_ = Accelerator::kTcg;
    std::unique_ptr<Shaper> shaper_;
    std::map<std::string, MachineProfile> to_rent_;  // inside a provider's Xen, not started yet
    std::map<std::string, std::unique_ptr<Machine>> machines_;
    std::map<std::string, Ssh> ssh_;
    std::unique_ptr<Child> witness_;
};

}  // namespace blanket::lab
