// SPDX-License-Identifier: GPL-2.0-or-later
// A Channel as the PeerLink port. Used by daemon/.
#pragma once

#include <memory>

#include "toolstack/core/ports.hpp"
#include "toolstack/peer/channel.hpp"

namespace blanket {

class ChannelLink final : public PeerLink {
public:
    explicit ChannelLink(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}
    Result<void> send(std::uint32_t type, std::span<const std::byte> payload) override { return channel_->send(type, payload); }
    Result<Message> receive(std::chrono::milliseconds deadline) override {
        BLANKET_TRY(Frame frame, channel_->receive(deadline));
        return Message{frame.type, std::move(frame.payload)};
    }
    std::uint64_t bytes_sent() const override { return channel_->bytes_sent(); }
    std::uint64_t bytes_received() const override { return channel_->bytes_received(); }
    const std::string& peer() const override { return channel_->peer(); }
    void shutdown() override { channel_->shutdown(); }
    std::uint64_t backlog() const override { return channel_->backlog(); }
    std::optional<LinkPath> path() const override { return LinkPath{channel_->rtt_us(), channel_->congestion()}; }
    void one_of(unsigned connections, std::size_t most) override { channel_->one_of(connections, most); }

private:
    std::unique_ptr<Channel> channel_;
};

}  // namespace blanket
