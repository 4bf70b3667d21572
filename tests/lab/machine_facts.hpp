// SPDX-License-Identifier: GPL-2.0-or-later
// On what and with what a report was made. Used by the demo and the benches.
#pragma once

#include "tests/lab/clouds.hpp"

namespace blanket::lab {

Json machine_facts(Accelerator accelerator);  // {cpu, cores, ram_mib, accelerator}
std::string commit_of_tree();                 // "unknown" outside a git checkout
Json software_versions(Clouds& clouds);       // asked at east: {blanket, xen, dom0_kernel, libvirt, openvswitch, etcd, drbd, wireguard, debian, qemu}; "" where it is not told

}  // namespace blanket::lab
