// SPDX-License-Identifier: GPL-2.0-or-later
// See campaign.hpp.
#include "tests/faults/campaign.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <thread>

#include "net/flow.hpp"
#include "tests/lab/deadline.hpp"
#include "tests/lab/demo_checks.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

// What one host shows of VM web: the state of its domains of that name, and what a move leaves only while it goes on.
constexpr std::string_view kLook =
    "set +e; set +o pipefail\n"  // a tool that finds nothing is no failure
    "xl list | awk '$1 == \"web\" || $1 ~ /^web--/ { print \"domain\", $5 }'\n"
    "drbdsetup status 2>/dev/null | awk '/^bs-/ { print \"left drbd\", $1 }'\n"
    "dmsetup ls | awk '/^bs-.*-(under|snap|meta)/ { print \"left device-mapper\", $1 }'\n"
    "ovs-vsctl list-ports br-int | awk '/^hold/ { print \"left hold\", $1 }'\n"
    "pgrep -a 'blanket-save|libxl-save-help' | sed 's/^/left process /'\n"
    "ls /proc/$(pidof -s blanketd)/fd | wc -l | awk '$1 > 80 { print \"left\", $1, \"open files of blanketd\" }'\n"  // some 35 at rest
    "wg show wg-blanket peers | wc -l | awk '$1 != 1 { print \"left\", $1, \"wireguard peers\" }'\n"
    "dmsetup info -c --noheadings -o name,suspended | awk -F: '/^bs-.*-top:/ && $2 != \"Active\" { print \"left suspended\", $1 }'\n";

struct SiteLook {
    unsigned running = 0, other = 0;  // domains of VM web
    std::vector<std::string> left;
    std::set<std::uint64_t> epochs;  // of the flows that name VM web
};

Result<SiteLook> look_at(Clouds& clouds, const std::string& site) {
    BLANKET_TRY(Ssh* const ssh, clouds.lab.ssh(site));
    const std::string flows = std::format("ovs-ofctl dump-flows br-int | grep -wF -e {} -e {} | grep -o 'cookie=0x[0-9a-f]*' | sort -u | sed 's/cookie=0x/cookie /'\n",
                                          clouds.web.mac, clouds.web.ip);
    BLANKET_TRY(const std::string text, ssh->script(std::string(kLook) + flows + "echo looked\n", seconds(40)));
    SiteLook look;
    if (!text.ends_with("looked\n")) return fail(Kind::kIo, "the look at '{}' broke off", site);
    for (const std::string& line : split(text, '\n')) {
        if (line.starts_with("left ")) look.left.push_back(std::format("{}: {}", site, line));
        if (line.starts_with("cookie ")) {
            std::uint64_t cookie = 0;
            std::from_chars(line.data() + 7, line.data() + line.size(), cookie, 16);
            if (cookie & ~net::kCookieMask) look.epochs.insert(cookie & ~net::kCookieMask);
        }
        if (!line.starts_with("domain ")) continue;
        const std::string_view state = std::string_view(line).substr(7);  // "r-----", "-b----", "---ss-"
        const bool runs = state.find_first_of("psdc") == std::string_view::npos;
        ++(runs ? look.running : look.other);
    }
    return look;
}

std::optional<std::int64_t> number_between(std::string_view line, std::string_view before, std::string_view after) {
    const auto begin = line.find(before);
    if (begin == std::string_view::npos) return std::nullopt;
    line.remove_prefix(begin + before.size());
    const auto number = parse_number(line.substr(0, line.find(after)), 0, 1u << 30, "time");
    return number ? std::optional(static_cast<std::int64_t>(*number)) : std::nullopt;
}

class Watch {
public:
    Watch(Clouds& clouds, FaultResult& result, std::uint64_t acked) : clouds_(clouds), result_(result), acked_(acked) {}

