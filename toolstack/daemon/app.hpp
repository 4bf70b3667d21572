// SPDX-License-Identifier: GPL-2.0-or-later
// Everything that blanketd's actions reach: the ports (core/ports.hpp) and what is the daemon's own. blanketd.cpp makes it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "toolstack/core/ports.hpp"
#include "toolstack/daemon/events.hpp"
#include "toolstack/daemon/jobs.hpp"
#include "toolstack/daemon/settings.hpp"
#include "toolstack/stream/content_store.hpp"
#include "toolstack/stream/index_shelf.hpp"

namespace blanket {

class World;

// How this site reaches the others.
class Neighbours {
public:
    virtual ~Neighbours() = default;
    virtual Result<std::unique_ptr<PeerLink>> link(const Site& site, std::chrono::milliseconds deadline = std::chrono::seconds(20)) = 0;  // a new migration connection
    virtual Result<Json> call(const Site& site, const std::string& method, const std::string& path, const Json* body) = 0;
    virtual Result<void> lead_near(const Site& site) = 0;  // ask that the registry's leader be near that site
};

struct App : SitePorts {
    const Settings& settings;
    std::string site;     // our name
    std::string version;
    Neighbours& neighbours;
    World& world;
    JobTable& jobs;
    EventLog& events;
    std::function<void(const std::string& uuid)> look_again = [](const std::string&) {};  // as after a restart: what an action left behind is put in order
    const stream::IndexShelf* indexes = nullptr;  // of this site's base images; null: moves do without
    stream::ContentStore* store = nullptr;        // this site's; null: moves do without
};

}  // namespace blanket
