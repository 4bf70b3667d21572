// SPDX-License-Identifier: GPL-2.0-or-later
// When a method stops copying. Ours and xl's are the product's own policy; QEMU's is told after its published description. Pure, one thread.
#pragma once

#include "toolstack/hypervisor/precopy_policy.hpp"

namespace blanket::bench {

class StopRule {
public:
    // kLastRound: these pages, then what is dirty meanwhile with the guest stopped. kStopNow: these pages with the guest stopped.
    enum class Step : std::uint8_t { kContinue, kLastRound, kStopNow };
    virtual ~StopRule() = default;
    virtual Step begin(std::int64_t now_ms, std::size_t dirty_pages) = 0;  // a round
    virtual void end(std::int64_t now_ms, std::size_t wire_bytes) = 0;
    [[nodiscard]] virtual double share() const { return 1; }               // of its processor time that the guest has
    [[nodiscard]] virtual std::int64_t forecast_ms() const { return 0; }   // of the stop; 0: it makes none
    [[nodiscard]] virtual bool settled() const { return true; }            // it stopped by its goal, not because it had to end at all
    [[nodiscard]] virtual std::string why() const = 0;
};

// `fixed_ms`: what the stop costs besides the last pages, as the product knows it from the last move.
class PolicyRule final : public StopRule {
public:
    explicit PolicyRule(const SaveLimits& limits) : policy_(limits) {}
    static SaveLimits ours(std::int64_t fixed_ms) { return {.fixed_ms = fixed_ms}; }
    static SaveLimits xl() { return {.rounds = 5, .throttle = false}; }  // Xen 4.20 xg_sr_save.c: below 50 dirty pages, or after five rounds
    Step begin(std::int64_t now_ms, std::size_t dirty_pages) override;
    void end(std::int64_t now_ms, std::size_t) override { policy_.end(now_ms); }
    [[nodiscard]] double share() const override { return policy_.share(); }
    [[nodiscard]] std::int64_t forecast_ms() const override { return policy_.forecast_ms(); }
    [[nodiscard]] std::string why() const override { return policy_.why(); }

private:
    PrecopyPolicy policy_;
};

// Stops when what is dirty, uncompressed, takes less than downtime-limit (300 ms) at the rate at which the last round's bytes went; looked at between rounds. QEMU would go on for
// ever where that does not come; here it ends after 30 rounds.
class QemuRule final : public StopRule {
public:
    Step begin(std::int64_t now_ms, std::size_t dirty_pages) override;
    void end(std::int64_t now_ms, std::size_t wire_bytes) override;
    [[nodiscard]] bool settled() const override { return settled_; }
    [[nodiscard]] std::string why() const override { return settled_ ? "the rest takes less than 300 ms" : "it does not converge: cut off after 30 rounds"; }

private:
    std::int64_t begin_ms_ = 0;
    double bytes_per_ms_ = 0;
    unsigned round_ = 0;
    bool settled_ = true;
};

}  // namespace blanket::bench