    // Empty when all is well. What must never be goes to the result at once.
    std::vector<std::string> complaints() {
        std::vector<std::string> wrong;
        const auto cli = clouds_.at(result_.source);
        const auto vm = cli ? BlanketCli(*cli).vm("web") : std::unexpected(cli.error());
        if (!vm) return {"the record cannot be read: " + vm.error().what};
        result_.owner = vm->owner;
        if (vm->phase != "running") wrong.push_back("the record's phase is " + vm->phase);
        unsigned running = 0;
        for (const auto& site : {result_.source, result_.target}) {
            const auto look = look_at(clouds_, site);
            if (!look) {
                wrong.push_back(site + ": " + look.error().what);
                continue;
            }
            running += look->running;
            if (site != vm->owner && look->running + look->other > 0) wrong.push_back("a copy is left at " + site);
            if (site == vm->owner && look->running != 1) wrong.push_back("it does not run at its owner " + site);
            std::ranges::copy(look->left, std::back_inserter(wrong));
            for (const auto epoch : look->epochs)
                if (epoch != vm->epoch) wrong.push_back(std::format("{}: flows of epoch {}, the record's is {}", site, epoch, vm->epoch));
        }
        if (running > 1) result_.violations.push_back(std::format("{} running copies", running));
        if (!wrong.empty()) return wrong;
        const std::string& other = vm->owner == result_.source ? result_.target : result_.source;
        if (const auto trace = check_no_trace(clouds_, other); !trace.ok) wrong.push_back(trace.name + ": " + trace.detail);
        check_guest(vm->owner, wrong);
        for (const auto& site : {result_.source, result_.target}) {
            std::string findings;
            const auto there = clouds_.at(site);
            const auto green = there ? BlanketCli(*there).doctor_green(findings) : std::unexpected(there.error());
            if (!green || !*green) wrong.push_back(std::format("doctor at {}: {}", site, findings));
        }
        return wrong;
    }

private:
    void check_guest(const std::string& owner, std::vector<std::string>& wrong) {
        const auto facts = clouds_.guest(owner, clouds_.web, "GET", "/facts");
        const auto check = facts ? clouds_.guest(owner, clouds_.web, "GET", "/check") : facts;
        if (!check) {
            wrong.push_back("the guest does not answer: " + check.error().what);
            return;
        }
        if (facts->value("nics", Json()) != clouds_.web_facts.value("nics", Json())) wrong.push_back("its network cards are others");
        result_.restarted = facts->value("boot_id", "") != clouds_.web_facts.value("boot_id", "?");
        const auto of = [&](const char* field) { return json_number_or(*check, field, ~0ull); };
        if (of("records") < acked_ || of("damaged") != 0 || of("gaps") != 0) {
            const std::string lost = std::format("records: {} acknowledged, {} on disk, {} damaged, {} out of place", acked_, of("records"), of("damaged"), of("gaps"));
            if (std::ranges::find(result_.violations, lost) == result_.violations.end()) result_.violations.push_back(lost);
        }
    }
    Clouds& clouds_;
    FaultResult& result_;
    std::uint64_t acked_;
};

}  // namespace

Result<std::uint64_t> acknowledged(Clouds& clouds, const std::string& site) {
    BLANKET_TRY(const Json load, clouds.guest(site, clouds.web, "GET", "/acked"));
    return load.get<std::uint64_t>();
}

Result<void> welcome(Clouds& clouds, const std::string& site) {
    BLANKET_CHECK(wait_until("VM web answers", minutes(10), seconds(2), [&]() -> Result<bool> {
        const auto facts = clouds.guest(site, clouds.web, "GET", "/facts");
        if (facts) clouds.web_facts = *facts;
        return facts.has_value();
    }));
    return clouds.guest(site, clouds.web, "POST", "/load?rate_kib=3072&pause_ms=20").transform([](const Json&) {});
}

Json to_json(const FaultResult& result) {
    return {{"moment", result.moment}, {"fault", result.fault}, {"source", result.source}, {"target", result.target}, {"owner", result.owner}, {"struck", result.struck},
            {"restarted", result.restarted}, {"fault_s", result.fault_s}, {"answers_s", result.answers_s}, {"healed_s", result.healed_s}, {"healed_from_s", result.healed_from_s}, {"commit_ms", result.commit_ms}, {"abort_ms", result.abort_ms}, {"violations", result.violations}, {"told", result.told}, {"ok", result.ok()}};
}

