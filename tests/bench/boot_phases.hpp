// SPDX-License-Identifier: GPL-2.0-or-later
// A start of the appliance, from power-on until doctor is green, cut into phases, and its drawing. Pure; used by bench-boot.
#pragma once

#include <string>
#include <vector>

#include "toolstack/base/result.hpp"

namespace blanket::bench {

struct Span {
    std::string name;
    double begin_s = 0, end_s = 0;  // since power-on
    [[nodiscard]] double length() const { return end_s - begin_s; }
};

struct Boot {
    std::vector<Span> phases;  // one after the other: firmware, GRUB, Xen, kernel, initramfs, ...
    std::vector<Span> units;   // those that took longest, side by side
    [[nodiscard]] double total_s() const { return phases.empty() ? 0 : phases.back().end_s; }
};

// What the machine's own clocks say, in seconds since Linux began.
struct GuestTimes {
    double init = 0;       // the initramfs' init
    double userspace = 0;  // systemd
    std::vector<Span> units;
};
// `text`: the answer of kProbe, below. kInvalid: names the line.
Result<GuestTimes> parse_guest_times(const std::string& text);
extern const char* const kProbe;  // a shell command for the machine

// What was seen from outside, in seconds since power-on; `linux_began` places the guest's clock.
struct SeenTimes {
    double grub = 0, xen = 0, linux_began = 0, green = 0;
};
Boot phases_of(const SeenTimes& seen, const GuestTimes& guest, std::size_t most_units = 14);

struct NamedBoot {
    std::string name;  // "first start"
    Boot boot;
};
std::string boot_plot(const std::vector<NamedBoot>& boots);  // a page with one drawing for each

}  // namespace blanket::bench
