// SPDX-License-Identifier: GPL-2.0-or-later
// See coding_choice.hpp. A phase with one choice, now and then one with the other, and the faster one goes on. What the kernel's buffers take makes the first phase
// without compression look better than it is; the next ones say so, and each time that the other choice was the wrong one it is tried half as often.
#include "toolstack/stream/coding_choice.hpp"

#include <algorithm>

namespace blanket::stream {
namespace {

constexpr std::uint64_t kPhaseBytes = 1u << 20, kLongPhase = 64u << 20;
constexpr std::int64_t kPhaseMs = 50;  // the clock tells whole ms
constexpr double kClearly = 0.8;       // of the time with compression
constexpr unsigned kLate = 64;         // phases

}  // namespace

void CodingChoice::took(const Batch& batch) {
    if (rule_ != Rule::kMeasure) return;
    phase_.bytes += batch.bytes;
    phase_.wire += batch.wire;
    phase_.coding_ms += batch.coding_ms;
    phase_.sending_ms += batch.sending_ms;
    if (phase_.bytes >= kLongPhase || (phase_.bytes >= kPhaseBytes && phase_.coding_ms + phase_.sending_ms >= kPhaseMs)) end_phase();
}

// Whether the other choice can be the faster one. Sending more takes longer in proportion, whether the link or the encryption is what it waits for.
bool CodingChoice::promising() const {
    if (!compress_) return true;
    const double plain = static_cast<double>(phase_.sending_ms) * static_cast<double>(phase_.bytes) / static_cast<double>(std::max<std::uint64_t>(phase_.wire, 1));
    return plain < kClearly * static_cast<double>(phase_.coding_ms + phase_.sending_ms);
}

void CodingChoice::end_phase() {
    double& cost = cost_[compress_ ? 1 : 0];
    const double now = std::max(static_cast<double>(phase_.coding_ms + phase_.sending_ms), 0.5) / static_cast<double>(phase_.bytes);
    cost = cost > 0 ? (cost + now) / 2 : now;
    const bool try_other = promising();
    phase_ = {};
    ++phases_;
    const bool plain_is_faster = cost_[0] < kClearly * cost_[1];
    if (cost_[0] > 0 && cost_[1] > 0 && plain_is_faster == compress_) {  // the other one is
        patience_ = std::min(patience_ * 2, kLate);
        compress_ = !compress_;
        trial_ = false;
        phases_ = 0;
    } else if (trial_) {  // it was only tried, and stays
        trial_ = false;
        phases_ = 0;
    } else if (phases_ >= patience_ && try_other) {
        trial_ = true;
        cost_[compress_ ? 0 : 1] = 0;
        compress_ = !compress_;
        phases_ = 0;
    }
}

}  // namespace blanket::stream
