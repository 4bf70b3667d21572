// SPDX-License-Identifier: GPL-2.0-or-later
// This site's own identity, etcd and record; naming, showing and joining a federation. Admission of others is in admission.cpp.
#include "toolstack/daemon/federation.hpp"

#include <algorithm>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/peer/join_token.hpp"

namespace blanket {
namespace {

constexpr std::size_t kMostKnown = 1024;  // names of sites that are remembered

}  // namespace

Result<std::unique_ptr<Federation>> Federation::create(FederationOptions options, std::unique_ptr<EtcdRunner> runner) {
    BLANKET_CHECK(check_name(options.site, "site"));
    BLANKET_CHECK(parse_ipv4(options.address));
    BLANKET_CHECK(make_dirs(options.root + "/pki", 0700));
    BLANKET_CHECK(make_dirs(options.root + "/state", 0700));
    BLANKET_TRY(auto revocations, Revocations::load(options.root + "/pki"));
    std::unique_ptr<Federation> made(new Federation(std::move(options), std::move(runner)));
    made->revocations_ = std::move(revocations);
    return made;
}

Federation::Federation(FederationOptions options, std::unique_ptr<EtcdRunner> runner) : options_(std::move(options)), renewal_(options_.root, {options_.site, options_.address, kSiteRole}, options_.rest_port), runner_(std::move(runner)), ca_(options_.root) {
    make_follower();
    wireguard_key_ = options_.wireguard_key;
    etcd_ = std::make_shared<EtcdClient>(std::vector<std::string>{}, etcd_tls(options_.root));
    registry_ = std::make_shared<EtcdRegistry>(etcd_);
}

Federation::~Federation() {
    promoter_.request_stop();
}

Newcomer Federation::self() const {
    Newcomer self;
    self.name = options_.site;
    self.address = options_.address;
    self.role = "site";
    self.version = options_.version;
    self.wireguard_key = wireguard_key();
    self.root = options_.root;
    self.listen = options_.listen;
    self.client_port = options_.client_port;
    self.peer_port = options_.peer_port;
    self.loopback = options_.loopback;
    self.heartbeat_ms = options_.heartbeat_ms;
    self.election_ms = options_.election_ms;
    self.deadline = options_.join_deadline;
    return self;
}

LocalState Federation::local() const {
    const std::scoped_lock lock(state_mutex_);
    return state_;
}

Result<TlsContext> Federation::tls() const { return TlsContext::load(PkiPaths::in(options_.root + "/pki"), revocations_); }

void Federation::use(const LocalState& state) {
    const std::scoped_lock lock(state_mutex_);
    state_ = state;
    sites_seen_.clear();
    etcd_->configure(state.endpoints, etcd_tls(options_.root));
}

// First start: a CA of our own, whose only member we are until others join.
Result<void> Federation::make_local(const Progress& progress) {
    const PkiPaths paths = PkiPaths::in(options_.root + "/pki");
    progress("making this site's certificate authority and certificate");
    const Subject subject{options_.site, options_.address, kSiteRole};
    BLANKET_TRY(const CertAndKey ca, make_ca(options_.site));
    BLANKET_TRY(const CsrAndKey request, make_csr(subject));
    BLANKET_TRY(const std::string cert, sign_csr(ca, request.csr, subject));
    BLANKET_CHECK(write_file(paths.ca_key, ca.key, 0600));
    BLANKET_CHECK(write_file(paths.ca_cert, ca.cert, 0644));
    BLANKET_CHECK(write_file(paths.key, request.key, 0600));
    BLANKET_CHECK(write_file(paths.cert, cert, 0644));
    LocalState state;
    state.site = options_.site;
    state.address = options_.address;
    state.role = "voter";
    state.endpoints = {self().own_etcd()};
    return save_local_state(options_.root, state);
}

// The provider gave the machine another uplink address. Alone, that is only our own business; in a federation the others know the old one.
Result<void> Federation::move_address(const Progress& progress) {
    LocalState state = local();
    const PkiPaths paths = PkiPaths::in(options_.root + "/pki");
    const auto ca_key = read_file(paths.ca_key, 65536);
    if (state.endpoints.size() > 1 || state.role != "voter" || !ca_key)
        return fail_hint(Kind::kPrecondition, std::format("the uplink address changed from {} to {}, but the federation knows the old one", state.address, options_.address),
                         "give the machine its old address back, or set [site] address in /etc/blanket/blanket.toml");
    progress(std::format("the uplink address changed from {} to {}", state.address, options_.address));
    BLANKET_TRY(const CertAndKey signer, ca_signer(options_.root));
    const Subject subject{options_.site, options_.address, kSiteRole};
    BLANKET_TRY(const CsrAndKey request, make_csr(subject));
    BLANKET_TRY(const std::string cert, sign_csr(signer, request.csr, subject));
    BLANKET_CHECK(write_file(paths.key, request.key, 0600));
    BLANKET_CHECK(write_file(paths.cert, cert, 0644));
    state.address = options_.address;
    state.endpoints = {self().own_etcd()};
    BLANKET_CHECK(save_local_state(options_.root, state));
    use(state);
    return {};
}

Result<void> Federation::ensure_local(const Progress& progress) {
    const std::scoped_lock lock(change_);
    if (const auto cut = revoked())
        return fail_hint(Kind::kDenied, std::format("this site was revoked by '{}' at {}: the federation has cut it off, for good", cut->by, cut->since),
                         "its VMs belong to the others; reinstall the machine to join again, under another name");
    BLANKET_CHECK(refuse_behind());
    auto state = load_local_state(options_.root);
    if (!state && state.error().kind == Kind::kNotFound) {
        BLANKET_CHECK(make_local(progress));
        state = load_local_state(options_.root);
    }
    if (!state) return std::unexpected(std::move(state).error());
    if (state->site != options_.site)
        return fail_hint(Kind::kConflict, std::format("this machine was set up as site '{}', but is now named '{}'", state->site, options_.site),
                         std::format("set [site] name = \"{}\" in /etc/blanket/blanket.toml", state->site));
    use(*state);
    if (state->address != options_.address) BLANKET_CHECK(move_address(progress));
    BLANKET_CHECK(check_certificate(progress));

    if (state->role != "client") {
        const EtcdConfig config = etcd_config(self(), local());
        BLANKET_TRY(const bool running, runner_->running());
        const auto old = read_file(config.file(), 65536);
        if (!running || !old || *old != render_etcd_config(config)) {
            progress("starting etcd");
            BLANKET_CHECK(write_etcd_config(config));
            BLANKET_CHECK(runner_->start(config));
        }
        for (const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);;) {
            auto ready = wait_for_etcd(*etcd_, config.own_endpoint(), std::chrono::seconds(3));
            if (ready) break;
            BLANKET_TRY(const bool alive, runner_->running());
            if (alive && std::chrono::steady_clock::now() < until) continue;
            Error error = std::move(ready).error();
            error.kind = Kind::kUnavailable;
            if (!alive) error.what = "etcd ended right after its start";
            return std::unexpected(std::move(error));
        }
    }
    BLANKET_CHECK(write_site());
    BLANKET_TRY(const auto record, registry_->get("federation"));
    state = local();
    federated_ = record.has_value() || state->existing || !state->founder.empty();  // a member may have removed the record
    if (federated_ && state->founder.empty()) {
        std::string holder = ca_holder(options_.root);
        // Who joined before there was a pin, at a site whose name is too long for the CA's: as before, the registry is believed, but this once only.
        if (holder.empty() && record) holder = json_string_or(record->value, "founder", "");
        if (check_name(holder, "site")) BLANKET_CHECK(pin_founder(holder));
    }
    if (federated_ && ca_holder(options_.root) == options_.site && !admitting_) BLANKET_CHECK(resume_admissions());
    return {};
}

