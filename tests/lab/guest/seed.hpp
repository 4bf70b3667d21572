// SPDX-License-Identifier: GPL-2.0-or-later
// What the guest finds on the seed disk that `vm create --user-data` gives it (NoCloud). Mounts it anew each time, so that the answer comes from the device of
// the site where the guest then runs, not from the guest's own page cache. Root only.
#pragma once

#include <string>

#include "toolstack/base/result.hpp"

namespace blanket::lab {

Result<std::string> read_user_data();

}  // namespace blanket::lab
