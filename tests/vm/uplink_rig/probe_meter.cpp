// SPDX-License-Identifier: GPL-2.0-or-later
// What the processor did for a piece of work, by the run time of domains (meter.cpp): of the provider's dom0 and of the machine that works, whatever is inside it; for a guest of the blanket
// also of the blanket's dom0 and of that guest, by the blanket's own Xen. What the asking itself costs is measured once, without work, and taken off.
#include <cstdio>
#include <set>
#include <sstream>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/vm/uplink_rig/pattern.hpp"
#include "tests/vm/uplink_rig/probe.hpp"

namespace blanket::rig {
namespace {

// Milliseconds; nothing when nobody answers, and then he is not asked again.
std::optional<RunTimes> ask(const std::string& address) {
    static std::set<std::string> silent;
    if (address.empty() || silent.contains(address)) return std::nullopt;
    const int fd = dial(address, kMeterPort);
    std::string text;
    char buffer[4096];
    for (ssize_t some = 0; fd >= 0 && (some = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) text.append(buffer, static_cast<std::size_t>(some));
    if (fd >= 0) ::close(fd);
    if (text.empty()) {
        silent.insert(address);
        std::printf("PROBE no meter at %s\n", address.c_str());
        return std::nullopt;
    }
    RunTimes times;
    std::istringstream lines(text);
    for (double id = 0, ns = 0; lines >> id >> ns;) (id == 0 ? times.dom0 : times.machines) += ns / 1e6;
    return times;
}

std::optional<RunTimes> between(const std::optional<RunTimes>& before, const std::optional<RunTimes>& after) {
    if (!before || !after) return std::nullopt;
    return RunTimes{after->dom0 - before->dom0, after->machines - before->machines};
}

void tell(const std::string& name, const std::optional<RunTimes>& cost, const std::optional<RunTimes>& asking, const char* dom0, const char* machines, double mib) {
    if (!cost || !asking) return;
    told((name + dom0).c_str(), (cost->dom0 - asking->dom0) / mib, "ms/MiB");
    told((name + machines).c_str(), (cost->machines - asking->machines) / mib, "ms/MiB");
}

}  // namespace

// The outer one first and last, so that it has seen what the inner one costs, in each reading alike.
void Meter::begin() {
    outer_ = ask(parameter("peer", "10.99.0.1"));
    inner_ = ask(parameter("inner", ""));
}

void Meter::end() {
    inner_ = between(inner_, ask(parameter("inner", "")));
    outer_ = between(outer_, ask(parameter("peer", "10.99.0.1")));
}

Meter::Meter(const char* name) : name_(std::string("cpu_") + name) {
    static const Meter asking;
    asking_ = &asking;
    begin();
}

Meter::Meter() {
    begin();
    end();
    begin();
    end();  // the second time: the way to the meter is known
}

void Meter::stop(double mib) {
    end();
    tell(name_, outer_, asking_->outer_, "_provider", "_machine", mib);
    tell(name_, inner_, asking_->inner_, "_dom0", "_guest", mib);
}

}  // namespace blanket::rig
