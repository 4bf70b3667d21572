// SPDX-License-Identifier: GPL-2.0-or-later
// ssh as values; see ssh.hpp.
#include "tests/lab/ssh.hpp"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <thread>
#include <unistd.h>

#include "tests/lab/deadline.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {
constexpr std::size_t kMaxFollowed = 16u << 20;
}

Result<std::string> make_ssh_key(const std::string& dir) {
    const std::string key = dir + "/key";
    BLANKET_CHECK(make_dirs(dir, 0700));
    if (::access(key.c_str(), R_OK) != 0) BLANKET_CHECK(blanket::run({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "blanket-lab", "-f", key}));
    BLANKET_TRY(const std::string line, read_file(key + ".pub"));
    return std::string(trim(line));
}

Argv Ssh::options() const {
    return {"-i", dir_ + "/key", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile=" + dir_ + "/known_hosts",
            "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=8", "-o", "ControlPath=" + dir_ + "/" + name_ + ".ctl"};
}

Argv Ssh::base() const {
    Argv argv{"ssh"};
    const Argv more = options();
    argv.insert(argv.end(), more.begin(), more.end());
    argv.push_back("root@" + address_);
    return argv;
}

Result<void> Ssh::wait_up(milliseconds deadline) {
    return wait_until(std::format("ssh to '{}' ({}) works", name_, address_), deadline, seconds(1), [&]() -> Result<bool> {
        if (!master_) {
            const UniqueFd nowhere(::open("/dev/null", O_WRONLY | O_CLOEXEC));  // "connection refused" is no news while a machine boots
            // What a master that was killed left: a new one would go on without a socket, and every check would be refused.
            if (::unlink((dir_ + "/" + name_ + ".ctl").c_str()) != 0 && errno != ENOENT) return fail_errno("unlink", dir_ + "/" + name_ + ".ctl");
            Argv argv = base();
            argv.insert(argv.end() - 1, {"-M", "-N"});
            argv.insert(argv.begin(), {"setpriv", "--pdeathsig", "KILL", "--"});
            BLANKET_TRY(Child child, Child::spawn(argv, {.in = -1, .out = nowhere.get(), .err = nowhere.get(), .pass = {}}));
            master_ = std::make_unique<Child>(std::move(child));
        }
        Argv check = base();
        check.insert(check.end() - 1, {"-O", "check"});
        for (int i = 0; i < 120; ++i) {  // an emulated machine may take long over the key exchange
            const auto up = blanket::run_any(check, {.deadline = seconds(5), .input = {}, .env = {}});
            if (up && up->status == 0) {
                const auto done = run_any({"true"}, seconds(20));
                if (done && done->status == 0) return true;
                break;
            }
            if (master_->wait(milliseconds(0))) break;  // ended: refused, or no route yet
            std::this_thread::sleep_for(milliseconds(500));
        }
        master_.reset();
        return false;
    });
}

Result<Output> Ssh::run_any(const Argv& argv, milliseconds deadline, std::string_view input) {
    Argv line = base();
    line.push_back(to_string(argv));
    BLANKET_TRY(Output output, blanket::run_any(line, {.deadline = scaled(deadline), .input = input, .max_output = 64u << 20, .env = {}}));
    if (output.status == 255) return fail(Kind::kUnavailable, "ssh to '{}' failed: {}", name_, trim(output.err));
    return output;
}

