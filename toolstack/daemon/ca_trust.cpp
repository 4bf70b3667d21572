// SPDX-License-Identifier: GPL-2.0-or-later
// See ca_trust.hpp. Every step looks at the files first, so that it may end anywhere and be done again.
#include "toolstack/daemon/ca_trust.hpp"

#include <algorithm>
#include <chrono>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {
namespace {

constexpr std::size_t kLargestCaFile = 256u << 10, kPem = 65536;
constexpr auto kAskCa = std::chrono::seconds(4);
constexpr auto kWellAsk = std::chrono::seconds(2), kEtcdStart = std::chrono::seconds(30);
constexpr int kMostActs = 8, kSayAttempts = 5;

std::string id_of(const CaStatement& statement) { return std::format("{} {} {}", statement.to, statement.serial, static_cast<std::uint32_t>(statement.step)); }

}  // namespace

Result<CaStore::Kept> CaStore::read() const {
    const std::string path = CaFiles::in(root_).statements;
    Kept kept;
    const auto text = read_file(path, kLargestCaFile);
    if (!text && text.error().kind == Kind::kNotFound) return kept;
    const auto parse = [&]() -> Result<void> {
        BLANKET_CHECK(text);
        BLANKET_TRY(const Json value, parse_json(*text, kLargestCaFile));
        BLANKET_TRY(kept.statements, parse_ca_statements(value));
        if (const auto etcd = value.find("etcd"); etcd != value.end()) {
            BLANKET_TRY(kept.etcd.to, json_string(*etcd, "to"));
            BLANKET_TRY(const std::uint64_t step, json_number(*etcd, "step"));
            kept.etcd.step = static_cast<std::uint32_t>(std::min<std::uint64_t>(step, static_cast<std::uint32_t>(CaStep::kDrop)));
        }
        return {};
    };
    if (auto done = parse(); !done) {
        Error error = std::move(done).error().context(path);
        error.hint = "it names the CAs that followed each other: copy it from another site";
        return std::unexpected(std::move(error));
    }
    return kept;
}

Result<void> CaStore::write(const Kept& kept) const {
    Json value = ca_statements_json(kept.statements);
    value["etcd"] = {{"to", kept.etcd.to}, {"step", kept.etcd.step}};
    return write_file(CaFiles::in(root_).statements, value.dump(1) + "\n", 0600);
}

Result<std::vector<CaStatement>> CaStore::statements() const {
    const std::scoped_lock lock(mutex_);
    BLANKET_TRY(Kept kept, read());
    return std::move(kept.statements);
}

std::optional<CaStatement> CaStore::last() const {
    const auto all = statements();
    if (!all || all->empty()) return std::nullopt;
    return all->back();
}

Result<bool> CaStore::accept(const CaStatement& statement) {
    const std::scoped_lock lock(mutex_);
    BLANKET_TRY(Kept kept, read());
    BLANKET_TRY(const std::string bundle, read_file(CaFiles::in(root_).bundle, kPem));
    BLANKET_TRY(const auto trusts, fingerprints(bundle));
    const CaStatement* const last = kept.statements.empty() ? nullptr : &kept.statements.back();
    switch (judge_ca_news(statement, last, trusts)) {
        case CaNews::kOld: return false;
        case CaNews::kStranger: return fail_hint(Kind::kDenied, std::format("the registry names a new CA, as if it were of a CA that this site does not trust ({})", statement.from.substr(0, 16)),
                                                 "a stolen site may have written it: blanket site list, and blanket site revoke NAME");
        case CaNews::kNew: break;
    }
    BLANKET_CHECK(check_ca_statement(statement, bundle));
    if (last != nullptr && (last->to == statement.to || last->step != CaStep::kDrop)) kept.statements.pop_back();
    kept.statements.push_back(statement);
    if (kept.statements.size() > kMostCaStatements) kept.statements.erase(kept.statements.begin());
    BLANKET_CHECK(write(kept));
    log::info("federation", "the CA is being replaced by {}: {} (said by '{}')", statement.to.substr(0, 16), to_string(statement.step), statement.by);
    return true;
}

CaStep CaStore::etcd_has_read(const CaStatement& statement) const {
    const std::scoped_lock lock(mutex_);
    const auto kept = read();
    return kept && kept->etcd.to == statement.to ? static_cast<CaStep>(kept->etcd.step) : CaStep::kNone;
}

Result<void> CaStore::etcd_reads(const CaStatement& statement, CaStep step) {
    const std::scoped_lock lock(mutex_);
    BLANKET_TRY(Kept kept, read());
    kept.etcd = {statement.to, static_cast<std::uint32_t>(step)};
    return write(kept);
}

