// SPDX-License-Identifier: GPL-2.0-or-later
// A new CA for the federation: methods of Federation. Which steps there are stands in core/ca_rollover.hpp, who follows them in ca_trust.hpp, who says them in
// ca_rotation.hpp; here is what of this site they need, and how a site that was left behind comes back.
#include <algorithm>
#include <chrono>
#include <filesystem>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/daemon/readmission.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {
namespace {

constexpr auto kProve = std::chrono::seconds(5);
constexpr std::size_t kIdentityFile = 65536;

std::string client_endpoint(const EtcdMember& member) {
    if (member.client_urls.empty()) return {};
    const std::string& url = member.client_urls.front();
    const auto at = url.find("://");
    return at == std::string::npos ? url : url.substr(at + 3);
}

// What that step demands of the other end, by what becomes of a call with the identity that goes with it. Silence is no refusal: who refuses the old CA answers under the new one.
Result<void> prove(CaStep step, const TlsContext& tried, const TlsContext& own, const std::function<Result<RestReply>(const TlsContext&)>& call) {
    const auto answer = call(tried);
    if (step != CaStep::kDrop) return answer.transform([](const auto&) {});
    if (answer) return fail(Kind::kPrecondition, "it still takes a certificate of the old CA");
    if (answer.error().kind == Kind::kUnavailable) return std::unexpected(answer.error());
    return call(own).transform([](const auto&) {});
}

// The key that a newcomer of that name was admitted with (admission.cpp); empty: not known.
std::string admitted_key(const std::string& root, const std::string& name) {
    const auto text = read_file(root + "/state/admitted.json", 1u << 20);
    const auto value = text ? parse_json(*text, 1u << 20) : Result<Json>(std::unexpected(text.error()));
    return value && value->is_object() ? json_string_or(*value, name, "") : std::string();
}

}  // namespace

void Federation::make_follower() {
    CaFollower::Hooks hooks;
    hooks.sites = [this] { return judged_sites(); };
    hooks.reload = [this]() -> Result<void> {
        const LocalState state = local();
        etcd_->configure(state.endpoints, etcd_tls(options_.root));
        return on_identity_ ? on_identity_() : Result<void>();
    };
    hooks.has_etcd = [this] { return local().role != "client"; };
    hooks.restart_etcd = [this](bool wait) -> Result<void> {
        const std::scoped_lock lock(change_);
        return start_etcd_again(*runner_, etcd_config(self(), local()), wait);
    };
    hooks.may_restart = [this](const std::vector<std::string>& without) -> Result<void> {
        return others_are_well(*etcd_, etcd_tls(options_.root), etcd_config(self(), local()).endpoint(), without);  // as the member tells it, not as we reach it behind NAT
    };
    hooks.renew = [this]() -> Result<void> {
        const std::scoped_lock lock(change_);
        if (renewal_.alone()) return renewal_.ourselves();
        BLANKET_TRY(const TlsContext tls, this->tls());
        return renewal_.renew(*registry_, tls);
    };
    follower_ = std::make_unique<CaFollower>(options_.root, options_.site, ca_, std::move(hooks));
}

Result<std::vector<Site>> Federation::judged_sites() {
    BLANKET_TRY(Snapshot now, registry_->snapshot());
    mark(now);
    std::vector<Site> out;
    for (auto& site : now.sites) out.push_back(std::move(site.value));
    return out;
}

Result<std::string> Federation::follow_ca() {
    const std::scoped_lock one(following_);
    if (!federated_ || revoked()) return std::string();
    return follower_->follow(*registry_);
}

bool Federation::ca_changing() const {
    if (ca_rotation_waits()) return true;
    const std::scoped_lock one(following_);
    return follower_->on();
}

bool Federation::ca_rotation_waits() const { return ca_rotation_open(options_.root); }

Json Federation::ca_statements() const {
    const auto all = ca_.statements();
    return ca_statements_json(all ? *all : std::vector<CaStatement>());
}

// Who joins now would get a certificate of a CA that goes.
Result<void> Federation::steady_ca() const {
    const auto last = ca_.last();
    if ((!last || last->step == CaStep::kDrop) && !ca_rotation_waits()) return {};
    return fail_hint(Kind::kConflict, "the federation's CA is being replaced at this moment: nobody joins meanwhile",
                     std::format("try again when that has ended; to see how far it is, at site '{}': blanket federation rotate-ca --dry-run", ca_holder(options_.root)));
}

Result<void> Federation::refuse_behind() const {
    const auto missed = left_behind(options_.root);
    if (!missed) return {};
    return fail_hint(Kind::kDenied, std::format("the federation's CA was replaced at {} while this site was away: no other site takes its certificate", missed->since),
                     readmission_hint(missed->by, options_.site, kSiteRole));
}

