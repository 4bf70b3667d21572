// SPDX-License-Identifier: GPL-2.0-or-later
// What the hypervisor itself says, by libxenctrl (no child processes, no signals): memory, version, shadow paging, and the domains' true states,
// which libvirt does not show while a save is on. Used by LibvirtHypervisor and DomainEvents. Thread safe: each object has its own handle and a lock.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket {

enum class XenShutdown : std::uint8_t { kPoweroff, kReboot, kSuspend, kCrash, kWatchdog, kSoftReset, kOther };

struct XenDomain {
    int id = -1;
    std::string uuid;
    bool paused = false, dying = false;
    std::optional<XenShutdown> shutdown;  // the guest stopped by itself, for this reason
};

struct XenFacts {
    std::uint64_t memory_mib = 0, free_mib = 0;
    std::uint32_t cpus = 0;
    std::string version;  // "4.20.4"
    bool shadow = false;  // CONFIG_SHADOW_PAGING: XEN_SYSCTL_PHYSCAP_shadow
};

class XenHost final {
public:
    static Result<XenHost> open();  // kUnavailable when this system does not run on Xen or is not its dom0
    XenHost(XenHost&&) noexcept;
    XenHost& operator=(XenHost&&) noexcept;
    ~XenHost();

    Result<XenFacts> facts();
    Result<std::vector<XenDomain>> domains();  // without dom0 and Xen's own
    // Gives dom0 at least this weight in the credit2 scheduler. Guests' I/O and every move run in dom0: at the guests' own weight (256) it would starve with them.
    Result<void> raise_host_weight(std::uint16_t weight);
    // SCHEDOP_watchdog on dom0: Xen restarts the host unless this is called again within `seconds`. `id` 0: a new one; 0 seconds: disarms it. Returns its id.
    Result<std::uint32_t> watchdog(std::uint32_t id, std::uint32_t seconds);

private:
    struct Handle;
    explicit XenHost(std::unique_ptr<Handle> handle);
    std::unique_ptr<Handle> handle_;
};

}  // namespace blanket
