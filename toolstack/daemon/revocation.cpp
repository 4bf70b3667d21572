// SPDX-License-Identifier: GPL-2.0-or-later
// A site is cut off: methods of Federation. In this order, so that the registry keeps its quorum and the site hears nothing more once it can know:
//
//   checks: known, not this site, not the holder of the CA's key, and the voters that are left are a quorum
//   the leader moves away from it; its etcd member is removed          (as long as two voters are two, its own vote may be needed for that)
//   a statement, signed by this site; here: TLS, open connections, etcd's connections
//   at the same time to every other site by REST, and into the registry (revoked/NAME), where the watch finds it, the witness's too
//   tokens that nobody has used are removed: it may have made some
//
// What one site has accepted it never gives up, and writes into the registry again if it is missing there.
#include <algorithm>
#include <future>
#include <utility>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/peer/ca_bundle.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {
namespace {

constexpr int kRemovals = 3;
constexpr auto kProof = std::chrono::seconds(4);  // a member whose it is

std::string key_of(const std::string& site) { return "revoked/" + site; }

std::string endpoint_of(const EtcdMember& member) {
    if (member.client_urls.empty()) return {};
    const std::string& url = member.client_urls.front();
    const auto at = url.find("://");
    return at == std::string::npos ? url : url.substr(at + 3);
}

// The member of that id shows the certificate of that site.
bool shows_certificate(const TlsContext& tls, const EtcdMember& member, const std::string& site) {
    const auto where = parse_host_port(endpoint_of(member));
    if (!where) return false;
    const Json nothing = Json::object();
    const auto status = RestClient::site(tls, where->host, where->port, site).call_ok("POST", "/v3/maintenance/status", &nothing, kProof);
    const auto header = status ? status->find("header") : Json::const_iterator();
    return status && header != status->end() && json_string_or(*header, "member_id", "") == std::to_string(member.id);
}

}  // namespace

struct Federation::Cut {
    Site site;
    bool own_address = true;     // no other site's record has it
    std::set<std::string> names;  // of the other sites, this one among them
    std::set<std::uint64_t> not_its;  // members that other sites' records name, this one's own, and one that showed another site's certificate
    std::set<std::uint64_t> shown;    // members that showed its own certificate
    std::uint64_t revision = 0;  // of its record; 0: there is none that makes sense
    std::vector<Site> others;    // to be told
    std::vector<EtcdMember> members, left;
    std::size_t voters = 0, left_voters = 0, left_healthy = 0;
    std::uint64_t leader = 0, successor = 0;
    std::string leader_endpoint;

    // Its record is its own word, and the name of its member too: neither must cost another site its vote, nor save this one's. A voter that has never started and that no
    // record names goes along: sites begin as learners, so somebody added it for the quorum not to be one without the site.
    [[nodiscard]] bool belongs(const EtcdMember& member) const {
        if (member.name == site.name || shown.contains(member.id)) return true;
        if (not_its.contains(member.id)) return false;
        if (member.name.empty() && !member.learner) return true;
        if (site.member != 0 && member.id == site.member) return true;
        if (names.contains(member.name)) return false;
        return own_address && std::ranges::any_of(member.peer_urls, [&](const std::string& url) { return url.starts_with(std::format("https://{}:", site.address)); });
    }
};

