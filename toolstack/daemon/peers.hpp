// SPDX-License-Identifier: GPL-2.0-or-later
// The Neighbours port over mTLS: REST on 7443, migration channels on 7444; and what answers an incoming channel.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "toolstack/daemon/app.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/peer/channel.hpp"

namespace blanket {

inline constexpr std::uint16_t kRestPort = 7443, kStreamPort = 7444;

// A Channel as the PeerLink port.
class ChannelLink final : public PeerLink {
public:
    explicit ChannelLink(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}
    Result<void> send(std::uint32_t type, std::span<const std::byte> payload) override { return channel_->send(type, payload); }
    Result<Message> receive(std::chrono::milliseconds deadline) override;
    std::uint64_t bytes_sent() const override { return channel_->bytes_sent(); }
    const std::string& peer() const override { return channel_->peer(); }
    void shutdown() override { channel_->shutdown(); }

private:
    std::unique_ptr<Channel> channel_;
};

class TlsNeighbours final : public Neighbours {
public:
    explicit TlsNeighbours(Federation& federation) : federation_(federation) {}
    Result<std::unique_ptr<PeerLink>> link(const Site& site) override;
    Result<Json> call(const Site& site, const std::string& method, const std::string& path, const Json* body) override;
    Result<void> lead_near(const Site& site) override { return federation_.move_leader_to(site.name); }

private:
    Federation& federation_;
};

// Serves one incoming connection: a migration or the request for a base image. Ends with it.
void serve_channel(App& app, std::unique_ptr<PeerLink> link, const std::function<bool()>& stopping);

}  // namespace blanket
