// SPDX-License-Identifier: GPL-2.0-or-later
// The Hypervisor and MigrationEnds ports over libvirt's Xen driver, with libxl (in blanket-save) for the live save. Created by blanketd.
// Thread safe. Survives restarts of libvirtd: each call reconnects when it must.
//
//   source: save_live -> resume_source (abort) | destroy_source (after the commit)
//   target: restore_paused -> resume_target (after the commit) | discard_target (abort)
#pragma once

#include <memory>
#include <mutex>
#include <optional>

#include "toolstack/core/ports.hpp"
#include "toolstack/hypervisor/libvirt_connection.hpp"
#include "toolstack/hypervisor/xen_host.hpp"

namespace blanket {

struct HypervisorPaths {
    std::string save = "/usr/libexec/blanket/blanket-save";
    std::string run = "/run/blanket";  // where the restore's FIFO lives for a moment
};

class LibvirtHypervisor final : public Hypervisor, public MigrationEnds {
public:
    static Result<std::unique_ptr<LibvirtHypervisor>> connect(const std::string& uri = "xen:///system", HypervisorPaths paths = {});

    Result<HostFacts> facts() override;
    Result<std::vector<DomainInfo>> list() override;
    Result<void> define(const std::string& xml) override;
    Result<void> undefine(const std::string& uuid) override;
    Result<void> start(const std::string& uuid) override;
    Result<void> stop(const std::string& uuid, StopMode mode, std::chrono::seconds deadline) override;
    Result<void> pause(const std::string& uuid) override;
    Result<void> unpause(const std::string& uuid) override;
    Result<std::string> definition(const std::string& uuid) override;
    Result<std::uint32_t> watchdog(std::uint32_t id, std::chrono::seconds time) override;

    Result<void> save_live(const std::string& uuid, const SaveLimits& limits, const ByteSink& sink, const std::function<bool(const SaveProgress&)>& on_progress) override;
    Result<void> resume_source(const std::string& uuid) override;
    Result<void> destroy_source(const std::string& uuid) override;
    Result<void> restore_paused(const std::string& uuid, const std::string& xml, const ByteSource& source) override;
    Result<void> resume_target(const std::string& uuid) override;
    Result<void> discard_target(const std::string& uuid) override;

private:
    LibvirtHypervisor(std::string uri, HypervisorPaths paths);
    Result<int> running_id(const std::string& uuid);             // kConflict when it does not run
    Result<std::vector<XenDomain>> xen_domains();                // opens Xen's handle at the first use
    Result<void> lift_caps();                                    // of saves that were killed together with an earlier blanketd
    Result<void> destroy_and_undefine(const std::string& uuid);  // absent is fine; also what only Xen knows

    LibvirtConnection connection_;
    const HypervisorPaths paths_;
    std::mutex xen_mutex_;
    std::optional<XenHost> xen_;
};

}  // namespace blanket
