// SPDX-License-Identifier: GPL-2.0-or-later
// `blanket vm import`: a libvirt domain XML or an xl.cfg becomes a VM of ours. Its first disk's raw content becomes a base image and a thin volume, so that
// the original stays as it was; its network cards join the network that the operator names.
#include <fcntl.h>
#include <unistd.h>

#include "toolstack/base/text.hpp"
#include "toolstack/core/net_rules.hpp"
#include "toolstack/daemon/images.hpp"
#include "toolstack/daemon/vm_actions.hpp"
#include "toolstack/daemon/world.hpp"
#include "toolstack/hypervisor/import.hpp"

namespace blanket {

Result<Answer> import_vm(App& app, const Json& body, bool dry_run) {
    BLANKET_TRY(const std::string format, json_string(body, "format"));
    BLANKET_TRY(const std::string text, json_string(body, "text"));
    ImportedVm imported;
    if (format == "libvirt-xml") {
        BLANKET_TRY(imported, parse_libvirt_xml(text));
    } else if (format == "xl-cfg") {
        BLANKET_TRY(imported, read_xl_config(text));
    } else {
        return fail_hint(Kind::kInvalid, std::format("format '{}' is unknown", format.substr(0, 30)), "formats: libvirt-xml, xl-cfg");
    }
    BLANKET_CHECK(check_name(imported.name, "VM"));
    if (imported.disks.size() != 1)
        return fail_hint(Kind::kInvalid, std::format("VM '{}' has {} disks; exactly one can be imported", imported.name, imported.disks.size()), "remove the others from the definition");
    const std::string path = imported.disks.front().path;
    const std::string net = json_string_or(body, "net", "");
    if (net.empty()) return fail_hint(Kind::kInvalid, "no network named for the imported VM", "add --net NAME (blanket net list)");
    BLANKET_TRY(const Net target, app.world.net(net));
    BLANKET_CHECK(check_open(target));
    BLANKET_CHECK(app.overlay.check_net(target));
    if (app.world.vm(imported.name)) return fail_hint(Kind::kConflict, std::format("a VM '{}' exists already", imported.name), "change the name in the definition");

    CreateRequest create;
    create.name = imported.name;
    create.net = net;
    create.memory_mib = imported.memory_mib;
    create.vcpus = imported.vcpus;
    create.image = "import-" + imported.name.substr(0, 50);
    if (dry_run)
        return Answer{nullptr, {std::format("read the disk '{}' and store its content as image '{}'", path, create.image),
                                std::format("create VM '{}' with {} MiB and {} vCPUs in network '{}'", create.name, create.memory_mib, create.vcpus, net)}};
    BLANKET_TRY(const Answer adding, add_image(app, create.image, path, false));
    BLANKET_TRY(auto job, app.jobs.start("import", "import/" + imported.name, [&app, create, adding](Job& self) -> Result<Json> {
        const auto follow = [&self](const char* what, Job& job) -> Result<Json> {
            self.phase(what);
            for (std::uint64_t seq = 0; !job.ended();) {
                if (self.cancelled()) job.cancel();
                seq = job.wait(seq, std::chrono::seconds(1));
            }
            const Json done = job.to_json();
            if (done["state"] != "done") return std::unexpected(error_from_json({{"error", done["error"]}}));
            return done["result"];
        };
        BLANKET_CHECK(follow("image", *adding.job));
        BLANKET_TRY(const Answer creating, create_vm(app, create, false));
        return follow("create", *creating.job);
    }, "net/" + net));
    return Answer{job, {}};
}

}  // namespace blanket
