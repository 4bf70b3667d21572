// SPDX-License-Identifier: GPL-2.0-or-later
// Children by posix_spawn, each in a process group of its own; see process.hpp.
#include "toolstack/base/process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

extern char** environ;

namespace blanket {
namespace {

using Clock = std::chrono::steady_clock;

int status_of(int wstatus) { return WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : 128 + WTERMSIG(wstatus); }

Result<int> spawn_group(const Argv& argv, const Child::Fds& fds, const std::vector<std::string>& extra_env) {
    if (argv.empty()) return fail(Kind::kInternal, "empty command");
    std::vector<char*> args;
    args.reserve(argv.size() + 1);
    for (const auto& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
    args.push_back(nullptr);
    std::vector<char*> env;
    for (char** entry = environ; *entry != nullptr; ++entry) env.push_back(*entry);
    for (const auto& entry : extra_env) env.push_back(const_cast<char*>(entry.c_str()));
    env.push_back(nullptr);

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (fds.in >= 0) posix_spawn_file_actions_adddup2(&actions, fds.in, 0);
    else posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (fds.out >= 0) posix_spawn_file_actions_adddup2(&actions, fds.out, 1);
    if (fds.err >= 0) posix_spawn_file_actions_adddup2(&actions, fds.err, 2);
    for (const int keep : fds.pass) posix_spawn_file_actions_adddup2(&actions, keep, keep);  // clears close-on-exec
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    for (const int sig : {SIGPIPE, SIGTERM, SIGINT, SIGCHLD}) sigaddset(&defaults, sig);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t pid = -1;
    const int rc = posix_spawnp(&pid, args[0], &actions, &attributes, args.data(), env.data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (rc != 0) {
        errno = rc;
        return fail_errno("run", argv[0]);
    }
    return static_cast<int>(pid);
}

struct Stream {
    UniqueFd fd;
    std::string* text;
};

// A child that ends without reading its input is an error to report, whatever the process does about SIGPIPE: while this lives the thread
// has the signal blocked, and takes the one it caused itself before it lets signals in again.
class NoBrokenPipeSignal {
public:
    NoBrokenPipeSignal() {
        sigset_t pending;
        sigpending(&pending);
        was_pending_ = sigismember(&pending, SIGPIPE) == 1;
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    ~NoBrokenPipeSignal() {
        const timespec at_once{};
        if (!was_pending_) while (sigtimedwait(&pipe_, nullptr, &at_once) < 0 && errno == EINTR) {}
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    NoBrokenPipeSignal(const NoBrokenPipeSignal&) = delete;
    NoBrokenPipeSignal& operator=(const NoBrokenPipeSignal&) = delete;

private:
    sigset_t pipe_{}, before_{};
    bool was_pending_ = false;
};

}  // namespace

std::string to_string(const Argv& argv) {
    constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=/.,:@%+";
    std::string line;
    for (const auto& arg : argv) {
        if (!line.empty()) line += ' ';
        if (!arg.empty() && arg.find_first_not_of(kPlain) == std::string::npos) {
            line += arg;
            continue;
        }
        line += '\'';
        for (const char c : arg) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
        line += '\'';
    }
    return line;
}

Result<Output> run_any(const Argv& argv, const RunOptions& options) {
    BLANKET_TRY(Pipe out, make_pipe());
    BLANKET_TRY(Pipe err, make_pipe());
    Pipe in;
    if (!options.input.empty()) {
        BLANKET_TRY(in, make_pipe());
        ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
    }
    BLANKET_TRY(const int pid,
                spawn_group(argv, {.in = in.read.get(), .out = out.write.get(), .err = err.write.get(), .pass = {}}, options.env));
    in.read.reset();
    out.write.reset();
    err.write.reset();

    Output result;
    std::array streams{Stream{std::move(out.read), &result.out}, Stream{std::move(err.read), &result.err}};
    auto pending = as_bytes(options.input);
    const auto deadline = Clock::now() + options.deadline;
    bool late = false, flood = false;
    std::vector<std::byte> buffer(64 * 1024);
    while (streams[0].fd || streams[1].fd) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
        if (left <= 0) {
            late = true;
            break;
        }
        std::array<pollfd, 3> polls{pollfd{streams[0].fd.get(), POLLIN, 0}, pollfd{streams[1].fd.get(), POLLIN, 0},
                                    pollfd{in.write.get(), POLLOUT, 0}};
        if (::poll(polls.data(), polls.size(), static_cast<int>(std::min<long long>(left, 1000))) < 0 && errno != EINTR) break;
        for (std::size_t i = 0; i < 2; ++i) {
            if ((polls[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0) continue;
            const auto got = read_some(streams[i].fd.get(), buffer);
            if (!got || *got == 0) {
                streams[i].fd.reset();
                continue;
            }
            streams[i].text->append(reinterpret_cast<const char*>(buffer.data()), *got);
            if (streams[i].text->size() > options.max_output) flood = true;
        }
        if (flood) break;
        if ((polls[2].revents & (POLLOUT | POLLERR | POLLHUP)) != 0) {
            const NoBrokenPipeSignal quiet;
            const ssize_t put = ::write(in.write.get(), pending.data(), pending.size());
            if (put > 0) pending = pending.subspan(static_cast<std::size_t>(put));
            if (pending.empty() || (put < 0 && errno != EAGAIN && errno != EINTR)) in.write.reset();
        }
    }
    if (late || flood) ::kill(-pid, SIGKILL);
    int wstatus = 0;
    while (::waitpid(pid, &wstatus, 0) < 0 && errno == EINTR) {
    }
    if (late) return fail(Kind::kTimeout, "'{}' did not end within {} ms", to_string(argv), options.deadline.count());
    if (flood) return fail(Kind::kIo, "'{}' printed more than {} bytes", to_string(argv), options.max_output);
    result.status = status_of(wstatus);
    return result;
}

Result<std::string> run(const Argv& argv, const RunOptions& options) {
    BLANKET_TRY(Output output, run_any(argv, options));
    if (output.status == 0) return std::move(output.out);
    std::string_view text = output.err.empty() ? output.out : output.err;
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
    if (text.size() > 600) text.remove_prefix(text.size() - 600);
    return fail(Kind::kIo, "'{}' failed with status {}: {}", to_string(argv), output.status, text);
}

Result<Child> Child::spawn(const Argv& argv, const Fds& fds) {
    BLANKET_TRY(const int pid, spawn_group(argv, fds, {}));
    return Child(pid);
}

Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

Child& Child::operator=(Child&& other) noexcept {
    if (this != &other) {
        Child old(std::move(*this));
        pid_ = std::exchange(other.pid_, -1);
    }
    return *this;
}

Child::~Child() {
    if (pid_ < 0) return;
    ::kill(-pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
}

void Child::kill(int signal) const {
    if (pid_ > 0) ::kill(-pid_, signal);
}

Result<int> Child::wait(std::chrono::milliseconds deadline) {
    const auto until = Clock::now() + deadline;
    auto pause = std::chrono::milliseconds(1);
    for (;;) {
        int wstatus = 0;
        const pid_t got = ::waitpid(pid_, &wstatus, WNOHANG);
        if (got == pid_) {
            pid_ = -1;
            return status_of(wstatus);
        }
        if (got < 0 && errno != EINTR) return fail_errno("waitpid", std::format("{}", pid_));
        if (Clock::now() >= until) return fail(Kind::kTimeout, "process {} still runs after {} ms", pid_, deadline.count());
        std::this_thread::sleep_for(pause);  // a child has no pollable end without pidfd; grows to 50 ms
        pause = std::min(pause * 2, std::chrono::milliseconds(50));
    }
}

}  // namespace blanket
