// SPDX-License-Identifier: GPL-2.0-or-later
// blanket-lab: the two clouds on this machine, to play with, and the demo. Run inside the build root; up and demo need a network namespace of their own (unshare -n).
#include <csignal>
#include <cstdio>
#include <print>
#include <thread>
#include <unistd.h>

#include "tests/lab/console_attach.hpp"
#include "tests/lab/demo.hpp"
#include "tests/lab/lab.hpp"
#include "tests/lab/tap.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

constexpr const char* kUsage =
    "blanket-lab up      --image FILE [--south] [SITE...]  start the clouds (east and west); stays until Ctrl-C or `down`\n"
    "blanket-lab demo    --image FILE --domu FILE [--report FILE] [--no-south]   the whole story, with a report\n"
    "blanket-lab ssh     SITE [COMMAND...]               a shell or a command in a site's dom0\n"
    "blanket-lab console SITE                            its serial console; Ctrl-] leaves\n"
    "blanket-lab status                                  machines as JSON (counters: wan {\"cmd\":\"stats\"})\n"
    "blanket-lab wan     JSON                            a command to the shaper, e.g. {\"cmd\":\"link\",\"from\":\"east\",\"to\":\"west\",\"both\":true,\"up\":false}\n"
    "blanket-lab down                                    end it\n"
    "options: --providers xen,kvm (of east, west; default kvm,kvm: a Xen provider is a Xen with our machine as its PVH guest, xen-hvm: as its HVM guest, which needs --device-model FILE), --name NAME (default), --witness FILE (blanket-witness beside this program), --cpu MODEL, --keep\n";

struct Call {
    std::string verb;
    LabOptions lab;
    std::string domu, report, providers = "kvm,kvm";
    bool south = false, no_south = false;
    std::vector<std::string> words;
};

Result<Call> parse_call(const std::vector<std::string>& args, const std::string& program) {
    if (args.empty() || args[0] == "--help" || args[0] == "help") return fail(Kind::kInvalid, "{}", kUsage);
    Call call;
    call.verb = args[0];
    call.lab.witness_program = program.substr(0, program.rfind('/') + 1) + "blanket-witness";
    const std::map<std::string, std::string*> values{{"--image", &call.lab.image}, {"--domu", &call.domu}, {"--report", &call.report}, {"--name", &call.lab.name},
                                                     {"--witness", &call.lab.witness_program}, {"--cpu", &call.lab.cpu}, {"--providers", &call.providers}, {"--device-model", &call.lab.device_model}};
    const std::map<std::string, bool*> flags{{"--south", &call.south}, {"--no-south", &call.no_south}, {"--keep", &call.lab.keep_disks}};
    for (std::size_t i = 1; i < args.size(); ++i) {
        if (const auto value = values.find(args[i]); value != values.end() && call.words.empty()) {
            if (++i == args.size()) return fail(Kind::kInvalid, "{} wants a value", args[i - 1]);
            *value->second = args[i];
        } else if (const auto flag = flags.find(args[i]); flag != flags.end() && call.words.empty()) {
            *flag->second = true;
        } else {
            call.words.push_back(args[i]);
        }
    }
    BLANKET_CHECK(check_name(call.lab.name, "lab"));
    const auto providers = split(call.providers, ',');
    const std::vector<std::string> sites{"east", "west"};
    for (std::size_t i = 0; i < std::max(providers.size(), sites.size()); ++i) {
        if (i >= providers.size() || i >= sites.size() || (providers[i] != "kvm" && providers[i] != "xen" && providers[i] != "xen-hvm"))
            return fail_hint(Kind::kInvalid, std::format("providers '{}' are not two of xen, xen-hvm and kvm", call.providers), "for example --providers xen,kvm");
        if (providers[i] != "kvm") call.lab.providers[sites[i]] = providers[i] == "xen" ? Provider::kXenPvh : Provider::kXenHvm;
    }
    return call;
}

Result<MachineProfile> profile_of(const std::string& site) {
    for (auto profile : {east_profile(), west_profile(), south_profile()}) {
        if (profile.name == site) return profile;
    }
    return fail_hint(Kind::kNotFound, std::format("no site '{}'", site), "east, west or south");
}

