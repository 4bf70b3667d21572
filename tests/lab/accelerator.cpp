// SPDX-License-Identifier: GPL-2.0-or-later
// Which accelerator the lab uses, found by trial; see machine.hpp.
#include <cstdlib>
#include <unistd.h>

#include "tests/lab/deadline.hpp"
#include "tests/lab/machine.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

constexpr std::chrono::seconds kTrial{20};
constexpr const char* kUserspace = "boot stage local";  // cloud-init in dom0 says so on the console

// A plain Linux under KVM proves nothing for PV guests: the trial is our Xen starting its dom0.
bool boots_under_kvm(const std::string& image, const std::string& dir) {
    MachineProfile profile = east_profile();
    profile.name = "kvm-trial";
    const auto machine = Machine::start(profile, {dir, image, {}, "ssh-ed25519 none", Accelerator::kKvm});
    return machine && (*machine)->wait_console(kUserspace, kTrial).has_value();
}

}  // namespace

std::string_view name_of(Accelerator accelerator) { return accelerator == Accelerator::kKvm ? "kvm" : "tcg"; }

Result<Accelerator> choose_accelerator(const std::string& image, const std::string& scratch_dir, const std::string& memory_file) {
    const char* wish = std::getenv("BLANKET_ACCEL");
    const std::string_view name = wish == nullptr || *wish == '\0' ? "auto" : wish;
    if (name == "tcg") return Accelerator::kTcg;
    if (name == "kvm") return Accelerator::kKvm;
    if (name != "auto") return fail_hint(Kind::kInvalid, std::format("BLANKET_ACCEL is '{}'", name), "auto, kvm or tcg");
    if (::access("/dev/kvm", R_OK | W_OK) != 0) return Accelerator::kTcg;
    BLANKET_TRY(const std::string boot_text, read_file("/proc/sys/kernel/random/boot_id"));
    const std::string boot(trim(boot_text));
    if (const auto memory = read_file(memory_file); memory && memory->starts_with(boot)) return memory->ends_with("kvm\n") ? Accelerator::kKvm : Accelerator::kTcg;
    const Accelerator found = boots_under_kvm(image, scratch_dir) ? Accelerator::kKvm : Accelerator::kTcg;
    BLANKET_CHECK(write_file(memory_file, std::format("{} {}\n", boot, name_of(found))));
    return found;
}

}  // namespace blanket::lab
