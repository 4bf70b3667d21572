// SPDX-License-Identifier: GPL-2.0-or-later
// A provider that runs Xen, as the lab's hand on it: it rents out one machine, a PVH guest with our hypervisor, on its bridge. Used by Lab and the uplink tests.
#pragma once

#include "tests/lab/machine_profile.hpp"
#include "tests/lab/ssh.hpp"

namespace blanket::lab {

// `image`: the appliance; `out`: a raw image (Debian's hypervisor below the appliance's dom0). Takes seconds.
Result<void> make_provider_image(const std::string& image, const std::string& out);
// Once the provider's ssh answers: its own services end, its network card goes into a bridge, and the guest starts with the disk that QEMU gave for it and with `seed`.
Result<void> start_guest(Ssh& provider, const MachineProfile& inside, const std::string& seed);

}  // namespace blanket::lab