Result<int> run_up(const Call& call) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    BLANKET_TRY(const auto lab, Lab::create(call.lab));
    std::vector<MachineProfile> profiles;
    for (const auto& site : call.words) {
        BLANKET_TRY(MachineProfile profile, profile_of(site));
        profiles.push_back(std::move(profile));
    }
    if (profiles.empty()) profiles = {east_profile(), west_profile()};
    if (call.south) profiles.push_back(south_profile());
    for (const auto& profile : profiles) BLANKET_CHECK(lab->start(profile));
    BLANKET_TRY(const auto control, ControlServer::create(lab->dir() + "/control.sock", [&](const Json& request) -> Result<Json> {
        const std::string cmd = json_string_or(request, "cmd", "");
        if (cmd == "status") return lab->status();
        if (cmd != "quit") return lab->shaper().command(request);
        std::thread([] {
            std::this_thread::sleep_for(std::chrono::milliseconds(200));  // let the answer out first
            ::kill(::getpid(), SIGTERM);
        }).detach();
        return Json::object();
    }));
    std::println("the clouds are starting ({}); state and logs: {}", name_of(lab->accelerator()), lab->dir());
    ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);  // until all is up, a signal ends us at once, and the machines with us
    for (const auto& profile : profiles) {
        const auto ready = lab->wait_ready(profile.name, std::chrono::minutes(6));
        if (!ready) std::println("{}: {} {}", profile.name, ready.error().what, ready.error().hint);
        else std::println("{} is up at {}: ./dev lab ssh {}", profile.name, profile.address, profile.name);
        std::fflush(stdout);
    }
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::println("running until Ctrl-C or ./dev lab down");
    std::fflush(stdout);
    int signal = 0;
    ::sigwait(&signals, &signal);
    return 0;
}

Result<int> enter_lab(const Call& call) {
    const std::string dir = lab_dir(call.lab.name);
    BLANKET_TRY([[maybe_unused]] const Json status, control_request(dir + "/control.sock", {{"cmd", "status"}}));  // it is alive, so its pid is its own
    BLANKET_TRY(const std::string text, read_file(dir + "/lab.pid"));
    BLANKET_TRY(const std::uint64_t pid, parse_number(trim(text), 1, 1u << 30, "pid"));
    BLANKET_CHECK(enter_network_of(static_cast<int>(pid)));
    return static_cast<int>(pid);
}

Result<int> run_ssh(const Call& call) {
    if (call.words.empty()) return fail(Kind::kInvalid, "which site? {}", kUsage);
    BLANKET_TRY(const MachineProfile profile, profile_of(call.words[0]));
    BLANKET_CHECK(enter_lab(call));
    Argv argv = Ssh(profile.name, profile.address, lab_dir(call.lab.name) + "/ssh").base();
    if (call.words.size() == 1) argv.insert(argv.begin() + 1, "-t");
    if (call.words.size() == 2) argv.push_back(call.words[1]);  // one word: a line for the far shell
    if (call.words.size() > 2) argv.push_back(to_string(Argv(call.words.begin() + 1, call.words.end())));
    std::vector<char*> args;
    for (auto& arg : argv) args.push_back(arg.data());
    args.push_back(nullptr);
    ::execvp(args[0], args.data());
    return fail_errno("run", argv[0]);
}

Result<int> run_verb(const Call& call) {
    const std::string control = lab_dir(call.lab.name) + "/control.sock";
    if (call.verb == "up") return run_up(call);
    if (call.verb == "ssh") return run_ssh(call);
    if (call.verb == "demo") {
        DemoOptions options{.lab = call.lab, .domu = call.domu, .report = call.report, .south = !call.no_south};
        return run_demo(std::move(options));
    }
    if (call.verb == "console") {
        if (call.words.size() != 1) return fail(Kind::kInvalid, "console wants one site");
        BLANKET_TRY(const MachineProfile profile, profile_of(call.words[0]));
        BLANKET_CHECK(attach_console(MachinePaths{lab_dir(call.lab.name) + "/" + profile.name}.console_socket()));
        return 0;
    }
    Json request{{"cmd", call.verb}};
    if (call.verb == "down") {
        request = {{"cmd", "quit"}};
    } else if (call.verb == "wan") {
        if (call.words.size() != 1) return fail(Kind::kInvalid, "wan wants one JSON text");
        BLANKET_TRY(request, parse_json(call.words[0]));
    } else if (call.verb != "status") {
        return fail(Kind::kInvalid, "unknown verb '{}'\n{}", call.verb, kUsage);
    }
    BLANKET_TRY(const Json answer, control_request(control, request));
    std::println("{}", answer.dump(2));
    return 0;
}

}  // namespace
}  // namespace blanket::lab

int main(int argc, char** argv) {
    using namespace blanket;
    const auto call = lab::parse_call({argv + 1, argv + argc}, argv[0]);
    const auto done = call ? lab::run_verb(*call) : std::unexpected(call.error());
    if (done) return *done;
    std::println(stderr, "blanket-lab: {}{}{}", done.error().what, done.error().hint.empty() ? "" : "\n  ", done.error().hint);
    return exit_code(done.error().kind);
}
