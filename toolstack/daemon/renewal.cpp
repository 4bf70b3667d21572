// SPDX-License-Identifier: GPL-2.0-or-later
// Certificates are renewed at half of their life: methods of Federation. The key stays, so that one file changes, whole or not at all; etcd reads it at each
// handshake, and so does every new TlsContext.
#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/daemon/federation.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {
namespace {

constexpr std::int64_t kAskAgain = 3600;  // seconds
constexpr auto kRenewal = std::chrono::seconds(20);

}  // namespace

Result<std::int64_t> Federation::certificate_expires() const {
    BLANKET_TRY(const std::string cert, read_file(PkiPaths::in(options_.root + "/pki").cert, 65536));
    BLANKET_TRY(const Validity valid, validity(cert));
    return valid.until;
}

Result<bool> Federation::renew_if_due(std::int64_t now) {
    const PkiPaths paths = PkiPaths::in(options_.root + "/pki");
    BLANKET_TRY(const std::string cert, read_file(paths.cert, 65536));
    BLANKET_TRY(const Validity valid, validity(cert));
    if (!valid.renewal_due(now) || revoked()) return false;
    {
        const std::scoped_lock lock(state_mutex_);
        if (now < asked_renewal_ + kAskAgain && now >= asked_renewal_) return false;
        asked_renewal_ = now;
    }
    const std::scoped_lock lock(change_);
    BLANKET_TRY(const std::string ca, read_file(paths.ca_cert, 65536));
    BLANKET_TRY(const std::string key, read_file(paths.key, 65536));
    const Subject subject{options_.site, options_.address};
    BLANKET_TRY(const std::string csr, make_csr(subject, key));
    std::string fresh;
    if (const auto ca_key = read_file(paths.ca_key, 65536)) {
        BLANKET_TRY(fresh, sign_csr({ca, *ca_key}, csr, subject));
    } else {
        BLANKET_TRY(const auto federation, registry_->get("federation"));
        const std::string founder = federation ? json_string_or(federation->value, "founder", "") : std::string();
        BLANKET_TRY(const auto record, registry_->get("sites/" + founder));
        if (!record) return fail(Kind::kNotFound, "the site that holds the CA's key, '{}', has no record", founder);
        BLANKET_TRY(const Site site, parse_site(record->value));
        BLANKET_TRY(const TlsContext tls, this->tls());
        const Json body{{"csr", csr}};
        BLANKET_TRY(const Json answer, RestClient::site(tls, site.address, options_.rest_port, site.name).call_ok("POST", "/1.0/peer/renew", &body, kRenewal));
        BLANKET_TRY(fresh, json_string(answer, "cert"));
    }
    BLANKET_CHECK(check_identity(ca, fresh, key, options_.site));
    BLANKET_TRY(const Validity renewed, validity(fresh));
    if (renewed.until <= valid.until) return fail(Kind::kInvalid, "the new certificate does not last longer than the old one");
    BLANKET_CHECK(write_file(paths.cert, fresh, 0644));
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
