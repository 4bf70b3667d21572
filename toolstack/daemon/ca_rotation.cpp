// SPDX-License-Identifier: GPL-2.0-or-later
// See ca_rotation.hpp.
#include "toolstack/daemon/ca_rotation.hpp"

#include <algorithm>
#include <set>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

constexpr std::size_t kPemMost = 65536;
constexpr auto kCaPoll = std::chrono::milliseconds(500);
constexpr const char* kAgain = "blanket federation rotate-ca";  // goes on where it was

// The new CA's key is here, and is that of this statement.
bool has_next_key(const std::string& root, const CaStatement& statement) {
    const auto key = read_file(CaFiles::in(root).next_key, kPemMost);
    return key && pair_of(statement.cert, *key).has_value();
}

std::string names_text(const std::vector<std::string>& names) {
    std::string out;
    for (const auto& name : names) out += std::format("{}'{}'", out.empty() ? "" : ", ", name);
    return out;
}

// The statement that has been said last, of a rollover that has not ended.
std::optional<CaStatement> open_statement(const std::string& root, const CaStore& store) {
    auto last = store.last();
    const bool open = last && (last->step != CaStep::kDrop || has_next_key(root, *last));
    return open ? last : std::nullopt;
}

Result<std::string> old_ca(const std::string& root) {
    const auto key = read_file(PkiPaths::in(root + "/pki").ca_key, kPemMost);
    if (!key) return fail(Kind::kPrecondition, "this site does not hold the key of the federation's CA");
    return *key;
}

// Made once: a certificate without its key, or another's, is of a life that ended in between.
Result<CertAndKey> next_ca(const std::string& root, const std::string& site) {
    const CaFiles files = CaFiles::in(root);
    const auto key = read_file(files.next_key, kPemMost), cert = read_file(files.next_cert, kPemMost);
    if (key && cert)
        if (auto pair = pair_of(*cert, *key)) return pair;
    BLANKET_TRY(CertAndKey made, make_ca(site));
    BLANKET_CHECK(write_file(files.next_key, made.key, 0600));
    BLANKET_CHECK(write_file(files.next_cert, made.cert, 0644));
    return made;
}

Result<void> publish_ca(Registry& registry, const CaStatement& statement) {
    BLANKET_TRY(const auto now, registry.get(kCaKey));
    if (now && now->value == to_json(statement)) return {};
    const auto done = registry.put(kCaKey, to_json(statement), now ? now->revision : 0);
    if (!done && done.error().kind != Kind::kConflict) return std::unexpected(done.error());
    return {};  // after a conflict it is looked at again soon
}

class Rotation final {
public:
    Rotation(Registry& registry, TimeSource& clock, CaStore& store, const CaRotation& how) : registry_(registry), clock_(clock), store_(store), how_(how) {}

    Result<Json> run() {
        how_.phase("prepare");
        BLANKET_TRY(const auto sites, how_.sites());
        BLANKET_CHECK(plan_ca_rotation(how_.root, how_.site, sites, how_.without));
        BLANKET_TRY(const auto without, check_without(how_.without, sites, how_.site));
        BLANKET_TRY(CaStatement now, begin(without));
        for (;;) {
            how_.phase(std::string(to_string(now.step)));
            BLANKET_CHECK(wait(now));
            if (now.step == CaStep::kDrop) break;
            if (now.step == CaStep::kIssue) BLANKET_CHECK(how_.before_drop());
            now.step = now.step == CaStep::kTrust ? CaStep::kIssue : CaStep::kDrop;
            BLANKET_CHECK(state(now));
        }
        how_.phase("finish");
        BLANKET_CHECK(finish());
        Json names = Json::array();
        BLANKET_TRY(const auto all, how_.sites());
        for (const auto& site : all)
            if (site.state != kRevoked && !std::ranges::contains(now.without, site.name)) names.push_back(site.name);
        return Json{{"ca", {{"from", now.from}, {"to", now.to}, {"sites", names}, {"without", now.without}}}};
    }

private:
    // Signs it, keeps it here and then tells it.
    Result<void> state(CaStatement& statement) {
        BLANKET_TRY(const std::string key, old_ca(how_.root));
        ++statement.serial;
        statement.by = how_.site;
        statement.since = rfc3339_now();
        BLANKET_TRY(statement, sign_ca_statement(key, std::move(statement)));
        BLANKET_TRY(const bool news, store_.accept(statement));
        if (!news) return fail(Kind::kInternal, "this site does not go by what it says itself about the new CA");
        return {};
    }

