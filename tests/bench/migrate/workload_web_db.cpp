// SPDX-License-Identifier: GPL-2.0-or-later
// The load web_db; see guest.hpp. 100 requests a second; three in ten change rows of a database as SQLite keeps it: pages of a B-tree changed in place, each
// written to the journal before. Which rows follows Zipf's law.
#include <format>

#include "tests/bench/migrate/workloads.hpp"
#include "toolstack/base/fd.hpp"

namespace blanket::bench {
namespace {

// A leaf of a table: an 8-byte head, the cells' places upwards, the rows downwards from the page's end.
Page leaf(Random& random, std::uint64_t first_row) {
    constexpr std::size_t kHead = 8;
    Page page{};
    std::size_t end = kPageBytes, cells = 0;
    for (;;) {
        const std::string row = std::format("{:08}|customer{:06}|{:016x}@example.org|{}.{:02}|2024-0{}-{:02}|open", first_row + cells, random() % 1'000'000, random(), random() % 500, random() % 100,
                                            1 + random() % 9, 1 + random() % 28);
        if (end < kHead + 2 * (cells + 1) + row.size()) break;
        end -= row.size();
        std::memcpy(page.data() + end, row.data(), row.size());
        page[kHead + 2 * cells] = static_cast<std::byte>(end >> 8);
        page[kHead + 2 * cells + 1] = static_cast<std::byte>(end);
        ++cells;
    }
    page[0] = std::byte{0x0d};
    page[4] = static_cast<std::byte>(cells);
    page[5] = static_cast<std::byte>(end >> 8);
    page[6] = static_cast<std::byte>(end);
    return page;
}

class WebDb final : public Cloned<WebDb> {
public:
    explicit WebDb(const Place& place)
        : system_(place, {.programs = 0.06, .stale = 0.06}), database_(place.list.share(0.16)), workers_(place.list.share(0.10)), buffers_(place.list.share(0.008)), journal_(place.list.share(0.04)),
          access_log_(place.list.share(0.01)), rows_(database_.size()), palette_(&place.palette), random_(place.random()) {
        for (std::size_t i = 0; i < database_.size(); ++i) place.memory.write(database_[i]) = leaf(random_, i * 40);
        for (const Frame frame : workers_) palette_->heap(random_, place.memory.write(frame));
    }
    void tick(GuestMemory& memory) override {
        system_.tick(memory, random_);
        request(memory);
        if (random_() % 10 < 3) transaction(memory);
    }

private:
    // Stacks and heaps of the workers, most of them the same ones again; an answer through the network's buffers; a line in the log.
    void request(GuestMemory& memory) {
        const std::size_t hot = std::max<std::size_t>(1, workers_.size() / 16);
        for (int i = 0; i < 4; ++i) {
            Page& page = memory.write(workers_[random_() % (random_() % 8 == 0 ? workers_.size() : hot)]);
            const std::size_t at = random_() % (kPageWords - 32);
            for (std::size_t change = 0; change < 8; ++change) put_word(page, at + random_() % 32, random_() % 1'000'000);
        }
        for (int i = 0; i < 2; ++i) palette_->slice(random_, memory.write(buffers_[next_buffer_++ % buffers_.size()]));
        access_log_.append(memory, as_bytes(std::format("10.42.{}.{} - - [12/Mar/2024:{:02}:{:02}:{:02} +0000] \"GET /shop/item/{} HTTP/1.1\" 200 {}\n", random_() % 16, random_() % 250, requests_ / 360'000 % 24,
                                                        requests_ / 6000 % 60, requests_ / 100 % 60, random_() % 20'000, 800 + random_() % 9000)));
        ++requests_;
    }
    void transaction(GuestMemory& memory) {
        for (int i = 0; i < 3; ++i) {
            Page& page = memory.write(database_[rows_.draw(random_)]);
            const std::string value = std::format("{:016x}", random_());
            std::memcpy(page.data() + kPageBytes / 8 + random_() % (kPageBytes * 7 / 8 - 16), value.data(), 16);  // behind the cells' places, in some row
            std::array<std::uint64_t, 3> head{++frames_written_, random_(), random_()};
            journal_.append(memory, std::as_bytes(std::span(head)));
            journal_.append(memory, page);
        }
    }
    System system_;
    std::vector<Frame> database_, workers_, buffers_;
    AppendedFile journal_, access_log_;
    Zipf rows_;
    const Palette* palette_;
    Random random_;
    std::uint64_t requests_ = 0, frames_written_ = 0;
    std::size_t next_buffer_ = 0;
};

}  // namespace

std::unique_ptr<Workload> make_web_db(const Place& place) { return std::make_unique<WebDb>(place); }

}  // namespace blanket::bench