void Federation::ask_ca() {
    if (revoked()) return;
    const std::scoped_lock one(following_);
    for (const auto& endpoint : local().endpoints) {
        const auto where = parse_host_port(endpoint);
        if (!where || where->host == options_.address || endpoint == self().own_etcd()) continue;
        const auto said = ask_ca_statements(where->host, options_.rest_port);
        if (!said) continue;
        for (const auto& statement : *said) {  // each is signed by the CA before it
            const auto taken = ca_.accept(statement);
            if (!taken) log::warning("federation", "{} says: {}", where->host, taken.error().what);
        }
    }
    if (const auto done = follower_->catch_up(); !done) log::warning("federation", "the new CA: {}", done.error().what);  // also what was known, and not done to its end
}

// Identities of one call each, with this site's own key: below pki/probe, which only root reads.
Result<void> Federation::prove_ca(const Site& site, const CaStatement& statement) {
    const PkiPaths own = PkiPaths::in(options_.root + "/pki");
    const std::string dir = options_.root + "/pki/probe", old_path = dir + "/old.crt";
    BLANKET_CHECK(make_dirs(dir, 0700));
    BLANKET_TRY(const std::string bundle, read_file(own.ca_cert, kIdentityFile));
    BLANKET_TRY(const std::string old_key, read_file(own.ca_key, kIdentityFile));
    BLANKET_TRY(const std::string next_key, read_file(CaFiles::in(options_.root).next_key, kIdentityFile));
    CertAndKey signer{statement.cert, next_key};
    std::string trusted = statement.step == CaStep::kIssue ? statement.cert : bundle;
    if (statement.step != CaStep::kDrop) {  // while the old certificate is at hand: for the last step
        BLANKET_TRY(const CertAndKey old, pair_of(bundle, old_key));
        BLANKET_CHECK(write_file(old_path, old.cert, 0644));
    } else {
        const auto old = read_file(old_path, kIdentityFile);
        const auto pair = old ? pair_of(*old, old_key) : Result<CertAndKey>(std::unexpected(old.error()));
        if (!pair) return {};  // the old key is gone already: all was seen before this life
        signer = *pair;
        trusted = statement.cert + *old;
    }
    const Subject subject{options_.site, options_.address, kSiteRole};
    BLANKET_TRY(const std::string key, read_file(own.key, kIdentityFile));
    BLANKET_TRY(const std::string csr, make_csr(subject, key));
    BLANKET_TRY(const std::string cert, sign_csr(signer, csr, subject, std::chrono::hours(1)));
    const PkiPaths probe{dir + "/ca.crt", own.ca_key, dir + "/site.crt", own.key};
    BLANKET_CHECK(write_file(probe.ca_cert, trusted, 0644));
    BLANKET_CHECK(write_file(probe.cert, cert, 0644));
    BLANKET_TRY(const TlsContext tls, TlsContext::load(probe, revocations_));
    BLANKET_TRY(const TlsContext self, TlsContext::load(own, revocations_));
    if (site.role != "witness")
        BLANKET_CHECK(prove(statement.step, tls, self, [&](const TlsContext& as) { return RestClient::site(as, reach_(site), options_.rest_port, site.name).call("GET", "/1.0", nullptr, kProve); }));
    if (site.member == 0) return {};
    BLANKET_TRY(const auto members, etcd_->members());
    const auto member = std::ranges::find(members, site.member, &EtcdMember::id);
    if (member == members.end()) return {};
    BLANKET_TRY(const HostPort where, parse_host_port(client_endpoint(*member)));
    const Json nothing = Json::object();
    return prove(statement.step, tls, self, [&](const TlsContext& as) { return RestClient::site(as, where.host, where.port, site.name).call("POST", "/v3/maintenance/status", &nothing, kProve); });
}

// Statements about revoked sites are believed by their signers' certificates, and those of the old CA soon are none.
Result<void> Federation::sign_revocations_anew() {
    const PkiPaths paths = PkiPaths::in(options_.root + "/pki");
    BLANKET_TRY(const std::string bundle, read_file(paths.ca_cert, kIdentityFile));
    for (const auto& one : revocations_->list()) {
        BLANKET_TRY(const Revocation fresh, sign_revocation(paths, one));
        BLANKET_CHECK(revocations_->renew(fresh, bundle));
        BLANKET_CHECK(publish(fresh));
    }
    return {};
}

Result<std::vector<std::string>> Federation::plan_rotate_ca(const std::vector<std::string>& without) {
    if (!federated_) return fail_hint(Kind::kPrecondition, "this site is in no federation", "blanket federation init NAME, or blanket site join TOKEN");
    if (!renewal_.alone())
        return fail_hint(Kind::kPrecondition, "this site does not hold the key of the federation's CA", std::format("run it at site '{}': blanket federation rotate-ca", ca_holder(options_.root)));
    BLANKET_TRY(const auto sites, judged_sites());
    return plan_ca_rotation(options_.root, options_.site, sites, without);
}

