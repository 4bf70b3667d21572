// SPDX-License-Identifier: GPL-2.0-or-later
// The Neighbours port over mTLS: REST on 7443, migration channels on 7444; and what answers an incoming channel.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "toolstack/daemon/app.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/migrate/link_session.hpp"
#include "toolstack/peer/channel_link.hpp"

namespace blanket {

inline constexpr std::uint16_t kRestPort = 7443, kStreamPort = 7444;
inline constexpr std::size_t kMostChannels = migrate::LinkSessions::kMostConnections + 2 * migrate::LinkSessions::kMost;  // all sessions', those that take over from them, and others

class TlsNeighbours final : public Neighbours {
public:
    // `address_of`: where a site's ports are reached; empty: at its record's address.
    explicit TlsNeighbours(Federation& federation, std::function<std::string(const Site&)> address_of = {}) : federation_(federation), address_of_(std::move(address_of)) {}
    Result<std::unique_ptr<PeerLink>> link(const Site& site, std::chrono::milliseconds deadline) override;
    Result<Json> call(const Site& site, const std::string& method, const std::string& path, const Json* body) override;
    Result<void> lead_near(const Site& site) override { return federation_.move_leader_to(site.name); }

private:
    [[nodiscard]] std::string address(const Site& site) const { return address_of_ ? address_of_(site) : site.address; }
    Federation& federation_;
    const std::function<std::string(const Site&)> address_of_;
};

// Serves one incoming connection: a migration, a lost one that goes on, or the request for a base image. Ends with it.
void serve_channel(App& app, migrate::LinkSessions& sessions, std::unique_ptr<PeerLink> link, const std::function<bool()>& stopping);

}  // namespace blanket
