// SPDX-License-Identifier: GPL-2.0-or-later
// libxenctrl behind XenHost; see xen_host.hpp.
#include "toolstack/hypervisor/xen_host.hpp"

#include <cerrno>
#include <cstring>

extern "C" {
#include <xenctrl.h>
}

namespace blanket {

struct XenHost::Handle {
    xc_interface* xch = nullptr;
    std::mutex mutex;
    ~Handle() {
        if (xch != nullptr) xc_interface_close(xch);
    }
};

namespace {

std::string format_uuid(const xen_domain_handle_t& handle) {
    std::string text;
    for (std::size_t i = 0; i < sizeof handle; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += std::format("{:02x}", handle[i]);
    }
    return text;
}

XenShutdown reason_of(std::uint32_t flags) {
    switch ((flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask) {
    case SHUTDOWN_poweroff: return XenShutdown::kPoweroff;
    case SHUTDOWN_reboot: return XenShutdown::kReboot;
    case SHUTDOWN_suspend: return XenShutdown::kSuspend;
    case SHUTDOWN_crash: return XenShutdown::kCrash;
    case SHUTDOWN_watchdog: return XenShutdown::kWatchdog;
    case SHUTDOWN_soft_reset: return XenShutdown::kSoftReset;
    default: return XenShutdown::kOther;
    }
}

}  // namespace

XenHost::XenHost(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
XenHost::XenHost(XenHost&&) noexcept = default;
XenHost& XenHost::operator=(XenHost&&) noexcept = default;
XenHost::~XenHost() = default;

Result<XenHost> XenHost::open() {
    auto handle = std::make_unique<Handle>();
    handle->xch = xc_interface_open(nullptr, nullptr, 0);
    if (handle->xch == nullptr)
        return fail_hint(Kind::kUnavailable, std::format("cannot talk to Xen: {}", std::strerror(errno)),
                         "is this system a dom0? Look at `dmesg | grep Xen` and /dev/xen/privcmd");
    return XenHost(std::move(handle));
}

Result<XenFacts> XenHost::facts() {
    const std::lock_guard lock(handle_->mutex);
    xc_physinfo_t info{};
    if (xc_physinfo(handle_->xch, &info) != 0) return fail_errno("xc_physinfo", "Xen");
    xen_extraversion_t extra{};
    const int version = xc_version(handle_->xch, XENVER_version, nullptr);
    if (version < 0 || xc_version(handle_->xch, XENVER_extraversion, &extra) < 0) return fail_errno("xc_version", "Xen");
    constexpr std::uint64_t kPagesPerMib = 256;
    XenFacts facts;
    facts.memory_mib = info.total_pages / kPagesPerMib;
    facts.free_mib = (info.free_pages + info.scrub_pages) / kPagesPerMib;
    facts.cpus = info.nr_cpus;
    facts.version = std::format("{}.{}{}", version >> 16, version & 0xffff, std::string(extra, strnlen(extra, sizeof extra)));
    facts.shadow = (info.capabilities & XEN_SYSCTL_PHYSCAP_shadow) != 0;
    return facts;
}

Result<std::uint32_t> XenHost::watchdog(std::uint32_t id, std::uint32_t seconds) {
    const std::lock_guard lock(handle_->mutex);
    const int got = xc_watchdog(handle_->xch, id, seconds);
    if (got < 0) return fail_errno("xc_watchdog", "dom0");
    return id != 0 ? id : static_cast<std::uint32_t>(got);
}

Result<void> XenHost::raise_host_weight(std::uint16_t weight) {
    const std::lock_guard lock(handle_->mutex);
    xen_domctl_sched_credit2 params{};
    if (xc_sched_credit2_domain_get(handle_->xch, 0, &params) != 0) return fail_errno("xc_sched_credit2_domain_get", "dom0");
    if (params.weight >= weight) return {};
    params.weight = weight;
    if (xc_sched_credit2_domain_set(handle_->xch, 0, &params) != 0) return fail_errno("xc_sched_credit2_domain_set", "dom0");
    return {};
}

Result<std::vector<XenDomain>> XenHost::domains() {
    const std::lock_guard lock(handle_->mutex);
    std::vector<XenDomain> domains;
    std::vector<xc_domaininfo_t> batch(128);
    std::uint32_t first = 1;  // 0 is ourselves
    for (;;) {
        const int got = xc_domain_getinfolist(handle_->xch, first, static_cast<unsigned>(batch.size()), batch.data());
        if (got < 0) return fail_errno("xc_domain_getinfolist", "Xen");
        for (int i = 0; i < got; ++i) {
            const xc_domaininfo_t& info = batch[static_cast<std::size_t>(i)];
            if (info.domain >= DOMID_FIRST_RESERVED) continue;
            XenDomain domain{.id = info.domain, .uuid = format_uuid(info.handle), .paused = (info.flags & XEN_DOMINF_paused) != 0,
                             .dying = (info.flags & XEN_DOMINF_dying) != 0, .shutdown = {}};
            if ((info.flags & XEN_DOMINF_shutdown) != 0) domain.shutdown = reason_of(info.flags);
            domains.push_back(std::move(domain));
            first = info.domain + 1u;
        }
        if (got < static_cast<int>(batch.size())) return domains;
    }
}

}  // namespace blanket
