// SPDX-License-Identifier: GPL-2.0-or-later
// The cases of runs.hpp. A guest is made once and copied for each move, so all methods begin with the same memory and the same future.
#include <iterator>
#include <mutex>

#include "tests/bench/migrate/jobs.hpp"
#include "tests/bench/migrate/runs.hpp"

namespace blanket::bench {
namespace {

constexpr std::size_t kPagesAtStop = 1000;
constexpr std::uint64_t kVms = 4, kStoreBytes = 2ull << 30;
constexpr std::array kMethods{kOurs, kXl, kXlSsh, kZstdPipe, kXbzrle, kMultifd};

struct Without {
    const char* method;
    stream::Features features;
};

// Rows of one case, told one at a time.
class Teller {
public:
    Teller(const Say& say, const char* what) : say_(say), what_(what) {}
    void name(Row& row, std::string load, const char* method = nullptr) {
        row.what = what_;
        row.load = std::move(load);
        if (method != nullptr) row.method = method;
        const std::lock_guard lock(mutex_);
        say_(row);
    }

private:
    const Say& say_;
    const char* what_;
    std::mutex mutex_;
};

using Jobs = std::vector<std::function<Result<Rows>()>>;

Result<Rows> run_all(unsigned threads, const Jobs& jobs) {
    BLANKET_TRY(auto parts, run_jobs<Rows>(threads, jobs));
    Rows rows;
    for (auto& part : parts) std::ranges::move(part, std::back_inserter(rows));
    return rows;
}

std::vector<Load> of_the_mix(const Settings& settings) {
    std::vector<Load> found;
    for (const Load load : kMix)
        if (std::ranges::contains(settings.loads, load)) found.push_back(load);
    return found;
}

Result<Rows> cold_move(const Guest& base, const Stage& stage, const Link& link, const std::string& method, Load load, Teller& teller, std::size_t least_stopped = 0) {
    Guest guest(base);
    BLANKET_TRY(Row row, method == kOurs ? run_ours(guest, stage, link, ends_of(stage), least_stopped) : run_peer(guest, stage, link, method, least_stopped));
    teller.name(row, std::string(name_of(load)));
    return Rows{std::move(row)};
}

// Away, some time of work there, and back. `with_peers`: the way back also by those who know nothing of the way there.
Result<Rows> there_and_back(const Guest& base, const Stage& stage, Load load, const Without& variant, bool with_peers, Teller& teller) {
    const Link& link = stage.settings.links.front();
    const stream::StoreFolder here, there;
    const auto east = here.open(kStoreBytes), west = there.open(kStoreBytes);
    Guest guest(base);
    BlanketEnds ends = ends_of(stage);
    ends.from = east.get();
    ends.to = west.get();
    BLANKET_CHECK(run_ours(guest, stage, link, ends).transform([](const Row&) {}));
    guest.run(static_cast<std::int64_t>(stage.settings.away_s) * 1'000'000);
    const std::string name(name_of(load));
    Rows rows;
    if (with_peers) {
        Guest raw(guest), cold(guest);
        BLANKET_TRY(Row by_xl, run_peer(raw, stage, link, kXl));
        teller.name(by_xl, name);
        rows.push_back(std::move(by_xl));
        BLANKET_TRY(Row by_none, run_ours(cold, stage, link, ends_of(stage)));
        teller.name(by_none, name, "blanket_without_store");
        rows.push_back(std::move(by_none));
    }
    std::swap(ends.from, ends.to);
    ends.features = variant.features;
    BLANKET_TRY(Row back, run_ours(guest, stage, link, ends));
    teller.name(back, name, variant.method);
    rows.push_back(std::move(back));
    return rows;
}

void add(Moved& sum, const Moved& one) {
    sum.wire_bytes += one.wire_bytes;
    sum.pages += one.pages;
    sum.seconds += one.seconds;
    sum.downtime_s = std::max(sum.downtime_s, one.downtime_s);
    sum.processor_s += one.processor_s;
    sum.share = std::min(sum.share, one.share);
    sum.settled = sum.settled && one.settled;
    sum.exact = one.exact;
    sum.rounds.insert(sum.rounds.end(), one.rounds.begin(), one.rounds.end());
}

// Four VMs of one image, one after another: times and bytes are sums, the downtime is the longest.
Result<Rows> four_moves(const Stage& stage, const char* method, bool store, Teller& teller) {
    const Link& link = stage.settings.links.front();
    const stream::StoreFolder folder;
    const auto kept = folder.open(kStoreBytes);
    Row sum{.what = {}, .load = {}, .link = link.name, .method = method, .moved = {}, .classes = {}, .cipher_s = 0};
    for (std::uint64_t vm = 1; vm <= kVms; ++vm) {
        Guest guest = make_guest(stage, Load::kWebDb, vm);
        BlanketEnds ends = ends_of(stage);
        ends.vm = std::format("vm{}", vm);
        ends.to = store ? kept.get() : nullptr;
        BLANKET_TRY(const Row one, method == std::string_view(kXl) ? run_peer(guest, stage, link, kXl) : run_ours(guest, stage, link, ends));
        add(sum.moved, one.moved);
        sum.cipher_s += one.cipher_s;
    }
    teller.name(sum, "web_db_x4");
    return Rows{std::move(sum)};
}

}  // namespace

Result<Rows> play_cold(const Stage& stage, const Say& say) {
    const Settings& settings = stage.settings;
    Teller cold(say, "cold"), stop(say, "stop_1000");
    Rows rows;
    for (const Load load : settings.loads) {
        const Guest base = make_guest(stage, load);
        Jobs jobs;
        for (const Link& link : settings.links)
            for (const char* const method : kMethods) jobs.emplace_back([&, method] { return cold_move(base, stage, link, method, load, cold); });
        if (load == Load::kWebDb && settings.links.size() > 1)
            for (const char* const method : {kOurs, kXl}) jobs.emplace_back([&, method] { return cold_move(base, stage, settings.links[1], method, load, stop, kPagesAtStop); });
        BLANKET_TRY(auto some, run_all(settings.jobs, jobs));
        std::ranges::move(some, std::back_inserter(rows));
    }
    return rows;
}

Result<Rows> play_returns(const Stage& stage, const Say& say) {
    Teller teller(say, "return");
    std::array<Without, 2> variants{{{kOurs, {}}, {"blanket_without_store_deltas", {}}}};
    variants[1].features.store_deltas = false;
    Rows rows;
    for (const Load load : of_the_mix(stage.settings)) {
        const Guest base = make_guest(stage, load);
        Jobs jobs;
        for (const Without& variant : variants) jobs.emplace_back([&] { return there_and_back(base, stage, load, variant, &variant == &variants[0], teller); });
        BLANKET_TRY(auto some, run_all(stage.settings.jobs, jobs));
        std::ranges::move(some, std::back_inserter(rows));
    }
    return rows;
}

Result<Rows> play_four(const Stage& stage, const Say& say) {
    Teller teller(say, "four");
    const Jobs jobs{[&] { return four_moves(stage, kOurs, true, teller); }, [&] { return four_moves(stage, "blanket_without_store", false, teller); }, [&] { return four_moves(stage, kXl, false, teller); }};
    return run_all(stage.settings.jobs, jobs);
}

Result<Rows> play_ablation(const Stage& stage, const Say& say) {
    Teller teller(say, "ablation");
    std::array<Without, 4> variants{{{"blanket_without_versions", {}}, {"blanket_without_references", {}}, {"blanket_without_compression", {}}, {"blanket_without_measuring", {}}}};
    variants[0].features.versions = false;
    variants[1].features.references = false;
    variants[2].features.compression = stream::CodingChoice::Rule::kNever;
    variants[3].features.compression = stream::CodingChoice::Rule::kAlways;
    Rows rows;
    for (const Load load : of_the_mix(stage.settings)) {
        const Guest base = make_guest(stage, load);
        Jobs jobs;
        for (const Without& variant : variants)
            jobs.emplace_back([&]() -> Result<Rows> {
                Guest guest(base);
                BlanketEnds ends = ends_of(stage);
                ends.features = variant.features;
                BLANKET_TRY(Row row, run_ours(guest, stage, stage.settings.links.front(), ends));
                teller.name(row, std::string(name_of(load)), variant.method);
                return Rows{std::move(row)};
            });
        BLANKET_TRY(auto some, run_all(stage.settings.jobs, jobs));
        std::ranges::move(some, std::back_inserter(rows));
    }
    return rows;
}

}  // namespace blanket::bench
