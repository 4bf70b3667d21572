// SPDX-License-Identifier: GPL-2.0-or-later
// Certificates are renewed at half of their life; see renewal.hpp, and the methods of Federation for it. The key stays, so that one file changes, whole or not at all; etcd
// reads it at each handshake, and so does every new TlsContext.
#include "toolstack/daemon/renewal.hpp"

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {
namespace {

constexpr std::int64_t kAskAgain = 3600;  // seconds
constexpr auto kAnswer = std::chrono::seconds(20);

}  // namespace

Result<bool> Renewal::due(std::int64_t now) {
    BLANKET_TRY(const std::string cert, read_file(PkiPaths::in(root_ + "/pki").cert, 65536));
    BLANKET_TRY(const Validity valid, validity(cert));
    if (!valid.renewal_due(now)) return false;
    const std::scoped_lock lock(mutex_);
    if (now < asked_ + kAskAgain && now >= asked_) return false;
    asked_ = now;
    return true;
}

Result<std::string> Renewal::ask(Registry& registry, const TlsContext& tls, const std::string& csr) const {
    BLANKET_TRY(const auto federation, registry.get("federation"));
    const std::string founder = federation ? json_string_or(federation->value, "founder", "") : std::string();
    BLANKET_TRY(const auto record, registry.get("sites/" + founder));
    if (!record) return fail(Kind::kNotFound, "the site that holds the CA's key, '{}', has no record", founder);
    BLANKET_TRY(const Site site, parse_site(record->value));
    const Json body{{"csr", csr}};
    BLANKET_TRY(const Json answer, RestClient::site(tls, site.address, rest_port_, site.name).call_ok("POST", "/1.0/peer/renew", &body, kAnswer));
    return json_string(answer, "cert");
}

Result<void> Renewal::renew(Registry& registry, const TlsContext& tls) {
    const PkiPaths paths = PkiPaths::in(root_ + "/pki");
    BLANKET_TRY(const std::string old, read_file(paths.cert, 65536));
    BLANKET_TRY(const std::string ca, read_file(paths.ca_cert, 65536));
    BLANKET_TRY(const std::string key, read_file(paths.key, 65536));
    BLANKET_TRY(const std::string csr, make_csr(subject_, key));
    const auto ca_key = read_file(paths.ca_key, 65536);
    BLANKET_TRY(const std::string fresh, ca_key ? sign_csr({ca, *ca_key}, csr, subject_) : ask(registry, tls, csr));
    BLANKET_CHECK(check_identity(ca, fresh, key, subject_.name));
    BLANKET_TRY(const Validity before, validity(old));
    BLANKET_TRY(const Validity after, validity(fresh));
    if (after.until <= before.until) return fail(Kind::kInvalid, "the new certificate does not last longer than the old one");
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
    BLANKET_TRY(const TlsContext tls, this->tls());
    BLANKET_CHECK(renewal_.renew(*registry_, tls));
    log::info("federation", "this site's certificate is renewed");
    return true;
}

Result<Json> Federation::handle_renew(const std::string& peer, const Json& body) {
    BLANKET_TRY(const std::string csr, json_string(body, "csr"));
    const PkiPaths paths = PkiPaths::in(options_.root + "/pki");
    const auto ca_key = read_file(paths.ca_key, 65536);
    if (!ca_key) return fail(Kind::kPrecondition, "site '{}' does not hold the CA's key", options_.site);
    if (revocations_->refuses(peer)) return fail(Kind::kDenied, "site '{}' is revoked", peer);
    BLANKET_TRY(const auto record, registry_->get("sites/" + peer));
    if (!record) return fail(Kind::kDenied, "the federation has no site '{}'", peer);
    BLANKET_TRY(const Site site, parse_site(record->value));
    BLANKET_TRY(const std::string ca, read_file(paths.ca_cert, 65536));
    BLANKET_TRY(const std::string cert, sign_csr({ca, *ca_key}, csr, {peer, site.address}));
    log::info("federation", "the certificate of '{}' is renewed", peer);
    return Json{{"cert", cert}};
}

}  // namespace blanket
