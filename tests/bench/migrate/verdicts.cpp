// SPDX-License-Identifier: GPL-2.0-or-later
// See verdicts.hpp.
#include "tests/bench/migrate/verdicts.hpp"

#include <cmath>

#include "tests/lab/tool.hpp"

namespace blanket::bench {
namespace {

constexpr std::array kPeers{kZstdPipe, kXbzrle, kMultifd};

using Measure = double (*)(const Row&);
double bytes_of(const Row& row) { return static_cast<double>(row.moved.wire_bytes); }
double seconds_of(const Row& row) { return row.moved.seconds; }
double downtime_of(const Row& row) { return row.moved.downtime_s; }

class Judge {
public:
    Judge(std::span<const Row> rows, const Settings& settings) : rows_(rows), settings_(settings) {}

    // `method`'s measure by ours, one value for each of these loads that has both.
    [[nodiscard]] std::vector<double> ratios(const char* what, std::span<const Load> loads, const std::string& link, const char* method, Measure measure) const {
        std::vector<double> found;
        for (const Load load : loads) {
            const Row* const ours = find_row(rows_, what, name_of(load), link, kOurs);
            const Row* const other = find_row(rows_, what, name_of(load), link, method);
            if (ours != nullptr && other != nullptr && measure(*ours) > 0) found.push_back(measure(*other) / measure(*ours));
        }
        return found;
    }
    void at_least(const std::string& name, const std::vector<double>& values, double goal, const Json& peers = Json::object()) {
        if (values.empty()) return;
        const double value = geometric_mean(values);
        metrics_.push_back(lab::metric(name, value, "times", std::format(">= {}", goal), value >= goal, peers));
    }
    void at_most(const std::string& name, double value, const char* unit, double goal) { metrics_.push_back(lab::metric(name, value, unit, std::format("<= {}", goal), value <= goal)); }

