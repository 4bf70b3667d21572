// SPDX-License-Identifier: GPL-2.0-or-later
// Connection keeping and error mapping; see libvirt_connection.hpp.
#include "toolstack/hypervisor/libvirt_connection.hpp"

#include <array>
#include <thread>

#include "toolstack/base/text.hpp"

namespace blanket {

Kind kind_of_libvirt(int code) {
    switch (code) {
    case VIR_ERR_NO_DOMAIN: return Kind::kNotFound;
    case VIR_ERR_DOM_EXIST:
    case VIR_ERR_OPERATION_INVALID: return Kind::kConflict;
    case VIR_ERR_XML_ERROR:
    case VIR_ERR_XML_DETAIL:
    case VIR_ERR_XML_INVALID_SCHEMA:
    case VIR_ERR_INVALID_ARG:
    case VIR_ERR_OS_TYPE:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
    case VIR_ERR_CONFIG_UNSUPPORTED: return Kind::kInvalid;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED: return Kind::kDenied;
    case VIR_ERR_OPERATION_TIMEOUT:
    case VIR_ERR_AGENT_UNRESPONSIVE: return Kind::kTimeout;
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_INVALID_CONN:
    case VIR_ERR_RPC: return Kind::kUnavailable;
    case VIR_ERR_OPERATION_ABORTED: return Kind::kCancelled;
    default: return Kind::kIo;
    }
}

Error libvirt_error(std::string_view doing) {
    const virErrorPtr last = virGetLastError();
    if (last == nullptr) return Error{Kind::kInternal, std::format("{}: libvirt failed without saying why", doing), {}};
    Kind kind = kind_of_libvirt(last->code);
    if (last->domain == VIR_FROM_RPC) kind = Kind::kUnavailable;  // the daemon went away in the middle
    std::string hint;
    if (kind == Kind::kUnavailable) hint = "systemctl status libvirtd";
    else if (last->domain == VIR_FROM_LIBXL && kind == Kind::kIo) hint = "the reason is in /var/log/libvirt/libxl/libxl-driver.log";
    return Error{kind, std::format("{}: {}", doing, last->message != nullptr ? last->message : "unknown libvirt error"), std::move(hint)};
}

void init_libvirt() {
    static std::once_flag once;
    std::call_once(once, [] {
        virInitialize();
        virSetErrorFunc(nullptr, [](void*, virErrorPtr) {});
        virEventRegisterDefaultImpl();
        // Without a timeout the loop would sleep for ever before the first connection registers itself.
        virEventAddTimeout(1000, [](int, void*) {}, nullptr, nullptr);
        std::thread([] {
            for (;;)
                if (virEventRunDefaultImpl() < 0) std::this_thread::sleep_for(std::chrono::milliseconds(100));
        }).detach();
    });
}

Result<ConnectHandle> open_libvirt(const std::string& uri) {
    init_libvirt();
    virConnectPtr connection = virConnectOpen(uri.c_str());
    if (connection == nullptr) {
        Error error = libvirt_error("connect to " + uri);
        error.kind = error.kind == Kind::kDenied ? Kind::kDenied : Kind::kUnavailable;
        error.hint = "systemctl status libvirtd; its Xen driver needs dom0 and a CPU model that fits";
        return std::unexpected(std::move(error));
    }
    return ConnectHandle(connection, [](virConnectPtr handle) { virConnectClose(handle); });
}

Result<ConnectHandle> LibvirtConnection::get(std::chrono::milliseconds patience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    const std::lock_guard lock(mutex_);
    for (;;) {
        // A round trip: libvirt notices a dead socket only when it uses it, and a call that changes something must not be repeated blindly.
        unsigned long version = 0;
        if (connection_ && virConnectIsAlive(connection_.get()) == 1 && virConnectGetLibVersion(connection_.get(), &version) == 0) return connection_;
        connection_.reset();
        auto opened = open_libvirt(uri_);
        if (opened) {
            connection_ = std::move(*opened);
            return connection_;
        }
        if (opened.error().kind == Kind::kDenied || std::chrono::steady_clock::now() >= until) return opened;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
}

Result<DomainHandle> find_domain(virConnectPtr connection, const std::string& uuid) {
    BLANKET_CHECK(check_uuid(uuid));
    DomainHandle domain(virDomainLookupByUUIDString(connection, uuid.c_str()));
    if (!domain) return std::unexpected(libvirt_error("look up " + uuid));
    return domain;
}

Error libvirt_error(std::string_view doing, virDomainPtr domain) {
    Error error = libvirt_error(doing);  // first: asking for the name makes libvirt forget its last error
    error.what.insert(doing.size(), " " + name_of(domain));
    return error;
}

std::string uuid_of(virDomainPtr domain) {
    std::array<char, VIR_UUID_STRING_BUFLEN> text{};
    return virDomainGetUUIDString(domain, text.data()) == 0 ? std::string(text.data()) : std::string();
}

std::string name_of(virDomainPtr domain) {
    const char* name = virDomainGetName(domain);
    return name != nullptr ? name : "";
}

}  // namespace blanket
