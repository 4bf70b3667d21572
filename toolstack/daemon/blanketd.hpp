// SPDX-License-Identifier: GPL-2.0-or-later
// The daemon as one object: makes the adapters in the order in which they need each other, opens the listeners, and keeps everything going.
// main.cpp owns it. The host's facts may come late (libvirtd, the volume group): each is tried again until it is there.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "toolstack/daemon/federation.hpp"
#include "toolstack/daemon/reconcile.hpp"
#include "toolstack/daemon/settings.hpp"

namespace blanket {

class Daemon final {
public:
    static Result<std::unique_ptr<Daemon>> create(Settings settings);
    ~Daemon();
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    void run(const std::atomic<bool>& stop);  // until `stop`; READY is told when the unix socket answers

private:
    struct Parts;
    explicit Daemon(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

}  // namespace blanket
