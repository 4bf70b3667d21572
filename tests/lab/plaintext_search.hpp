// SPDX-License-Identifier: GPL-2.0-or-later
// Finds known plaintext in ethernet frames, also where a TCP stream splits it between two segments that follow each other. Used by Recorder on the link that must hold only ciphertext.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "toolstack/base/json.hpp"

namespace blanket::lab {

struct PlaintextHit {
    std::string pattern;
    std::uint64_t count = 0;
    std::uint64_t first_frame = 0;  // number of the frame, from 1
};

class PlaintextSearch final {
public:
    // Patterns of 4..256 bytes, at most 64; kInvalid otherwise.
    static Result<PlaintextSearch> create(const std::vector<std::string>& patterns);

    void add(std::span<const std::byte> frame);
    [[nodiscard]] const std::vector<PlaintextHit>& hits() const { return hits_; }  // one per pattern, in the order given
    [[nodiscard]] std::uint64_t frames() const { return frames_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
    [[nodiscard]] std::uint64_t found() const;
    [[nodiscard]] Json report() const;

private:
    struct Stream {
        std::uint32_t next_sequence = 0;
        std::string tail;
    };
    PlaintextSearch() = default;
    void scan(std::string_view text);
    void follow_stream(std::string_view frame);

    std::vector<PlaintextHit> hits_;
    std::bitset<65536> starts_;  // first two bytes of the patterns: one look-up per byte of traffic
    std::size_t longest_ = 0;
    std::map<std::string, Stream> streams_;  // by addresses and ports
    std::uint64_t frames_ = 0, bytes_ = 0;
};

}  // namespace blanket::lab
