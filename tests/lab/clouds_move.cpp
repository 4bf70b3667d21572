// SPDX-License-Identifier: GPL-2.0-or-later
// One move, measured by the job, the client, the records and the shaper; see clouds.hpp.
#include <algorithm>
#include <tuple>

#include "tests/lab/clouds.hpp"
#include "tests/lab/deadline.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::lab {
namespace {

using std::chrono::minutes;

struct WireCount {
    std::uint64_t both = 0, wireguard = 0;
};

WireCount wire_count(Shaper& shaper) {
    const Json stats = shaper.stats();
    const auto bytes = [&](const char* link) { return json_number_or(stats["links"][link], "bytes", 0); };
    return {bytes("east>west") + bytes("west>east"), json_number_or(stats["recorder"]["traffic"], "wireguard", 0)};
}

void read_job(const Json& answer, MigrationResult& move) {
    const Json& job = answer.contains("job") ? answer["job"] : answer;
    if (!job.is_object()) return;
    move.job = json_string_or(job, "id", "");
    for (const auto& phase : job.value("phases", Json::array())) {
        const auto start = static_cast<std::int64_t>(json_number_or(phase, "start_ms", 0));
        move.phases.push_back({json_string_or(phase, "name", "?"), start, static_cast<std::int64_t>(json_number_or(phase, "end_ms", static_cast<std::uint64_t>(start)))});
    }
    const Json result = job.value("result", Json::object());
    move.rounds = json_number_or(result, "rounds", 0);
    for (const char* key : {"memory_bytes", "memory_pages", "memory_class_bytes", "memory_rounds", "stopped_because", "forecast_ms", "last_pages_ms"})
        if (result.is_object() && result.contains(key)) move.memory[key] = result[key];
    move.memory_wire_bytes = json_number_or(result, "memory_wire_bytes", 0);
    move.disk_wire_bytes = json_number_or(result, "disk_wire_bytes", 0);
    move.downtime_ms = static_cast<double>(json_number_or(result, "downtime_ms", 0));
    if (result.is_object() && result.contains("total_s") && result["total_s"].is_number()) move.total_s = result["total_s"].get<double>();
    if (const Json error = job.value("error", Json()); error.is_object()) move.error = json_string_or(error, "what", "");
}

// What the two ends of the client's connection had to send again: the difference between two of these explains a stall.
std::string sent_again(Clouds& clouds, const std::string& owner) {
    std::string text;
    for (const auto& [name, site, vm] : {std::tuple("client", clouds.home, &clouds.asker), std::tuple("web", owner, &clouds.web)}) {
        const auto counts = clouds.guest(site, *vm, "GET", "/tcp");
        text += std::format("{} {}  ", name, counts ? counts->dump() : "?");
    }
    if (const auto load = clouds.guest(owner, clouds.web, "GET", "/load"); load) text += std::format("web's load {}", load->dump());
    return text;
}

// A request that was under way at the stop comes into the log with its answer: the log is whole once a later one is in it.
Result<void> await_client(Clouds& clouds, double after_s) {
    return wait_until("a request that the client made after the move is answered", minutes(2), std::chrono::seconds(1), [&]() -> Result<bool> {
        BLANKET_CHECK(read_client_log(clouds));
        return clouds.client.newest_s() > after_s;
    });
}

}  // namespace

Result<MigrationResult> move_web(Clouds& clouds, const std::string& from, const std::string& to, const std::string& without) {
    MigrationResult move;
    move.from = from;
    move.to = to;
    move.without = without;
    BLANKET_TRY(BlanketCli blanket, clouds.at(from));
    BLANKET_CHECK(read_client_log(clouds));
    const std::uint64_t reconnects = clouds.client.reconnects() + clouds.client.errors();
    const WireCount before = wire_count(clouds.lab.shaper());
    BLANKET_CHECK(clouds.lab.shaper().mark(std::format("move to {} begins", to)));

    clouds.story.say("TCP before: {}", sent_again(clouds, from));
    move.begin_s = clouds.story.now_s();
    Argv words{"vm", "migrate", "web", to};
    if (!without.empty()) words.insert(words.end(), {"--without", without});
    BLANKET_TRY(const CommandResult command, blanket.follow(words, minutes(10), [&](std::string_view line) { clouds.story.say("  {}", trim(line)); }));
    move.end_s = clouds.story.now_s();
    BLANKET_CHECK(clouds.lab.shaper().mark(std::format("move to {} ended", to)));
    const WireCount after = wire_count(clouds.lab.shaper());

    move.total_s = move.end_s - move.begin_s;
    read_job(command.answer, move);
    if (auto trace = blanket.run({"job", "report", move.job}); trace) move.trace = trace->value("trace", Json());
    else clouds.story.say("no trace of the move: {}", trace.error().what);
    move.ok = command.status == 0;
    if (!move.ok && move.error.empty()) move.error = command.errors;
    move.disk_wire_bytes += after.wireguard - before.wireguard;
    move.wan_bytes = after.both - before.both;

    // What the world outside saw: the client, and the records that had been acknowledged to it.
    const auto whole = await_client(clouds, move.end_s);
    if (!whole && whole.error().kind != Kind::kTimeout) return std::unexpected(whole.error());
    if (!whole) clouds.story.say("the client's connection counts as broken: {}", whole.error().what);
    const auto longest = clouds.client.longest_wait(move.begin_s, move.end_s + 1);
    if (longest) {
        move.client_stall_ms = longest->latency_ms;
        clouds.story.say("the client's longest wait: asked {:.1f} s into the move, answered after {:.0f} ms", longest->t_s - move.begin_s, longest->latency_ms);
    }
    clouds.story.say("TCP after:  {}", sent_again(clouds, move.ok ? to : from));
    move.median_ms = clouds.client.median_ms(move.begin_s, move.end_s);
    move.tcp_reconnects = clouds.client.reconnects() + clouds.client.errors() - reconnects + (whole ? 0 : 1);  // the client itself waits longer before it gives one up
    const std::uint64_t acked = std::max(clouds.client.highest_acked(), clouds.driver_acked);
    auto check = clouds.guest(move.ok ? to : from, clouds.web, "GET", "/check");
    if (!check) {
        move.ok = false;
        move.error = "the VM does not answer after the move: " + check.error().what;
        return move;
    }
    const std::uint64_t good = json_number_or(*check, "records", 0);
    move.lost_writes = acked > good ? acked - good : 0;
    move.lost_writes += json_number_or(*check, "damaged", 0) + json_number_or(*check, "gaps", 0);
    clouds.driver_acked = std::max(acked, json_number_or(*check, "acked", 0));
    return move;
}

}  // namespace blanket::lab
