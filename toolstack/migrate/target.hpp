// SPDX-License-Identifier: GPL-2.0-or-later
// The target's half of a live migration: one object per incoming connection. Before its commit it leaves nothing behind on any error.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "toolstack/core/ports.hpp"
#include "toolstack/migrate/move_times.hpp"
#include "toolstack/migrate/protocol.hpp"
#include "toolstack/stream/decoder.hpp"

namespace blanket::migrate {

class Target final {
public:
    // `here` = this site's name. `give_up`: the daemon stops. `coming` is asked once, before anything changes here, with the VM's name: an error refuses it.
    Target(SitePorts ports, PeerLink& link, std::string here, std::function<bool()> give_up, std::function<Result<void>(const std::string&)> coming = {},
           stream::ContentStore* store = nullptr,  // this site's, or none
           std::chrono::milliseconds for_pages = std::chrono::seconds(3));  // what of it has not been looked at by then is not offered
    ~Target();
    // Serves the whole conversation. The error, if any, was told to the source where it still listens. Thread rule: one call, one thread.
    Result<void> serve();
    [[nodiscard]] const std::string& subject() const { return vm_.value.name; }
    // The record answers, and no longer says that the VM comes here by this move, which has not been committed. Any thread.
    [[nodiscard]] bool taken_back() const;

private:
    Result<void> greet();
    Result<void> prepare();
    Result<void> begin();
    Result<std::optional<Versioned<VmRecord>>> read_record();
    Result<void> receive_disks();
    Result<void> write_block(const Message& message);
    Result<bool> attach_mirror(const Json& request);
    void begin_offer();
    Result<void> tell_pages();
    Result<void> begin_memory(const Json& request);
    Result<void> restore();
    Result<void> receive_memory();
    Result<void> take_memory(std::chrono::milliseconds deadline);
    Result<std::size_t> pull_memory(std::span<std::byte> out);
    Result<void> commit();
    void discard();
    Result<Message> next(std::chrono::milliseconds deadline);  // kError and kAbort become errors

    SitePorts ports_;
    PeerLink& link_;
    std::string here_;
    std::function<bool()> give_up_;
    std::function<Result<void>(const std::string&)> coming_;
    Versioned<VmRecord> vm_;
    std::vector<std::string> missing_images_;
    std::vector<std::unique_ptr<DiskMove>> moves_;
    std::vector<std::string> volumes_made_;
    // The memory stream on its way into the hypervisor.
    StreamDigest digest_;
    std::vector<stream::BaseImage> images_;     // that memory may refer to
    std::uint64_t cache_pages_ = 0;             // that both ends keep
    stream::ContentStore* store_;
    std::chrono::milliseconds for_pages_;
    std::unique_ptr<stream::PageOffer> offer_;  // what this move may refer to of it
    bool offer_told_ = false;
    std::unique_ptr<stream::ContentStore::Feed> feed_;
    std::unique_ptr<stream::Decoder> decoder_;  // lives as long as the target: giving its memory back takes time that the guest's stop has not
    std::span<const std::byte> piece_;          // the decoder's, taken up to piece_at_
    std::size_t piece_at_ = 0;
    std::optional<Json> memory_end_;
    std::chrono::milliseconds silence_{0};
    PhaseLog log_;
    TargetTimes times_;
    bool restored_ = false, committed_ = false, undecided_ = false;
    struct Marked {
        std::string uuid;
        std::uint64_t revision = 0;  // of the record that names this move; 0: not known yet, or committed
    };
    mutable std::mutex marked_mutex_;
    Marked marked_;
};

}  // namespace blanket::migrate
