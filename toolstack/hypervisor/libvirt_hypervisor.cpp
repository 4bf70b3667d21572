// SPDX-License-Identifier: GPL-2.0-or-later
// Lifecycle of domains through libvirt; see libvirt_hypervisor.hpp. The migration's half is in libvirt_migration.cpp.
#include "toolstack/hypervisor/libvirt_hypervisor.hpp"

#include <algorithm>
#include <thread>

#include "toolstack/base/log.hpp"
#include "toolstack/hypervisor/cpu_features.hpp"

namespace blanket {
namespace {

constexpr std::uint16_t kHostWeight = 4096;  // guests have 256

using Clock = std::chrono::steady_clock;

DomainState state_from_libvirt(int state) {
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED: return DomainState::kRunning;
    case VIR_DOMAIN_PAUSED: return DomainState::kPaused;
    case VIR_DOMAIN_CRASHED: return DomainState::kCrashed;
    case VIR_DOMAIN_SHUTDOWN: return DomainState::kDying;
    case VIR_DOMAIN_PMSUSPENDED: return DomainState::kSuspended;
    default: return DomainState::kShutoff;
    }
}

// Xen knows better than libvirt while a save is on or a guest has just stopped.
DomainState state_from_xen(const XenDomain& domain, DomainState libvirt) {
    if (domain.dying) return DomainState::kDying;
    if (!domain.shutdown) return domain.paused ? DomainState::kPaused : (libvirt == DomainState::kPaused ? DomainState::kPaused : DomainState::kRunning);
    switch (*domain.shutdown) {
    case XenShutdown::kSuspend: return DomainState::kSuspended;
    case XenShutdown::kCrash:
    case XenShutdown::kWatchdog: return DomainState::kCrashed;
    default: return DomainState::kDying;  // powered off or rebooting: libvirt is about to act on it
    }
}

}  // namespace

LibvirtHypervisor::LibvirtHypervisor(std::string uri, HypervisorPaths paths) : connection_(std::move(uri)), paths_(std::move(paths)) {}

Result<std::unique_ptr<LibvirtHypervisor>> LibvirtHypervisor::connect(const std::string& uri, HypervisorPaths paths) {
    std::unique_ptr<LibvirtHypervisor> made(new LibvirtHypervisor(uri, std::move(paths)));
    BLANKET_TRY(const ConnectHandle connection, made->connection_.get());
    BLANKET_TRY(made->xen_, XenHost::open());
    if (const auto raised = made->xen_->raise_host_weight(kHostWeight); !raised) log::warning("hypervisor", "dom0 keeps its scheduling weight: {}", raised.error().what);
    if (const auto lifted = made->lift_caps(); !lifted) log::warning("hypervisor", "{}", lifted.error().what);
    return made;
}

Result<std::vector<XenDomain>> LibvirtHypervisor::xen_domains() {
    const std::lock_guard lock(xen_mutex_);
    if (!xen_) {
        BLANKET_TRY(xen_, XenHost::open());
    }
    return xen_->domains();
}

Result<std::uint32_t> LibvirtHypervisor::watchdog(std::uint32_t id, std::chrono::seconds time) {
    const std::lock_guard lock(xen_mutex_);
    if (!xen_) {
        BLANKET_TRY(xen_, XenHost::open());
    }
    return xen_->watchdog(id, static_cast<std::uint32_t>(time.count()));
}

Result<HostFacts> LibvirtHypervisor::facts() {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    unsigned long version = 0;
    if (virConnectGetLibVersion(connection.get(), &version) != 0) return std::unexpected(libvirt_error("ask libvirt's version"));
    XenFacts xen;
    {
        const std::lock_guard lock(xen_mutex_);
        if (!xen_) {
            BLANKET_TRY(xen_, XenHost::open());
        }
        BLANKET_TRY(xen, xen_->facts());
    }
    const RawCpuid cpuid = read_cpuid();
    HostFacts facts;
    facts.memory_mib = xen.memory_mib;
    facts.free_mib = xen.free_mib;
    facts.cpus = xen.cpus;
    facts.cpu_features = decode_features(cpuid);
    facts.cpu_model = cpuid.brand;
    facts.xen_version = xen.version;
    facts.libvirt_version = std::format("{}.{}.{}", version / 1'000'000, version / 1000 % 1000, version % 1000);
    facts.log_dirty = xen.shadow;
    return facts;
}

