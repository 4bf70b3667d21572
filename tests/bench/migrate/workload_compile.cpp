// SPDX-License-Identifier: GPL-2.0-or-later
// The load compile; see guest.hpp. Two processes at a time, each for 0.5 to 2 s. What one leaves behind the next one takes first, as a kernel gives out pages that
// are still in the processor's cache, so the same pages are written again and again, each time with something else.
#include "tests/bench/migrate/workloads.hpp"

namespace blanket::bench {
namespace {

class Compile final : public Cloned<Compile> {
public:
    explicit Compile(const Place& place)
        : system_(place, {.programs = 0.06, .stale = 0.05}), free_(place.list.share(0.25)), files_(place.list.share(0.20)), palette_(&place.palette), random_(place.random()) {
        for (std::size_t i = 0; i < files_.size() / 2; ++i) palette_->slice(random_, place.memory.write(files_[i]));  // what was read and written so far
        next_file_ = files_.size() / 2;
        for (std::size_t i = free_.size() / 2; i < free_.size(); ++i) palette_->heap(random_, place.memory.write(free_[i]));
        most_of_process_ = free_.size() / 2;
        for (Process& process : processes_) start(process);
    }
    void tick(GuestMemory& memory) override {
        system_.tick(memory, random_);
        for (Process& process : processes_) work(process, memory);
    }

private:
    static constexpr std::size_t kNewPages = 12, kTouched = 20;  // of a process in a tick
    struct Process {
        std::vector<Frame> pages;
        std::uint64_t ticks_left = 0;
    };
    void start(Process& process) { process.ticks_left = 50 + random_() % 150; }
    void write_file(GuestMemory& memory, std::size_t pages) {
        for (; pages > 0; --pages) palette_->slice(random_, memory.write(files_[next_file_++ % files_.size()]));
    }
    void work(Process& process, GuestMemory& memory) {
        for (std::size_t i = 0; i < kNewPages && !free_.empty() && process.pages.size() < most_of_process_; ++i) {
            palette_->heap(random_, memory.write(free_.back()));
            process.pages.push_back(free_.back());
            free_.pop_back();
        }
        for (std::size_t i = 0; i < kTouched && !process.pages.empty(); ++i) {
            Page& page = memory.write(process.pages[random_() % process.pages.size()]);
            for (int change = 0; change < 8; ++change) put_word(page, random_() % kPageWords, random_() % 1'000'000);
        }
        if (random_() % 5 == 0) write_file(memory, 1);  // a header is read
        if (--process.ticks_left > 0) return;
        write_file(memory, 10 + random_() % 50);  // its object
        free_.insert(free_.end(), process.pages.begin(), process.pages.end());
        process.pages.clear();
        start(process);
    }
    System system_;
    std::vector<Frame> free_, files_;
    std::array<Process, 2> processes_;
    std::size_t most_of_process_ = 0, next_file_ = 0;
    const Palette* palette_;
    Random random_;
};

}  // namespace

std::unique_ptr<Workload> make_compile(const Place& place) { return std::make_unique<Compile>(place); }

}  // namespace blanket::bench
