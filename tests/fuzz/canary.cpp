// SPDX-License-Identifier: GPL-2.0-or-later
// Bugs that are known, one for each way in which a bug shows: tests/fuzz/run demands that each is found, or else it does not believe that the others have none.
#include <algorithm>
#include <cstdlib>
#include <memory>

#include "tests/fuzz/fuzz.hpp"

namespace blanket::fuzz {

const std::size_t target::kHeap = 1u << 20;

std::vector<std::string> target::seeds() { return {"bugs", "Memory", "Oven"}; }

void target::run(Input input) {
    const std::string text = input.rest_text(), which = std::getenv("BLANKET_CANARY") != nullptr ? std::getenv("BLANKET_CANARY") : "";
    if (which == "property" && text.starts_with("bug!")) require(false, "the canary's property");
    if (which == "memory" && text.starts_with("Memo")) {
        const std::string large(2u << 20, 'x');
        require(large.size() > text.size(), "memory");
    }
    if (which == "bounds" && text.starts_with("Over")) {
        const std::unique_ptr<char[]> end(new char[4]);
        char* volatile at = end.get();  // else the compiler sees that nobody reads it, and leaves out the memory and the bug
        std::memcpy(at, text.data(), std::min<std::size_t>(text.size(), 5));
    }
}

}  // namespace blanket::fuzz
