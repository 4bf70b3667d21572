// SPDX-License-Identifier: GPL-2.0-or-later
// A capture file (pcap, nanosecond form, ethernet) of bounded size. Used by Recorder; wireshark and tcpdump read it.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include "toolstack/base/result.hpp"

namespace blanket::lab {

class PcapWriter final {
public:
    // The file is made anew (0600). Frames that would make it longer than max_bytes are counted, not written.
    static Result<PcapWriter> create(const std::string& path, std::uint64_t max_bytes);

    Result<void> add(std::chrono::nanoseconds since_epoch, std::span<const std::byte> frame);
    Result<void> flush();
    [[nodiscard]] std::uint64_t frames() const { return frames_; }
    [[nodiscard]] std::uint64_t omitted() const { return omitted_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }  // of the file

private:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    PcapWriter() = default;
    std::unique_ptr<std::FILE, Close> file_;
    std::string path_;
    std::uint64_t max_bytes_ = 0, bytes_ = 0, frames_ = 0, omitted_ = 0;
};

}  // namespace blanket::lab
