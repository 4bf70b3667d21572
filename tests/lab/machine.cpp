// SPDX-License-Identifier: GPL-2.0-or-later
// Files, start and end of a machine; see machine.hpp.
#include "tests/lab/machine.hpp"

#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

#include "tests/lab/deadline.hpp"
#include "tests/lab/seed.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Result<std::string> image_format(const std::string& path) {
    BLANKET_TRY(const std::string text, run({"qemu-img", "info", "--output=json", path}));
    BLANKET_TRY(const Json info, parse_json(text));
    return json_string(info, "format");
}

Result<void> make_overlay(const std::string& base, const std::string& overlay, std::uint64_t bytes) {
    BLANKET_TRY(const std::string format, image_format(base));
    BLANKET_CHECK(run({"qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", format, overlay, std::format("{}", bytes)}));
    return {};
}

Result<void> copy_file(const std::string& from, const std::string& to) {
    std::error_code error;
    std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing, error);
    if (error) return fail(Kind::kIo, "cannot copy {} to {}: {}", from, to, error.message());
    return {};
}

}  // namespace

Result<std::unique_ptr<Machine>> Machine::start(const MachineProfile& rented, const MachineSetup& setup) {
    const MachineProfile profile = rented.inside_xen() ? provider_of(rented) : rented;
    BLANKET_CHECK(make_dirs(setup.dir, 0700));
    std::unique_ptr<Machine> machine(new Machine(profile, MachinePaths{setup.dir}, setup.accelerator));
    const MachinePaths& paths = machine->paths_;
    if (rented.inside_xen()) {
        BLANKET_CHECK(make_overlay(setup.base_image, paths.inside_disk(), rented.disk_bytes));
        BLANKET_CHECK(make_seed(plan_seed(rented, setup.ssh_public_key), setup.dir, paths.inside_seed()));
    }
    BLANKET_CHECK(make_overlay(rented.inside_xen() ? setup.provider_image : setup.base_image, paths.disk(), profile.disk_bytes));
    BLANKET_CHECK(make_seed(plan_seed(profile, setup.ssh_public_key), setup.dir, paths.seed()));
    if (profile.firmware == Firmware::kOvmf) BLANKET_CHECK(copy_file(kOvmfVars, paths.vars()));
    BLANKET_CHECK(machine->launch());
    return machine;
}

Result<void> Machine::launch() {
    for (const auto& socket : {paths_.qmp(), paths_.console_socket(), paths_.nic()}) BLANKET_CHECK(remove_file(socket));
    const UniqueFd log(::open(paths_.log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
    if (!log) return fail_errno("open", paths_.log());
    BLANKET_TRY(child_, Child::spawn(plan_qemu(profile_, paths_, accelerator_), {.in = -1, .out = log.get(), .err = log.get(), .pass = {}}));
    auto qmp = Qmp::connect(paths_.qmp(), scaled(seconds(20)));
    if (!qmp) {
        const auto text = read_file(paths_.log());
        return fail(Kind::kUnavailable, "QEMU for '{}' did not start: {}; its log: {}", profile_.name, qmp.error().what, text ? trim(*text) : paths_.log());
    }
    qmp_ = std::move(*qmp);
    return {};
}

bool Machine::running() {
    if (!child_) return false;
    if (!child_->wait(milliseconds(0))) return true;  // kTimeout: still there
    child_.reset();
    qmp_.reset();
    return false;
}

Result<void> Machine::wait_console(const std::string& text, milliseconds deadline) {
    return wait_until(std::format("'{}' prints \"{}\"", profile_.name, text), deadline, milliseconds(100), [&]() -> Result<bool> {
        const auto console = read_file(paths_.console(), 64u << 20);
        if (console && console->find(text) != std::string::npos) return true;
        if (!running()) return fail(Kind::kUnavailable, "machine '{}' ended; console: {}", profile_.name, paths_.console());
        return false;
    });
}

Result<void> Machine::start_again() {
    if (running()) return fail(Kind::kConflict, "machine '{}' runs", profile_.name);
    return launch();
}

Result<void> Machine::kill() {
    qmp_.reset();
    if (!child_) return {};
    const int group = child_->pid();
    child_->kill(SIGKILL);
    BLANKET_TRY([[maybe_unused]] const int status, child_->wait(scaled(seconds(10))));
    child_.reset();
    return wait_until(std::format("process group {} of machine '{}' is empty", group, profile_.name), seconds(5), milliseconds(10),
                      [&]() -> Result<bool> { return ::kill(-group, 0) != 0 && errno == ESRCH; });
}

Machine::~Machine() {
    if (const auto killed = kill(); !killed) log::error("lab", "{}", killed.error().what);
}

}  // namespace blanket::lab
