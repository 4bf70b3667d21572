// SPDX-License-Identifier: GPL-2.0-or-later
// An update as a file: a tar of manifest.json, manifest.sig (Ed25519 over its bytes) and tree.tar.zst, in this order. Nothing in it counts before the signature does.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "toolstack/base/fd.hpp"
#include "toolstack/update/manifest.hpp"

namespace blanket::update {

struct Key {
    std::string name;  // the file it came from
    std::string pem;
};
// All *.pub of the folders; a folder that is not there has none. kInvalid: one that is no Ed25519 key.
Result<std::vector<Key>> read_keys(const std::vector<std::string>& folders);

class Bundle final {
public:
    // Reads and judges all but the tree's content. kDenied: none of `keys` has signed it. kInvalid: no update, truncated, or altered. The file is held open: what was judged is what is read later.
    static Result<Bundle> open(const std::string& path, const std::vector<Key>& keys);

    [[nodiscard]] const Manifest& manifest() const { return manifest_; }
    [[nodiscard]] const std::string& signer() const { return signer_; }

    // The tree's bytes, from the first to the last, into `sink`. kInvalid when they are not those of the manifest: then what the sink got is worth nothing.
    Result<void> read_tree(const std::function<Result<void>(std::span<const std::byte>)>& sink) const;

private:
    UniqueFd fd_;
    Manifest manifest_;
    std::string signer_;
    std::uint64_t tree_at_ = 0;
};

}  // namespace blanket::update