    Result<CaStatement> begin(const std::vector<std::string>& without) {
        if (auto last = open_statement(how_.root, store_)) {
            if (has_next_key(how_.root, *last)) {
                how_.note(std::format("going on where it was: {}", to_string(last->step)));
                if (last->step == CaStep::kDrop && !without.empty() && last->without != without)
                    return fail_hint(Kind::kPrecondition, "the old CA is being dropped already: whoever is waited for has followed until now, and is not left behind any more",
                                     std::format("if '{}' is lost: blanket site revoke {}", without.front(), without.front()));
                if (last->without == without || last->step == CaStep::kDrop) return *last;
                last->without = without;
                BLANKET_CHECK(state(*last));
                return *last;
            }
            if (last->step != CaStep::kTrust)
                return fail_hint(Kind::kInternal, std::format("the new CA's key, {}, is lost, and sites have certificates of it", CaFiles::in(how_.root).next_key),
                                 "restore that file of this site's disk");
        }
        BLANKET_TRY(const std::string key, old_ca(how_.root));
        BLANKET_TRY(const std::string bundle, read_file(CaFiles::in(how_.root).bundle, kPemMost));
        BLANKET_TRY(const CertAndKey old, pair_of(bundle, key));
        BLANKET_TRY(const CertAndKey fresh, next_ca(how_.root, how_.site));
        CaStatement statement;
        BLANKET_TRY(statement.from, fingerprint(old.cert));
        BLANKET_TRY(statement.to, fingerprint(fresh.cert));
        statement.cert = fresh.cert;
        statement.without = without;
        if (const auto last = store_.last()) statement.serial = last->serial;
        how_.note(std::format("the new CA is {}, the old one {}", statement.to.substr(0, 16), statement.from.substr(0, 16)));
        BLANKET_CHECK(state(statement));
        return statement;
    }

    // Until every site has followed by its record, and by what its TLS does.
    Result<void> wait(const CaStatement& statement) {
        std::set<std::string> proven;
        std::string told, last;
        std::int64_t since = clock_.boottime_ms();
        for (;;) {
            std::string open;
            const auto look = [&]() -> Result<void> {
                BLANKET_CHECK(publish_ca(registry_, statement));
                how_.follow();
                BLANKET_TRY(const auto sites, how_.sites());
                const auto behind = lagging(statement, sites);
                if (!behind.empty()) {
                    open = names_text(behind);
                    const auto all = static_cast<double>(std::max<std::size_t>(sites.size(), 1));
                    how_.progress(90.0 * (1.0 - std::min(1.0, static_cast<double>(behind.size()) / all)));
                    return {};
                }
                for (const auto& site : sites) {
                    if (site.state == kRevoked || site.name == how_.site || proven.contains(site.name) || std::ranges::contains(statement.without, site.name)) continue;
                    if (how_.cancelled()) return {};
                    if (auto seen = how_.prove(site, statement); !seen) {
                        open = std::format("'{}'", site.name);
                        return std::unexpected(std::move(seen).error().context(std::format("site '{}' says that it has followed, but that is not seen", site.name)));
                    }
                    proven.insert(site.name);
                    since = clock_.boottime_ms();
                }
                return {};
            };
            const auto looked = look();
            if (how_.cancelled()) return fail_hint(Kind::kCancelled, std::format("ended in step '{}'; everything works on with both CAs", to_string(statement.step)), std::string(kAgain) + " goes on");
            if (looked && open.empty()) return {};
            const std::string why = looked ? std::format("waiting for {}", open) : looked.error().what;
            if (looked && open != last) {
                last = open;
                since = clock_.boottime_ms();
            }
            if (why != told) how_.note(told = why);
            if (clock_.boottime_ms() - since > std::chrono::milliseconds(how_.patience).count())
                return fail_hint(Kind::kTimeout, std::format("step '{}' of the new CA has not come on for {} s: {}", to_string(statement.step), how_.patience.count(), why),
                                 open.empty() ? std::string(kAgain) + " goes on; see blanket doctor"
                                 : statement.step == CaStep::kDrop ? std::format("look at it there (blanket doctor), then {} goes on; a site that is lost: blanket site revoke SITE", kAgain)
                                              : std::format("look at it there (blanket doctor), then {0} goes on; a site that is away for long is left behind by {0} --without SITE", kAgain));
            clock_.sleep(kCaPoll);
        }
    }

