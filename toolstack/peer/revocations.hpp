// SPDX-License-Identifier: GPL-2.0-or-later
// The sites that this one has cut off, for good: kept on disk, asked at every TLS handshake and request, and the end of what is connected to them.
// Used by tls_context, wire, rest_server, rest_client (they ask) and daemon/federation and the witness (they add). Thread safe.
//
//   <dir>/revoked.json   the statements; what has been accepted is never given up, whatever the registry says later
//   <dir>/revoked.crl    the same as a list of serial numbers, which etcd reads at each handshake
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/core/records.hpp"
#include "toolstack/peer/pki.hpp"

namespace blanket {

// A connection that can be ended from any thread. cut() does not block and takes no lock that is held while enrol() is called.
class Cuttable {
public:
    virtual ~Cuttable() = default;
    virtual void cut() = 0;
};

class Revocations final {
public:
    // Writes the list for etcd where there is none. kInvalid when the file makes no sense: nobody is let in for that.
    static Result<std::shared_ptr<Revocations>> load(const std::string& dir);

    [[nodiscard]] bool refuses(std::string_view site) const;
    [[nodiscard]] bool refuses_key(std::string_view wireguard_key) const;
    [[nodiscard]] std::vector<Revocation> list() const;
    [[nodiscard]] std::string crl_path() const { return dir_ + "/revoked.crl"; }
    // Takes a statement in and ends the site's connections; false when the site is cut off already. kDenied: not signed by a site of this CA that is in good
    // standing itself, or by the site about itself.
    Result<bool> add(const Revocation& revocation, std::string_view ca_pem);
    // A statement about a site that is cut off already takes the place of the one that there is: whose signer's certificate is of a CA that goes. kNotFound: that site is not
    // cut off; kDenied as add().
    Result<void> renew(const Revocation& revocation, std::string_view ca_pem);
    // Reads the files anew: they were replaced (a site joined another federation).
    Result<void> reload();

    // Notes a connection of `site` until the object is gone; false when the site is refused (nothing is noted).
    [[nodiscard]] bool enrol(const std::string& site, const std::weak_ptr<Cuttable>& connection);

private:
    explicit Revocations(std::string dir) : dir_(std::move(dir)) {}
    Result<void> read();
    Result<void> write(const std::vector<Revocation>& list) const;

    std::string dir_;
    mutable std::mutex mutex_;
    std::vector<Revocation> list_;
    struct Live {
        std::string site;
        std::weak_ptr<Cuttable> connection;
    };
    std::vector<Live> live_;
    std::mutex adding_;  // one add() at a time; taken before mutex_
};

// A statement about `site` by the identity at `paths`.
Result<Revocation> sign_revocation(const PkiPaths& paths, Revocation revocation);
// The statement is signed by a site of this CA, and not by the one that it is about. kDenied otherwise.
Result<void> check_revocation(const Revocation& revocation, std::string_view ca_pem);

}  // namespace blanket
