// SPDX-License-Identifier: GPL-2.0-or-later
// A member that was away while the federation's CA was replaced comes back: with a token of its name, and the key that it has. Used by Federation and blanket-witness.
#pragma once

#include <string>

#include "toolstack/daemon/newcomer.hpp"

namespace blanket {

// "blanket site token --name west" and so on, for who has to say it. `by`: the site that holds the CA's key.
std::string readmission_hint(const std::string& by, const std::string& name, const std::string& role);

// Asks the site that signs for a certificate of the new CA, checks it, and puts both into their places. State, records and etcd's data stay. The caller starts etcd again.
Result<void> readmit(const std::string& root, const LocalState& state, const JoinToken& token, const Progress& progress);

}  // namespace blanket
