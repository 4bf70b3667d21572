// SPDX-License-Identifier: GPL-2.0-or-later
// Commands in a machine's dom0 by ssh: one multiplexed connection per machine, deadlines, files, and HTTP to a guest through the gateway port that dom0 owns.
// Used by Lab, the demo and the VM tests. One object per thread that uses it at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "toolstack/base/process.hpp"

namespace blanket::lab {

// Makes dir/key and dir/key.pub (ed25519) when absent; returns the public line.
Result<std::string> make_ssh_key(const std::string& dir);

class Ssh final {
public:
    // `dir` holds key, known_hosts and the control socket.
    Ssh(std::string name, std::string address, std::string dir) : name_(std::move(name)), address_(std::move(address)), dir_(std::move(dir)) {}

    // Retries until a command runs there; opens the master connection.
    Result<void> wait_up(std::chrono::milliseconds deadline);
    // argv is quoted for the far shell. Deadlines are scaled. run_any: status 255 (ssh itself failed) is kUnavailable; run: any status but 0 is an error.
    Result<Output> run_any(const Argv& argv, std::chrono::milliseconds deadline = std::chrono::seconds(60), std::string_view input = {});
    Result<std::string> run(const Argv& argv, std::chrono::milliseconds deadline = std::chrono::seconds(60), std::string_view input = {});
    // Like run_any, but each line that the command writes to its standard error is handed over as it comes.
    Result<Output> follow(const Argv& argv, std::chrono::milliseconds deadline, const std::function<void(std::string_view)>& on_line);
    // A script for bash, given on standard input.
    Result<std::string> script(std::string_view text, std::chrono::milliseconds deadline = std::chrono::seconds(60));
    Result<void> put_file(const std::string& local, const std::string& remote, std::chrono::milliseconds deadline);
    Result<void> get_file(const std::string& remote, const std::string& local, std::chrono::milliseconds deadline);
    // HTTP/1.1 with one request per connection, from dom0 to a guest; returns the body of a 200 answer.
    Result<std::string> guest_http(const std::string& ip, std::uint16_t port, const std::string& method, const std::string& target,
                                   std::chrono::milliseconds deadline = std::chrono::seconds(20));
    // Drops the master connection (the machine was cut off or rebooted); the next wait_up makes a new one.
    void disconnect() { master_.reset(); }

    [[nodiscard]] Argv base() const;  // ssh and its options, up to and with the destination
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const std::string& address() const { return address_; }

private:
    [[nodiscard]] Argv options() const;
    std::string name_, address_, dir_;
    std::unique_ptr<Child> master_;
};

}  // namespace blanket::lab
