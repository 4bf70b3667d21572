// SPDX-License-Identifier: GPL-2.0-or-later
// /etc of a new version: the new version's own, with what this machine has changed since its version left the build: new and changed files win, removed ones go. Accounts come from the new
// version, always; so do files that programs make out of others.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::update {

struct Entry {
    char kind = 'f';      // 'f' file, 'd' folder, 'l' link; others are not carried
    unsigned mode = 0, uid = 0, gid = 0;
    std::string content;  // SHA-256 of a file, target of a link
    bool operator==(const Entry&) const = default;
};
using Tree = std::map<std::string, Entry>;  // path below /etc, without a leading '/'

// What image-builder/tree-list wrote of /etc. kInvalid: a line that is none of its, or a path that leaves /etc.
Result<Tree> parse_tree(std::string_view tsv);
Result<Tree> read_tree(const std::string& folder);  // of files up to 16 MiB

struct Merge {
    std::vector<std::string> take;    // new or changed here, folders before what is in them
    std::vector<std::string> remove;  // gone here; what is in a folder before it
};
Merge plan_merge(const Tree& pristine, const Tree& now);

// `from`'s files into `to`, as `merge` says: owner, mode and times too. A link of `to` where `from` has a folder is replaced, never followed: it may lead to the system that runs.
Result<void> apply_merge(const Merge& merge, const std::string& from, const std::string& to);

// What /var holds belongs to numbers, so one name must not have another number (passwd, group). The first name that has, or empty.
std::string renumbered(std::string_view accounts, std::string_view new_accounts);

}  // namespace blanket::update