Result<Federation::Cut> Federation::plan_cut(const std::string& name, bool unknown) {
    BLANKET_CHECK(check_name(name, "site"));
    if (!federated_) return fail_hint(Kind::kPrecondition, "this site is in no federation", "blanket federation init NAME, or blanket site join TOKEN");
    if (name == options_.site) return fail_hint(Kind::kInvalid, "a site does not revoke itself", "run this at another site of the federation");
    auto read = registry_->snapshot();
    if (!read) {
        Error error = std::move(read).error().context(std::format("site '{}' cannot be cut off without the registry's quorum", name));
        error.hint = "bring another voter back (blanket federation show); until then stop the machine at its provider, if that is possible";
        return std::unexpected(std::move(error));
    }
    mark(*read);
    Cut cut;
    cut.site.name = name;
    for (const auto& [site, revision] : read->sites) {
        if (site.name == name) {
            cut.site = site;
            cut.revision = revision;
            continue;
        }
        cut.names.insert(site.name);
        if (site.member != 0 && site.state != kRevoked) cut.not_its.insert(site.member);
        if (site.name != options_.site && site.role != "witness" && site.state != kRevoked) cut.others.push_back(site);
    }
    cut.names.insert(options_.site);
    for (const auto& [site, revision] : read->sites)
        if (site.name != name && site.state != kRevoked && site.address == cut.site.address) cut.own_address = false;
    if (ca_holder(options_.root) == name)
        return fail_hint(Kind::kPrecondition, std::format("site '{}' holds the key of the federation's CA: whoever has it can make certificates that no site can tell from good ones", name),
                         "cutting it off needs a new CA, which only that site can make: stop the machine at its provider, and move the VMs to a new federation");
    BLANKET_TRY(cut.members, etcd_->members());
    if (cut.revision == 0) {  // it may have removed its record itself, or made nonsense of it: the statement needs the name only
        cut.own_address = false;
        const auto raw = registry_->get(std::format("sites/{}", name));
        if (!raw && raw.error().kind == Kind::kUnavailable) return std::unexpected(raw.error());
        const std::scoped_lock lock(state_mutex_);
        if (!unknown && raw && !*raw && !known_.contains(name) && !revocations_->refuses(name) && !std::ranges::contains(cut.members, name, &EtcdMember::name))
            return fail_hint(Kind::kNotFound, std::format("there is no site '{}', and no member of etcd of that name", name),
                             std::format("blanket site list; if it removed its record itself: blanket site revoke {} --unknown", name));
    }
    std::uint64_t own = 0;
    if (const LocalState state = local(); state.role != "client" && !state.endpoints.empty())
        if (const auto status = etcd_->status(state.endpoints.front())) cut.not_its.insert(own = status->member);
    BLANKET_TRY(const TlsContext any, TlsContext::load(PkiPaths::in(options_.root + "/pki")));  // without the list of the revoked ones, of which it may be one
    std::vector<std::pair<std::uint64_t, std::future<std::pair<bool, bool>>>> looks;
    for (const auto& member : cut.members) {  // whose a member is, its certificate tells, if it answers at all
        if (member.id == own || member.name.empty()) continue;
        const bool other = member.id == cut.site.member && member.name != name && cut.names.contains(member.name);  // its record names it, but it calls itself as another site does
        looks.emplace_back(member.id, std::async(std::launch::async, [&any, &name, member, other] {
            return std::pair(shows_certificate(any, member, name), other && shows_certificate(any, member, member.name));
        }));
    }
    for (auto& [id, look] : looks) {
        const auto [its, others] = look.get();
        if (its) cut.shown.insert(id);
        if (others) cut.not_its.insert(id);
    }
    std::vector<std::pair<const EtcdMember*, std::future<Result<EtcdStatus>>>> asked;
    for (const auto& member : cut.members) {
        const bool goes = cut.belongs(member);
        if (!member.learner) ++cut.voters;
        if (goes) continue;
        cut.left.push_back(member);
        if (member.learner || member.client_urls.empty()) continue;
        ++cut.left_voters;
        asked.emplace_back(&member, std::async(std::launch::async, [endpoint = endpoint_of(member), tls = etcd_tls(options_.root), ask = options_.ask] {
            EtcdClient client({endpoint}, tls, ask);
            return client.status(endpoint);
        }));
    }
    for (auto& [member, answer] : asked) {
        const auto status = answer.get();
        if (!status || status->leader == 0) continue;
        ++cut.left_healthy;
        cut.leader = status->leader;
        if (cut.successor == 0 || member->name == options_.site) cut.successor = member->id;
    }
    for (const auto& member : cut.members)
        if (member.id == cut.leader && cut.belongs(member)) cut.leader_endpoint = endpoint_of(member);
    if (cut.left_healthy < cut.left_voters / 2 + 1)
        return fail_hint(Kind::kPrecondition,
                         std::format("without site '{}' the registry would have {} voters, of which {} {} well: it would stop, and with it every start, stop and move", name, cut.left_voters,
                                     cut.left_healthy, cut.left_healthy == 1 ? "is" : "are"),
                         "bring the others back first (blanket federation show), or add one: blanket site token --witness");
    return cut;
}

