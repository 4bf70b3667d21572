// SPDX-License-Identifier: GPL-2.0-or-later
// Two PeerLinks joined back to back, with a fault at a chosen message: one byte flipped, or the line cut.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "toolstack/core/ports.hpp"

namespace blanket::fakes {

class FakeLink final : public PeerLink {
public:
    struct Wire {
        std::mutex mutex;
        std::condition_variable changed;
        std::deque<Message> queue[2];
        bool cut = false;
        std::atomic<std::uint64_t> backlog = 0;                  // as the source sees it
        std::function<void(Message&, bool& cut)> fault;         // sees each message of the source before it travels
        std::function<void(Message&, bool& cut)> answer_fault;  // each of the target
    };
    static std::pair<std::unique_ptr<FakeLink>, std::unique_ptr<FakeLink>> pair(std::string source, std::string target, std::shared_ptr<Wire> wire) {
        return {std::make_unique<FakeLink>(wire, 0, std::move(target)), std::make_unique<FakeLink>(wire, 1, std::move(source))};
    }
    FakeLink(std::shared_ptr<Wire> wire, int side, std::string peer) : wire_(std::move(wire)), side_(side), peer_(std::move(peer)) {}
    ~FakeLink() override { shutdown(); }

    Result<void> send(std::uint32_t type, std::span<const std::byte> payload) override {
        const std::lock_guard lock(wire_->mutex);
        Message message{type, {payload.begin(), payload.end()}};
        if (const auto& fault = side_ == 0 ? wire_->fault : wire_->answer_fault; fault && !wire_->cut) fault(message, wire_->cut);
        wire_->changed.notify_all();
        if (wire_->cut) return fail(Kind::kIo, "closed by the peer");
        sent_ += payload.size() + 8;
        wire_->queue[side_].push_back(std::move(message));
        return {};
    }
    Result<Message> receive(std::chrono::milliseconds deadline) override {
        std::unique_lock lock(wire_->mutex);
        auto& queue = wire_->queue[1 - side_];
        if (!wire_->changed.wait_for(lock, deadline, [&] { return !queue.empty() || wire_->cut; })) return fail(Kind::kTimeout, "no message");
        if (queue.empty()) return fail(Kind::kIo, "closed by the peer");
        Message message = std::move(queue.front());
        queue.pop_front();
        return message;
    }
    std::uint64_t bytes_sent() const override { return sent_; }
    std::uint64_t backlog() const override { return side_ == 0 ? wire_->backlog.load() : 0; }
    const std::string& peer() const override { return peer_; }
    void shutdown() override {
        const std::lock_guard lock(wire_->mutex);
        wire_->cut = true;
        wire_->changed.notify_all();
    }

private:
    std::shared_ptr<Wire> wire_;
    int side_;
    std::string peer_;
    std::atomic<std::uint64_t> sent_ = 0;  // asked for by any thread
};

}  // namespace blanket::fakes
