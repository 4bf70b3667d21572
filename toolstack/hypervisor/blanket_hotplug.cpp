// SPDX-License-Identifier: GPL-2.0-or-later
// blanket-hotplug: what libxl calls when a PV disk or network card comes or goes. Replaces Xen's shell scripts, which take seconds of a migration's
// downtime. Installed under the names block, vif-blanket, vif-bridge (hotplug.hpp). Errors go where libxl looks for them: hotplug-error, hotplug-status.
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <optional>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

extern "C" {
#include <xenstore.h>
}

#include "toolstack/base/fd.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/hypervisor/hotplug.hpp"

namespace {

using namespace blanket;

constexpr const char* kDistroBlock = "/etc/xen/scripts/block.distrib";  // Debian's script, for disks that are files
constexpr const char* kOvsdb = "/run/openvswitch/db.sock";
constexpr const char* kOwnBridge = "br-int";
constexpr unsigned kDefaultMtu = 1390;  // inside VXLAN inside WireGuard inside 1500

class Store final {
public:
    ~Store() {
        if (handle_ != nullptr) xs_close(handle_);
    }
    Result<void> open() {
        handle_ = xs_open(0);
        if (handle_ == nullptr) return fail_errno("open", "xenstore");
        return {};
    }
    std::optional<std::string> read(const std::string& path) {
        unsigned length = 0;
        char* value = static_cast<char*>(xs_read(handle_, XBT_NULL, path.c_str(), &length));
        if (value == nullptr) return std::nullopt;
        std::string text(value, length);
        std::free(value);
        return text;
    }
    Result<void> write(const std::string& path, const std::string& value) {
        if (!xs_write(handle_, XBT_NULL, path.c_str(), value.data(), static_cast<unsigned>(value.size()))) return fail_errno("xenstore write", path);
        return {};
    }
    [[nodiscard]] bool is_open() const { return handle_ != nullptr; }

private:
    xs_handle* handle_ = nullptr;
};

// ---------------------------------------------------------------- disks
Result<void> attach_block(Store& store, const HotplugCall& call, char** argv) {
    // libxl fills in physical-device itself for a plain phy: disk; the call then has nothing to do.
    if (store.read(call.xenbus_path + "/physical-device")) return {};
    const auto params = store.read(call.xenbus_path + "/params");
    if (!params || params->empty()) return fail(Kind::kInvalid, "{}/params is empty: the disk names no device", call.xenbus_path);
    const std::string device = params->starts_with('/') ? *params : "/dev/" + *params;
    struct stat info{};
    if (::stat(device.c_str(), &info) != 0) return fail_errno("stat", device);
    if (S_ISREG(info.st_mode)) {  // needs a loop device: leave it to the distribution's script
        ::execv(kDistroBlock, argv);
        return fail_hint(Kind::kPrecondition, std::format("{} is a file and {} cannot run: {}", device, kDistroBlock, std::strerror(errno)),
                         "use a block device (a logical volume), or install xen-utils-common's script there");
    }
    if (!S_ISBLK(info.st_mode)) return fail(Kind::kInvalid, "{} is not a block device", device);
    BLANKET_CHECK(store.write(call.xenbus_path + "/physical-device", physical_device(major(info.st_rdev), minor(info.st_rdev))));
    BLANKET_CHECK(store.write(call.xenbus_path + "/physical-device-path", device));
    return store.write(call.xenbus_path + "/hotplug-status", "connected");
}

Result<void> detach_block(Store& store, const HotplugCall& call, char** argv) {
    if (store.read(call.xenbus_path + "/node")) {  // a loop device of the distribution's script
        ::execv(kDistroBlock, argv);
        return fail_errno("run", kDistroBlock);
    }
    return {};
}

// ---------------------------------------------------------------- interfaces
Result<ifreq> request_for(const std::string& name) {
    ifreq request{};
    if (name.size() >= sizeof request.ifr_name) return fail(Kind::kInvalid, "interface name '{}' is too long", name);
    std::memcpy(request.ifr_name, name.data(), name.size());
    return request;
}

Result<void> bring_up(int socket, const std::string& name, unsigned mtu) {
    BLANKET_TRY(ifreq request, request_for(name));
    request.ifr_mtu = static_cast<int>(mtu);
    if (::ioctl(socket, SIOCSIFMTU, &request) != 0) return fail_errno("set MTU of", name);
    // dom0 itself must not speak on a guest's port.
    const UniqueFd ipv6(::open(std::format("/proc/sys/net/ipv6/conf/{}/disable_ipv6", name).c_str(), O_WRONLY | O_CLOEXEC));
    if (ipv6) (void)write_all(ipv6.get(), as_bytes("1"));
    if (::ioctl(socket, SIOCGIFFLAGS, &request) != 0) return fail_errno("read flags of", name);
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (::ioctl(socket, SIOCSIFFLAGS, &request) != 0) return fail_errno("set up", name);
    return {};
}

// One request, one reply on OVSDB's socket; echo requests in between are ignored.
class Ovsdb final {
public:
    static Result<Ovsdb> open() {
        Ovsdb db;
        db.fd_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strcpy(address.sun_path, kOvsdb);
        if (!db.fd_ || ::connect(db.fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            auto error = fail_errno("connect", kOvsdb);
            error.error().hint = "systemctl status openvswitch-switch";
            return error;
        }
        return db;
    }
    Result<Json> call(const Json& request) {
        BLANKET_CHECK(write_all(fd_.get(), as_bytes(request.dump())));
        std::string text;
        std::byte buffer[4096];
        for (;;) {
            pollfd wait{fd_.get(), POLLIN, 0};
            if (::poll(&wait, 1, 10'000) <= 0) return fail(Kind::kTimeout, "{} did not answer within 10 s", kOvsdb);
            BLANKET_TRY(const std::size_t got, read_some(fd_.get(), buffer));
            if (got == 0) return fail(Kind::kIo, "{} closed the connection", kOvsdb);
            text.append(reinterpret_cast<const char*>(buffer), got);
            if (text.size() > (1u << 20)) return fail(Kind::kIo, "{} answered more than 1 MiB", kOvsdb);
            // Replies are not delimited (RFC 7047 section 4): a complete JSON value is the whole message here, as we have one request open.
            if (Json::accept(text)) return parse_json(text, 1u << 20);
        }
    }

private:
    UniqueFd fd_;
};

Result<void> attach_vif(Store& store, const HotplugCall& call) {
    std::string vif = call.vif;
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) return fail_errno("socket", "AF_INET");
    if (const auto wanted = store.read(call.xenbus_path + "/vifname"); wanted && !wanted->empty() && *wanted != vif) {
        BLANKET_TRY(ifreq rename, request_for(vif));
        if (wanted->size() >= sizeof rename.ifr_newname || wanted->contains('/')) return fail(Kind::kInvalid, "vifname '{}' is not an interface name", *wanted);
        std::memcpy(rename.ifr_newname, wanted->c_str(), wanted->size() + 1);
        if (::ioctl(socket.get(), SIOCSIFNAME, &rename) != 0) return fail_errno("rename to", *wanted);
        vif = *wanted;
    }
    unsigned mtu = kDefaultMtu;
    if (const auto text = store.read(call.xenbus_path + "/mtu"))
        if (unsigned number = 0; std::from_chars(text->data(), text->data() + text->size(), number).ec == std::errc() && number >= 68 && number <= 65'535) mtu = number;
    BLANKET_CHECK(bring_up(socket.get(), vif, mtu));

    std::string bridge = call.own_bridge ? kOwnBridge : store.read(call.xenbus_path + "/bridge").value_or(kOwnBridge);
    const std::string folder = std::format("/sys/class/net/{}/bridge", bridge);
    if (!call.own_bridge && !bridge.contains('/') && ::access(folder.c_str(), F_OK) == 0) {  // a Linux bridge of the operator's
        BLANKET_TRY(ifreq add, request_for(bridge));
        add.ifr_ifindex = static_cast<int>(::if_nametoindex(vif.c_str()));
        if (::ioctl(socket.get(), SIOCBRADDIF, &add) != 0 && errno != EBUSY) return fail_errno("add to bridge", bridge);
        return store.write(call.xenbus_path + "/hotplug-status", "connected");
    }

    const std::string domain = store.read(call.xenbus_path + "/frontend-id").value_or("");
    const std::string vm = store.read(std::format("/local/domain/{}/vm", domain)).value_or("");
    const std::string uuid = vm.starts_with("/vm/") ? vm.substr(4, 36) : "";
    std::string mac = store.read(call.xenbus_path + "/mac").value_or("");
    for (char& c : mac) c = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    BLANKET_TRY(Ovsdb db, Ovsdb::open());
    BLANKET_TRY(Json reply, db.call(ovs_find(bridge, vif)));
    BLANKET_TRY(OvsFound found, parse_ovs_found(reply));
    if (!found.bridge && bridge != kOwnBridge) {  // libxl's default name "xenbr0" when the definition names no bridge
        bridge = kOwnBridge;
        BLANKET_TRY(reply, db.call(ovs_find(bridge, vif)));
        BLANKET_TRY(found, parse_ovs_found(reply));
    }
    if (!found.bridge) return fail_hint(Kind::kNotFound, std::format("there is no Open vSwitch bridge {}", bridge), "systemctl status blanketd makes it");
    BLANKET_TRY(reply, db.call(ovs_attach({.bridge = bridge, .vif = vif, .vm_uuid = uuid, .mac = mac}, found)));
    BLANKET_CHECK(check_ovs_reply(reply));
    return store.write(call.xenbus_path + "/hotplug-status", "connected");
}

Result<void> detach_vif(Store& store, const HotplugCall& call) {
    const std::string vif = store.read(call.xenbus_path + "/vifname").value_or(call.vif);
    BLANKET_TRY(Ovsdb db, Ovsdb::open());
    BLANKET_TRY(Json reply, db.call(ovs_find(kOwnBridge, vif)));
    BLANKET_TRY(const OvsFound found, parse_ovs_found(reply));
    if (found.old_ports.empty()) return {};
    BLANKET_TRY(reply, db.call(ovs_detach(found)));
    return check_ovs_reply(reply);
}

Result<void> handle(Store& store, const HotplugCall& call, char** argv) {
    if (call.kind == HotplugKind::kBlock)
        return call.action == HotplugAction::kAttach ? attach_block(store, call, argv) : detach_block(store, call, argv);
    return call.action == HotplugAction::kAttach ? attach_vif(store, call) : detach_vif(store, call);
}

}  // namespace

int main(int argc, char** argv) {
    log::set_plain(true);
    std::map<std::string, std::string> env;
    for (const char* name : {"XENBUS_PATH", "vif"})
        if (const char* value = std::getenv(name)) env[name] = value;
    const auto call = parse_hotplug(std::vector<std::string>(argv, argv + argc), env);
    Store store;
    Result<void> result = {};
    if (!call) {
        result = std::unexpected(call.error());
    } else {
        if (call->action == HotplugAction::kNothing) return 0;
        result = store.open();
        if (result) result = handle(store, *call, argv);
    }
    if (result) return 0;
    log::error("blanket-hotplug", "{}", result.error().what);
    if (call && store.is_open() && call->action == HotplugAction::kAttach) {
        (void)store.write(call->xenbus_path + "/hotplug-error", result.error().what);
        (void)store.write(call->xenbus_path + "/hotplug-status", "error");
    }
    return 1;
}
