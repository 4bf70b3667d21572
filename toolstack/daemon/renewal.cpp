// SPDX-License-Identifier: GPL-2.0-or-later
// Certificates are renewed at half of their life; see renewal.hpp, and the methods of Federation for it. The key stays, so that one file changes, whole or not at all; etcd
// reads it at each handshake, and so does every new TlsContext.
#include "toolstack/daemon/renewal.hpp"

#include <algorithm>
#include <chrono>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/daemon/ca_trust.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/daemon/newcomer.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {
namespace {

constexpr std::int64_t kAskAgain = 3600;  // seconds
constexpr auto kAnswer = std::chrono::seconds(20);

}  // namespace

Result<bool> Renewal::due(std::int64_t now) {
    BLANKET_TRY(const std::string cert, read_file(PkiPaths::in(root_ + "/pki").cert, 65536));
    BLANKET_TRY(const Validity valid, validity(cert));
    BLANKET_TRY(const Subject subject, certificate_subject(cert));
    if (!valid.renewal_due(now) && !subject.role.empty()) return false;
    const std::scoped_lock lock(mutex_);
    if (now < asked_ + kAskAgain && now >= asked_) return false;
    asked_ = now;
    return true;
}

Result<std::string> Renewal::ask(Registry& registry, const TlsContext& tls, const std::string& csr) const {
    const std::string founder = ca_holder(root_);
    if (founder.empty()) return fail(Kind::kNotFound, "it is not known which site holds the CA's key");
    BLANKET_TRY(const auto record, registry.get("sites/" + founder));
    if (!record) return fail(Kind::kNotFound, "the site that holds the CA's key, '{}', has no record", founder);
    BLANKET_TRY(const Site site, parse_site(record->value));
    const Json body{{"csr", csr}};
    BLANKET_TRY(const Json answer, RestClient::site(tls, site.address, rest_port_, site.name).call_ok("POST", "/1.0/peer/renew", &body, kAnswer));
    return json_string(answer, "cert");
}

bool Renewal::alone() const { return read_file(PkiPaths::in(root_ + "/pki").ca_key, 65536).has_value(); }

Result<void> Renewal::renew(Registry& registry, const TlsContext& tls) {
    if (alone()) return ourselves();
    return replace([&](const std::string& csr, const std::string&) { return ask(registry, tls, csr); });
}

Result<void> Renewal::ourselves() {
    BLANKET_TRY(const CertAndKey signer, ca_signer(root_));
    return replace([&](const std::string& csr, const std::string&) { return sign_csr(signer, csr, subject_); });
}

Result<void> Renewal::replace(const std::function<Result<std::string>(const std::string& csr, const std::string& ca)>& sign) const {
    const PkiPaths paths = PkiPaths::in(root_ + "/pki");
    BLANKET_TRY(const std::string old, read_file(paths.cert, 65536));
    BLANKET_TRY(const std::string ca, read_file(paths.ca_cert, 65536));
    BLANKET_TRY(const std::string key, read_file(paths.key, 65536));
    BLANKET_TRY(const std::string csr, make_csr(subject_, key));
    BLANKET_TRY(const std::string fresh, sign(csr, ca));
    BLANKET_CHECK(check_identity(ca, fresh, key, subject_.name));
    BLANKET_TRY(const Validity before, validity(old));
    BLANKET_TRY(const Validity after, validity(fresh));
    const auto old_ca = issuer_of(ca, old), new_ca = issuer_of(ca, fresh);
    const bool same_ca = old_ca && new_ca && *old_ca == *new_ca;  // else it is what was wanted
    if (same_ca && after.until <= before.until) return fail(Kind::kInvalid, "the new certificate does not last longer than the old one");
    // Else it would be asked for again each hour, and every listener opened anew for it.
    BLANKET_TRY(const Subject said, certificate_subject(fresh));
    const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    if (same_ca && said.role.empty() && !before.renewal_due(now))
        return fail_hint(Kind::kPrecondition, "the site that holds the CA's key signs no roles yet", "update Blanket there; until then this certificate stays as it is");
    return write_file(paths.cert, fresh, 0644);
}

