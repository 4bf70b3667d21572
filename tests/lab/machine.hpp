// SPDX-License-Identifier: GPL-2.0-or-later
// One running QEMU: made from a profile and a base image in a folder of its own, in a process group of its own; gone for sure when the object is gone. Used by Lab and the VM tests.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tests/lab/machine_profile.hpp"
#include "tests/lab/qmp.hpp"

namespace blanket::lab {

struct MachineSetup {
    std::string dir;             // made when absent; overlay, seed, firmware variables, sockets and logs live here
    std::string base_image;      // qcow2 or raw; only read
    std::string provider_image;  // of make_provider.sh; only for a machine inside a Xen
    std::string ssh_public_key;  // one line
    Accelerator accelerator = Accelerator::kTcg;
};

class Machine final {
public:
    // Must be called on a thread that outlives the machine (QEMU dies with that thread).
    static Result<std::unique_ptr<Machine>> start(const MachineProfile& rented, const MachineSetup& setup);
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    [[nodiscard]] const MachineProfile& profile() const { return profile_; }
    [[nodiscard]] const MachinePaths& paths() const { return paths_; }
    [[nodiscard]] int pid() const { return child_ ? child_->pid() : -1; }
    [[nodiscard]] bool running();
    Qmp& qmp() { return *qmp_; }
    // Until the console has printed `text`; kUnavailable when QEMU ended meanwhile.
    Result<void> wait_console(const std::string& text, std::chrono::milliseconds deadline);
    // Starts the same machine anew on the same disk (after kill, or when the guest powered off).
    Result<void> start_again();
    // The power cord: SIGKILL to the group, and a check that no process of it is left.
    Result<void> kill();

private:
    Machine(MachineProfile profile, MachinePaths paths, Accelerator accelerator) : profile_(std::move(profile)), paths_(std::move(paths)), accelerator_(accelerator) {}
    Result<void> launch();

    MachineProfile profile_;
    MachinePaths paths_;
    Accelerator accelerator_;
    std::optional<Child> child_;
    std::optional<Qmp> qmp_;
};

// BLANKET_ACCEL: "tcg" and "kvm" say it; "auto" (default) means KVM only where the image's own Xen has been seen to boot under it: a trial boot of at most 20 s, remembered
// in `memory_file` until the host boots again.
Result<Accelerator> choose_accelerator(const std::string& image, const std::string& scratch_dir, const std::string& memory_file);
std::string_view name_of(Accelerator accelerator);

}  // namespace blanket::lab
