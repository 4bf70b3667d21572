// SPDX-License-Identifier: GPL-2.0-or-later
// What the client inside VM `client` measured, brought to the lab's clock. Pure; filled by the demo from demo-guest's /probe/log.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "toolstack/base/json.hpp"

namespace blanket::lab {

struct ClientSample {
    double t_s = 0;         // when the request was sent, lab clock
    double latency_ms = 0;
    std::uint64_t sequence = 0, acked = 0;
    bool operator==(const ClientSample&) const = default;
};

class ClientLog final {
public:
    // Adds an answer of /probe/log?since=size(). `asked_s`, `answered_s`: lab clock around the request, which ties the client's clock to ours (kept from the closest pair).
    // kInvalid for anything malformed, or when the sequence numbers have a hole.
    Result<void> add(std::string_view answer, double asked_s, double answered_s);

    [[nodiscard]] std::size_t size() const { return raw_.size(); }
    [[nodiscard]] std::vector<ClientSample> samples() const;  // in lab time
    [[nodiscard]] double newest_s() const { return raw_.empty() ? -1e9 : static_cast<double>(raw_.back().t_ms) / 1000 + offset_s_; }  // when the last one of them was asked
    [[nodiscard]] std::uint64_t reconnects() const { return reconnects_; }
    [[nodiscard]] std::uint64_t errors() const { return errors_; }
    [[nodiscard]] std::uint64_t highest_acked() const;
    // The request that waited longest of those under way at any moment within [begin_s, end_s]; none when there was none.
    [[nodiscard]] std::optional<ClientSample> longest_wait(double begin_s, double end_s) const;
    [[nodiscard]] double stall_ms(double begin_s, double end_s) const;  // its latency, or 0
    [[nodiscard]] double median_ms(double begin_s, double end_s) const;  // of requests sent within; 0 when none

private:
    struct Raw {
        std::int64_t t_ms = 0, latency_us = 0;
        std::uint64_t sequence = 0, acked = 0;
    };
    std::vector<Raw> raw_;
    double offset_s_ = 0;        // lab clock - client clock
    double uncertainty_s_ = 1e9;
    std::uint64_t reconnects_ = 0, errors_ = 0;
};

}  // namespace blanket::lab
