// SPDX-License-Identifier: GPL-2.0-or-later
// External commands as values: argv vectors, no shell, bounded output, a deadline. The only place that forks.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/fd.hpp"

namespace blanket {

using Argv = std::vector<std::string>;

struct Output {
    int status = 0;  // exit status; 128+signal when killed
    std::string out, err;
};

struct RunOptions {
    std::chrono::milliseconds deadline{60'000};
    std::string_view input{};             // standard input; empty = /dev/null
    std::size_t max_output = 16u << 20;   // per stream; more is an error
    std::vector<std::string> env{};       // added to the environment, "K=V"
};

// Runs to the end and returns whatever its status is. Errors: kNotFound (no such program), kTimeout (killed at the deadline), kIo.
Result<Output> run_any(const Argv& argv, const RunOptions& options = {});
// The same, but a status other than 0 is an error (kIo) that carries the command line and the last lines of stderr. Returns stdout.
Result<std::string> run(const Argv& argv, const RunOptions& options = {});

// A child that lives beside us; killed (its whole process group) and reaped by the destructor. Not thread safe.
class Child final {
public:
    struct Fds {  // what the child gets as 0, 1, 2; -1 = /dev/null (0) or inherited (1, 2); `pass` keeps more numbers open
        int in = -1, out = -1, err = -1;
        std::vector<int> pass;
    };
    static Result<Child> spawn(const Argv& argv, const Fds& fds);
    Child(Child&& other) noexcept;
    Child& operator=(Child&& other) noexcept;
    ~Child();

    [[nodiscard]] int pid() const { return pid_; }
    // Waits at most `deadline`; kTimeout when it still runs. Returns the exit status (128+signal when killed).
    Result<int> wait(std::chrono::milliseconds deadline);
    void kill(int signal) const;

private:
    explicit Child(int pid) : pid_(pid) {}
    int pid_ = -1;
};

std::string to_string(const Argv& argv);  // for messages and --dry-run: quoted where a shell would need it

}  // namespace blanket
