// SPDX-License-Identifier: GPL-2.0-or-later
// See boot_phases.hpp.
#include "tests/bench/boot_phases.hpp"

#include <algorithm>
#include <charconv>

#include "tests/lab/report_plot.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::bench {
namespace {

Result<double> number(const std::string& text) {
    double value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (code != std::errc() || end != text.data() + text.size()) return fail(Kind::kInvalid, "'{}' is no number", text);
    return value;
}

const Span* unit(const GuestTimes& guest, const std::string& name) {
    const auto at = std::ranges::find(guest.units, name, &Span::name);
    return at == guest.units.end() ? nullptr : &*at;
}

}  // namespace

// init TIME; then for each unit: its name, the moments at which it began and was there, in microseconds; userspace TIME.
const char* const kProbe =
    "dmesg | sed -n 's/^\\[ *\\([0-9.]*\\)\\] Run \\/init as init process.*/init \\1/p';"
    "systemctl show -p UserspaceTimestampMonotonic | sed 's/.*=/userspace /';"
    "systemctl show -p Id -p InactiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic '*.service' '*.device' '*.mount' | "
    "awk -F= '$1 == \"Id\" { id = $2 } $1 == \"InactiveExitTimestampMonotonic\" { from = $2 } $1 == \"ActiveEnterTimestampMonotonic\" { to = $2 } "
    "$0 == \"\" { if (from > 0 && to > from) print \"unit\", id, from, to; from = to = 0 } END { if (from > 0 && to > from) print \"unit\", id, from, to }'";

Result<GuestTimes> parse_guest_times(const std::string& text) {
    GuestTimes times;
    for (const auto& line : split(text, '\n')) {
        const auto words = split(line, ' ');
        const auto bad = [&] { return fail(Kind::kInvalid, "the machine says of its start: '{}'", line); };
        if (trim(line).empty()) continue;
        if (words[0] == "unit" && words.size() == 4) {
            const auto from = number(words[2]), to = number(words[3]);
            if (!from || !to) return bad();
            times.units.push_back({words[1], *from / 1e6, *to / 1e6});
        } else if (words.size() == 2 && (words[0] == "init" || words[0] == "userspace")) {
            const auto value = number(words[1]);
            if (!value) return bad();
            (words[0] == "init" ? times.init : times.userspace) = words[0] == "init" ? *value : *value / 1e6;
        } else return bad();
    }
    if (times.init <= 0 || times.userspace <= times.init) return fail(Kind::kInvalid, "the machine does not say when its initramfs and systemd began: {}", text.substr(0, 200));
    return times;
}

Boot phases_of(const SeenTimes& seen, const GuestTimes& guest, std::size_t most_units) {
    Boot boot;
    double at = 0;
    const auto until = [&](const char* name, double end) {
        boot.phases.push_back({name, at, std::max(at, end)});
        at = boot.phases.back().end_s;
    };
    until("firmware", seen.grub);
    until("GRUB", seen.xen);
    until("Xen", seen.linux_began);
    until("Linux", seen.linux_began + guest.init);
    until("initramfs", seen.linux_began + guest.userspace);
    // The rest is parallel; these are its milestones, where they are in this order.
    for (const auto& [name, id] : {std::pair("systemd to cloud-init", "cloud-init-local.service"), std::pair("cloud-init to network", "cloud-init-network.service"), std::pair("to sshd", "ssh.service"), std::pair("to blanketd", "blanketd.service")})
        if (const Span* const one = unit(guest, id); one != nullptr) until(name, seen.linux_began + one->end_s);
    until("to doctor green", seen.green);
    boot.units = guest.units;
    std::ranges::sort(boot.units, std::ranges::greater(), &Span::length);
    if (boot.units.size() > most_units) boot.units.resize(most_units);
    for (auto& one : boot.units) one = {one.name, one.begin_s + seen.linux_began, one.end_s + seen.linux_began};
    std::ranges::sort(boot.units, std::ranges::less(), &Span::begin_s);
    return boot;
}

std::string boot_plot(const std::vector<NamedBoot>& boots) {
    double last = 1;
    for (const auto& one : boots) last = std::max(last, one.boot.total_s());
    constexpr double kLeft = 220, kWidth = 1100, kRow = 18;
    const auto x = [&](double s) { return kLeft + std::min(s, last) / last * (kWidth - kLeft - 70); };
    std::string page = "<!doctype html><meta charset=utf-8><title>Blanket: boot</title><style>text{font:11px sans-serif}h2{font:14px sans-serif}</style>";
    for (const auto& one : boots) {
        const auto rows = one.boot.phases.size() + one.boot.units.size() + 1;
        page += std::format("<h2>{}: doctor is green after {:.1f} s</h2><svg viewBox=\"0 0 {} {}\" width=\"{}\" role=img aria-label=\"phases of the start\">", lab::escape_html(one.name), one.boot.total_s(), kWidth,
                            static_cast<double>(rows) * kRow + 24, kWidth);
        double top = 2;
        const auto bar = [&](const Span& span, const char* colour) {
            page += std::format("<text x=\"{}\" y=\"{}\" text-anchor=end>{}</text><rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" rx=2 fill=\"{}\"/><text x=\"{:.1f}\" y=\"{}\">{:.1f} s</text>", kLeft - 8, top + 12,
                                lab::escape_html(span.name), x(span.begin_s), top + 2, std::max(1.5, x(span.end_s) - x(span.begin_s)), kRow - 5, colour, std::max(x(span.begin_s) + 1.5, x(span.end_s)) + 5, top + 12, span.length());
            top += kRow;
        };
        for (const auto& phase : one.boot.phases) bar(phase, "#06c");
        top += kRow / 2;
        for (const auto& span : one.boot.units) bar(span, "#9ab");
        for (double s = 0; s <= last; s += 10) page += std::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=middle>{:g} s</text>", x(s), top + 16, s);
        page += "</svg>";
    }
    return page;
}

}  // namespace blanket::bench