    // The new key takes the old one's place, in one step; the old one is on no disk any more.
    Result<void> finish() {
        const CaFiles files = CaFiles::in(how_.root);
        BLANKET_TRY(const std::string key, read_file(files.next_key, kPemMost));
        BLANKET_CHECK(how_.after());
        BLANKET_CHECK(write_file(PkiPaths::in(how_.root + "/pki").ca_key, key, 0600));
        BLANKET_CHECK(remove_file(files.next_cert));
        return remove_file(files.next_key);
    }

    Registry& registry_;
    TimeSource& clock_;
    CaStore& store_;
    const CaRotation& how_;
};

}  // namespace

bool ca_rotation_open(const std::string& root) { return open_statement(root, CaStore(root)).has_value(); }

Result<std::vector<std::string>> plan_ca_rotation(const std::string& root, const std::string& site, const std::vector<Site>& sites, const std::vector<std::string>& without) {
    BLANKET_CHECK(old_ca(root));
    BLANKET_TRY(const auto left_out, check_without(without, sites, site));
    const auto open = open_statement(root, CaStore(root));
    std::vector<std::string> all;
    std::size_t voters = 0;
    for (const auto& one : sites) {
        if (one.state == kRevoked) continue;
        if (!open && one.state == "joining" && !std::ranges::contains(left_out, one.name))
            return fail_hint(Kind::kPrecondition, std::format("'{}' is being admitted at this moment, with a certificate of the old CA", one.name), "try again when it votes: blanket federation show");
        if (one.role != "client") ++voters;
        if (!std::ranges::contains(left_out, one.name)) all.push_back(one.name);
    }
    const CaStep done = open ? open->step : CaStep::kNone;
    const std::string names = names_text(all), etcd = voters > 2 ? "one etcd after the other starts again" : "one etcd after the other starts again, and the registry stands still for that moment";
    std::vector<std::string> steps;
    if (open) steps.push_back(std::format("go on where it was: {}", to_string(done)));
    else steps.push_back("make a new key and certificate for the federation's CA at this site");
    if (done <= CaStep::kTrust) steps.push_back(std::format("trust it beside the old one at {}; {}", names, etcd));
    if (done <= CaStep::kIssue) steps.push_back("give each of them a certificate of the new CA");
    steps.push_back(std::format("trust the old CA no more; {}", etcd));
    steps.push_back("remove the old CA's key and every token that nobody has used");
    if (!left_out.empty()) steps.push_back(std::format("leave {} behind: each needs a token of its name to come back (blanket site token --name SITE)", names_text(left_out)));
    return steps;
}

Result<Json> rotate_ca(Registry& registry, TimeSource& clock, CaStore& store, const CaRotation& how) { return Rotation(registry, clock, store, how).run(); }

}  // namespace blanket