Result<Output> Ssh::follow(const Argv& argv, milliseconds deadline, const std::function<void(std::string_view)>& on_line) {
    Argv line = base();
    line.push_back(to_string(argv));
    BLANKET_TRY(Pipe out, make_pipe());
    BLANKET_TRY(Pipe err, make_pipe());
    BLANKET_TRY(Child child, Child::spawn(line, {.in = -1, .out = out.write.get(), .err = err.write.get(), .pass = {}}));
    out.write.reset();
    err.write.reset();
    Output output;
    std::string unfinished;
    std::vector<std::byte> chunk(16 * 1024);
    const auto until = std::chrono::steady_clock::now() + scaled(deadline);
    while (out.read || err.read) {
        if (std::chrono::steady_clock::now() >= until) return fail(Kind::kTimeout, "at '{}', '{}' did not end within {} s", name_, to_string(argv), scaled(deadline).count() / 1000);
        std::array<pollfd, 2> polls{pollfd{out.read.get(), POLLIN, 0}, pollfd{err.read.get(), POLLIN, 0}};
        if (::poll(polls.data(), polls.size(), 500) <= 0) continue;
        for (std::size_t i = 0; i < 2; ++i) {
            if (polls[i].revents == 0) continue;
            UniqueFd& fd = i == 0 ? out.read : err.read;
            const auto got = read_some(fd.get(), chunk);
            if (!got || *got == 0) {
                fd.reset();
                continue;
            }
            std::string& text = i == 0 ? output.out : unfinished;
            text.append(reinterpret_cast<const char*>(chunk.data()), *got);
            if (text.size() > kMaxFollowed) return fail(Kind::kIo, "at '{}', '{}' prints without end", name_, to_string(argv));
        }
        for (auto end = unfinished.find('\n'); end != std::string::npos; end = unfinished.find('\n')) {
            on_line(std::string_view(unfinished).substr(0, end));
            output.err += unfinished.substr(0, end + 1);
            unfinished.erase(0, end + 1);
        }
    }
    output.err += unfinished;
    BLANKET_TRY(output.status, child.wait(scaled(seconds(10))));
    if (output.status == 255) return fail(Kind::kUnavailable, "ssh to '{}' failed: {}", name_, trim(output.err));
    return output;
}

Result<std::string> Ssh::run(const Argv& argv, milliseconds deadline, std::string_view input) {
    BLANKET_TRY(Output output, run_any(argv, deadline, input));
    if (output.status == 0) return std::move(output.out);
    std::string_view text = trim(output.err.empty() ? output.out : output.err);
    if (text.size() > 1500) text.remove_prefix(text.size() - 1500);
    return fail(Kind::kIo, "at '{}', '{}' failed with status {}: {}", name_, to_string(argv), output.status, text);
}

Result<std::string> Ssh::script(std::string_view text, milliseconds deadline) { return run({"bash", "-euo", "pipefail", "-s"}, deadline, text); }

Result<void> Ssh::put_file(const std::string& local, const std::string& remote, milliseconds deadline) {
    const UniqueFd in(::open(local.c_str(), O_RDONLY | O_CLOEXEC));
    if (!in) return fail_errno("open", local);
    Argv line = base();
    line.push_back("cat > " + to_string({remote}));
    BLANKET_TRY(Child child, Child::spawn(line, {.in = in.get(), .out = -1, .err = -1, .pass = {}}));
    BLANKET_TRY(const int status, child.wait(scaled(deadline)));
    if (status != 0) return fail(Kind::kIo, "copying {} to '{}' as {} failed with status {}", local, name_, remote, status);
    return {};
}

Result<void> Ssh::get_file(const std::string& remote, const std::string& local, milliseconds deadline) {
    const UniqueFd out(::open(local.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!out) return fail_errno("open", local);
    Argv line = base();
    line.push_back("cat " + to_string({remote}));
    BLANKET_TRY(Child child, Child::spawn(line, {.in = -1, .out = out.get(), .err = -1, .pass = {}}));
    BLANKET_TRY(const int status, child.wait(scaled(deadline)));
    if (status != 0) return fail(Kind::kIo, "copying {} from '{}' failed with status {}", remote, name_, status);
    return {};
}

Result<std::string> Ssh::guest_http(const std::string& ip, std::uint16_t port, const std::string& method, const std::string& target, milliseconds deadline) {
    Argv line = base();
    line.insert(line.end() - 1, {"-W", std::format("{}:{}", ip, port)});
    const std::string request = std::format("{} {} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", method, target, ip);
    BLANKET_TRY(const Output output, blanket::run_any(line, {.deadline = scaled(deadline), .input = request, .max_output = 64u << 20, .env = {}}));
    if (output.out.empty()) return fail(Kind::kUnavailable, "guest {}:{} does not answer {} {} through '{}': {}", ip, port, method, target, name_, trim(output.err));
    const auto head_end = output.out.find("\r\n\r\n");
    if (head_end == std::string::npos || !output.out.starts_with("HTTP/1.1 ")) return fail(Kind::kIo, "guest {}:{} answers {} with something else than HTTP", ip, port, target);
    std::string body = output.out.substr(head_end + 4);
    if (!output.out.starts_with("HTTP/1.1 200")) return fail(Kind::kIo, "guest {}:{} answers {}: {} {}", ip, port, target, output.out.substr(9, 3), trim(body));
    return body;
}

}  // namespace blanket::lab
