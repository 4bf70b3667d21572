// SPDX-License-Identifier: GPL-2.0-or-later
// blanket vm import: takes over a definition in libvirt's or xl's form.
#include <algorithm>
#include <array>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

constexpr std::size_t kMaxDefinition = 1u << 20;

// "key = value" with a key that xl.cfg(5) knows for every guest.
bool xl_line(std::string_view line) {
    constexpr std::array<std::string_view, 14> kKeys{"name", "type", "builder", "kernel", "ramdisk", "bootloader", "memory", "maxmem", "vcpus", "disk", "vif", "uuid", "extra", "root"};
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) return false;
    const auto key = trim(line.substr(0, equals));
    return std::ranges::find(kKeys, key) != kKeys.end();
}

Result<int> run_import(Context& context, const Invocation& call) {
    BLANKET_TRY(const std::string text, read_file(call.arg(0), kMaxDefinition));
    BLANKET_TRY(const std::string format, detect_definition(text));
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/import", .body = {{"format", format}, {"text", text}, {"net", call.option("net")}}}});
}

}  // namespace

Result<std::string> detect_definition(std::string_view text) {
    if (text.contains('\0')) return fail_hint(Kind::kInvalid, "the file is not text", "give a libvirt domain XML or an xl.cfg");
    const std::string_view start = trim(text.starts_with("\xef\xbb\xbf") ? text.substr(3) : text);
    if (start.empty()) return fail_hint(Kind::kInvalid, "the file is empty", "give a libvirt domain XML or an xl.cfg");
    if (start.front() == '<') {
        if (start.contains("<domain")) return std::string("libvirt-xml");
        return fail_hint(Kind::kInvalid, "the file is XML, but has no <domain> element", "virsh dumpxml --inactive NAME prints one");
    }
    for (const auto& line : split(start, '\n'))
        if (xl_line(trim(line))) return std::string("xl-cfg");
    return fail_hint(Kind::kInvalid, "the file is neither a libvirt domain XML nor an xl.cfg", "an xl.cfg has lines such as name = \"web\" and memory = 256");
}

VerbSpec vm_import_verb() {
    return {.noun = "vm",
            .verb = "import",
            .summary = "take over a VM from libvirt XML or an xl.cfg",
            .details = "Reads a libvirt domain XML or an xl.cfg (told apart by content). The content of its one disk, which must be on this host, becomes a base image and a volume; the "
                       "original stays as it was. Its network card joins the given net. What cannot be taken over is named and refused.",
            .action = "import {FILE}",
            .args = {{"FILE", "the definition", ArgKind::kFile}},
            .options = {{.name = "net", .value = "NET", .help = "the network of its card", .kind = ArgKind::kNet, .required = true}},
            .mutates = true,
            .job = true,
            .example = "blanket vm import web.cfg --net lan",
            .run = run_import};
}

}  // namespace blanket::cli