Result<void> begin_fault(Clouds& clouds, const std::string& moment, const std::string& fault, Situation& out) {
    BLANKET_TRY(BlanketCli east, clouds.at("east"));
    BLANKET_TRY(const VmView web, east.vm("web"));
    out.result.moment = moment;
    out.result.fault = fault;
    out.result.source = web.owner;
    out.result.target = web.owner == "east" ? "west" : "east";
    BLANKET_TRY(out.acknowledged, acknowledged(clouds, web.owner));
    clouds.story.chapter("{} at {}; web runs at {}", fault, moment, web.owner);
    return {};
}

Result<FaultResult> heal(Clouds& clouds, Situation situation, double over_s) {
    FaultResult result = std::move(situation.result);
    Watch watch(clouds, result, situation.acknowledged);
    std::vector<std::string> wrong;
    std::string last;
    const auto answers = wait_until("the guest answers", minutes(4), std::chrono::milliseconds(100), [&]() -> Result<bool> {
        // Through the gateway of the site where it runs: its answers to that address go to its own site's gateway, which has the same one.
        return std::ranges::any_of(std::array{result.source, result.target}, [&](const std::string& site) {
            const auto ssh = clouds.lab.ssh(site);
            return ssh && (*ssh)->guest_http(clouds.web.ip, kGuestPort, "GET", "/acked", seconds(2)).has_value();
        });
    });
    if (answers) result.answers_s = clouds.story.now_s() - over_s;
    const auto healed = wait_until("all is well", minutes(4), std::chrono::milliseconds(500), [&]() -> Result<bool> {
        const double begin_s = clouds.story.now_s();
        wrong = watch.complaints();
        if (wrong.empty()) result.healed_from_s = begin_s - over_s;
        if (!wrong.empty() && wrong.front() != last) clouds.story.say("  not well yet: {}", wrong.front());
        last = wrong.empty() ? "" : wrong.front();
        return wrong.empty();
    });
    if (healed) {
        result.healed_s = clouds.story.now_s() - over_s;
    } else {
        std::ranges::copy(wrong, std::back_inserter(result.violations));
    }
    if (result.restarted && situation.anew_at != result.owner) result.violations.push_back("the guest was started anew, though its machine never died");
    if (healed && result.restarted) BLANKET_CHECK(welcome(clouds, result.owner));
    clouds.story.say("{}: web at {}, healed {:.1f} s after the fault{}", result.ok() ? "good" : "WRONG", result.owner, result.healed_s, result.restarted ? ", started again" : "");
    for (const auto& line : result.violations) clouds.story.say("  {}", line);
    return result;
}

Result<FaultResult> strike_once(Clouds& clouds, const std::string& moment, const Fault& fault) {
    Situation situation;
    BLANKET_CHECK(begin_fault(clouds, moment, fault.name, situation));
    FaultResult& result = situation.result;
    Scene scene{clouds, result.source, result.target};

    Result<void> struck;
    double over_s = 0;
    const auto strike = [&] {
        const double begin_s = clouds.story.now_s();
        struck = fault.strike(scene);
        result.struck = true;
        over_s = clouds.story.now_s();
        result.fault_s = over_s - begin_s;
        clouds.story.say("the fault is over after {:.1f} s", result.fault_s);
    };
    if (moment == "rest") {
        strike();
    } else {
        BLANKET_TRY(BlanketCli owner, clouds.at(result.source));
        const std::string word = moment + " ...";
        // Whatever becomes of the move and of its operator's connection: what counts is what the world looks like in the end.
        const auto moved = owner.follow({"vm", "migrate", "web", result.target}, minutes(6), [&](std::string_view line) {
            clouds.story.say("  {}", trim(line));
            if (const auto ms = number_between(line, "the compare-and-swap took ", " ms")) result.commit_ms = *ms;
            if (const auto ms = number_between(line, "the guest runs again ", " ms after the decision")) result.abort_ms = *ms;
            if (!result.struck && trim(line).ends_with(word)) strike();
        });
        clouds.story.say("the move's operator sees: {}", !moved ? moved.error().what : moved->status == 0 ? "moved" : moved->errors.substr(moved->errors.rfind('\n') + 1));
    }
    BLANKET_CHECK(struck);
    if (!result.struck) return result;
    if (fault.guest_dies) situation.anew_at = result.source;  // an owner without power starts it again; one that handed it over in time need not
    return heal(clouds, std::move(situation), over_s);
}

}  // namespace blanket::lab
