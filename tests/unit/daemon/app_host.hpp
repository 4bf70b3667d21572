// SPDX-License-Identifier: GPL-2.0-or-later
// One site's daemon without its doors: the App with its jobs and its view of the records, over fakes. For tests of what the App's actions do.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_overlay.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/app.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {

struct AppHost {
    std::string folder = std::filesystem::temp_directory_path() / ("app-host-" + random_hex(4));
    fakes::FakeSite site;
    fakes::FakeOverlay net;
    fakes::FakeClock clock;
    EventLog events;
    Settings settings;
    World world;
    std::unique_ptr<JobTable> jobs;
    App app;

    AppHost(const std::string& name, Registry& registry, Neighbours& neighbours)
        : site(name), world(registry, net, events), jobs((std::filesystem::create_directories(folder), std::make_unique<JobTable>(folder))),
          app{{registry, site, site, site, site, net, clock}, settings, name, "0", neighbours, world, *jobs, events} {}
    ~AppHost() {
        jobs.reset();
        std::filesystem::remove_all(folder);
    }
    AppHost(const AppHost&) = delete;
    AppHost& operator=(const AppHost&) = delete;
};

}  // namespace blanket
