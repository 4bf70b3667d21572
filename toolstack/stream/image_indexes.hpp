// SPDX-License-Identifier: GPL-2.0-or-later
// The site's indexes of base images: loaded, or built at low priority, one after the other by a thread of their own, well before a move's memory begins. A move
// that comes sooner goes on without. Owned by the daemon; used by migrate/ and where an image is imported.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "toolstack/stream/image_index.hpp"

namespace blanket::stream {

// One that was asked for. Kept in memory as long as somebody holds it.
class PendingIndex final {
public:
    // Null: not there yet, or it could not be made. From any thread.
    [[nodiscard]] const ImageIndex* ready() const { return ready_.load() ? &*index_ : nullptr; }

private:
    friend class ImageIndexes;
    std::optional<ImageIndex> index_;
    std::atomic<bool> ready_ = false;
};

class ImageIndexes final {
public:
    // `folder` is made when it is needed; files are named by the image's hash. `quiet`: nothing else is under way at this site. An index is built only while that
    // has been so for some seconds, for it takes processor and disk from what people wait for; empty: always. Loading a built one is never put off.
    ImageIndexes(BlockStore& blocks, std::string folder, std::function<bool()> quiet = {});
    ~ImageIndexes();  // gives up what is being built
    ImageIndexes(const ImageIndexes&) = delete;
    ImageIndexes& operator=(const ImageIndexes&) = delete;

    // Returns at once. From any thread.
    std::shared_ptr<const PendingIndex> want(const std::string& sha256);
    void wait();  // until nothing is under way

private:
    struct Work {
        std::string sha256;
        std::shared_ptr<PendingIndex> pending;
    };
    void serve(const std::stop_token& stop);
    void make(const Work& work, const std::stop_token& stop);
    Result<ImageIndex> build(const std::string& sha256, const std::stop_token& stop);
    bool await_quiet(const std::stop_token& stop) const;  // false: stopped

    BlockStore& blocks_;
    const std::string folder_;
    const std::function<bool()> quiet_;
    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::deque<Work> queue_;
    bool busy_ = false;
    std::map<std::string, std::weak_ptr<PendingIndex>> known_;
    std::jthread thread_;  // from the first want() on
};

}  // namespace blanket::stream