// From then on nobody's word in etcd says whose the CA is.
Result<void> Federation::pin_founder(const std::string& name) {
    const std::scoped_lock lock(state_mutex_);
    state_.founder = name;
    return save_local_state(options_.root, state_);
}

Result<void> Federation::write_site() {
    const LocalState state = local();
    for (int attempt = 0; attempt < 5; ++attempt) {
        BLANKET_TRY(const auto now, registry_->get("sites/" + options_.site));
        Site site;
        if (now) {
            BLANKET_TRY(site, parse_site(now->value));
        } else {
            if (state.existing)
                return fail_hint(Kind::kConflict, std::format("the federation has no record of site '{}'", options_.site),
                                 "it was removed by an operator: reinstall this machine to join again");
            BLANKET_TRY(const std::uint64_t index, next_number(*registry_, "site"));
            site.name = options_.site;
            site.index = static_cast<std::uint32_t>(index);
            site.role = "voter";
        }
        const Site before = site;
        if (site.role == "voter" && site.member == 0) {
            BLANKET_TRY(const EtcdStatus status, etcd_->status(state.endpoints.front()));
            site.member = status.member;
        }
        if (site.member != 0 && site.address != options_.address && !site.address.empty())
            BLANKET_CHECK(etcd_->member_update(site.member, etcd_config(self(), state).peer_url()));
        site.address = options_.address;
        site.version = options_.version;
        site.provider = options_.provider;
        if (const std::string key = wireguard_key(); !key.empty()) site.wireguard_key = key;
        if (now && site == before) return {};
        const auto done = registry_->put("sites/" + options_.site, to_json(site), now ? now->revision : 0);
        if (done && state.index != site.index) {
            LocalState next = state;
            next.index = site.index;
            BLANKET_CHECK(save_local_state(options_.root, next));
            const std::scoped_lock lock(state_mutex_);
            state_.index = site.index;
        }
        if (done) return {};
        if (done.error().kind != Kind::kConflict) return std::unexpected(done.error());
    }
    return fail(Kind::kConflict, "the record of site '{}' changes too often", options_.site);
}

