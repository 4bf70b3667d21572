// SPDX-License-Identifier: GPL-2.0-or-later
// bench-stream: the memory stream's codec over generated saves, beside plain zstd in pieces (what moves did before it): speed, and bytes by class. Native, no lab.
//   bench-stream [--report FILE] [--disk FILE --memory FILE --memory FILE ...]
// --memory: a VM's memory as QEMU's pmemsave writes it, and then once more for each round; --disk: the raw image that it was started from. Without them only
// what is generated here is measured. Then two cases of the content store, beside the same moves without it: a VM that comes back (generated, or the first and the
// second file of --memory), and four VMs of one image, one after another.
#include <algorithm>
#include <chrono>
#include <functional>
#include <print>

#include "tests/bench/codec_run.hpp"
#include "tests/lab/machine_facts.hpp"
#include "tests/lab/tool.hpp"
#include "tests/unit/stream/pair.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::stream {
namespace {

constexpr std::size_t kFrames = 12'800;     // 50 MiB
constexpr int kRepeats = 3;                 // the best counts

double seconds_of(const std::function<void()>& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

struct Outcome {
    double encode_s = 1e9, decode_s = 1e9, zstd_s = 1e9;
    std::size_t plain = 0, wire = 0, zstd = 0;
    PageCounts counts;
};

Result<Outcome> measure(std::span<const std::byte> data, const std::function<std::unique_ptr<CodecPair>()>& make) {
    Outcome outcome;
    outcome.plain = data.size();
    for (int i = 0; i < kRepeats; ++i) {
        outcome.zstd = 0;
        outcome.zstd_s = std::min(outcome.zstd_s, seconds_of([&] { in_pieces(data, [&](auto piece) { outcome.zstd += encode(piece).data.size() + 5; }); }));
        const auto pair = make();
        std::vector<std::vector<std::byte>> batches;
        double encode_s = 0, decode_s = 0;
        in_pieces(data, [&](auto piece) {
            Result<std::span<const std::byte>> batch;
            encode_s += seconds_of([&] { batch = pair->encoder->encode(piece); });
            if (batch && !batch->empty()) batches.emplace_back(batch->begin(), batch->end());
        });
        outcome.wire = 0;
        bool equal = true;
        std::size_t at = 0;
        for (const auto& batch : batches) {
            outcome.wire += batch.size();
            Result<std::span<const std::byte>> plain;
            decode_s += seconds_of([&] { plain = pair->decoder->decode(batch); });
            equal = equal && plain && std::ranges::equal(*plain, data.subspan(at, plain->size()));
            at += plain ? plain->size() : 0;
        }
        outcome.encode_s = std::min(outcome.encode_s, encode_s);
        outcome.decode_s = std::min(outcome.decode_s, decode_s);
        if (!equal || at != data.size()) return fail(Kind::kInternal, "the stream does not come out as it went in");
        outcome.counts = pair->encoder->counts();
    }
    return outcome;
}

Json report_of(const std::string& name, const Outcome& outcome) {
    const auto rate = [&](double time) { return static_cast<double>(outcome.plain) / 1e6 / time; };
    const double share = static_cast<double>(outcome.wire) / static_cast<double>(outcome.plain), before = static_cast<double>(outcome.zstd) / static_cast<double>(outcome.plain);
    std::println("{:<8} {:7.1f} MB   codec {:7.2f} MB ({:5.1f} %) at {:5.0f} MB/s, back at {:5.0f} MB/s   zstd {:7.2f} MB ({:5.1f} %) at {:5.0f} MB/s", name,
                 static_cast<double>(outcome.plain) / 1e6, static_cast<double>(outcome.wire) / 1e6, share * 100, rate(outcome.encode_s), rate(outcome.decode_s),
                 static_cast<double>(outcome.zstd) / 1e6, before * 100, rate(outcome.zstd_s));
    std::string text;
    for (const auto& [kind, count] : classes_of(outcome.counts)) text += std::format("  {} {} pages {} bytes", kind, count.pages, count.wire_bytes);
    std::println("        {}", text);
    return {{"stream", name}, {"plain_bytes", outcome.plain}, {"wire_bytes", outcome.wire}, {"zstd_bytes", outcome.zstd}, {"encode_mb_s", rate(outcome.encode_s)},
            {"decode_mb_s", rate(outcome.decode_s)}, {"zstd_mb_s", rate(outcome.zstd_s)}, {"classes", classes_json(outcome.counts)}};
}

// All pages of one making, sent once.
std::vector<std::byte> uniform(const std::function<fakes::Page(std::mt19937_64&)>& make) {
    std::mt19937_64 random(1);
    fakes::XenStream stream;
    std::vector<fakes::Page> pages(1024);
    for (std::size_t frame = 0; frame < kFrames;) {
        std::vector<fakes::XenStream::Sent> batch;
        for (auto& page : pages) {
            page = make(random);
            batch.push_back({frame++, &page});
        }
        stream.pages(batch);
    }
    stream.end();
    return std::move(stream.bytes);
}

// The save of a VM whose memory was looked at several times: all of it, then what had changed at each next look.
Result<std::vector<std::byte>> recorded(const std::vector<std::string>& files, std::size_t& frames) {
    constexpr std::size_t kMost = 1u << 30, kAtOnce = 1024;
    fakes::XenStream stream;
    std::vector<fakes::Page> before, pages;
    for (const auto& file : files) {
        BLANKET_TRY(const std::string memory, read_file(file, kMost));
        pages.resize(memory.size() / kPage);
        std::memcpy(pages.data(), memory.data(), pages.size() * kPage);
        std::vector<fakes::XenStream::Sent> batch;
        for (std::size_t frame = 0; frame < pages.size(); ++frame) {
            if (frame < before.size() && before[frame] == pages[frame]) continue;
            batch.push_back({frame, &pages[frame]});
            if (batch.size() == kAtOnce) {
                stream.pages(batch);
                batch.clear();
            }
        }
        if (!batch.empty()) stream.pages(batch);
        std::println("{}: {:.1f} MB so far", file, static_cast<double>(stream.bytes.size()) / 1e6);
        std::swap(before, pages);
    }
    frames = before.size();
    stream.end();
    return std::move(stream.bytes);
}

// One move from a site that keeps what leaves in `from` to one that has `to`; either may be null. bytes: the offer, which goes the other way, included. `deltas`: pages
// are told as differences from those of the last move, too.
struct Move {
    std::size_t bytes = 0, offer = 0;
    double encode_s = 0;
    PageCounts counts;
};

Result<Move> move(std::span<const std::byte> data, std::size_t cache, ContentStore* from, ContentStore* to, const std::string& vm, ImageShelf& shelf, const std::string& sha256, bool deltas = true) {
    CodecPair pair(cache, from, to, {"net", vm}, &shelf, sha256, deltas);
    Move done;
    done.bytes = done.offer = pair.offer_bytes;
    std::size_t at = 0;
    bool equal = true;
    in_pieces(data, [&](auto piece) {
        Result<std::span<const std::byte>> batch;
        done.encode_s += seconds_of([&] { batch = pair.encoder->encode(piece); });
        const auto plain = batch ? pair.decoder->decode(*batch) : batch;
        equal = equal && plain && std::ranges::equal(*plain, data.subspan(at, plain->size()));
        at += plain ? plain->size() : 0;
        done.bytes += batch ? batch->size() : 0;
        for (ContentStore* const store : {from, to})
            if (store != nullptr) store->settle();  // there is no link here that gives it time
    });
    if (!equal || at != data.size()) return fail(Kind::kInternal, "the stream does not come out as it went in");
    done.counts = pair.encoder->counts();
    if (to != nullptr) {
        pair.target_feed->arrived();
        to->settle();
    }
    return done;
}

void print_case(const char* name, std::size_t plain, const Move& with, const Move& without) {
    const auto mb = [](std::size_t bytes) { return static_cast<double>(bytes) / 1e6; };
    std::println("{:<8} {:7.1f} MB   with the store {:7.2f} MB (offer {:.2f}) at {:5.0f} MB/s   without {:7.2f} MB at {:5.0f} MB/s   {:.1f} times fewer than without, {:.1f} than plain", name, mb(plain),
                 mb(with.bytes), mb(with.offer), mb(plain) / with.encode_s, mb(without.bytes), mb(plain) / without.encode_s, mb(without.bytes) / mb(with.bytes), mb(plain) / mb(with.bytes));
    std::println("          store {} pages {} bytes  store_delta {} pages {} bytes  reference {} pages  raw {} pages {} bytes", with.counts.store.pages, with.counts.store.wire_bytes, with.counts.store_delta.pages,
                 with.counts.store_delta.wire_bytes, with.counts.reference.pages, with.counts.raw.pages, with.counts.raw.wire_bytes);
}

// A page that no other VM has, in place of every second of the guest's random ones.
std::vector<std::byte> save_of(const fakes::SeededGuest& guest, std::uint64_t own) {
    std::mt19937_64 random(own);
    fakes::XenStream stream;
    std::vector<fakes::Page> memory = guest.memory();
    for (std::size_t frame = 0; frame < memory.size(); ++frame)
        if (frame / 16 % 20 >= 18) memory[frame] = fakes::likely_page(random);
    std::vector<fakes::XenStream::Sent> batch;
    for (std::size_t frame = 0; frame < memory.size(); ++frame) {
        batch.push_back({frame, &memory[frame]});
        if (batch.size() < 1024 && frame + 1 < memory.size()) continue;
        stream.pages(batch);
        batch.clear();
    }
    stream.end();
    return std::move(stream.bytes);
}

struct Inputs {
    std::string report, disk;
    std::vector<std::string> memory;
};

Result<void> bench_store(const Inputs& inputs, std::size_t frames, const std::string& image, ImageShelf& shelf, const std::string& sha256, Json& metrics, Json& outcomes) {
    constexpr double kGoal = 10;
    const std::size_t cache = frames / 10;
    const auto say = [&](const char* name, std::size_t plain, const Move& with, const Move& without) {
        print_case(name, plain, with, without);
        outcomes.push_back({{"stream", name}, {"plain_bytes", plain}, {"wire_bytes", with.bytes}, {"offer_bytes", with.offer}, {"without_store_bytes", without.bytes}, {"store_pages", with.counts.store.pages}});
        const double ratio = static_cast<double>(plain) / static_cast<double>(with.bytes);
        metrics.push_back(lab::metric(std::format("{}_fewer_than_plain", name), ratio, "times", ">= 10", ratio >= kGoal));
        metrics.back()["peers"] = {{"without_store", static_cast<double>(plain) / static_cast<double>(without.bytes)}};
    };
    {
        std::vector<std::byte> away, home;
        if (inputs.memory.size() >= 2) {
            std::size_t ignored = 0;
            BLANKET_TRY(away, recorded({inputs.memory[0]}, ignored));
            BLANKET_TRY(home, recorded({inputs.memory[1]}, ignored));
        } else {
            fakes::SeededGuest guest(8, frames, image);
            away = guest.save(5).bytes;
            for (int i = 0; i < 20; ++i) guest.write();
            home = guest.save(5).bytes;
        }
        const auto back = [&](bool deltas) -> Result<Move> {
            const StoreFolder here, there;
            const auto east = here.open(2ull << 30), west = there.open(2ull << 30);
            BLANKET_CHECK(move(away, cache, east.get(), west.get(), "web", shelf, sha256));
            return move(home, cache, west.get(), east.get(), "web", shelf, sha256, deltas);
        };
        BLANKET_TRY(const Move with, back(true));
        BLANKET_TRY(const Move whole, back(false));
        BLANKET_TRY(const Move without, move(home, cache, nullptr, nullptr, "web", shelf, sha256));
        say("return", home.size(), with, without);
        outcomes.back()["without_store_deltas_bytes"] = whole.bytes;
        metrics.back()["peers"]["without_store_deltas"] = static_cast<double>(home.size()) / static_cast<double>(whole.bytes);
        print_case("  whole", home.size(), whole, without);
    }
    if (!inputs.memory.empty()) return {};
    const StoreFolder folder;
    const auto store = folder.open(2ull << 30);
    Move with, without;
    std::size_t plain = 0;
    fakes::SeededGuest guest(8, frames, image);
    for (std::uint64_t vm = 1; vm <= 4; ++vm) {
        guest.write();
        const auto data = save_of(guest, vm);
        plain += data.size();
        for (const bool on : {true, false}) {
            Move& sum = on ? with : without;
            BLANKET_TRY(const Move one, move(data, cache, nullptr, on ? store.get() : nullptr, std::format("vm{}", vm), shelf, sha256));
            sum.bytes += one.bytes;
            sum.offer += one.offer;
            sum.encode_s += one.encode_s;
            sum.counts.store.pages += one.counts.store.pages;
            sum.counts.store.wire_bytes += one.counts.store.wire_bytes;
            sum.counts.reference.pages += one.counts.reference.pages;
            sum.counts.raw.pages += one.counts.raw.pages;
            sum.counts.raw.wire_bytes += one.counts.raw.wire_bytes;
        }
    }
    say("four", plain, with, without);
    return {};
}

Result<void> run_bench(const Inputs& inputs) {
    ImageShelf shelf;
    std::string image = fakes::seeded_image(6, kFrames);
    if (!inputs.disk.empty()) {
        BLANKET_TRY(image, read_file(inputs.disk, std::size_t{4} << 30));
    }
    const std::string sha256 = shelf.add(image);
    const double index_s = seconds_of([&] { (void)index_of(image, sha256); });
    std::println("index of {:.1f} MB built in {:.3f} s", static_cast<double>(image.size()) / 1e6, index_s);
    std::size_t frames = kFrames;
    std::vector<std::pair<std::string, std::vector<std::byte>>> streams;
    if (!inputs.memory.empty()) {
        BLANKET_TRY(auto save, recorded(inputs.memory, frames));
        streams.emplace_back("recorded", std::move(save));
    } else {
        streams.emplace_back("guest", fakes::SeededGuest(8, kFrames, image).save(5).bytes);
        streams.emplace_back("likely", uniform(fakes::likely_page));
        streams.emplace_back("random", uniform(fakes::random_page));
        streams.emplace_back("zero", uniform([](std::mt19937_64&) { return fakes::Page{}; }));
    }
    const std::size_t cache = frames / 10;
    const auto with_image = [&] { return std::make_unique<CodecPair>(cache, shelf, sha256); };
    Json outcomes = Json::array(), metrics = Json::array();
    for (const auto& [name, data] : streams) {
        BLANKET_TRY(const Outcome outcome, measure(data, with_image));
        outcomes.push_back(report_of(name, outcome));
        // A move was never slower for its coding than with plain zstd, and what cannot be coded costs no more than that it is looked at.
        metrics.push_back(lab::metric("time_beside_zstd_" + name, outcome.encode_s / outcome.zstd_s, "ratio", "<= 1.5", outcome.encode_s <= 1.5 * outcome.zstd_s));
        metrics.push_back(lab::metric("bytes_beside_zstd_" + name, static_cast<double>(outcome.wire) / static_cast<double>(outcome.zstd), "ratio", "<= 1.01",
                                      static_cast<double>(outcome.wire) <= 1.01 * static_cast<double>(outcome.zstd)));
    }
    BLANKET_CHECK(bench_store(inputs, frames, image, shelf, sha256, metrics, outcomes));
    for (const auto& one : metrics) std::println("{:<26} {:>7.3f} goal {:<8} {}", one["name"].get<std::string>(), one["value"].get<double>(), one["goal"].get<std::string>(), one["met"].get<bool>() ? "met" : "NOT MET");
    const Json report{{"bench", "stream"}, {"commit", lab::commit_of_tree()}, {"machine", lab::machine_facts(lab::Accelerator::kTcg)}, {"metrics", metrics}, {"streams", outcomes}};
    if (!inputs.report.empty()) BLANKET_CHECK(write_file(inputs.report, report.dump(2) + "\n"));
    return {};
}

}  // namespace
}  // namespace blanket::stream

int main(int argc, char** argv) {
    blanket::stream::Inputs inputs;
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string_view option = argv[i];
        if (option == "--report") inputs.report = argv[i + 1];
        else if (option == "--disk") inputs.disk = argv[i + 1];
        else if (option == "--memory") inputs.memory.emplace_back(argv[i + 1]);
        else {
            std::println(stderr, "usage: bench-stream [--report FILE] [--disk FILE --memory FILE...]");
            return 2;
        }
    }
    const auto done = blanket::stream::run_bench(inputs);
    if (!done) std::println(stderr, "bench-stream: {}", done.error().what);
    return done ? 0 : 1;
}
