// SPDX-License-Identifier: GPL-2.0-or-later
// See readmission.hpp.
#include "toolstack/daemon/readmission.hpp"

#include "toolstack/base/file.hpp"
#include "toolstack/peer/ca_bundle.hpp"
#include "toolstack/peer/rest_client.hpp"

namespace blanket {

std::string readmission_hint(const std::string& by, const std::string& name, const std::string& role) {
    if (role == kWitnessRole) return std::format("at site '{}': blanket site token --witness --name {}; then here: blanket-witness join - --dir DIR --address IP, as at the first time", by, name);
    return std::format("at site '{}': blanket site token --name {}; then here: blanket site join -", by, name);
}

Result<void> readmit(const std::string& root, const LocalState& state, const JoinToken& token, const Progress& progress) {
    const PkiPaths paths = PkiPaths::in(root + "/pki");
    BLANKET_TRY(const std::string key, read_file(paths.key, 65536));
    BLANKET_TRY(const std::string csr, make_csr(Subject{state.site, state.address}, key));
    const std::string role = state.role == kWitnessRole ? kWitnessRole : kSiteRole;
    const Json body{{"id", token.id}, {"secret", token.secret}, {"name", state.site}, {"role", role}, {"address", state.address}, {"csr", csr}};
    Result<Json> answer = fail(Kind::kInvalid, "the token names no endpoint");
    for (const auto& endpoint : token.endpoints) {
        BLANKET_TRY(const HostPort where, parse_host_port(endpoint));
        progress(std::format("asking {} for a certificate of the new CA", endpoint));
        answer = RestClient::pinned(token.ca_sha256, where.host, where.port).call_ok("POST", "/1.0/peer/readmit", &body, std::chrono::seconds(60));
        if (answer || answer.error().kind != Kind::kUnavailable) break;
    }
    if (!answer) return std::unexpected(std::move(answer).error().context("not taken back"));
    BLANKET_TRY(const std::string ca, json_string(*answer, "ca"));
    BLANKET_TRY(const std::string cert, json_string(*answer, "cert"));
    BLANKET_TRY(const auto prints, fingerprints(ca));
    if (prints.size() != 1 || prints.front() != token.ca_sha256) return fail(Kind::kDenied, "the CA in the answer is not the token's");
    BLANKET_CHECK(check_identity(ca, cert, key, state.site));
    BLANKET_CHECK(write_file(paths.ca_cert, ca, 0644));
    return write_file(paths.cert, cert, 0644);  // until here it counts as left behind, and another token brings it back
}

}  // namespace blanket