// Members that no record of a site in good standing names. A member's name is its own word, so each record has one at most: the one of its number, or else of its name.
Result<std::vector<std::string>> Federation::unclaimed_members() {
    BLANKET_TRY(Snapshot now, registry_->snapshot());
    mark(now);
    BLANKET_TRY(auto members, etcd_->members());
    std::set<std::string> served;
    for (const auto& [site, revision] : now.sites)
        if (site.state != kRevoked && std::erase_if(members, [&](const EtcdMember& member) { return site.member != 0 && member.id == site.member; }) > 0) served.insert(site.name);
    for (const auto& [site, revision] : now.sites) {
        if (site.state == kRevoked || served.contains(site.name)) continue;
        if (const auto at = std::ranges::find(members, site.name, &EtcdMember::name); at != members.end()) members.erase(at);
    }
    std::vector<std::string> out;
    for (const auto& member : members) out.push_back(std::format("{:x} {}", member.id, member.name.empty() ? "(not started)" : member.name));
    return out;
}

Result<std::vector<std::string>> Federation::plan_revoke(const std::string& name, bool unknown) {
    BLANKET_TRY(const Cut cut, plan_cut(name, unknown));
    std::vector<std::string> steps;
    if (cut.revision == 0) steps.push_back(std::format("go by the name '{}' alone: it has no record that makes sense", name));
    if (!cut.leader_endpoint.empty()) steps.push_back(std::format("move the registry's leader away from '{}'", name));
    if (cut.left.size() < cut.members.size()) steps.push_back(std::format("remove the etcd member of '{}': {} voters are left, {} of them well", name, cut.left_voters, cut.left_healthy));
    steps.push_back(std::format("refuse its certificates and its WireGuard key at this site and {} others, for good, and end what is connected to it", cut.others.size()));
    steps.push_back("remove every token that nobody has used");
    steps.push_back(std::format("its VMs' records stay; to take one over: blanket vm recover NAME --accept-loss"));
    return steps;
}