Result<Json> Federation::rotate_ca(CaRotation how) {
    BLANKET_CHECK(plan_rotate_ca(how.without));
    how.root = options_.root;
    how.site = options_.site;
    how.sites = [this] { return judged_sites(); };
    how.prove = [this](const Site& site, const CaStatement& statement) { return prove_ca(site, statement); };
    how.before_drop = [this] { return sign_revocations_anew(); };
    how.after = [this]() -> Result<void> {
        BLANKET_CHECK(drop_tokens(*etcd_));
        std::error_code ignored;
        std::filesystem::remove_all(options_.root + "/pki/probe", ignored);
        return {};
    };
    how.follow = [this, told = std::string()]() mutable {
        const auto followed = follow_ca();
        if (!followed && followed.error().what != told) log::warning("federation", "the new CA: {}", told = followed.error().what);
    };
    return blanket::rotate_ca(*registry_, system_time(), ca_, how);
}

Result<void> Federation::come_back(const JoinToken& token, const Progress& progress) {
    const std::scoped_lock one(following_, change_);
    const LocalState state = local();
    BLANKET_CHECK(readmit(options_.root, state, token, progress));
    if (state.role != "client") {
        progress("starting etcd with the new CA");
        if (const auto up = start_etcd_again(*runner_, etcd_config(self(), state), true); !up) progress(std::format("etcd has not found the others yet: {}", up.error().what));
    }
    use(state);
    federated_ = true;
    log::info("federation", "site '{}' is back, with a certificate of the new CA", state.site);
    return {};
}

Result<Json> Federation::handle_readmit(const Json& body) {
    BLANKET_TRY(const std::string id, json_string(body, "id"));
    BLANKET_TRY(const std::string secret, json_string(body, "secret"));
    BLANKET_TRY(const std::string name, json_string(body, "name"));
    BLANKET_TRY(const std::string role, json_string(body, "role"));
    BLANKET_TRY(const std::string address, json_string(body, "address"));
    BLANKET_TRY(const std::string csr, json_string(body, "csr"));
    BLANKET_CHECK(check_name(id, "token"));
    BLANKET_CHECK(check_name(name, "site"));
    if (secret.size() > 200 || (role != kSiteRole && role != kWitnessRole)) return fail(Kind::kInvalid, "the request makes no sense");
    const std::scoped_lock lock(change_);
    if (!renewal_.alone()) return fail_hint(Kind::kPrecondition, std::format("site '{}' does not hold the federation's CA key", options_.site), "make a new token");
    BLANKET_CHECK(steady_ca());
    BLANKET_TRY(Versioned<Token> token, check_token(id, secret));
    if (token.value.role != role || token.value.name != name)  // it takes the place of a site that there is: the operator must have said which
        return fail_hint(Kind::kDenied, std::format("this token is not for the {} '{}' that there is already", role, name), readmission_hint(options_.site, name, role));
    BLANKET_TRY(const std::string key, request_key(csr));
    if (const std::string known = admitted_key(options_.root, name); !known.empty() && known != key)
        return fail_hint(Kind::kDenied, std::format("this is not the key that '{}' was admitted with", name), "reinstall the machine and let it join under another name");
    if (revocations_->refuses(name)) return fail_hint(Kind::kDenied, std::format("site '{}' is revoked", name), "reinstall the machine to join again under another name");
    BLANKET_TRY(const auto sites, judged_sites());
    const auto site = std::ranges::find(sites, name, &Site::name);
    if (site == sites.end()) return fail_hint(Kind::kNotFound, std::format("the federation has no site '{}'", name), "reinstall the machine to join anew");
    if (site->address != address || (site->role == "witness") != (role == kWitnessRole))
        return fail_hint(Kind::kDenied, std::format("the record of '{}' says another address, or another role", name), "blanket site show " + name);
    token.value.used = true;
    if (auto used = registry_->put("tokens/" + id, to_json(token.value), token.revision); !used) {
        if (used.error().kind == Kind::kConflict) return fail_hint(Kind::kConflict, "this join token has been used already", "make a new one: blanket site token --name " + name);
        return std::unexpected(std::move(used).error());
    }
    BLANKET_TRY(const CertAndKey signer, ca_signer(options_.root));
    BLANKET_TRY(const std::string cert, sign_csr(signer, csr, {name, address, role}));
    log::info("federation", "'{}' at {} is taken back, with a certificate of the new CA", name, address);
    return Json{{"ca", signer.cert}, {"cert", cert}};
}

}  // namespace blanket
