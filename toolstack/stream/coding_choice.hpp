// SPDX-License-Identifier: GPL-2.0-or-later
// Whether compression makes a stream faster or slower, measured while it flows: time per byte with it and without it, on this processor and this link. What is sent
// costs money as well, so it is left out only where that is clearly faster. Pure; the caller tells the time. One thread.
#pragma once

#include <cstdint>

namespace blanket::stream {

class CodingChoice final {
public:
    enum class Rule : std::uint8_t { kMeasure, kAlways, kNever };
    struct Batch {
        std::uint64_t bytes = 0, wire = 0;            // before compression, and as sent
        std::int64_t coding_ms = 0, sending_ms = 0;
    };
    explicit CodingChoice(Rule rule = Rule::kMeasure) : rule_(rule), compress_(rule != Rule::kNever) {}
    [[nodiscard]] bool compress() const { return compress_; }
    void took(const Batch& batch);  // the last one

private:
    void end_phase();
    [[nodiscard]] bool promising() const;

    Rule rule_;
    bool compress_, trial_ = false;
    Batch phase_;                         // since it began
    double cost_[2] = {0, 0};             // ms per byte without and with compression; 0: not measured yet
    unsigned phases_ = 0, patience_ = 4;  // of this choice so far; until the other one is tried
};

}  // namespace blanket::stream