Result<Json> Federation::revoke(const std::string& name, const Progress& progress, bool unknown) {
    const auto begin = std::chrono::steady_clock::now();
    const std::scoped_lock one(revoking_);
    BLANKET_TRY(const Cut cut, plan_cut(name, unknown));
    if (!cut.leader_endpoint.empty()) {
        progress(std::format("moving the registry's leader away from '{}'", name));
        EtcdClient leader({cut.leader_endpoint}, etcd_tls(options_.root), options_.ask);
        if (auto moved = leader.move_leader(cut.successor); !moved) log::warning("federation", "'{}' keeps the registry's leader: {}", name, moved.error().what);
    }
    std::size_t gone = 0;
    const auto remove_members = [&]() -> Result<void> {
        BLANKET_TRY(auto members, etcd_->members());
        std::ranges::stable_partition(members, [](const EtcdMember& member) { return member.name.empty(); });  // while its own vote still helps to remove them
        for (const auto& member : members) {
            if (!cut.belongs(member)) continue;
            BLANKET_CHECK(etcd_->member_remove(member.id));
            ++gone;
        }
        return {};
    };
    progress(std::format("removing its etcd member, {} voters are left", cut.left_voters));
    auto removed = remove_members();
    if (!removed && cut.left_healthy < cut.voters / 2 + 1) return std::unexpected(std::move(removed).error().context("nothing was cut off yet"));

    Revocation statement;
    for (const auto& known : revocations_->list())
        if (known.site == name) statement = known;
    if (statement.site.empty()) {
        statement.site = name;
        if (cut.own_address) statement.address = cut.site.address;
        // A key that another site's record has too is not burned: the record may be a trap.
        if (!cut.site.wireguard_key.empty() && std::ranges::none_of(cut.others, [&](const Site& other) { return other.wireguard_key == cut.site.wireguard_key; }) &&
            cut.site.wireguard_key != wireguard_key())
            statement.wireguard_keys = {cut.site.wireguard_key};
        statement.since = rfc3339_now();
        BLANKET_TRY(statement, sign_revocation(PkiPaths::in(options_.root + "/pki"), std::move(statement)));
    }
    progress("cutting it off here and telling the other sites");
    BLANKET_CHECK(accept(statement));
    const Json body = to_json(statement);
    BLANKET_TRY(const TlsContext tls, this->tls());
    std::vector<std::future<Result<void>>> told;
    for (const auto& site : cut.others)
        told.push_back(std::async(std::launch::async, [&tls, &body, site, address = reach_(site), port = options_.rest_port, tell = options_.tell]() -> Result<void> {
            BLANKET_CHECK(RestClient::site(tls, address, port, site.name).call_ok("POST", "/1.0/peer/revoked", &body, tell));
            return {};
        }));
    const Result<void> written = publish(statement);
    Json confirmed = Json::array({options_.site}), open = Json::array();
    for (std::size_t i = 0; i < told.size(); ++i) {
        if (const auto done = told[i].get()) confirmed.push_back(cut.others[i].name);
        else open.push_back({{"site", cut.others[i].name}, {"why", done.error().what}});
    }
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin).count();

    // What it may have done in its last moments.
    for (int attempt = 0; attempt < kRemovals; ++attempt)
        if (removed = remove_members(); removed) break;
    const Result<void> cleaned = drop_tokens(*etcd_);
    const auto unclaimed = unclaimed_members();
    for (const Result<void>* result : {&std::as_const(removed), &cleaned, &written})
        if (!*result) log::warning("federation", "after the revocation of '{}': {}", name, result->error().what);
    if (auto site = cut.site; cut.revision != 0 && (site.member != 0 || site.state != kRevoked)) {
        site.state = kRevoked;
        site.member = 0;
        site.wireguard_key.clear();
        static_cast<void>(registry_->put("sites/" + name, to_json(site), cut.revision));  // for the eye only: every site goes by its own list
    }
    log::warning("federation", "site '{}' is revoked: {} sites confirmed it within {} ms, {} did not", name, confirmed.size(), took, open.size());
    return Json{{"revoked", {{"site", name}, {"since", statement.since}, {"by", statement.by}, {"ms", took}, {"confirmed", confirmed}, {"open", open},
                             {"recorded", written.has_value()}, {"member_removed", gone > 0}, {"unclaimed", unclaimed ? Json(*unclaimed) : Json(nullptr)}}}};
}

Result<void> Federation::publish(const Revocation& statement) {
    BLANKET_TRY(const auto now, registry_->get(key_of(statement.site)));
    if (now && now->value == to_json(statement)) return {};
    const auto done = registry_->put(key_of(statement.site), to_json(statement), now ? now->revision : 0);
    if (!done && done.error().kind != Kind::kConflict) return std::unexpected(done.error());
    return {};
}

// Whoever made them, and whatever they say about it.
Result<void> Federation::drop_tokens(EtcdClient& client) {
    BLANKET_TRY(const EtcdRange range, client.range_prefix(std::string(kRegistryPrefix) + "tokens/"));
    for (const auto& kv : range.kvs) BLANKET_CHECK(client.txn({}, {{kv.key, std::nullopt}}));
    return {};
}

Result<void> Federation::accept(const Revocation& statement) {
    BLANKET_TRY(const std::string ca, read_file(PkiPaths::in(options_.root + "/pki").ca_cert, 65536));
    const auto added = revocations_->add(statement, ca);
    if (!added && !revocations_->refuses(statement.site)) return std::unexpected(added.error());
    if (!added) log::error("federation", "site '{}' is cut off, but that could not be kept: {}", statement.site, added.error().what);
    if (added && !*added) return {};
    log::warning("federation", "site '{}' is revoked by '{}' since {}", statement.site, statement.by, statement.since);
    if (statement.site == options_.site) return {};  // our own daemon goes on using what it has: others refuse it
    const LocalState state = local();
    if (state.role != "client") {
        const EtcdConfig config = etcd_config(self(), state);
        if (auto ended = end_etcd_connections(config); !ended) {
            log::warning("federation", "restarting etcd, as its connections cannot be ended: {}", ended.error().what);
            const std::scoped_lock lock(change_);
            if (auto started = runner_->start(config); !started) log::error("federation", "etcd: {}", started.error().what);
        }
    }
    {
        const std::scoped_lock lock(state_mutex_);
        sites_seen_.clear();
        if (!statement.address.empty() && statement.address != options_.address) {
            std::erase_if(state_.endpoints, [&](const std::string& endpoint) { return endpoint.starts_with(statement.address + ":"); });
            etcd_->configure(state_.endpoints, etcd_tls(options_.root));
            if (auto saved = save_local_state(options_.root, state_); !saved) log::error("federation", "{}", saved.error().what);
        }
    }
    if (on_revoked_) on_revoked_(statement);
    if (read_file(PkiPaths::in(options_.root + "/pki").ca_key, 65536)) {  // here newcomers are admitted
        EtcdClient quick(etcd_->endpoints(), etcd_tls(options_.root), options_.ask);
        tokens_stale_ = !drop_tokens(quick).has_value();
    }
    return {};
}

