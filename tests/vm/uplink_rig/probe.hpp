// SPDX-License-Identifier: GPL-2.0-or-later
// The parts of the probe (probe.cpp says what that is). A step's function returns "" or what is wrong.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>

namespace blanket::rig {

// probe.cpp
std::string errno_text();
std::string read_text(const std::string& path);                                       // the first line
std::string parameter(const std::string& name, const std::string& otherwise);         // of the kernel's command line
bool wait_for(const std::function<bool()>& there, std::chrono::seconds deadline = std::chrono::seconds(60));
bool exists(const std::string& path);
std::string load(const char* name, const char* options = "");
std::string load_all();
std::string nothing_left();  // unloads all; an error when ports or grants are left
std::string use_disk(bool write, const std::string& name = "/dev/xvda");

// probe_bench.cpp
double seconds_of(const std::function<void()>& work);
void told(const char* name, double value, const char* unit);  // a measured value
void bench();
void count_exits();  // work between marks in the provider's trace: as kExitStretches says, and none

// probe_meter.cpp
struct RunTimes {  // of domains, in milliseconds
    double dom0 = 0, machines = 0;
};
class Meter {
public:
    explicit Meter(const char* name);  // from here
    void stop(double mib);             // to there: tells what each MiB cost

private:
    Meter();  // without work
    void begin();
    void end();
    std::string name_;
    std::optional<RunTimes> outer_, inner_;  // the time, then the time that went by
    const Meter* asking_ = nullptr;
};

// probe_calls.cpp: the hypercall itself, by privcmd, with the modules away; they come back at the end
std::string garbage(int calls);      // from dom0
std::string exhaustion();            // every port there is
std::string no_provider();           // what a Xen without one, or with blanket=no, says
std::string no_line();               // with blanket=intx, in a machine without a platform device
std::string garbage_by_line(int calls);  // there
std::string refused_in_domu(int calls);
std::string start_domu();            // one that does that, in dom0: its console is told

// probe_network.cpp
int dial(const std::string& address, int port);  // -1: nobody answers
std::string network_card(int number = 0);
std::string use_network();           // the peer's sshd speaks first: one line of it proves both directions
std::string both_ways(int seconds);  // TCP in both directions at once, every byte looked at
std::string both_ways(int seconds, const std::string& peer);
std::string use_second_card(bool fresh);  // the same, by a card that came later; fresh: just now, and the way to it may not stand yet
std::string rogue_card();
int serve();                         // the other end of what is measured
void network_work(const char* name, char what);

constexpr std::size_t kMeg = 1 << 20;

}  // namespace blanket::rig
