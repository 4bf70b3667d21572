// SPDX-License-Identifier: GPL-2.0-or-later
// Bringing the clouds up and down; see lab.hpp.
#include "tests/lab/lab.hpp"

#include <algorithm>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <unistd.h>

#include "tests/lab/console_scan.hpp"
#include "tests/lab/deadline.hpp"
#include "tests/lab/provider.hpp"
#include "tests/lab/tap.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"

namespace blanket::lab {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string lab_dir(const std::string& name) { return "/cache/lab/" + name; }

namespace {

// The logs of the last lab in this folder stay readable while the next one runs; its disks and captures do not.
void set_aside(const std::string& dir) {
    std::error_code error;
    const std::string previous = dir + ".previous";
    std::filesystem::remove_all(previous, error);
    std::filesystem::rename(dir, previous, error);
    if (error) return;
    for (std::filesystem::recursive_directory_iterator item(previous, error), end; !error && item != end; item.increment(error)) {
        const auto name = item->path().extension();
        std::error_code ignored;
        if (name == ".qcow2" || name == ".pcap" || name == ".img" || name == ".fd") std::filesystem::remove(item->path(), ignored);
    }
}

}  // namespace

Result<std::unique_ptr<Lab>> Lab::create(LabOptions options) {
    if (options.dir.empty()) options.dir = lab_dir(options.name);
    std::unique_ptr<Lab> lab(new Lab(std::move(options)));
    const std::string& dir = lab->options_.dir;
    BLANKET_CHECK(require_own_network());
    if (::access(lab->options_.image.c_str(), R_OK) != 0) return fail_hint(Kind::kNotFound, std::format("no appliance image at '{}'", lab->options_.image), "make it first: ./dev image");
    const std::string lock = dir + ".lock";
    BLANKET_CHECK(make_dirs(dir.substr(0, dir.rfind('/')), 0755));
    lab->lock_.reset(::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lab->lock_) return fail_errno("open", lock);
    if (::flock(lab->lock_.get(), LOCK_EX | LOCK_NB) != 0) return fail_hint(Kind::kConflict, std::format("a lab runs in {}", dir), "end it first: ./dev lab down");
    set_aside(dir);
    BLANKET_CHECK(make_dirs(dir, 0700));
    BLANKET_CHECK(write_file(dir + "/lab.pid", std::format("{}\n", ::getpid())));
    BLANKET_TRY(lab->ssh_key_, make_ssh_key(dir + "/ssh"));

    BLANKET_TRY(UniqueFd tap, create_tap("lab0", std::string(kLabAddress) + "/24"));
    BLANKET_TRY(lab->shaper_, Shaper::create());
    for (const auto& profile : {east_profile(), west_profile(), south_profile()}) {
        const MachinePaths paths{dir + "/" + profile.name};
        BLANKET_CHECK(make_dirs(paths.dir, 0700));
        BLANKET_CHECK(lab->shaper_->add_machine(profile.name, paths.shaper(), paths.nic()));
    }
    BLANKET_CHECK(lab->shaper_->add_host(kWitnessNode, std::move(tap)));
    BLANKET_CHECK(lab->shaper_->watch("east", "west"));
    if (lab->options_.capture_bytes > 0) BLANKET_CHECK(lab->shaper_->recorder().capture(dir + "/east-west.pcap", lab->options_.capture_bytes));
    BLANKET_CHECK(lab->shaper_->recorder().search(lab->options_.forbidden));
    BLANKET_TRY(lab->accelerator_, choose_accelerator(lab->options_.image, dir + "/kvm-trial", "/cache/lab/kvm-trial"));
    return lab;
}

Lab::~Lab() {
    if (witness_) {  // it ends its etcd
        witness_->kill(SIGTERM);
        (void)witness_->wait(std::chrono::seconds(10));
    }
    witness_.reset();
    ssh_.clear();
    for (auto& [name, machine] : machines_) {
        if (const auto killed = machine->kill(); !killed) log::error("lab", "{}", killed.error().what);
        if (!options_.keep_disks) [[maybe_unused]] const auto removed = remove_file(machine->paths().disk());
    }
    machines_.clear();
    if (lock_) {
        [[maybe_unused]] const auto removed = remove_file(options_.dir + "/lab.pid");
    }
}

Result<void> Lab::start(const MachineProfile& given) { return start_from(options_.image, given); }

Result<void> Lab::start_with_copy(const MachineProfile& profile, const std::string& site) {
    BLANKET_TRY(Machine* const machine, this->machine(site));
    if (machine->running()) return fail(Kind::kConflict, "machine '{}' has power: a copy of its disk would be torn", site);
    const std::string copy = options_.dir + "/" + profile.name + "/copy.qcow2";
    std::error_code error;
    std::filesystem::copy_file(machine->paths().disk(), copy, std::filesystem::copy_options::overwrite_existing, error);
    if (error) return fail(Kind::kIo, "cannot copy the disk of '{}': {}", site, error.message());
    return start_from(copy, profile);
}

void Lab::end(const std::string& site) {
    const auto found = machines_.find(site);
    if (found == machines_.end()) return;
    if (const auto killed = found->second->kill(); !killed) log::error("lab", "{}", killed.error().what);
    for (const auto& file : {found->second->paths().disk(), options_.dir + "/" + site + "/copy.qcow2"}) [[maybe_unused]] const auto removed = remove_file(file);
    machines_.erase(found);
    ssh_.erase(site);
}

Result<void> Lab::start_from(const std::string& base_image, const MachineProfile& given) {
    if (machines_.contains(given.name)) return fail(Kind::kConflict, "machine '{}' exists", given.name);
    MachineProfile profile = given;
    // Two clouds share this machine: a virtual CPU that spins for a lock whose holder has no core would burn the other cloud's time.
    profile.cpus = std::min(profile.cpus, std::max(1U, std::thread::hardware_concurrency() / 2));
    profile.durable_disk = options_.durable_disks;
    if (const auto found = options_.providers.find(profile.name); found != options_.providers.end()) profile.provider = found->second;
    if (profile.provider == Provider::kXenHvm) profile.device_model = options_.device_model;
    // A VM moves only to a CPU that has all that it has seen: beside a provider's Xen everybody has that one's CPU.
    const std::string common = options_.cpu.empty() && !options_.providers.empty() ? provider_of(profile).cpu : options_.cpu;
    if (!common.empty() && profile.cpu == MachineProfile().cpu) profile.cpu = common;
    if (profile.inside_xen()) {
        if (accelerator_ != Accelerator::kTcg) return fail(Kind::kPrecondition, "a provider's Xen needs a processor with SVM, which only emulation gives here: BLANKET_ACCEL=tcg");
        if (options_.provider_image.empty()) {
            options_.provider_image = options_.dir + "/provider.raw";
            BLANKET_CHECK(make_provider_image(options_.image, options_.provider_image));
        }
        const std::string provider = profile.name + kProvider;
        ssh_.emplace(provider, Ssh(provider, provider_of(profile).address, options_.dir + "/ssh"));
        to_rent_.emplace(profile.name, profile);
    }
    BLANKET_TRY(auto machine, Machine::start(profile, {options_.dir + "/" + profile.name, base_image, options_.provider_image, ssh_key_, accelerator_}));
    machines_.emplace(profile.name, std::move(machine));
    ssh_.emplace(profile.name, Ssh(profile.name, profile.address, options_.dir + "/ssh"));
    return {};
}

// The machine of a provider that runs Xen is there: what is to run inside starts.
Result<void> Lab::rent_out(const std::string& site, milliseconds deadline) {
    const auto inside = to_rent_.find(site);
    if (inside == to_rent_.end()) return {};
    BLANKET_TRY(Machine* const machine, this->machine(site));
    BLANKET_TRY(Ssh* const provider, provider_ssh(site));
    BLANKET_CHECK(provider->wait_up(deadline));
    BLANKET_CHECK(start_guest(*provider, inside->second, machine->paths().inside_seed()));
    to_rent_.erase(inside);
    return {};
}

Result<void> Lab::wait_ready(const std::string& site, milliseconds deadline) {
    BLANKET_TRY(Machine* const machine, this->machine(site));
    BLANKET_TRY(Ssh* const ssh, this->ssh(site));
    if (!machine->running()) return fail(Kind::kUnavailable, "machine '{}' ended; see {} and {}", site, machine->paths().console(), machine->paths().log());
    auto up = rent_out(site, deadline);
    if (up) up = ssh->wait_up(deadline);
    if (!up) return fail_hint(up.error().kind, up.error().what, std::format("its console: {}", machine->paths().console()));
    return {};
}

Result<void> Lab::start_witness(const std::string& token) {
    const std::string& program = options_.witness_program;
    if (::access(program.c_str(), X_OK) != 0) return fail_hint(Kind::kNotFound, std::format("no witness program at '{}'", program), "build it: ./dev build release blanket-witness");
    BLANKET_CHECK(make_dirs(dir() + "/witness", 0700));
    const UniqueFd log(::open((dir() + "/witness.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    if (!log) return fail_errno("open", dir() + "/witness.log");
    BLANKET_TRY(Pipe input, make_pipe());
    BLANKET_TRY(Child child, Child::spawn({"setpriv", "--pdeathsig", "KILL", "--", program, "join", "-", "--dir", dir() + "/witness", "--address", kLabAddress},
                                          {.in = input.read.get(), .out = log.get(), .err = log.get(), .pass = {}}));
    witness_ = std::make_unique<Child>(std::move(child));
    return write_all(input.write.get(), as_bytes(token + "\n"));
}

Result<void> Lab::check_witness() {
    if (!witness_) return fail(Kind::kPrecondition, "no witness was started");
    const auto ended = witness_->wait(milliseconds(0));
    if (!ended) return {};
    witness_.reset();
    return fail_hint(Kind::kUnavailable, std::format("the witness ended with status {}", *ended), "its log: " + dir() + "/witness.log");
}

Result<Machine*> Lab::machine(const std::string& site) {
    const auto found = machines_.find(site);
    if (found == machines_.end()) return fail(Kind::kNotFound, "no machine '{}' in this lab", site);
    return found->second.get();
}

Result<Ssh*> Lab::ssh(const std::string& site) {
    const auto found = ssh_.find(site);
    if (found == ssh_.end()) return fail(Kind::kNotFound, "no machine '{}' in this lab", site);
    return &found->second;
}

Result<Ssh*> Lab::provider_ssh(const std::string& site) { return ssh(site + kProvider); }

std::vector<std::string> Lab::sites() const {
    std::vector<std::string> names;
    for (const auto& [name, machine] : machines_) names.push_back(name);
    return names;
}

Json Lab::status() {
    Json machines = Json::object();
    for (auto& [name, machine] : machines_) {
        machines[name] = {{"running", machine->pid() > 0 && ::kill(machine->pid(), 0) == 0}, {"pid", machine->pid()},
                          {"address", machine->profile().address}, {"chipset", machine->profile().chipset}, {"console", machine->paths().console()}};
    }
    return {{"dir", dir()}, {"accelerator", name_of(accelerator_)}, {"machines", machines}, {"witness", witness_ ? Json(witness_->pid()) : Json()}};
}

Result<std::vector<std::string>> Lab::alarms() {
    std::vector<std::string> all;
    for (const auto& [name, machine] : machines_) {
        BLANKET_TRY(const auto lines, scan_console(machine->paths().console()));
        for (const auto& line : lines) all.push_back(name + ": " + line);
    }
    return all;
}

void Lab::collect_logs() {
    constexpr std::string_view kScript =
        "journalctl -b --no-pager -n 3000; echo == doctor; blanket doctor; echo == libvirt; virsh list --all; echo == dm; dmsetup ls --tree; dmsetup info -c; echo == lvm; lvs -a; "
        "echo == ovs; ovs-vsctl show; ovs-ofctl dump-flows br-int; echo == drbd; cat /proc/drbd; echo == ip; ip -s address; wg show all latest-handshakes; echo == xen; xl list; xl dmesg | tail -n 200";
    for (auto& [name, ssh] : ssh_) {
        const auto output = ssh.run_any({"bash", "-s"}, seconds(40), kScript);
        const std::string text = output ? output->out + "\n== errors\n" + output->err : output.error().what;
        [[maybe_unused]] const auto written = write_file(options_.dir + "/" + name + "/dom0.log", text, 0600);
    }
}

}  // namespace blanket::lab