    void bytes(const std::string& link) {
        const auto stock = ratios("cold", kMix, link, kXl, bytes_of);
        Json peers = Json::object();
        double best = 0;  // of the peers, as a multiple of our bytes
        for (const char* const peer : kPeers) {
            const double mean = geometric_mean(ratios("cold", kMix, link, peer, bytes_of));
            peers[peer] = mean;
            if (mean > 0) best = best > 0 ? std::min(best, mean) : mean;
        }
        at_least("bytes_fewer_than_stock_" + link, stock, 5, peers);
        if (best > 0) at_least("bytes_fewer_than_best_peer_" + link, {best}, 1.5);
        for (const Load load : {Load::kKvUniform, Load::kThrasher})
            if (const auto other = ratios("cold", std::array{load}, link, kXl, bytes_of); !other.empty()) at_most(std::format("bytes_beside_raw_{}_{}", name_of(load), link), 1 / other[0], "ratio", 1.01);
    }
    void times() {
        const std::string& link = settings_.links.front().name;
        at_least("time_shorter_than_stock_" + link, ratios("cold", kMix, link, kXl, seconds_of), 4);
        for (const Load load : kMix) {
            const Row* const ours = find_row(rows_, "cold", name_of(load), link, kOurs);
            if (ours == nullptr || ours->moved.share < 1) continue;  // a guest that had to be held back does not converge by itself
            if (const auto one = ratios("cold", std::array{load}, link, kXl, seconds_of); !one.empty()) at_least(std::format("time_shorter_than_stock_{}_{}", name_of(load), link), one, 2);
        }
    }
    void fast_link() {
        const auto stock = ratios("cold", kLoads, "unshaped", kXl, seconds_of);
        if (stock.empty()) return;
        at_most("unshaped_time_beside_raw", 1 / geometric_mean(stock), "ratio", 1.03);
        at_most("unshaped_time_beside_raw_worst", 1 / std::ranges::min(stock), "ratio", 1.03);
        std::vector<double> cipher;
        for (const Load load : settings_.loads)
            if (const Row* const ours = find_row(rows_, "cold", name_of(load), "unshaped", kOurs); ours != nullptr) cipher.push_back(ours->moved.seconds / std::max(ours->moved.seconds - ours->cipher_s, 1e-9));
        at_most("unshaped_time_beside_no_encryption", geometric_mean(cipher), "ratio", 1.05);
    }
    void stop() {
        for (const Link& link : settings_.links) {
            const auto stock = ratios("cold", kMix, link.name, kXl, downtime_of);
            if (link.name == "1G_55ms") at_least("stop_shorter_than_stock_" + link.name, stock, 4);
            const Row* const ours = find_row(rows_, "stop_1000", name_of(Load::kWebDb), link.name, kOurs);
            if (ours != nullptr) at_most("stop_of_1000_pages_ms_" + link.name, ours->moved.downtime_s * 1000, "ms", 150);
        }
    }
    void store() {
        const std::string& link = settings_.links.front().name;
        Json peers = Json::object();
        for (const char* const method : {"blanket_without_store", "blanket_without_store_deltas"}) {
            const double others = geometric_mean(ratios("return", kMix, link, method, bytes_of));
            if (others > 0) peers[method] = geometric_mean(ratios("return", kMix, link, kXl, bytes_of)) / others;
        }
        at_least("return_bytes_fewer_than_stock", ratios("return", kMix, link, kXl, bytes_of), 10, peers);
        const Row* const ours = find_row(rows_, "four", "web_db_x4", link, kOurs);
        const Row* const stock = find_row(rows_, "four", "web_db_x4", link, kXl);
        if (ours == nullptr || stock == nullptr) return;
        at_most("four_bytes_of_stock", bytes_of(*ours) / bytes_of(*stock), "ratio", 0.20);
        at_most("four_time_of_stock", ours->moved.seconds / stock->moved.seconds, "ratio", 0.15);
    }
    // How far the forecast of the stop was off, over all of our moves in which the guest was not asked to dirty more.
    void forecast() {
        std::vector<double> off;
        for (const Row& row : rows_)
            if (row.classes && row.what != "stop_1000" && row.moved.downtime_s > 0) off.push_back(std::abs(row.moved.forecast_s - row.moved.downtime_s) / row.moved.downtime_s);
        if (off.empty()) return;
        std::ranges::sort(off);
        at_most("forecast_off_p95", off[std::min(off.size() - 1, off.size() * 95 / 100)], "ratio", 0.20);
    }
    void exactness() {
        const auto judged = std::ranges::count_if(rows_, [](const Row& row) { return row.moved.exact.has_value(); });
        const auto exact = std::ranges::count_if(rows_, [](const Row& row) { return row.moved.exact.value_or(false); });
        if (judged > 0) metrics_.push_back(lab::metric("page_exact_moves", static_cast<double>(exact), "moves", std::format("{} of {}", judged, judged), exact == judged));
    }
    Json take() { return std::move(metrics_); }

private:
    std::span<const Row> rows_;
    const Settings& settings_;
    Json metrics_ = Json::array();
};

}  // namespace

const Row* find_row(std::span<const Row> rows, std::string_view what, std::string_view load, std::string_view link, std::string_view method) {
    const auto found = std::ranges::find_if(rows, [&](const Row& row) { return row.what == what && row.load == load && row.link == link && row.method == method; });
    return found == rows.end() ? nullptr : &*found;
}

double geometric_mean(std::span<const double> values) {
    double logs = 0;
    for (const double value : values) logs += std::log(value);
    return values.empty() ? 0 : std::exp(logs / static_cast<double>(values.size()));
}

Json verdicts(std::span<const Row> rows, const Settings& settings) {
    Judge judge(rows, settings);
    for (const Link& link : settings.links) judge.bytes(link.name);
    judge.times();
    judge.fast_link();
    judge.stop();
    judge.store();
    judge.forecast();
    judge.exactness();
    return judge.take();
}

Json not_judged() {
    return {{"link_use_at_150ms", "the link is a model here; its bounds are in links"},
            {"downtime's fixed parts", "suspend, restore and devices are not in here: bench moves"},
            {"target_kept", "no downtime target is given to these moves"},
            {"link_cut", "tests/unit/migrate/link_cuts_test.cpp, tests/faults"},
            {"integrity_of_real_moves", "bench moves, tests/vm"}};
}

}  // namespace blanket::bench
