// SPDX-License-Identifier: GPL-2.0-or-later
// A provider that runs Xen, as the lab's hand on it: it rents out one machine, a PVH or HVM guest with our hypervisor, on its bridge. Used by Lab and the uplink tests.
#pragma once

#include "tests/lab/machine_profile.hpp"
#include "tests/lab/ssh.hpp"

namespace blanket::lab {

// `image`: the appliance; `out`: a raw image (Debian's hypervisor below the appliance's dom0). Takes seconds.
Result<void> make_provider_image(const std::string& image, const std::string& out);
// Once the provider's ssh answers: its own services end, its network card goes into a bridge, and the guest starts with the disk that QEMU gave for it and with `seed`.
Result<void> start_guest(Ssh& provider, const MachineProfile& inside, const std::string& seed);

// `block` and `vif` into this folder of its dom0, for its guests' backends, whose network cards go into `bridge`: the appliance's hotplug program serves the blanket's VMs only.
Result<void> put_hotplug_scripts(Ssh& provider, const std::string& folder, const std::string& bridge);

// For HVM guests: the provider's machine has a disk with a device model (MachineProfile::device_model), which xl then finds by these lines of a guest's configuration.
Result<void> mount_device_model(Ssh& provider);
std::string device_model_lines();

// A command for a machine where there is no such provider: prints nothing when the modules have stayed out of it, else what is there and what they complain of. That a module is not of the
// kernel's own tree is the kernel's word.
constexpr const char* kUplinkTraces = "ls -d /sys/bus/blanket 2>/dev/null || true; dmesg --level=emerg,alert,crit,err,warn | grep -E 'uplink[_a-z-]*:' | grep -v 'taints kernel' || true";

}  // namespace blanket::lab
