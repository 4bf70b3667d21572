// SPDX-License-Identifier: GPL-2.0-or-later
// Xen in Xen: a provider (the appliance on Debian's hypervisor), and guests of it whose only process is probe.cpp: in dom0 of our hypervisor, at the provider's
// backends by the uplink modules; or the same kernel as a plain guest of the provider, to compare with. Used by uplink_vm_test and bench-uplink.
#pragma once

#include <memory>
#include <string>

#include "tests/lab/lab.hpp"
#include "tests/vm/uplink_rig/exits.hpp"

namespace blanket::rig {

struct Inside {
    unsigned vcpus = 1, dom0_vcpus = 1;
    std::string words;     // for the probe, on its kernel's command line
    std::string xen_words; // for our hypervisor
    bool domu = false;     // an initramfs from which the probe can start a guest of its own
    bool blanket = true;   // false: no hypervisor of ours between, and the kernel's own frontends
    std::string emulated;  // "ide" or "ahci": a plain HVM guest with such a disk and an e1000 (Rig::create with a device model); needs blanket = false
    bool pv_on_hvm = false;  // that guest takes its emulated devices away, and drives their paravirtual twins by the kernel's own frontends
};

class Rig final {
public:
    // Boots the provider (a minute and a half under emulation). BLANKET_MODULES: a folder with modules to use instead of the image's. In a network namespace of its own; the thread must outlive it.
    // `device_model`: of make_device_model.sh, for emulated devices; may be empty. `direct_io`: the provider's page cache is left out of the disk, where its loop driver can do so.
    static Result<std::unique_ptr<Rig>> create(const std::string& name, const std::string& appliance, const std::string& device_model = {}, bool direct_io = false);

    Result<void> start(const Inside& inside);
    std::string console();                              // what the guest has said, its last 60,000 characters
    std::string kept(const std::string& said);          // where that was written to, and its end: for an error's message
    Result<void> wait_said(const std::string& what);
    Result<void> wait_gone();                           // the guest has ended; one that hangs or panics is ended here, and an error
    Result<std::string> run(const Inside& inside);      // start to end; the console
    Result<std::vector<Stretch>> run_exits(const Inside& inside);  // the same with the words exits=1 and slow=1 for emulated devices, watched by the provider's xentrace: as kExitStretches says, and idle

    Result<bool> direct_io();  // it can
    lab::Ssh& provider() { return *ssh_; }
    lab::Lab& machine() { return *lab_; }

private:
    Rig() = default;
    Result<void> prepare(bool direct_io);
    std::unique_ptr<lab::Lab> lab_;
    lab::Ssh* ssh_ = nullptr;
};

constexpr const char* kRogue = "/root/rogue";        // at the provider: rogue.cpp
constexpr const char* kDisk = "/root/rig/disk.img";  // at the provider; pattern.hpp says what is in it

}  // namespace blanket::rig
