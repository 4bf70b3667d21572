// SPDX-License-Identifier: GPL-2.0-or-later
// On what and with what a report was made. Used by the demo and the benches.
#pragma once

#include "tests/lab/clouds.hpp"

namespace blanket::lab {

// {cpu, cores, ram_mib, accelerator, msteps_per_s}. The last is measured here, in half a second on all cores at once: dependent reads over 32 MiB
// per core, what an emulator does most. A rented machine is not as fast at every hour; two reports compare only where this number is alike.
Json machine_facts(Accelerator accelerator);
// The share of the machine's memory that the host backs with huge pages, 0..1 (without them emulation is slower); -1 when it cannot be told.
double huge_page_share(int pid);
std::string commit_of_tree();                 // "unknown" outside a git checkout
Json software_versions(Clouds& clouds);       // asked at east: {blanket, xen, dom0_kernel, libvirt, openvswitch, etcd, drbd, wireguard, debian, qemu}; "" where it is not told

}  // namespace blanket::lab
