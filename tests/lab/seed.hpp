// SPDX-License-Identifier: GPL-2.0-or-later
// The NoCloud seed of a machine: what a provider's control panel would hand over. Used by Machine; the texts are pure.
#pragma once

#include <string>

#include "tests/lab/machine_profile.hpp"

namespace blanket::lab {

struct SeedTexts {
    std::string meta_data, user_data, network_config;
};

// Hostname and site name = the profile's name; root gets the SSH key; a static uplink address found by its MAC.
SeedTexts plan_seed(const MachineProfile& profile, const std::string& ssh_public_key);
// A FAT image labelled CIDATA with the three files; `dir` holds them meanwhile.
Result<void> make_seed(const SeedTexts& texts, const std::string& dir, const std::string& image);

}  // namespace blanket::lab
