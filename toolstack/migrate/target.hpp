// SPDX-License-Identifier: GPL-2.0-or-later
// The target's half of a live migration: one object per incoming connection. Before its commit it leaves nothing behind on any error.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "toolstack/core/ports.hpp"
#include "toolstack/migrate/protocol.hpp"

namespace blanket::migrate {

struct TargetPorts {
    Registry& registry;
    Hypervisor& hypervisor;
    MigrationEnds& ends;
    BlockStore& blocks;
    DiskMoves& moves;
    Overlay& overlay;
    PeerLink& link;
};

class Target final {
public:
    // `here` = this site's name. `give_up`: the daemon stops.
    Target(TargetPorts ports, std::string here, std::function<bool()> give_up);
    ~Target();
    // Serves the whole conversation. The error, if any, was told to the source where it still listens. Thread rule: one call, one thread.
    Result<void> serve();
    [[nodiscard]] const std::string& subject() const { return vm_.value.name; }

private:
    Result<void> greet();
    Result<void> prepare();
    Result<void> begin();
    Result<void> receive_disks();
    Result<void> write_block(const Message& message);
    Result<void> attach_mirror(const Json& request);
    Result<void> receive_memory();
    Result<void> feed(int fd, StreamDigest& digest, Json& end);
    Result<void> commit();
    void discard();
    Result<Message> next(std::chrono::milliseconds deadline);  // kError and kAbort become errors

    TargetPorts ports_;
    std::string here_;
    std::function<bool()> give_up_;
    Versioned<VmRecord> vm_;
    std::vector<std::string> missing_images_;
    std::vector<std::unique_ptr<DiskMove>> moves_;
    std::vector<std::string> volumes_made_;
    bool restored_ = false, committed_ = false;
};

}  // namespace blanket::migrate
