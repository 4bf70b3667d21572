// SPDX-License-Identifier: GPL-2.0-or-later
// blanketd: started by systemd (Type=notify). Reads the settings, blocks the signals, runs the daemon until SIGTERM.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <malloc.h>
#include <thread>

#include "toolstack/base/log.hpp"
#include "toolstack/daemon/blanketd.hpp"

namespace {

constexpr const char* kUsage =
    "usage: blanketd [--config FILE] [--debug]\n"
    "The blanket's daemon; systemd starts it (blanketd.service). Settings: /etc/blanket/blanket.toml. Talk to it with blanket(1).\n";

}  // namespace

int main(int argc, char** argv) {
    std::string config = "/etc/blanket/blanket.toml";
    for (int i = 1; i < argc; ++i) {
        const std::string arg = argv[i];
        if (arg == "--help") return std::fputs(kUsage, stdout) < 0;
        if (arg == "--version") return std::puts("blanketd " BLANKET_VERSION) < 0;
        if (arg == "--debug") blanket::log::set_level(blanket::log::Level::kDebug);
        else if (arg == "--config" && i + 1 < argc) config = argv[++i];
        else return std::fputs(kUsage, stderr), 2;
    }
    ::mallopt(M_ARENA_MAX, 1);  // one arena per thread would keep what each job once needed
    // A broken pipe is an error value everywhere; stops come through sigwait on a thread of their own.
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stops, nullptr);
    std::atomic<bool> stop = false;
    std::thread([&stop, stops] {
        int received = 0;
        sigwait(&stops, &received);
        stop = true;
        sigwait(&stops, &received);  // a second one does not wait for running jobs
        std::_Exit(1);
    }).detach();

    auto settings = blanket::load_settings(config);
    if (!settings) {
        blanket::log::error("start", "{} ({})", settings.error().what, settings.error().hint);
        return blanket::exit_code(settings.error().kind);
    }
    auto daemon = blanket::Daemon::create(std::move(*settings));
    if (!daemon) {
        blanket::log::error("start", "{} ({})", daemon.error().what, daemon.error().hint);
        return blanket::exit_code(daemon.error().kind);
    }
    (*daemon)->run(stop);
    return 0;
}