std::string Federation::wireguard_key() const {
    const std::scoped_lock lock(state_mutex_);
    return wireguard_key_;
}

Result<void> Federation::publish_wireguard_key(const std::string& pub) {
    const std::scoped_lock one(change_);  // or publish_again() might take the old key's success for this one's
    {
        const std::scoped_lock lock(state_mutex_);
        wireguard_key_ = pub;
    }
    key_unpublished_ = true;
    return write_key();
}

Result<void> Federation::publish_again() {
    if (!key_unpublished_) return {};  // without waiting for a change that is on
    const std::scoped_lock lock(change_);
    return key_unpublished_ ? write_key() : Result<void>();
}

// Expects change_.
Result<void> Federation::write_key() {
    BLANKET_CHECK(write_site());
    key_unpublished_ = false;
    return {};
}

Result<Json> Federation::init(const std::string& name) {
    BLANKET_CHECK(check_name(name, "federation"));
    const std::scoped_lock lock(change_);
    BLANKET_TRY(const auto now, registry_->get("federation"));
    if (now)
        return fail_hint(Kind::kConflict, std::format("this site belongs to federation '{}' already", json_string_or(now->value, "name", "?")),
                         "look at it: blanket federation show");
    BLANKET_CHECK(registry_->put("federation", {{"name", name}, {"id", make_uuid()}, {"founder", options_.site}}, 0));
    federated_ = true;
    BLANKET_CHECK(pin_founder(options_.site));
    log::info("federation", "'{}' founded by site '{}'", name, options_.site);
    return show();
}

Result<Json> Federation::show() {
    BLANKET_TRY(Snapshot snapshot, registry_->snapshot());
    mark(snapshot);
    if (snapshot.federation_name.empty())
        return fail_hint(Kind::kNotFound, "this site is in no federation yet", "blanket federation init NAME, or blanket site join TOKEN");
    Json sites = Json::array(), members = Json::array();
    for (const auto& site : snapshot.sites) sites.push_back(to_json(site.value));
    BLANKET_TRY(const auto all, etcd_->members());
    for (const auto& member : all) {
        bool healthy = false, leader = false;
        if (!member.client_urls.empty()) {
            const std::string& url = member.client_urls.front();
            const auto slashes = url.find("://");
            const auto status = etcd_->status(slashes == std::string::npos ? url : url.substr(slashes + 3));
            healthy = status && (status->leader != 0 || status->learner);
            leader = status && status->leader == member.id;
        }
        members.push_back({{"name", member.name.empty() ? "(not started)" : member.name}, {"role", member.learner ? "learner" : "voter"}, {"healthy", healthy}, {"leader", leader}});
    }
    return Json{{"federation", {{"name", snapshot.federation_name}, {"id", snapshot.federation_id}, {"sites", sites}, {"members", members}}}};
}