Result<CertAndKey> ca_signer(const std::string& root) {
    const CaFiles files = CaFiles::in(root);
    const auto key = read_file(PkiPaths::in(root + "/pki").ca_key, kPem);
    if (!key) return fail(Kind::kNotFound, "this site does not hold the CA's key");
    BLANKET_TRY(const std::string bundle, read_file(files.bundle, kPem));
    const auto last = CaStore(root).last();
    if (last && last->step >= CaStep::kIssue)
        if (const auto next = read_file(files.next_key, kPem))
            if (auto pair = pair_of(last->cert, *next)) return pair;  // else it was made for the next rollover, of which nothing has been said yet
    return pair_of(bundle, *key);
}

std::optional<CaStatement> left_behind(const std::string& root) {
    const auto last = CaStore(root).last();
    if (!last || last->step != CaStep::kDrop) return std::nullopt;
    const auto cert = read_file(PkiPaths::in(root + "/pki").cert, kPem);
    if (!cert) return std::nullopt;
    const auto shown = issuer_of(last->cert, *cert);
    return shown && *shown == last->to ? std::nullopt : last;
}

Json ca_statements_json(const std::vector<CaStatement>& statements) {
    Json list = Json::array();
    for (const auto& one : statements) list.push_back(to_json(one));
    return {{"statements", list}};
}

Result<std::vector<CaStatement>> parse_ca_statements(const Json& answer) {
    const auto list = answer.find("statements");
    if (list == answer.end() || !list->is_array() || list->size() > kMostCaStatements) return fail(Kind::kInvalid, "it holds no list of CAs");
    std::vector<CaStatement> out;
    for (const auto& item : *list) {
        BLANKET_TRY(CaStatement one, parse_ca_statement(item));
        out.push_back(std::move(one));
    }
    return out;
}

Result<std::vector<CaStatement>> ask_ca_statements(const std::string& host, std::uint16_t rest_port) {
    BLANKET_TRY(const Json answer, RestClient::unverified(host, rest_port).call_ok("GET", "/1.0/peer/ca", nullptr, kAskCa));
    return parse_ca_statements(answer);
}

Result<void> others_are_well(EtcdClient& client, const EtcdTls& tls, const std::string& own_endpoint, const std::vector<std::string>& without) {
    BLANKET_TRY(const auto members, client.members());
    std::size_t voters = 0, well = 0, left_out = 0;
    for (const auto& member : members) {
        if (member.learner) return fail(Kind::kPrecondition, "member '{}' of etcd does not vote yet", member.name);
        ++voters;
        if (member.client_urls.empty()) continue;
        const std::string& url = member.client_urls.front();
        const auto slashes = url.find("://");
        const std::string endpoint = slashes == std::string::npos ? url : url.substr(slashes + 3);
        if (endpoint == own_endpoint) continue;
        if (std::ranges::contains(without, member.name)) {
            ++left_out;
            continue;
        }
        EtcdClient one({endpoint}, tls, kWellAsk);
        const auto status = one.status(endpoint);
        if (status && status->leader != 0) ++well;
    }
    if (may_miss_one(voters, well, left_out)) return {};
    return fail(Kind::kPrecondition, "of {} voters only {} others are well: without this one the registry would stand still", voters, well);
}

Result<void> start_etcd_again(EtcdRunner& runner, const EtcdConfig& config, bool wait) {
    BLANKET_CHECK(runner.stop());  // the start of one that runs may return while the old one still answers
    BLANKET_CHECK(runner.start(config));
    if (!wait) return {};
    EtcdClient client({config.own_endpoint()}, config.tls, kWellAsk);
    BLANKET_CHECK(wait_for_etcd(client, config.own_endpoint(), kEtcdStart));
    return {};
}

bool CaFollower::on() const {
    const auto last = store_.last();
    return last && (reload_ || id_of(*last) != followed_ || last->step != CaStep::kDrop);
}

Result<CaHere> CaFollower::look(const CaStatement& statement, CaStep said) const {
    BLANKET_TRY(const std::string bundle, read_file(CaFiles::in(root_).bundle, kPem));
    BLANKET_TRY(const auto trusts, fingerprints(bundle));
    BLANKET_TRY(const std::string cert, read_file(PkiPaths::in(root_ + "/pki").cert, kPem));
    const auto shown = issuer_of(statement.cert, cert);
    CaHere here;
    here.trusts_from = std::ranges::any_of(trusts, [&](const std::string& one) { return one != statement.to; });
    here.trusts_to = std::ranges::contains(trusts, statement.to);
    here.shows_to = shown.has_value() && *shown == statement.to;
    here.etcd = hooks_.has_etcd() ? store_.etcd_has_read(statement) : CaStep::kDrop;
    here.said = said;
    return here;
}

