// SPDX-License-Identifier: GPL-2.0-or-later
// blanket image add|list.
#include <cstdlib>
#include <memory>
#include <sys/stat.h>

#include "toolstack/base/text.hpp"
#include "toolstack/cli/render.hpp"
#include "toolstack/cli/verb_lists.hpp"

namespace blanket::cli {
namespace {

Result<int> run_add(Context& context, const Invocation& call) {
    BLANKET_CHECK(check_name(call.arg(0), "image"));
    const std::unique_ptr<char, decltype(&std::free)> path(::realpath(call.arg(1).c_str(), nullptr), &std::free);
    if (!path) return fail_errno("open", call.arg(1));
    struct stat info{};
    if (::stat(path.get(), &info) != 0) return fail_errno("stat", call.arg(1));
    if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode))
        return fail_hint(Kind::kInvalid, std::format("'{}' is neither a file nor a block device", path.get()), "give a raw disk image, plain or as .zst");
    return mutate(context, {.request = {.method = "POST", .path = "/1.0/images", .body = {{"name", call.arg(0)}, {"path", path.get()}}}});
}

Result<int> run_image_list(Context& context, const Invocation&) {
    BLANKET_TRY(const Json reply, context.client.get("/1.0/images"));
    show(context, reply, [&](const Json& value) { return format_table(image_table(value), context.terminal); });
    return 0;
}

}  // namespace

std::vector<VerbSpec> image_verbs() {
    return {{.noun = "image",
             .verb = "add",
             .summary = "add a base image from a file on this host",
             .details = "Reads a raw disk image, or one compressed with zstd (.zst), and keeps it under the hash of its content. Other sites fetch it once, when they first need it.",
             .action = "add image {NAME} from {FILE}",
             .args = {{"NAME", "the name that the image gets"}, {"FILE", "a raw or .zst file on this host", ArgKind::kFile}},
             .mutates = true,
             .job = true,
             .example = "blanket image add debian /root/debian.raw.zst",
             .run = run_add},
            {.noun = "image",
             .verb = "list",
             .summary = "list the base images",
             .details = "Lists the base images with their size, the sites that have them, and the first 16 digits of their hash.",
             .action = "list the images",
             .example = "blanket image list",
             .run = run_image_list}};
}

}  // namespace blanket::cli
