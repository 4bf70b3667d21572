// SPDX-License-Identifier: GPL-2.0-or-later
// See live_save.hpp. libxenguest calls the policy twice a round: at its begin, with the number of dirty pages, and at its end, with -1.
#include "toolstack/hypervisor/live_save.hpp"

#include <array>
#include <bit>
#include <cstring>

extern "C" {
#include <xenctrl.h>
#include <xenguest.h>
}

#include "toolstack/base/fd.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/hypervisor/precopy_policy.hpp"
#include "toolstack/hypervisor/processor_cap.hpp"

namespace blanket {
namespace {

constexpr std::uint64_t kPageBytes = 4096;

std::int64_t now_ms() { return system_time().boottime_ms(); }  // blanketd's clock too

// libxenguest's callbacks; it takes no exceptions and knows only "failed", so the reason stays here.
struct Save {
    XenDomainHandle& domain;
    const LiveSaveHooks& hooks;
    PrecopyPolicy policy;
    ProcessorCap cap;
    SaveProgress progress;
    double share = 1;              // that the guest has of its processor time
    std::uint64_t sent_pages = 0;  // of the rounds that ended
    Result<void> outcome;

    int step(const precopy_stats& stats) {
        if (hooks.given_up()) {
            outcome = fail(Kind::kCancelled, "given up on request");
            return XGS_POLICY_ABORT;
        }
        if (stats.dirty_count < 0) {
            policy.end(now_ms());
            sent_pages += policy.last_round().pages;
            return XGS_POLICY_CONTINUE_PRECOPY;
        }
        const auto decision = policy.begin(now_ms(), static_cast<std::uint64_t>(stats.dirty_count));
        if (stats.iteration > 0) progress.ended.push_back(policy.last_round());
        progress.round = stats.iteration;
        progress.sending = static_cast<std::uint64_t>(stats.dirty_count);
        progress.forecast_ms = policy.forecast_ms();
        if (policy.share() < share) {
            share = policy.share();
            if (const auto held = cap.hold(share); !held) log::warning("save", "{}", held.error().what);  // then the rounds go on bringing nothing, and end
        }
        if (decision != PrecopyPolicy::Step::kContinue) progress.why = policy.why();
        hooks.tell(progress);
        if (decision == PrecopyPolicy::Step::kGiveUp) {
            outcome = fail_hint(Kind::kPrecondition, "the VM cannot stand still as shortly as asked: " + policy.why(), "allow more (--max-downtime), or lessen what the VM writes");
            return XGS_POLICY_ABORT;
        }
        return decision == PrecopyPolicy::Step::kLastRound ? XGS_POLICY_STOP_AND_COPY : XGS_POLICY_CONTINUE_PRECOPY;
    }
    int suspend() {
        policy.end(now_ms());
        sent_pages += policy.last_round().pages;
        progress.ended.push_back(policy.last_round());
        progress.stopping = true;
        hooks.tell(progress);
        if (const auto lifted = cap.lift(); !lifted) log::warning("save", "{}", lifted.error().what);  // to be asked, it must run
        progress.asked_ms = now_ms();
        outcome = domain.suspend(hooks.given_up);
        if (!outcome) return 0;
        progress.suspended_ms = now_ms();
        progress.suspended = true;
        hooks.tell(progress);
        return 1;
    }
};

Result<void> write_words(int fd, std::span<const std::uint32_t> words) { return write_all(fd, std::as_bytes(words)); }

}  // namespace

Result<void> live_save(XenDomainHandle& domain, XenLog& log, int fd, const SaveLimits& limits, const LiveSaveHooks& hooks) {
    if (!domain.is_pv()) return fail(Kind::kPrecondition, "domain {} is no PV guest that runs here", domain.id());
    Save save{.domain = domain, .hooks = hooks, .policy = PrecopyPolicy(limits), .cap = {domain.control(), domain.id()}, .progress = {}, .share = 1, .sent_pages = 0, .outcome = {}};
    log.on_pages = [&](std::uint64_t pages) {
        save.progress.bytes = (save.sent_pages + pages) * kPageBytes;
        hooks.tell(save.progress);
    };
    // The head's numbers are big-endian, the records' little-endian: "LibxlFmt", version 2, no options; then an empty record of type 1.
    constexpr std::array<std::uint32_t, 6> kHead{std::byteswap(0x4c696278u), std::byteswap(0x6c466d74u), std::byteswap(2u), 0, 1, 0};
    constexpr std::array<std::uint32_t, 2> kEnd{0, 0};
    BLANKET_CHECK(write_words(fd, kHead));
    save_callbacks callbacks{};
    callbacks.suspend = [](void* data) { return static_cast<Save*>(data)->suspend(); };
    callbacks.precopy_policy = [](precopy_stats stats, void* data) { return static_cast<Save*>(data)->step(stats); };
    callbacks.data = &save;
    const int rc = xc_domain_save(domain.control(), fd, domain.id(), XCFLAGS_LIVE, &callbacks, XC_STREAM_PLAIN, -1);
    log.on_pages = {};
    if (rc != 0) {
        if (!save.outcome) return save.outcome;
        if (hooks.given_up()) return fail(Kind::kCancelled, "given up on request");
        const std::string why = log.first_error();
        return fail(Kind::kIo, "{}", why.empty() ? "libxenguest could not save the domain" : why);
    }
    return write_words(fd, kEnd);
}

}  // namespace blanket
