// SPDX-License-Identifier: GPL-2.0-or-later
// blanket: the operator's program. Makes Ctrl-C readable as a descriptor and hands over to run_program.
#include <csignal>
#include <cstdio>
#include <string>
#include <unistd.h>
#include <vector>

#include "toolstack/base/fd.hpp"
#include "toolstack/cli/run.hpp"

namespace {

int signal_pipe = -1;

void on_signal(int) {
    const char byte = 1;
    [[maybe_unused]] const auto written = ::write(signal_pipe, &byte, 1);
}

}  // namespace

int main(int argc, char** argv) {
    auto pipe = blanket::make_pipe();
    if (!pipe) {
        std::fprintf(stderr, "blanket: %s\n", pipe.error().what.c_str());
        return 1;
    }
    signal_pipe = pipe->write.get();
    struct sigaction action{};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESETHAND;  // the second Ctrl-C ends the program at once
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
    return blanket::cli::run_program(words, blanket::cli::detect_terminal(), pipe->read.get());
}