Result<std::vector<std::string>> Federation::plan_join(const std::string& text) {
    BLANKET_TRY(const JoinToken token, parse_token_text(text));
    if (!refuse_behind()) return std::vector<std::string>{std::format("ask {} for a certificate of the new CA, for site '{}'", token.endpoints.front(), options_.site), "start etcd with it, and listen for other sites again"};
    BLANKET_TRY(const Snapshot snapshot, registry_->snapshot());
    if (!snapshot.federation_name.empty())
        return fail_hint(Kind::kConflict, std::format("this site belongs to federation '{}' already", snapshot.federation_name), "a site is in one federation at a time");
    if (!snapshot.vms.empty())
        return fail_hint(Kind::kConflict, std::format("this site has {} VMs, and its registry would be replaced by the federation's", snapshot.vms.size()),
                         "delete them first, or let the other site join this one");
    return std::vector<std::string>{std::format("ask {} for admission as site '{}' with address {}", token.endpoints.front(), options_.site, options_.address),
                                    "replace this site's certificates by ones of the federation's CA",
                                    "drop the local registry (its networks and images have to be made again in the federation)",
                                    "start etcd as a learner (first two sites), and wait until it votes", "listen for other sites on TCP 7443 and 7444"};
}

Result<void> Federation::join(const std::string& text, const Progress& progress) {
    BLANKET_TRY(const JoinToken token, parse_token_text(text));
    if (!refuse_behind()) return come_back(token, progress);
    BLANKET_CHECK(plan_join(text));
    const std::scoped_lock lock(change_);
    const auto state = join_federation(self(), token, *runner_, progress);
    const auto reloaded = revocations_->reload();  // the federation's list, or our own is back
    if (!state) {
        if (const auto old = load_local_state(options_.root)) use(*old);
        return std::unexpected(state.error());
    }
    BLANKET_CHECK(reloaded);
    use(*state);
    BLANKET_CHECK(write_site());
    federated_ = true;
    log::info("federation", "site '{}' joined as {} {}", state->site, state->role, state->index);
    return {};
}

Result<void> Federation::refresh_endpoints(const std::vector<Versioned<Site>>& sites) {
    std::string seen;
    for (const auto& site : sites) seen += std::format("{} {} {} {};", site.value.name, site.value.address, site.value.member, site.value.state);
    {
        const std::scoped_lock lock(state_mutex_);
        if (seen == sites_seen_) return {};
        for (const auto& site : sites)
            if (known_.size() < kMostKnown) known_.insert(site.value.name);
    }
    BLANKET_TRY(const auto members, etcd_->members());
    LocalState next = local();
    const std::string own = self().own_etcd(), told = std::format("{}:{}", next.address, options_.client_port);  // what the others are told: from behind NAT perhaps nobody's
    std::vector<std::string> endpoints;
    if (next.role != "client") endpoints.push_back(own);
    for (const auto& member : members) {
        if (member.learner || member.client_urls.empty()) continue;
        const std::string& url = member.client_urls.front();
        const std::string endpoint = url.substr(url.find("://") == std::string::npos ? 0 : url.find("://") + 3);
        if (parse_host_port(endpoint) && !std::ranges::contains(endpoints, endpoint) && (next.role == "client" || endpoint != told)) endpoints.push_back(endpoint);
    }
    const std::scoped_lock lock(state_mutex_);
    sites_seen_ = seen;
    if (endpoints.empty() || endpoints == state_.endpoints) return {};
    state_.endpoints = endpoints;
    etcd_->configure(endpoints, etcd_tls(options_.root));
    return save_local_state(options_.root, state_);
}

Result<void> Federation::move_leader_to(const std::string& name) {
    BLANKET_TRY(const auto record, registry_->get("sites/" + name));
    if (!record) return fail(Kind::kNotFound, "there is no site '{}'", name);
    BLANKET_TRY(const Site site, parse_site(record->value));
    if (site.member == 0) return {};
    return etcd_->move_leader(site.member);
}

}  // namespace blanket
