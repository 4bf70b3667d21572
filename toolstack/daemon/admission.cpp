// SPDX-License-Identifier: GPL-2.0-or-later
// The signing site's side of a join: tokens, the checks, the newcomer's certificate, index and etcd membership. Methods of Federation.
//
//   newcomer                         founder                                   etcd
//     | POST /1.0/peer/join {secret, csr} |                                      |
//     |---------------------------------->| token, clock, version, name; token used (CAS)
//     |                                   | index (CAS), sign, add learner, record (state "joining")
//     |<----------------------------------| {ca, cert, initial_cluster, endpoints, index, role, member}
//     | starts etcd as learner ...........................................       |
//     |                                   | promote until in sync -------------->|
//     | sees that it votes                | record (state "joined")              |
//
// Version rule: both ends have the same major.minor version of blanketd.
// An answer may be lost: the machine comes again with a new token and the same key, which this site remembers on its own disk (state/admitted.json), and gets its
// record and number back. Who only knows the name, the address and the WireGuard key of a site, as all members do, is refused.
#include <algorithm>
#include <chrono>
#include <openssl/crypto.h>
#include <utility>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/peer/join_token.hpp"

namespace blanket {
namespace {

constexpr std::uint64_t kMaxSkew = 30;  // seconds

std::uint64_t unix_now() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

std::string series(const std::string& version) {
    const auto parts = split(version, '.');
    return parts.size() < 2 ? version : parts[0] + "." + parts[1];
}

std::string without_scheme(const std::string& url) {
    const auto at = url.find("://");
    return at == std::string::npos ? url : url.substr(at + 3);
}

struct Asked {
    std::string id, secret, name, address, role, version, csr, wireguard_key;
    std::uint64_t time = 0;
    std::uint16_t client_port = 0, peer_port = 0;
};

Result<Asked> parse_asked(const Json& body) {
    Asked asked;
    BLANKET_TRY(asked.id, json_string(body, "id"));
    BLANKET_TRY(asked.secret, json_string(body, "secret"));
    BLANKET_TRY(asked.name, json_string(body, "name"));
    BLANKET_TRY(asked.address, json_string(body, "address"));
    BLANKET_TRY(asked.role, json_string(body, "role"));
    BLANKET_TRY(asked.version, json_string(body, "version"));
    BLANKET_TRY(asked.csr, json_string(body, "csr"));
    BLANKET_TRY(asked.time, json_number(body, "time"));
    asked.wireguard_key = json_string_or(body, "wireguard_key", "");
    BLANKET_CHECK(check_name(asked.name, "site"));
    BLANKET_CHECK(check_name(asked.id, "token"));
    BLANKET_CHECK(parse_ipv4(asked.address));
    const std::uint64_t client = json_number_or(body, "client_port", 2379), peer = json_number_or(body, "peer_port", 2380);
    if (client == 0 || client > 65535 || peer == 0 || peer > 65535) return fail(Kind::kInvalid, "an etcd port is out of range");
    asked.client_port = static_cast<std::uint16_t>(client);
    asked.peer_port = static_cast<std::uint16_t>(peer);
    if (asked.secret.size() > 200 || asked.version.size() > 40) return fail(Kind::kInvalid, "a field of the join request is too long");
    return asked;
}

Result<void> check_fit(const Asked& asked, const std::string& version) {
    const std::uint64_t now = unix_now();
    const std::uint64_t skew = now > asked.time ? now - asked.time : asked.time - now;
    if (skew > kMaxSkew)
        return fail_hint(Kind::kPrecondition, std::format("the clock of '{}' is off by {} s (at most {} s are allowed)", asked.name, skew, kMaxSkew),
                         "set the clocks of both machines (timedatectl), then join again with the same token");
    if (series(asked.version) != series(version))
        return fail_hint(Kind::kPrecondition, std::format("'{}' runs version {}, this site runs {}", asked.name, asked.version, version),
                         "bring both to the same version, then join again with the same token");
    return {};
}

// The key of each newcomer's certificate, by its name.
std::string admitted_file(const std::string& root) { return root + "/state/admitted.json"; }

Result<Json> read_admitted(const std::string& root) {
    const auto text = read_file(admitted_file(root), 1u << 20);
    if (!text && text.error().kind == Kind::kNotFound) return Json::object();
    if (!text) return std::unexpected(text.error());
    auto value = parse_json(*text, 1u << 20);
    if (value && value->is_object()) return value;
    log::warning("federation", "{} makes no sense, and begins anew", admitted_file(root));
    return Json::object();
}

}  // namespace

Result<Json> Federation::make_token(const std::string& role, const std::string& name, std::chrono::seconds ttl) {
    if (role != "site" && role != "witness") return fail(Kind::kInvalid, "role '{}' is neither site nor witness", role.substr(0, 40));
    if (!name.empty()) BLANKET_CHECK(check_name(name, role));
    if (ttl.count() < 1 || ttl > std::chrono::hours(24 * 30)) return fail(Kind::kInvalid, "a token's life of {} s is not within 1 s and 30 days", ttl.count());
    BLANKET_TRY(const auto federation, registry_->get("federation"));
    if (!federation) return fail_hint(Kind::kPrecondition, "this site is in no federation yet, so nobody can join", "blanket federation init NAME");
    BLANKET_CHECK(steady_ca());
    const std::string founder = ca_holder(options_.root);
    BLANKET_TRY(const auto record, registry_->get("sites/" + founder));
    if (!record) return fail(Kind::kNotFound, "site '{}', which holds the federation's CA key, has no record", founder);
    BLANKET_TRY(const Site site, parse_site(record->value));
    BLANKET_TRY(const std::string ca, read_file(PkiPaths::in(options_.root + "/pki").ca_cert, 65536));
    JoinToken token;
    BLANKET_TRY(token.ca_sha256, fingerprint(ca));
    token.endpoints = {std::format("{}:{}", site.address, options_.rest_port)};
    token.id = random_hex(8);
    token.secret = random_hex(32);
    const Token stored{token.id, sha256_hex(token.secret), role, name, unix_now() + static_cast<std::uint64_t>(ttl.count()), false};
    BLANKET_CHECK(registry_->put("tokens/" + token.id, to_json(stored), 0));
    return Json{{"token", format_token(token)}};
}

Result<Versioned<Token>> Federation::check_token(const std::string& id, const std::string& secret) {
    const std::string hint = "make a new one: blanket site token";
    BLANKET_TRY(const auto record, registry_->get("tokens/" + id));
    if (!record) return fail_hint(Kind::kDenied, "this join token is not known to the federation", hint);
    BLANKET_TRY(Token token, parse_token(record->value));
    const std::string hash = sha256_hex(secret);
    if (hash.size() != token.secret_sha256.size() || CRYPTO_memcmp(hash.data(), token.secret_sha256.data(), hash.size()) != 0)
        return fail_hint(Kind::kDenied, "this join token's secret is wrong", hint);
    if (token.used) return fail_hint(Kind::kConflict, "this join token has been used already", hint);
    if (token.expires <= unix_now()) return fail_hint(Kind::kDenied, std::format("this join token expired {} s ago", unix_now() - token.expires), hint);
    return Versioned<Token>{std::move(token), record->revision};
}

Result<Json> Federation::handle_join(const Json& body) {
    BLANKET_TRY(const Asked asked, parse_asked(body));
    const std::scoped_lock lock(change_);
    const PkiPaths paths = PkiPaths::in(options_.root + "/pki");
    BLANKET_TRY(const auto federation, registry_->get("federation"));
    const auto ca_key = read_file(paths.ca_key, 65536);
    if (!federation || !ca_key)
        return fail_hint(Kind::kPrecondition, std::format("site '{}' cannot admit anybody: it does not hold the federation's CA key", options_.site), "make a new token");
    BLANKET_CHECK(steady_ca());
    BLANKET_TRY(const std::string ca_cert, read_file(paths.ca_cert, 65536));
    if (tokens_stale_) {
        BLANKET_CHECK(drop_tokens(*etcd_));
        tokens_stale_ = false;
    }
    BLANKET_TRY(Versioned<Token> token, check_token(asked.id, asked.secret));
    if (token.value.role != asked.role)
        return fail_hint(Kind::kConflict, std::format("this token is for a {}, not for a {}", token.value.role, asked.role), "make one for this role: blanket site token [--witness]");
    if (!token.value.name.empty() && token.value.name != asked.name)
        return fail_hint(Kind::kConflict, std::format("this token is for '{}', not for '{}'", token.value.name, asked.name), "name the newcomer so, or make another token");
    BLANKET_CHECK(check_fit(asked, options_.version));
    BLANKET_TRY(const std::string key, request_key(asked.csr));
    BLANKET_TRY(Json admitted, read_admitted(options_.root));
    if (revocations_->refuses(asked.name))
        return fail_hint(Kind::kDenied, std::format("the federation has revoked a site named '{}': that name is never given again", asked.name), "reinstall the machine under another name");
    if (revocations_->refuses_key(asked.wireguard_key))
        return fail_hint(Kind::kDenied, "its WireGuard key is that of a site that was revoked", "reinstall the machine: it makes new keys at its first start");
    BLANKET_TRY(Snapshot snapshot, registry_->snapshot());
    mark(snapshot);
    std::size_t voters = 0;
    std::optional<Versioned<Site>> before;  // its record, of a try whose answer it did not get
    for (const auto& site : snapshot.sites) {
        if (site.value.state == kRevoked) continue;
        if (site.value.name == asked.name) {
            if (site.value.address != asked.address || site.value.wireguard_key != asked.wireguard_key || (site.value.role == "witness") != (asked.role == "witness") ||
                json_string_or(admitted, asked.name, "") != key)
                return fail_hint(Kind::kConflict, std::format("the federation has a site '{}' already", asked.name), "choose another name");
            before = site;
            continue;
        }
        if (!asked.wireguard_key.empty() && site.value.wireguard_key == asked.wireguard_key)
            return fail_hint(Kind::kConflict, std::format("site '{}' has this WireGuard key already", site.value.name), "is the machine a copy of that one? Reinstall it: it makes new keys at its first start");
        if (site.value.address == asked.address)
            return fail_hint(Kind::kConflict, std::format("site '{}' has the address {} already", site.value.name, asked.address), "each site needs an address of its own");
        if (site.value.role == "voter") ++voters;
        if (site.value.role == "witness" && asked.role == "witness")
            return fail_hint(Kind::kConflict, std::format("the federation has a witness already: '{}'", site.value.name), "one witness is enough");
    }

    // Whoever is being admitted goes on when this one is through, whatever becomes of it.
    struct GoOn {
        Federation& federation;
        std::vector<std::pair<std::uint64_t, std::string>> open = {};
        void forget(const std::string& name) {
            std::erase_if(open, [&](const auto& one) { return one.second == name; });
        }
        ~GoOn() {
            if (!open.empty()) federation.finish_joins(std::move(open));
        }
    } go_on{*this};
    if (admitting_) {
        if (!before || !std::ranges::contains(admissions_, asked.name, &std::pair<std::uint64_t, std::string>::second))
            return fail_hint(Kind::kConflict, "another newcomer is being admitted at this moment", "try again in a minute with the same token");
        promoter_ = {};  // ends it: the same machine begins anew
        admitting_ = false;
        go_on.open = std::exchange(admissions_, {});
    }
    admitted[asked.name] = key;
    BLANKET_CHECK(write_file(admitted_file(options_.root), admitted.dump(1) + "\n", 0600));

    // From here on the token is gone, whatever happens.
    token.value.used = true;
    if (auto used = registry_->put("tokens/" + asked.id, to_json(token.value), token.revision); !used) {
        if (used.error().kind == Kind::kConflict) return fail_hint(Kind::kConflict, "this join token has been used already", "make a new one: blanket site token");
        return std::unexpected(std::move(used).error());
    }
    Site site = before ? before->value : Site{};
    site.name = asked.name;
    site.address = asked.address;
    site.wireguard_key = asked.wireguard_key;
    site.version = asked.version;
    if (!before) site.role = asked.role == "witness" ? "witness" : voters < 2 ? "voter" : "client";
    BLANKET_TRY(const std::string cert, sign_csr({ca_cert, *ca_key}, asked.csr, {asked.name, asked.address, asked.role}));
    if (site.role != "witness" && site.index == 0) {
        BLANKET_TRY(const std::uint64_t index, next_number(*registry_, "site"));
        if (index > 254) return fail(Kind::kConflict, "all 254 site numbers have been given");
        site.index = static_cast<std::uint32_t>(index);
    }
    std::string cluster;
    if (site.role != "client") {
        const std::string url = std::format("https://{}:{}", asked.address, asked.peer_port);
        BLANKET_TRY(const bool waits, waits_for_start(site.member, url));
        if (!waits) {
            BLANKET_TRY(site.member, etcd_->member_add(url, true));
        }
        site.state = "joining";
    }
    const auto rest = [&]() -> Result<Json> {
        BLANKET_TRY(const auto members, etcd_->members());
        Json endpoints = Json::array();
        for (const auto& member : members) {
            const std::string& name = member.id == site.member ? asked.name : member.name;
            for (const auto& url : member.peer_urls) cluster += std::format("{}{}={}", cluster.empty() ? "" : ",", name, url);
            if (!member.learner && !member.client_urls.empty()) endpoints.push_back(without_scheme(member.client_urls.front()));
        }
        BLANKET_CHECK(registry_->put("sites/" + site.name, to_json(site), before ? before->revision : 0));
        Json revoked = Json::array();
        for (const auto& one : revocations_->list()) revoked.push_back(to_json(one));
        return Json{{"revoked", revoked}, {"ca", ca_cert}, {"cert", cert}, {"initial_cluster", cluster}, {"endpoints", endpoints}, {"index", site.index},
                    {"role", site.role}, {"federation", snapshot.federation_name}, {"member", site.member}, {"founder", options_.site}};
    }();
    go_on.forget(asked.name);
    if (!rest) {
        if (site.member != 0) static_cast<void>(etcd_->member_remove(site.member));
        return rest;
    }
    if (site.member != 0) go_on.open.insert(go_on.open.begin(), {site.member, site.name});
    log::info("federation", "'{}' at {} admitted as {}{}", site.name, site.address, site.role, before ? ", again" : "");
    return rest;
}

// The member of an earlier try: true when it was added and has never started. One that has started has lost its data since, and goes.
Result<bool> Federation::waits_for_start(std::uint64_t member, const std::string& url) {
    if (member == 0) return false;
    BLANKET_TRY(const auto members, etcd_->members());
    const auto at = std::ranges::find(members, member, &EtcdMember::id);
    if (at == members.end()) return false;
    if (at->learner && at->name.empty() && std::ranges::contains(at->peer_urls, url)) return true;
    BLANKET_CHECK(etcd_->member_remove(member));
    return false;
}

// Expects change_.
void Federation::finish_joins(std::vector<std::pair<std::uint64_t, std::string>> members) {
    admissions_ = members;
    admitting_ = true;
    promoter_ = std::jthread([this, members = std::move(members)](const std::stop_token& stop) {
        for (const auto& [member, name] : members) finish_join(stop, member, name);
        admitting_ = false;
    });
}

// What blanketd's end broke off: etcd takes no other learner while one is there. Expects change_, so that no newcomer is between its member and its record.
Result<void> Federation::resume_admissions() {
    BLANKET_TRY(Snapshot now, registry_->snapshot());
    mark(now);
    std::vector<std::pair<std::uint64_t, std::string>> open;
    std::set<std::uint64_t> named;
    for (const auto& [site, revision] : now.sites) {
        if (site.member == 0) continue;
        named.insert(site.member);
        if (site.state == "joining" && site.name != options_.site) open.emplace_back(site.member, site.name);
    }
    BLANKET_TRY(const auto members, etcd_->members());
    for (const auto& member : members) {
        if (!member.learner || !member.name.empty() || named.contains(member.id)) continue;
        log::warning("federation", "a member of etcd that has no record and has never started is removed: {:x}", member.id);
        BLANKET_CHECK(etcd_->member_remove(member.id));
    }
    if (!open.empty()) finish_joins(std::move(open));
    return {};
}

// Promotes the learner when it has caught up. A newcomer that does not come is removed again, so that it does not block the next one.
void Federation::finish_join(const std::stop_token& stop, std::uint64_t member, const std::string& name) {
    const auto until = std::chrono::steady_clock::now() + options_.join_deadline;
    Result<void> promoted = fail(Kind::kTimeout, "it did not start");
    while (!stop.stop_requested() && std::chrono::steady_clock::now() < until) {
        promoted = etcd_->member_promote(member);
        if (promoted || promoted.error().kind == Kind::kNotFound) break;
        for (int i = 0; i < 10 && !stop.stop_requested(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    if (stop.stop_requested()) return;  // blanketd ends, and goes on with it at its next start; or the machine has come again
    const auto record = registry_->get("sites/" + name);
    if (!promoted) {
        log::warning("federation", "'{}' did not become a voter and is removed again: {}", name, promoted.error().what);
        static_cast<void>(etcd_->member_remove(member));
        if (record && *record) static_cast<void>(registry_->remove("sites/" + name));
        return;
    }
    for (int attempt = 0; attempt < 20 && !stop.stop_requested(); ++attempt) {
        const auto now = registry_->get("sites/" + name);
        if (now && !*now) return;
        if (now) {
            auto site = parse_site((*now)->value);
            if (!site) break;
            site->state = "joined";
            if (registry_->put("sites/" + name, to_json(*site), (*now)->revision)) break;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    log::info("federation", "'{}' votes now", name);
}

}  // namespace blanket
