// SPDX-License-Identifier: GPL-2.0-or-later
// One libvirt connection that comes back after a restart of libvirtd, owned handles, and libvirt's errors as ours. Used inside hypervisor/ only.
#pragma once

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "toolstack/base/result.hpp"

namespace blanket {

struct DomainFree {
    void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
using DomainHandle = std::unique_ptr<virDomain, DomainFree>;
using ConnectHandle = std::shared_ptr<virConnect>;

// Once per process: silences libvirt's own printing and runs its event loop on a thread that lives as long as the process.
void init_libvirt();

Result<ConnectHandle> open_libvirt(const std::string& uri);

// The calling thread's last libvirt error, with `doing` in front ("start web").
Error libvirt_error(std::string_view doing);
// The same about a domain: "start", then its name.
Error libvirt_error(std::string_view doing, virDomainPtr domain);
Kind kind_of_libvirt(int code);  // virErrorNumber -> our class; pure

class LibvirtConnection final {
public:
    explicit LibvirtConnection(std::string uri) : uri_(std::move(uri)) {}
    // A connection that answered just now; waits at most `patience` for a libvirtd that restarts. Thread safe.
    Result<ConnectHandle> get(std::chrono::milliseconds patience = std::chrono::seconds(15));

private:
    const std::string uri_;
    std::mutex mutex_;
    ConnectHandle connection_;
};

// kNotFound with the UUID when there is none.
Result<DomainHandle> find_domain(virConnectPtr connection, const std::string& uuid);
std::string uuid_of(virDomainPtr domain);
std::string name_of(virDomainPtr domain);

}  // namespace blanket
