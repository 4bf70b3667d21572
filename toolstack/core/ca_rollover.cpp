// SPDX-License-Identifier: GPL-2.0-or-later
// See ca_rollover.hpp.
#include "toolstack/core/ca_rollover.hpp"

#include <algorithm>

#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

constexpr std::size_t kMostWithout = 254, kLongestCaCert = 4096, kLongestCaSignature = 400;

Result<std::string> print_field(const Json& object, std::string_view field) {
    BLANKET_TRY(std::string print, json_string(object, field));
    if (print.size() != 64 || print.find_first_not_of("0123456789abcdef") != std::string::npos) return fail(Kind::kInvalid, "field '{}' is no fingerprint", field);
    return print;
}

std::uint32_t number_of(CaStep step) { return static_cast<std::uint32_t>(step); }

bool counts(const CaStatement& statement, const Site& site) { return site.state != kRevoked && !std::ranges::contains(statement.without, site.name); }

CaStep said_by(const CaStatement& statement, const Site& site) { return site.ca && site.ca->to == statement.to ? static_cast<CaStep>(site.ca->step) : CaStep::kNone; }

}  // namespace

std::string_view to_string(CaStep step) {
    switch (step) {
        case CaStep::kTrust: return "trust";
        case CaStep::kIssue: return "issue";
        case CaStep::kDrop: return "drop";
        case CaStep::kNone: break;
    }
    return "none";
}

// Every field in a line of its own, and none of them can hold a newline (parse_ca_statement); the certificate goes by its fingerprint.
std::string CaStatement::text() const {
    std::string out = std::format("blanket CA rollover 1\n{}\n{}\n{}\n{}\n{}\n{}\n", from, to, number_of(step), serial, by, since);
    for (const auto& site : without) out += site + "\n";
    return out;
}

Json to_json(const CaStatement& statement) {
    return {{"from", statement.from}, {"to", statement.to}, {"cert", statement.cert}, {"step", number_of(statement.step)}, {"serial", statement.serial},
            {"without", statement.without}, {"by", statement.by}, {"since", statement.since}, {"signature", statement.signature}};
}

Result<CaStatement> parse_ca_statement(const Json& value) {
    CaStatement statement;
    BLANKET_TRY(statement.from, print_field(value, "from"));
    BLANKET_TRY(statement.to, print_field(value, "to"));
    if (statement.from == statement.to) return fail(Kind::kInvalid, "a CA cannot follow itself");
    BLANKET_TRY(statement.cert, json_string(value, "cert"));
    BLANKET_TRY(const std::uint64_t step, json_number(value, "step"));
    if (step < number_of(CaStep::kTrust) || step > number_of(CaStep::kDrop)) return fail(Kind::kInvalid, "{} is no step of a CA's rollover", step);
    statement.step = static_cast<CaStep>(step);
    BLANKET_TRY(statement.serial, json_number(value, "serial"));
    BLANKET_TRY(statement.by, json_string(value, "by"));
    BLANKET_CHECK(check_name(statement.by, "site"));
    BLANKET_TRY(statement.since, json_string(value, "since"));
    if (statement.since.size() > 40 || statement.since.find_first_not_of("0123456789-:.TZ") != std::string::npos) return fail(Kind::kInvalid, "a CA's rollover has no time");
    BLANKET_TRY(statement.signature, json_string(value, "signature"));
    if (statement.cert.size() > kLongestCaCert || statement.signature.size() > kLongestCaSignature) return fail(Kind::kInvalid, "a CA's certificate or signature is too long");
    const auto without = value.find("without");
    if (without == value.end() || !without->is_array() || without->size() > kMostWithout) return fail(Kind::kInvalid, "a CA's rollover has no list of sites that are left out");
    for (const auto& item : *without) {
        if (!item.is_string()) return fail(Kind::kInvalid, "a site that is left out is no text");
        statement.without.push_back(item.get<std::string>());
        BLANKET_CHECK(check_name(statement.without.back(), "site"));
    }
    if (!std::ranges::is_sorted(statement.without)) return fail(Kind::kInvalid, "the sites that are left out are not in their order");
    return statement;
}

CaNews judge_ca_news(const CaStatement& statement, const CaStatement* last, const std::vector<std::string>& trusts) {
    const bool from = std::ranges::contains(trusts, statement.from), to = std::ranges::contains(trusts, statement.to);
    if (to && !from) return CaNews::kOld;  // all of it has happened here, or before this member joined
    if (last != nullptr && last->from == statement.from && last->to == statement.to)
        return statement.serial > last->serial && statement.step >= last->step ? (from ? CaNews::kNew : CaNews::kStranger) : CaNews::kOld;
    // Another one: only after the last has ended, or instead of it as long as the new CA has signed nothing (its key was lost).
    if (last != nullptr && last->step != CaStep::kDrop && (last->step != CaStep::kTrust || last->from != statement.from || statement.serial <= last->serial)) return CaNews::kOld;
    if (last != nullptr && last->from == statement.from && statement.serial <= last->serial) return CaNews::kOld;
    return from ? CaNews::kNew : CaNews::kStranger;
}

CaAct next_ca_act(CaStep step, const CaHere& here) {
    if (step == CaStep::kNone) return CaAct::kNothing;
    if (!here.trusts_to) return CaAct::kTrustBoth;
    if (here.etcd < CaStep::kTrust) return CaAct::kRestartEtcd;
    if (step >= CaStep::kIssue && !here.shows_to) return CaAct::kRenew;
    if (step == CaStep::kDrop && here.trusts_from) return CaAct::kTrustNew;
    if (step == CaStep::kDrop && here.etcd < CaStep::kDrop) return CaAct::kRestartEtcd;
    return here.said < step ? CaAct::kSay : CaAct::kNothing;
}

std::vector<std::string> lagging(const CaStatement& statement, const std::vector<Site>& sites) {
    std::vector<std::string> out;
    for (const auto& site : sites)
        if (counts(statement, site) && said_by(statement, site) < statement.step) out.push_back(site.name);
    std::ranges::sort(out);
    return out;
}

std::string waits_for_turn(const CaStatement& statement, CaStep step, const std::vector<Site>& sites, const std::string& self) {
    std::string first;
    for (const auto& site : sites)
        if (site.name < self && site.role != "client" && counts(statement, site) && said_by(statement, site) < step && (first.empty() || site.name < first)) first = site.name;
    return first;
}

bool may_miss_one(std::size_t voters, std::size_t others_well, std::size_t left_out) {
    return voters <= 2 || others_well >= voters / 2 + 1 || others_well + 1 + left_out >= voters;
}

Result<std::vector<std::string>> check_without(std::vector<std::string> without, const std::vector<Site>& sites, const std::string& holder) {
    std::ranges::sort(without);
    const auto twice = std::ranges::unique(without);
    without.erase(twice.begin(), twice.end());
    if (without.size() > kMostWithout) return fail(Kind::kInvalid, "{} sites are more than there can be", without.size());
    for (const auto& name : without) {
        BLANKET_CHECK(check_name(name, "site"));
        if (name == holder) return fail_hint(Kind::kInvalid, std::format("site '{}' makes the new CA: it cannot be left out", name), "leave out sites that are away: blanket site list");
        if (!std::ranges::contains(sites, name, &Site::name)) return fail_hint(Kind::kNotFound, std::format("there is no site '{}'", name), "blanket site list");
    }
    return without;
}

}  // namespace blanket
