// SPDX-License-Identifier: GPL-2.0-or-later
// blanket-xl-config: reads an xl.cfg(5) from stdin, prints what blanket takes of it as JSON (to_json of ImportedVm), or {"error":...} and exit status 1.
// Started by read_xl_config (import.hpp), so that Xen's parser does not run inside blanketd.
#include <cstdio>
#include <string>
#include <unistd.h>
#include <vector>

#include "toolstack/base/fd.hpp"
#include "toolstack/hypervisor/import.hpp"

namespace {

using namespace blanket;

Result<std::string> read_input() {
    constexpr std::size_t kMax = 256 * 1024;  // parse_xl_config refuses more; one byte over it is enough to see that
    std::vector<std::byte> buffer(kMax + 1);
    std::size_t filled = 0;
    while (filled < buffer.size()) {
        BLANKET_TRY(const std::size_t got, read_some(STDIN_FILENO, std::span(buffer).subspan(filled)));
        if (got == 0) break;
        filled += got;
    }
    return std::string(reinterpret_cast<const char*>(buffer.data()), filled);
}

}  // namespace

int main(int argc, char**) {
    if (argc != 1) return std::fputs("usage: blanket-xl-config < xl.cfg\n", stderr), 2;
    const auto vm = read_input().and_then([](const std::string& text) { return parse_xl_config(text); });
    const std::string text = (vm ? to_json(*vm) : to_json(vm.error())).dump(-1, ' ', false, Json::error_handler_t::replace);
    if (std::puts(text.c_str()) < 0 || std::fflush(stdout) != 0) return 2;
    return vm ? 0 : 1;
}
