// SPDX-License-Identifier: GPL-2.0-or-later
// blanket-shaper: the lab's WAN as a program of its own, for machines that somebody else starts.
//   blanket-shaper --dir DIR [--host NAME=CIDR] NODE...   binds DIR/<node>.sw for each machine (which binds DIR/<node>.vm); control at DIR/shaper.sock, until SIGINT or SIGTERM
//   blanket-shaper --dir DIR --ask JSON                   one command to a running one; prints the answer
#include <csignal>
#include <cstdio>
#include <print>

#include "tests/lab/shaper.hpp"
#include "tests/lab/shaper_control.hpp"
#include "tests/lab/tap.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

struct Options {
    std::string dir = "/run/blanket-shaper", host, cidr, ask;
    std::vector<std::string> nodes;
};

Result<Options> parse_options(const std::vector<std::string>& args) {
    Options options;
    for (std::size_t i = 0; i < args.size(); ++i) {
        const bool takes = args[i] == "--dir" || args[i] == "--host" || args[i] == "--ask";
        if (takes && i + 1 == args.size()) return fail(Kind::kInvalid, "{} wants a value", args[i]);
        if (args[i] == "--dir") {
            options.dir = args[++i];
        } else if (args[i] == "--ask") {
            options.ask = args[++i];
        } else if (args[i] == "--host") {
            const auto parts = split(args[++i], '=');
            if (parts.size() != 2) return fail(Kind::kInvalid, "--host wants NAME=CIDR");
            options.host = parts[0];
            options.cidr = parts[1];
        } else {
            BLANKET_CHECK(check_name(args[i], "node"));
            options.nodes.push_back(args[i]);
        }
    }
    return options;
}

Result<void> run_shaper(const Options& options) {
    const std::string control_path = options.dir + "/shaper.sock";
    if (!options.ask.empty()) {
        BLANKET_TRY(const Json request, parse_json(options.ask));
        BLANKET_TRY(const Json answer, control_request(control_path, request));
        std::println("{}", answer.dump(2));
        return {};
    }
    if (options.nodes.empty()) return fail_hint(Kind::kInvalid, "no nodes", "blanket-shaper --dir DIR [--host NAME=CIDR] NODE...");
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    BLANKET_CHECK(make_dirs(options.dir, 0700));
    UniqueFd tap;
    if (!options.host.empty()) {
        BLANKET_CHECK(require_own_network());
        BLANKET_TRY(tap, create_tap("lab0", options.cidr));
    }
    BLANKET_TRY(const auto shaper, Shaper::create());
    for (const auto& node : options.nodes) BLANKET_CHECK(shaper->add_machine(node, options.dir + "/" + node + ".sw", options.dir + "/" + node + ".vm"));
    if (tap) BLANKET_CHECK(shaper->add_host(options.host, std::move(tap)));
    BLANKET_TRY(const auto control, ControlServer::create(control_path, [&](const Json& request) -> Result<Json> {
        if (json_string_or(request, "cmd", "") != "quit") return shaper->command(request);
        ::kill(::getpid(), SIGTERM);
        return Json::object();
    }));
    std::println("shaping {} nodes; control at {}", options.nodes.size() + (options.host.empty() ? 0 : 1), control_path);
    std::fflush(stdout);
    int signal = 0;
    ::sigwait(&signals, &signal);
    return {};
}

}  // namespace
}  // namespace blanket::lab

int main(int argc, char** argv) {
    const auto options = blanket::lab::parse_options({argv + 1, argv + argc});
    const auto done = options ? blanket::lab::run_shaper(*options) : std::unexpected(options.error());
    if (done) return 0;
    std::println(stderr, "blanket-shaper: {}{}{}", done.error().what, done.error().hint.empty() ? "" : "\n  ", done.error().hint);
    return blanket::exit_code(done.error().kind);
}