Result<void> CaFollower::trust_both(const CaStatement& statement) {
    const std::string path = CaFiles::in(root_).bundle;
    BLANKET_TRY(const std::string bundle, read_file(path, kPem));
    BLANKET_TRY(const std::string both, with_ca(bundle, statement.cert));
    BLANKET_CHECK(write_file(path, both, 0644));
    reload_ = true;
    log::info("federation", "the new CA {} is trusted beside the old one", statement.to.substr(0, 16));
    return {};
}

Result<void> CaFollower::trust_new(const CaStatement& statement) {
    BLANKET_CHECK(write_file(CaFiles::in(root_).bundle, statement.cert, 0644));
    reload_ = true;
    log::info("federation", "the old CA {} is trusted no more", statement.from.substr(0, 16));
    return {};
}

Result<void> CaFollower::restart(const CaStatement& statement, CaStep step, bool wait) {
    log::info("federation", "etcd starts again, as it reads the CAs at its start only");
    BLANKET_CHECK(hooks_.restart_etcd(wait));
    return store_.etcd_reads(statement, step);
}

// The record is for all to see; the holder looks for itself before it goes on (ca_rotation.hpp).
Result<void> CaFollower::say(Registry& registry, const CaStatement& statement) const {
    for (int attempt = 0; attempt < kSayAttempts; ++attempt) {
        BLANKET_TRY(const auto now, registry.get("sites/" + site_));
        if (!now) return fail(Kind::kNotFound, "this site has no record");
        BLANKET_TRY(Site site, parse_site(now->value));
        site.ca = CaMark{statement.to, static_cast<std::uint32_t>(statement.step)};
        const auto done = registry.put("sites/" + site_, to_json(site), now->revision);
        if (done) return {};
        if (done.error().kind != Kind::kConflict) return std::unexpected(done.error());
    }
    return fail(Kind::kConflict, "the record of site '{}' changes too often", site_);
}

Result<bool> CaFollower::catch_up() {
    const auto last = store_.last();
    if (!last) return false;
    bool done = false;
    for (int act = 0; act < kMostActs; ++act) {
        if (reload_) {
            BLANKET_CHECK(hooks_.reload());
            reload_ = false;
        }
        BLANKET_TRY(const CaHere here, look(*last, last->step));
        const CaAct next = next_ca_act(last->step, here);
        if (next == CaAct::kTrustBoth) {
            BLANKET_CHECK(trust_both(*last));
        } else if (next == CaAct::kRestartEtcd && here.etcd < CaStep::kTrust) {
            BLANKET_CHECK(restart(*last, CaStep::kTrust, false));  // without the others it serves nobody now
        } else return done;
        done = true;
    }
    return done;
}

Result<std::string> CaFollower::follow(Registry& registry) {
    BLANKET_TRY(const auto said, registry.get(kCaKey));
    Result<bool> taken = false;
    if (said) {
        const auto statement = parse_ca_statement(said->value);
        taken = statement ? store_.accept(*statement) : Result<bool>(std::unexpected(statement.error()));
    }
    const auto last = store_.last();
    if (last && (reload_ || id_of(*last) != followed_)) {
        for (int act = 0; act < kMostActs; ++act) {
            if (reload_) {
                BLANKET_CHECK(hooks_.reload());
                reload_ = false;
            }
            BLANKET_TRY(const auto sites, hooks_.sites());
            const auto own = std::ranges::find(sites, site_, &Site::name);
            const CaStep mark = own != sites.end() && own->ca && own->ca->to == last->to ? static_cast<CaStep>(own->ca->step) : CaStep::kNone;
            BLANKET_TRY(const CaHere here, look(*last, mark));
            switch (next_ca_act(last->step, here)) {
                case CaAct::kTrustBoth: BLANKET_CHECK(trust_both(*last)); break;
                case CaAct::kTrustNew: BLANKET_CHECK(trust_new(*last)); break;
                case CaAct::kRestartEtcd: {
                    const CaStep step = here.etcd < CaStep::kTrust ? CaStep::kTrust : CaStep::kDrop;
                    if (const std::string first = waits_for_turn(*last, step, sites, site_); !first.empty()) return std::format("the etcd of '{}' starts again first", first);
                    if (const auto may = hooks_.may_restart(last->without); !may) return may.error().what;
                    BLANKET_CHECK(restart(*last, step, true));
                    break;
                }
                case CaAct::kRenew:
                    BLANKET_CHECK(hooks_.renew());
                    reload_ = true;
                    break;
                case CaAct::kSay: BLANKET_CHECK(say(registry, *last)); break;
                case CaAct::kNothing:
                    followed_ = id_of(*last);
                    act = kMostActs;
                    break;
            }
        }
    }
    BLANKET_CHECK(taken);  // what is not believed is told, and what is goes on all the same
    return std::string();
}

}  // namespace blanket
