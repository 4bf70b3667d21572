// SPDX-License-Identifier: GPL-2.0-or-later
// VmRecord -> libvirt domain XML of a PV guest. Pure. The one place that decides how our VMs look to libvirt.
#pragma once

#include <string>

#include "toolstack/base/result.hpp"
#include "toolstack/core/records.hpp"

namespace blanket {

struct DomainXmlOptions {
    std::string kernel = "/usr/lib/grub-xen/grub-x86_64-xen.bin";         // pvgrub: boots the guest's own kernel from its disk
    std::string vif_script = "/usr/libexec/blanket/vif-blanket";
};

// kInvalid when the record lacks what a definition needs or holds text that is no name, MAC or volume id.
Result<std::string> build_domain_xml(const VmRecord& vm, const DomainXmlOptions& options = {});

std::string top_device(const std::string& volume_id);  // "/dev/mapper/bs-<id>-top"

}  // namespace blanket
