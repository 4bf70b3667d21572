// SPDX-License-Identifier: GPL-2.0-or-later
// Base images: added from a file on this host, identified by content, fetched from a peer once.
#pragma once

#include "toolstack/daemon/vm_actions.hpp"

namespace blanket {

Result<Answer> add_image(App& app, const std::string& name, const std::string& path, bool dry_run);
// Makes the image present here: fetched from the first site that answers, if it is absent.
Result<void> ensure_image(App& app, const Versioned<Image>& image, Job& job);
// Content hash of a raw file or device; holes cost nothing. {sha256, size}
struct ImageIdentity {
    std::string sha256;
    std::uint64_t size = 0;
};
Result<ImageIdentity> identify(int fd);

}  // namespace blanket
