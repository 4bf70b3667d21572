// SPDX-License-Identifier: GPL-2.0-or-later
// bench-migrate: live migrations of generated guests by replay: the product's codec and pre-copy policy, in a loop that is closed in virtual time, beside what xl, XAPI and QEMU do.
// Native, no lab. migrate/README.md says what is real and what is a model.
//   bench-migrate [--quick] [--report FILE] [--seed N] [--mib N] [--away SECONDS] [--streams N] [--jobs N] [--files FOLDER]...
#include <algorithm>
#include <chrono>
#include <print>
#include <random>
#include <thread>

#include "tests/bench/migrate/rates.hpp"
#include "tests/bench/migrate/report.hpp"
#include "tests/bench/migrate/runs.hpp"
#include "tests/lab/demo_result.hpp"
#include "tests/lab/machine_facts.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::bench {
namespace {

struct Inputs {
    Settings settings;
    std::uint64_t mib = 256, streams = 1, jobs = 2;
    bool quick = false;
    std::string report;
    std::vector<std::string> folders;
};

Result<Inputs> parse_inputs(int argc, char** argv) {
    Inputs inputs;
    inputs.settings.seed = std::random_device{}();
    inputs.jobs = std::max(1u, std::thread::hardware_concurrency());
    for (int i = 1; i < argc; ++i) {
        const std::string_view option = argv[i];
        if (option == "--quick") {
            inputs.quick = true;
            continue;
        }
        if (i + 1 == argc) return fail(Kind::kInvalid, "option '{}' is unknown, or wants a value", option);
        const std::string_view value = argv[++i];
        const auto number = [&](std::uint64_t& into, std::uint64_t least, std::uint64_t most) -> Result<void> {
            BLANKET_TRY(into, parse_number(value, least, most, option));
            return {};
        };
        if (option == "--report") inputs.report = value;
        else if (option == "--files") inputs.folders.emplace_back(value);
        else if (option == "--seed") BLANKET_CHECK(number(inputs.settings.seed, 0, ~std::uint64_t{0}));
        else if (option == "--mib") BLANKET_CHECK(number(inputs.mib, 16, 4096));
        else if (option == "--away") BLANKET_CHECK(number(inputs.settings.away_s, 1, 7200));
        else if (option == "--streams") BLANKET_CHECK(number(inputs.streams, 1, 64));
        else if (option == "--jobs") BLANKET_CHECK(number(inputs.jobs, 1, 64));
        else return fail(Kind::kInvalid, "unknown option '{}'", option);
    }
    if (inputs.folders.empty()) inputs.folders = {"/usr/bin", "/usr/lib", "/usr/share"};
    return inputs;
}

// --quick: small guests, three loads, the slowest link; all cases, so that all of the program runs.
Result<void> prepare(Inputs& inputs) {
    Settings& settings = inputs.settings;
    if (inputs.quick) {
        inputs.mib = std::min<std::uint64_t>(inputs.mib, 32);
        settings.away_s = std::min<std::uint64_t>(settings.away_s, 60);
        settings.loads = {Load::kIdle, Load::kKvZipf, Load::kThrasher};
    }
    settings.frames = inputs.mib * 256;
    settings.jobs = static_cast<unsigned>(inputs.jobs);
    settings.ours.count = static_cast<unsigned>(inputs.streams);
    BLANKET_TRY(settings.cipher_s_per_byte, measure_cipher());
    settings.links.assign(kWanLinks.begin(), kWanLinks.begin() + (inputs.quick ? 1 : kWanLinks.size()));
    BLANKET_TRY(const double socket, measure_socket());
    if (!inputs.quick) settings.links.push_back({.name = "unshaped", .bits_per_s = socket * 8, .rtt_s = 0.0001, .loss = 0});
    std::println("AES-128-GCM {:.2f} GB/s; a local socket {:.2f} GB/s", 1e-9 / settings.cipher_s_per_byte, socket / 1e9);
    for (const auto& link : links_json(settings))
        std::println("{:<14} at most {:.0f} Mbit/s for the peers, {:.0f} for ours ({} connections; one {:.0f}, four {:.0f})", link["name"].get<std::string>(), link["peers_goodput_mbit_s"].get<double>(),
                     link["ours_goodput_mbit_s"].get<double>(), inputs.streams, link["one_connection_mbit_s"].get<double>(), link["four_connections_mbit_s"].get<double>());
    return {};
}

Result<void> run_bench(Inputs inputs) {
    const auto begin = std::chrono::steady_clock::now();
    const Settings& settings = inputs.settings;
    std::println("seed {} (--seed {} plays the same guests again)", settings.seed, settings.seed);
    BLANKET_CHECK(prepare(inputs));
    const std::size_t disk = settings.frames * kPageBytes * 5 / 8;
    BLANKET_TRY(auto corpus, corpus_of_files(settings.seed, inputs.folders, disk));
    BLANKET_TRY(const auto image, SharedImage::create(corpus));
    const Palette palette(std::move(corpus), settings.seed);
    const Stage stage{.settings = settings, .palette = palette, .image = *image};
    const Say say = [](const Row& row) { std::println("{}", line_of(row)); };
    Rows rows;
    for (const auto play : {play_cold, play_returns, play_four, play_ablation}) {
        BLANKET_TRY(auto some, play(stage, say));
        rows.insert(rows.end(), some.begin(), some.end());
    }
    Json report = report_json(rows, settings);
    for (const auto& one : report["metrics"])
        std::println("{:<48} {:>9.3f} {:<6} goal {:<10} {}", one["name"].get<std::string>(), one["value"].get<double>(), one["unit"].get<std::string>(), one["goal"].get<std::string>(), one["met"].get<bool>() ? "met" : "NOT MET");
    std::println("took {:.0f} s", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    if (inputs.report.empty()) return {};
    report["commit"] = lab::commit_of_tree();
    report["machine"] = lab::machine_facts(lab::Accelerator::kTcg);
    BLANKET_CHECK(write_file(inputs.report, report.dump(2) + "\n"));
    return write_file(lab::html_path(inputs.report), report_html(report));
}

}  // namespace
}  // namespace blanket::bench

int main(int argc, char** argv) {
    auto inputs = blanket::bench::parse_inputs(argc, argv);
    if (!inputs) {
        std::println(stderr, "bench-migrate: {}\nusage: bench-migrate [--quick] [--report FILE] [--seed N] [--mib N] [--away SECONDS] [--streams N] [--jobs N] [--files FOLDER]...", inputs.error().what);
        return 2;
    }
    const auto done = blanket::bench::run_bench(std::move(*inputs));
    if (!done) std::println(stderr, "bench-migrate: {}", done.error().what);
    return done ? 0 : 1;
}
