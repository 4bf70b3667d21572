// SPDX-License-Identifier: GPL-2.0-or-later
// `blanket doctor`: is this host able to do its work? Gathering (I/O, small readers below an injectable root) is apart from judging (pure).
// blanketd's GET /1.0/doctor: inputs = gather_doctor(...), adds what its ports know (host, pool, registry), then run_doctor.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/core/ports.hpp"
#include "toolstack/daemon/uplinks.hpp"
#include "toolstack/update/status.hpp"

namespace blanket {

enum class CheckStatus : std::uint8_t { kOk, kWarning, kFail };
std::string_view to_string(CheckStatus status);  // "ok", "warning", "fail"

struct Check {
    std::string name;  // stable, [a-z-]
    CheckStatus status = CheckStatus::kOk;
    std::string detail;  // what was found, with values
    std::string hint;    // the next step; empty when ok
};
Json to_json(const std::vector<Check>& checks);  // {"checks":[{"name","status","detail","hint"}]}

struct ModuleFacts {
    bool loaded = false;     // or built in
    bool available = false;  // a module of the running kernel
    std::string version;     // /sys/module/NAME/version, empty when it tells none
};

struct DeviceFacts {
    std::string name;    // "ens3", "vda"
    std::string driver;  // "virtio_net"; empty = not found
};

// Of the root file system, which holds both slots, /boot and /var; total 0 = not known.
struct SpaceFacts {
    std::uint64_t free = 0, total = 0;  // bytes
};

struct WireguardFacts {
    bool present = false;       // the interface exists
    unsigned peers = 0, alive = 0;  // alive: a handshake in the last three minutes
};

// Where name, keys and user-data came from.
struct MetadataFacts {
    std::string chosen;               // by image-builder's libexec/blanket/datasource: "NoCloud", "Ec2", "None"; empty = not known
    std::string used;                 // by cloud-init: "DataSourceNoCloud [seed=/dev/vdb]"
    std::vector<std::string> errors;  // that cloud-init met, its warnings included
};

// From what the image's Xen was built: /usr/share/blanket/xen-build.json, made by hypercall-passthrough/describe.
struct XenBuildFacts {
    std::string version, commit;  // of the Debian source; of upstream's tree
    unsigned advisories = 0, newest = 0;  // how many security fixes its changelog lists, and the highest number
    unsigned age_days = 0;
};

// stream/content_store.hpp's, as far as it is shown.
struct ContentStoreFacts {
    std::uint64_t quota = 0, bytes = 0, pages = 0;  // bytes; now
    std::uint64_t offered = 0, taken = 0;           // pages, since blanketd started
    std::string trouble;                            // why it keeps nothing now
};

enum class SecureBoot : std::uint8_t { kUnknown, kOff, kOn };

struct RegistryFacts {
    bool running = false;   // etcd's process answers
    bool quorum = false;    // a linearizable read succeeded
    unsigned voters = 0, healthy = 0;
    std::string leader;     // member name, may be empty
    std::string error;      // why there is no quorum
};

struct DoctorInputs {
    // From the daemon's ports; absent = the port failed, with its text in the *_error.
    std::optional<HostFacts> host;
    std::string host_error;
    std::optional<PoolFacts> pool;
    std::string pool_error;
    std::optional<ContentStoreFacts> store;  // the content store; absent: none
    std::optional<RegistryFacts> registry;
    bool federated = false;
    std::string shut;                  // why this site does not listen for the others; empty: it does, or is in no federation
    std::vector<Malformed> malformed;  // records
    std::vector<std::string> unserved;    // networks of this site's VMs that it cannot serve, and why (Overlay::check_net)
    std::vector<std::string> unservable;  // the same of others: no VM of theirs can come here
    std::optional<Revocation> revoked;       // this site
    std::vector<std::string> revoked_sites;  // others
    std::optional<Error> behind;             // the federation's CA was replaced without this site, and what to do
    std::vector<std::string> relayed, punched;     // other sites that are not reached at their address: "west via hub: why", "home: why"
    std::optional<std::int64_t> certificate_days;  // that this site's certificate is still good for

    // From gather_doctor.
    std::string hypervisor_type;     // /sys/hypervisor/type: "xen", empty on bare Linux
    std::string hypervisor_version;  // "4.20.3-blanket"
    bool control_domain = false;     // this is dom0
    std::map<std::string, std::string> units;  // unit -> "active", "failed", ...
    std::map<std::string, ModuleFacts> modules;
    std::optional<bool> clock_synchronised;
    DeviceFacts uplink, root_disk;
    SpaceFacts root_space;
    std::uint64_t root_disk_lacks = 0;  // bytes by which its partition table ends beyond the disk
    Uplinks uplinks;             // all that the provider gave
    std::string uplink_address;  // IPv4
    unsigned uplink_mtu = 0;
    bool uefi = false;
    SecureBoot secure_boot = SecureBoot::kUnknown;
    std::optional<XenBuildFacts> xen_build;
    std::optional<unsigned> entropy;  // bits that the kernel counts; 256 = its generator is seeded
    std::string random_source;        // the hardware generator in use, "virtio_rng.0"; empty = none
    std::string dmi_vendor, dmi_product, dmi_bios, dmi_tag;
    std::string provider_xen;  // "xen 4.17" where the uplink modules are at work
    std::optional<WireguardFacts> wireguard;
    MetadataFacts metadata;
    std::string twin;  // a partition with the same image as the root, "/dev/vdb3"
    update::Status update;  // the versions that this machine has
    std::string live;  // what a live system was started from: "sr0", "network"; empty = it is on a disk of its own
};

// How gathering reaches the world; tests give a fake root and fake commands.
struct DoctorProbe {
    std::string root;  // put before /sys, /proc and /lib; empty = the machine itself
    std::function<Result<Output>(const Argv&)> run;  // empty = base/process run_any with 5 s
    std::function<std::optional<bool>()> clock;      // empty = adjtimex(2)
    std::string uplink;  // the configured interface, empty = that of the default route
};
// Never fails: what cannot be read stays empty, and run_doctor says so. Blocks for the commands (systemctl, ip, wg), seconds at most.
DoctorInputs gather_doctor(const DoctorProbe& probe = {});

// Pure. One finding per check, always all of them, in a fixed order.
std::vector<Check> run_doctor(const DoctorInputs& inputs);

// "Amazon EC2 (Nitro)", "bare metal or unknown: Dell Inc. R640"; pure.
std::string guess_provider(const std::string& vendor, const std::string& product, const std::string& bios, const std::string& tag);

}  // namespace blanket
