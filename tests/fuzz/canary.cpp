// SPDX-License-Identifier: GPL-2.0-or-later
// Two bugs that are known: tests/fuzz/run demands that they are found, or else it does not believe that the others have none.
#include "tests/fuzz/fuzz.hpp"

namespace blanket::fuzz {

const std::size_t target::kHeap = 1u << 20;

std::vector<std::string> target::seeds() { return {"bugs"}; }

void target::run(Input input) {
    const std::string text = input.rest_text();
    if (text.starts_with("bug!")) require(false, "the canary's property");
    if (text.starts_with("Memo")) {
        const std::string large(2u << 20, 'x');
        require(large.size() > text.size(), "memory");
    }
}

}  // namespace blanket::fuzz
