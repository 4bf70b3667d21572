// SPDX-License-Identifier: GPL-2.0-or-later
// The loads idle, key-value and thrasher; see guest.hpp.
#include <cmath>

#include "tests/bench/migrate/workloads.hpp"

namespace blanket::bench {
namespace {

constexpr double kTheta = 0.99;

class Idle final : public Cloned<Idle> {
public:
    explicit Idle(const Place& place) : system_(place, {}), random_(place.random()) {}
    void tick(GuestMemory& memory) override { system_.tick(memory, random_); }

private:
    System system_;
    Random random_;
};

// 2,000 values a second. A value is half text that all have alike, half its own.
class KeyValues final : public Cloned<KeyValues> {
public:
    KeyValues(const Place& place, bool uniform)
        : system_(place, {.cache = 0.10, .programs = 0.05, .stale = 0.04}), table_(place.list.share(0.5)), index_(place.list.share(0.01)), buffers_(place.list.share(0.002)), keys_(table_.size() * kOfPage),
          uniform_(uniform), palette_(&place.palette), random_(place.random()) {
        for (std::size_t key = 0; key < table_.size() * kOfPage; ++key) set(place.memory, key);
        for (const Frame frame : index_) palette_->heap(random_, place.memory.write(frame));
    }
    void tick(GuestMemory& memory) override {
        system_.tick(memory, random_);
        for (int i = 0; i < kSets; ++i) {
            const std::size_t key = uniform_ ? random_() % (table_.size() * kOfPage) : keys_.draw(random_);
            set(memory, key);
            put_word(memory.write(index_[key % index_.size()]), key / index_.size() % kPageWords, random_());
            if (i % 3 == 0) palette_->slice(random_, memory.write(buffers_[next_buffer_++ % buffers_.size()]));
        }
    }

private:
    static constexpr int kSets = 20;  // a tick
    static constexpr std::size_t kOfPage = 4, kValueWords = kPageWords / kOfPage;
    void set(GuestMemory& memory, std::size_t key) {
        static constexpr std::uint64_t kText = 0x3a22'646c'6569'6622u;  // "field":
        Page& page = memory.write(table_[key / kOfPage]);
        const std::size_t first = key % kOfPage * kValueWords;
        put_word(page, first, key);
        put_word(page, first + 1, ++version_);
        for (std::size_t word = 2; word < kValueWords; word += 2) {
            put_word(page, first + word, kText);
            put_word(page, first + word + 1, random_());
        }
    }
    System system_;
    std::vector<Frame> table_, index_, buffers_;
    Zipf keys_;
    bool uniform_;
    const Palette* palette_;
    Random random_;
    std::uint64_t version_ = 0;
    std::size_t next_buffer_ = 0;
};

// 8,000 pages a second.
class Thrasher final : public Cloned<Thrasher> {
public:
    explicit Thrasher(const Place& place) : system_(place, {.cache = 0.15, .programs = 0.05, .stale = 0.05}), set_(place.list.share(0.25)), random_(place.random()) {
        for (const Frame frame : set_) place.memory.write(frame) = fakes::random_page(random_);
    }
    void tick(GuestMemory& memory) override {
        system_.tick(memory, random_);
        for (int i = 0; i < 80; ++i) memory.write(set_[next_++ % set_.size()]) = fakes::random_page(random_);
    }

private:
    System system_;
    std::vector<Frame> set_;
    Random random_;
    std::size_t next_ = 0;
};

}  // namespace

Zipf::Zipf(std::size_t count) : count_(count), alpha_(1 / (1 - kTheta)), eta_(0) {
    const auto size = static_cast<double>(count);
    for (std::size_t rank = 1; rank <= count; ++rank) zeta_ += std::pow(static_cast<double>(rank), -kTheta);
    eta_ = (1 - std::pow(2 / size, 1 - kTheta)) / (1 - (1 + std::pow(2, -kTheta)) / zeta_);
}

std::size_t Zipf::draw(Random& random) const {
    const double part = static_cast<double>(random() >> 11) * 0x1p-53, place = part * zeta_;
    const double rank = place < 1 ? 0 : place < 1 + std::pow(0.5, kTheta) ? 1 : static_cast<double>(count_) * std::pow(eta_ * part - eta_ + 1, alpha_);
    const auto whole = static_cast<std::uint64_t>(std::max(rank, 0.0));
    return ((whole + 1) * 0x9e37'79b9'7f4a'7c15u >> 20) % count_;
}

std::unique_ptr<Workload> make_idle(const Place& place) { return std::make_unique<Idle>(place); }
std::unique_ptr<Workload> make_key_values(const Place& place, bool uniform) { return std::make_unique<KeyValues>(place, uniform); }
std::unique_ptr<Workload> make_thrasher(const Place& place) { return std::make_unique<Thrasher>(place); }

}  // namespace blanket::bench