Result<std::int64_t> Federation::certificate_expires() const {
    BLANKET_TRY(const std::string cert, read_file(PkiPaths::in(options_.root + "/pki").cert, 65536));
    BLANKET_TRY(const Validity valid, validity(cert));
    return valid.until;
}

Result<bool> Federation::renew_if_due(std::int64_t now) {
    if (revoked()) return false;
    BLANKET_TRY(const bool due, renewal_.due(now));
    if (!due) return false;
    const std::scoped_lock lock(change_);
    if (renewal_.alone()) {
        BLANKET_CHECK(renewal_.ourselves());
    } else {
        BLANKET_TRY(const TlsContext tls, this->tls());
        BLANKET_CHECK(renewal_.renew(*registry_, tls));
    }
    log::info("federation", "this site's certificate is renewed");
    return true;
}

// Before etcd starts: with an expired certificate no member would talk to ours, and without the registry nothing else is renewed.
Result<void> Federation::check_certificate(const Progress& progress) {
    BLANKET_TRY(const std::string cert, read_file(PkiPaths::in(options_.root + "/pki").cert, 65536));
    BLANKET_TRY(const Validity valid, validity(cert));
    const std::int64_t now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    if (renewal_.alone()) {
        if (!valid.renewal_due(now)) return {};
        progress(now >= valid.until ? "this site's certificate has expired: it signs a new one, as it holds the CA's key" : "this site's certificate is signed anew");
        return renewal_.ourselves();
    }
    if (now < valid.until) return {};
    const std::string holder = ca_holder(options_.root);
    return fail_hint(Kind::kDenied, std::format("this site's certificate expired {} days ago: no other site talks to it, and none renews it", (now - valid.until) / 86400),
                     std::format("is the clock right (timedatectl)? Else sign pki/site.crt anew at site '{}', which holds the CA's key, or reinstall the machine and let it join under another name", holder));
}

Result<Json> Federation::handle_renew(const std::string& peer, const Json& body) { return handle_renew(Subject{peer, {}, {}}, body); }

Result<Json> Federation::handle_renew(const Subject& peer, const Json& body) {
    BLANKET_TRY(const std::string csr, json_string(body, "csr"));
    const PkiPaths paths = PkiPaths::in(options_.root + "/pki");
    const auto ca_key = read_file(paths.ca_key, 65536);
    if (!ca_key) return fail(Kind::kPrecondition, "site '{}' does not hold the CA's key", options_.site);
    if (revocations_->refuses(peer.name)) return fail(Kind::kDenied, "site '{}' is revoked", peer.name);
    BLANKET_TRY(Snapshot now, registry_->snapshot());
    mark(now);
    const auto record = std::ranges::find(now.sites, peer.name, [](const Versioned<Site>& one) { return one.value.name; });
    if (record == now.sites.end()) return fail(Kind::kDenied, "the federation has no site '{}'", peer.name);
    const Site& site = record->value;
    // The record is the site's own word, and whoever has a certificate for an address is believed to be there. An address changes by a new join only.
    if (!peer.address.empty() && peer.address != site.address)
        return fail_hint(Kind::kDenied, std::format("the certificate of '{}' is for {}, but its record says {}", peer.name, peer.address, site.address),
                         "an address in a federation does not change: put the record right, or let the machine join again under another name");
    for (const auto& [other, revision] : now.sites)
        if (other.name != peer.name && other.state != kRevoked && other.address == site.address)
            return fail_hint(Kind::kDenied, std::format("sites '{}' and '{}' both say that they are at {}", peer.name, other.name, site.address), "put the wrong record right: blanket site list");
    // The role stays what was signed, whatever the record says since.
    const std::string role = !peer.role.empty() ? peer.role : site.role == "witness" ? kWitnessRole : kSiteRole;
    BLANKET_TRY(const CertAndKey signer, ca_signer(options_.root));
    BLANKET_TRY(const std::string cert, sign_csr(signer, csr, {peer.name, site.address, role}));
    log::info("federation", "the certificate of '{}' is renewed", peer.name);
    return Json{{"cert", cert}};
}

}  // namespace blanket
