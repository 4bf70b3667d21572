// SPDX-License-Identifier: GPL-2.0-or-later
// Feeds a save image to libvirt, which restores only from a named file: makes a FIFO, writes the header, then the libxl stream into it.
// Used by LibvirtHypervisor::restore_paused; knows nothing of libvirt, so that it is tested with any reader.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "toolstack/core/ports.hpp"

namespace blanket {

class StreamFeeder final {
public:
    // A FIFO with mode 0600 and a random name in `folder`, and a thread that writes `head` and then everything from `source` into it.
    // Opening the FIFO for reading never blocks from here on. `source` is called on that thread; not after finish().
    static Result<StreamFeeder> start(const std::string& folder, std::vector<std::byte> head, ByteSource source,
                                      std::chrono::milliseconds deadline = std::chrono::seconds(60));
    StreamFeeder(StreamFeeder&&) noexcept;
    ~StreamFeeder();  // stops the thread and removes the FIFO

    [[nodiscard]] const std::string& path() const;
    // Ends the copying now (the reader has returned) and says how it went: kIo with the byte count when the reader or the source broke off early,
    // kTimeout when nobody read the head before the deadline.
    Result<std::uint64_t> finish();
    // When the newest byte of the stream went into the FIFO; the clock's epoch before the first. Shows what the reader does after the stream's end.
    [[nodiscard]] std::chrono::steady_clock::time_point last_byte() const;

private:
    struct State;
    explicit StreamFeeder(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace blanket
