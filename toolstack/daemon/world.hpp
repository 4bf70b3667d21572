// SPDX-License-Identifier: GPL-2.0-or-later
// The last consistent snapshot of the registry, kept fresh by the watch, and what follows from a change: the overlay is made to match, events are told.
// Thread safe.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "toolstack/core/ports.hpp"
#include "toolstack/daemon/events.hpp"

namespace blanket {

class World final {
public:
    World(Registry& registry, Overlay& overlay, EventLog& events) : registry_(registry), overlay_(overlay), events_(events) {}

    // Reads the registry and applies the network. Called when the watch stands, and by actions that need to see their own writes at once.
    Result<void> refresh();
    // The same from what the watch has told, without asking anybody: `change` makes what was read last newer. Where it cannot (false), or the last reading failed, all is read.
    Result<void> follow(const std::function<bool(Snapshot&)>& change);
    // Makes the network match what was read last, as it is to be seen now: a site was cut off, perhaps while the registry is away.
    Result<void> apply_again();
    // `amend` changes what was read before anybody sees it; `fresh`: it was just read. Set before the first use.
    void amend(std::function<void(Snapshot&, bool fresh)> amend) { amend_ = std::move(amend); }
    // `listener` is called after each refresh that succeeded, from that thread.
    void on_change(std::function<void(const Snapshot&)> listener) { listener_ = std::move(listener); }

    [[nodiscard]] Snapshot snapshot() const;
    [[nodiscard]] std::vector<VmRecord> guarded_at(const std::string& site) const;      // VMs of that site with the policy `pause`
    [[nodiscard]] std::vector<VmRecord> standing_by_at(const std::string& site) const;  // those of other sites for which it stands by
    [[nodiscard]] Result<Versioned<VmRecord>> vm(const std::string& name) const;  // by name or UUID; kNotFound with what there is
    [[nodiscard]] Result<Site> site(const std::string& name) const;
    [[nodiscard]] Result<Net> net(const std::string& name) const;
    [[nodiscard]] Result<Versioned<Image>> image(const std::string& name) const;

private:
    Result<void> read();              // refreshing_ is held, here and in take()
    Result<void> take(Snapshot now);
    void tell_differences(const Snapshot& before, const Snapshot& now);
    Registry& registry_;
    Overlay& overlay_;
    EventLog& events_;
    std::function<void(const Snapshot&)> listener_;
    std::function<void(Snapshot&, bool fresh)> amend_ = [](Snapshot&, bool) {};
    mutable std::mutex mutex_;   // snapshot_
    std::mutex refreshing_;      // one refresh at a time, in order; and what follows
    Snapshot read_;              // as the registry has it, before amend_
    bool missed_ = true;         // something may have changed since
    Snapshot snapshot_;
};

}  // namespace blanket
