// SPDX-License-Identifier: GPL-2.0-or-later
// The recorder's queue and thread; see recorder.hpp.
#include "tests/lab/recorder.hpp"

namespace blanket::lab {
namespace {
constexpr std::size_t kMaxWaiting = 64u << 20;
}

Recorder::Recorder() : thread_([this](const std::stop_token& stop) { work(stop); }) {}

Result<void> Recorder::capture(const std::string& path, std::uint64_t max_bytes) {
    const std::scoped_lock lock(tools_lock_);
    pcap_.reset();
    path_.clear();
    if (path.empty()) return {};
    BLANKET_TRY(pcap_, PcapWriter::create(path, max_bytes));
    path_ = path;
    return {};
}

Result<void> Recorder::search(const std::vector<std::string>& patterns) {
    BLANKET_TRY(PlaintextSearch search, PlaintextSearch::create(patterns));
    const std::scoped_lock lock(tools_lock_);
    search_ = std::move(search);
    return {};
}

void Recorder::add(Frame frame) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const std::scoped_lock lock(queue_lock_);
    if (queued_bytes_ + frame->size() > kMaxWaiting) {
        ++missed_;
        return;
    }
    queued_bytes_ += frame->size();
    queue_.push_back({now, std::move(frame)});
    if (queue_.size() == 1) wake_.notify_one();
}

void Recorder::work(const std::stop_token& stop) {
    std::deque<Item> batch;
    for (;;) {
        {
            std::unique_lock lock(queue_lock_);
            busy_ = false;
            if (queue_.empty()) idle_.notify_all();
            if (!wake_.wait(lock, stop, [this] { return !queue_.empty(); })) return;
            batch.swap(queue_);
            queued_bytes_ = 0;
            busy_ = true;
        }
        const std::scoped_lock lock(tools_lock_);
        for (const auto& item : batch) {
            traffic_.add(*item.frame);
            if (search_) search_->add(*item.frame);
            if (!pcap_) continue;
            if (const auto added = pcap_->add(item.time, *item.frame); !added && failure_.empty()) failure_ = added.error().what;
        }
        batch.clear();
    }
}

Json Recorder::report() {
    std::uint64_t missed = 0;
    {
        std::unique_lock lock(queue_lock_);
        idle_.wait_for(lock, std::chrono::seconds(10), [this] { return queue_.empty() && !busy_; });
        missed = missed_ + queue_.size();
    }
    const std::scoped_lock lock(tools_lock_);
    Json report{{"missed_frames", missed}, {"failure", failure_}, {"traffic", traffic_.report()}};
    if (pcap_) {
        if (const auto flushed = pcap_->flush(); !flushed && failure_.empty()) report["failure"] = failure_ = flushed.error().what;
        report["capture"] = {{"file", path_}, {"frames", pcap_->frames()}, {"omitted", pcap_->omitted()}, {"bytes", pcap_->bytes()}};
    }
    if (search_) report["search"] = search_->report();
    return report;
}

}  // namespace blanket::lab