Result<std::vector<DomainInfo>> LibvirtHypervisor::list() {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    BLANKET_TRY(const auto xen, xen_domains());
    virDomainPtr* handles = nullptr;
    const int count = virConnectListAllDomains(connection.get(), &handles, 0);
    if (count < 0) return std::unexpected(libvirt_error("list domains"));
    std::vector<DomainInfo> domains;
    for (int i = 0; i < count; ++i) {
        const DomainHandle domain(handles[i]);
        DomainInfo info{.uuid = uuid_of(domain.get()), .name = name_of(domain.get()), .id = -1, .state = DomainState::kShutoff, .memory_mib = 0, .vcpus = 0};
        const unsigned id = virDomainGetID(domain.get());
        if (id == 0) continue;  // dom0
        virDomainInfo raw{};
        if (virDomainGetInfo(domain.get(), &raw) != 0) continue;  // it went away meanwhile
        info.memory_mib = raw.maxMem / 1024;
        info.vcpus = raw.nrVirtCpu;
        info.state = state_from_libvirt(raw.state);
        if (id != static_cast<unsigned>(-1)) {
            info.id = static_cast<int>(id);
            const auto seen = std::ranges::find(xen, info.id, &XenDomain::id);
            info.state = seen == xen.end() ? DomainState::kDying : state_from_xen(*seen, info.state);
        }
        domains.push_back(std::move(info));
    }
    std::free(handles);
    std::ranges::sort(domains, {}, &DomainInfo::name);
    return domains;
}

Result<void> LibvirtHypervisor::define(const std::string& xml) {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    const DomainHandle domain(virDomainDefineXMLFlags(connection.get(), xml.c_str(), VIR_DOMAIN_DEFINE_VALIDATE));
    if (!domain) return std::unexpected(libvirt_error("define the domain"));
    virDomainSetAutostart(domain.get(), 0);  // blanketd starts what the record says, nobody else
    return {};
}

Result<void> LibvirtHypervisor::undefine(const std::string& uuid) {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    const auto domain = find_domain(connection.get(), uuid);
    if (!domain) return domain.error().kind == Kind::kNotFound ? Result<void>() : std::unexpected(domain.error());
    if (virDomainIsPersistent(domain->get()) == 0) return {};
    if (virDomainUndefineFlags(domain->get(), VIR_DOMAIN_UNDEFINE_MANAGED_SAVE) != 0) {
        Error error = libvirt_error("undefine", domain->get());
        if (error.kind != Kind::kNotFound) return std::unexpected(std::move(error));
    }
    return {};
}

Result<void> LibvirtHypervisor::start(const std::string& uuid) {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    BLANKET_TRY(const DomainHandle domain, find_domain(connection.get(), uuid));
    if (virDomainIsActive(domain.get()) == 1) return {};
    if (virDomainCreate(domain.get()) != 0) return std::unexpected(libvirt_error("start", domain.get()));
    return {};
}

Result<void> LibvirtHypervisor::stop(const std::string& uuid, StopMode mode, std::chrono::seconds deadline) {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    BLANKET_TRY(const DomainHandle domain, find_domain(connection.get(), uuid));
    const std::string name = name_of(domain.get());
    if (virDomainIsActive(domain.get()) == 0) return {};
    if (mode == StopMode::kDestroy) {
        if (virDomainDestroy(domain.get()) == 0) return {};
        Error error = libvirt_error("destroy " + name);
        return virDomainIsActive(domain.get()) == 1 ? Result<void>(std::unexpected(std::move(error))) : Result<void>();
    }
    if (virDomainShutdownFlags(domain.get(), VIR_DOMAIN_SHUTDOWN_PARAVIRT) != 0) return std::unexpected(libvirt_error("shut down " + name));
    const auto until = Clock::now() + deadline;
    for (;;) {
        const int active = virDomainIsActive(domain.get());
        if (active == 0) return {};
        if (active < 0) {  // a transient domain vanishes when it stops
            Error error = libvirt_error("wait for " + name);
            return error.kind == Kind::kNotFound ? Result<void>() : std::unexpected(std::move(error));
        }
        if (Clock::now() >= until)
            return fail_hint(Kind::kTimeout, std::format("'{}' did not shut down within {} s", name, deadline.count()),
                             std::format("blanket vm destroy {} switches it off", name));
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

Result<void> LibvirtHypervisor::pause(const std::string& uuid) {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    BLANKET_TRY(const DomainHandle domain, find_domain(connection.get(), uuid));
    if (virDomainSuspend(domain.get()) == 0) return {};
    Error error = libvirt_error("suspend", domain.get());
    int state = 0;
    if (virDomainGetState(domain.get(), &state, nullptr, 0) == 0 && state == VIR_DOMAIN_PAUSED) return {};
    return std::unexpected(std::move(error));
}

Result<void> LibvirtHypervisor::unpause(const std::string& uuid) {
    auto resumed = resume_target(uuid);
    if (!resumed && resumed.error().kind == Kind::kNotFound) return {};
    return resumed;
}

Result<std::string> LibvirtHypervisor::definition(const std::string& uuid) {
    BLANKET_TRY(const ConnectHandle connection, connection_.get());
    BLANKET_TRY(const DomainHandle domain, find_domain(connection.get(), uuid));
    char* text = virDomainGetXMLDesc(domain.get(), VIR_DOMAIN_XML_INACTIVE);
    if (text == nullptr) return std::unexpected(libvirt_error("read the definition of", domain.get()));
    std::string xml(text);
    std::free(text);
    return xml;
}

}  // namespace blanket