Result<void> Federation::accept_revocation(const Json& body) {
    BLANKET_TRY(const Revocation statement, parse_revocation(body));
    return accept(statement);
}

std::optional<Revocation> Federation::revoked() const {
    for (const auto& one : revocations_->list())
        if (one.site == options_.site) return one;
    return std::nullopt;
}

Json Federation::standing(const std::string& name) const {
    for (const auto& one : revocations_->list())
        if (one.site == name) return {{"revoked", to_json(one)}};
    return {{"revoked", nullptr}};
}

void Federation::ask_standing() {
    if (revoked()) return;
    const LocalState state = local();
    const auto ca = read_file(PkiPaths::in(options_.root + "/pki").ca_cert, 65536);
    const auto prints = ca ? fingerprints(*ca) : Result<std::vector<std::string>>(std::unexpected(ca.error()));  // two while one CA takes the other's place
    if (!prints) return;
    for (const auto& endpoint : state.endpoints) {
        const auto where = parse_host_port(endpoint);
        if (!where || where->host == options_.address || endpoint == self().own_etcd()) continue;
        // Without our certificate, which would be refused. The answer is signed, and checked.
        Result<Json> answer = fail(Kind::kUnavailable, "nobody was asked");
        for (const auto& print : *prints)
            if (!answer) answer = RestClient::pinned(print, where->host, options_.rest_port).call_ok("GET", "/1.0/peer/standing?site=" + options_.site, nullptr, options_.tell);
        if (!answer) continue;
        const auto found = answer->find("revoked");
        if (found == answer->end() || !found->is_object()) continue;
        const auto taken = accept_revocation(*found);
        if (taken) return;
        log::warning("federation", "{} says that this site is revoked: {}", where->host, taken.error().what);
    }
}

void Federation::mark(Snapshot& snapshot) const {
    for (auto& [site, revision] : snapshot.sites) {
        if (revocations_->refuses(site.name)) {
            site.state = kRevoked;
            site.wireguard_key.clear();
            site.member = 0;
        } else if (site.name != options_.site && revocations_->refuses_key(site.wireguard_key)) site.wireguard_key.clear();
    }
}

void Federation::judge(Snapshot& snapshot) {
    auto statements = snapshot.revocations;
    std::ranges::sort(statements, {}, &Versioned<Revocation>::revision);  // of two sites that revoke each other the first counts
    for (const auto& [statement, revision] : statements) {
        if (revocations_->refuses(statement.site)) continue;
        const auto taken = accept(statement);
        if (taken) continue;
        const std::scoped_lock lock(state_mutex_);
        if (told_.insert(std::format("{} {}", statement.site, revision)).second) log::error("federation", "{}", taken.error().what);
    }
    for (const auto& known : revocations_->list()) {
        const auto there = std::ranges::find_if(statements, [&](const auto& one) { return one.value.site == known.site; });
        if (there != statements.end() && (there->value == known || check_revocation(there->value, known_ca()).has_value())) continue;
        if (auto written = publish(known); !written) log::warning("federation", "the revocation of '{}' is not in the registry: {}", known.site, written.error().what);
    }
    mark(snapshot);
}

std::string Federation::known_ca() const { return read_file(PkiPaths::in(options_.root + "/pki").ca_cert, 65536).value_or(std::string()); }

}  // namespace blanket
