// SPDX-License-Identifier: GPL-2.0-or-later
// The shaper's settings, counters and control language; the loop is in shaper.cpp.
#include <algorithm>
#include <unistd.h>

#include "tests/lab/shaper.hpp"

namespace blanket::lab {
namespace {
constexpr std::size_t kMaxMarks = 1000;
std::int64_t unix_ms() { return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }
}  // namespace

Result<void> Shaper::set_link(const std::string& from, const std::string& to, const Json& change) {
    const std::scoped_lock lock(lock_);
    BLANKET_TRY(const std::size_t a, index_of(from));
    BLANKET_TRY(const std::size_t b, index_of(to));
    const auto path = paths_.find({a, b});
    if (path == paths_.end()) return fail(Kind::kInvalid, "no link from '{}' to itself", from);
    BLANKET_TRY(const LinkSettings settings, parse_link(change, path->second.link.settings()));
    path->second.link.set(settings);
    return {};
}

Result<void> Shaper::watch(const std::string& a, const std::string& b) {
    const std::scoped_lock lock(lock_);
    BLANKET_TRY(const std::size_t first, index_of(a));
    BLANKET_TRY(const std::size_t second, index_of(b));
    for (auto& [pair, path] : paths_) path.watched = pair == Pair{first, second} || pair == Pair{second, first};
    return {};
}

Result<void> Shaper::mark(const std::string& name) {
    const std::scoped_lock lock(lock_);
    if (name.empty() || name.size() > 64) return fail(Kind::kInvalid, "a mark's name has 1..64 bytes");
    if (marks_.size() >= kMaxMarks) return fail(Kind::kConflict, "{} marks already", kMaxMarks);
    Json bytes = Json::object();
    for (const auto& [pair, path] : paths_) bytes[nodes_[pair.first].name + ">" + nodes_[pair.second].name] = path.link.stats().bytes_out;
    marks_.push_back({{"name", name}, {"ms", unix_ms()}, {"bytes", bytes}});
    return {};
}

Json Shaper::stats() {
    Json links = Json::object(), nodes = Json::object(), marks;
    {
        const std::scoped_lock lock(lock_);
        for (const auto& [pair, path] : paths_) links[nodes_[pair.first].name + ">" + nodes_[pair.second].name] = path.link.report();
        for (const auto& node : nodes_) nodes[node.name] = {{"unread", node.unread}, {"backlog", node.backlog.size()}};
        marks = marks_;
    }
    return {{"now_ms", unix_ms()}, {"links", links}, {"nodes", nodes}, {"marks", marks}, {"recorder", recorder_.report()}};
}

Result<Json> Shaper::command(const Json& request) {
    BLANKET_TRY(const std::string cmd, json_string(request, "cmd"));
    if (cmd == "stats") return stats();
    if (cmd == "link") {
        BLANKET_TRY(const std::string from, json_string(request, "from"));
        BLANKET_TRY(const std::string to, json_string(request, "to"));
        BLANKET_CHECK(set_link(from, to, request));
        if (json_bool_or(request, "both", false)) BLANKET_CHECK(set_link(to, from, request));
        return Json::object();
    }
    if (cmd == "mark") {
        BLANKET_TRY(const std::string name, json_string(request, "name"));
        BLANKET_CHECK(mark(name));
        return Json::object();
    }
    if (cmd == "watch") {
        BLANKET_TRY(const std::string a, json_string(request, "a"));
        BLANKET_TRY(const std::string b, json_string(request, "b"));
        BLANKET_CHECK(watch(a, b));
        return Json::object();
    }
    if (cmd == "capture") {
        BLANKET_CHECK(recorder_.capture(json_string_or(request, "file", ""), json_number_or(request, "max_bytes", 256u << 20)));
        return Json::object();
    }
    if (cmd == "search") {
        std::vector<std::string> patterns;
        for (const auto& pattern : request.value("patterns", Json::array())) {
            if (!pattern.is_string()) return fail(Kind::kInvalid, "a pattern is not a string");
            patterns.push_back(pattern.get<std::string>());
        }
        BLANKET_CHECK(recorder_.search(patterns));
        return Json::object();
    }
    return fail_hint(Kind::kInvalid, std::format("unknown command '{}'", cmd), "known: link, stats, mark, watch, capture, search");
}

}  // namespace blanket::lab
