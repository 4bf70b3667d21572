// SPDX-License-Identifier: GPL-2.0-or-later
// blanketd's REST server: JSON over HTTP/1.1 on a unix socket (local CLI) and, once told, over TLS 1.3 on TCP (other sites). Used by daemon/.
// Routes are added before the first listen call. Handlers run on the server's threads, several at once, and may block (long polls).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/base/json.hpp"
#include "toolstack/base/result.hpp"
#include "toolstack/peer/tls_context.hpp"

namespace blanket {

struct RestRequest {
    std::string method, path;               // path is percent-decoded, without the query
    std::vector<std::string> matches;       // what the pattern's `*` stand for
    std::map<std::string, std::string> query;
    std::string body;                       // at most 4 MiB
    std::string peer_site;                  // from the verified client certificate; empty = none
    std::string peer_role;                  // kSiteRole | kWitnessRole: the certificate's, or what witness_if() says
    std::string signed_role;                // from the certificate alone; empty: it is from before there were roles
    std::string peer_address;               // the same
    bool local = false;                     // came by the unix socket
    [[nodiscard]] Result<Json> json() const;  // the body; empty body = {}
};

struct RestResponse {
    int status = 200;
    std::string body;
    std::string content_type = "application/json";
    static RestResponse of(const Json& value, int status = 200);
    static RestResponse of(const Error& error);  // status by kind, body {"error":{..}}
};

int http_status(Kind kind);

enum class Access : std::uint8_t {
    kSites,    // unix socket, or a site's certificate
    kMembers,  // also the witness's, which may do nothing else
    kOpen,     // also TCP without a client certificate
    kLocal,    // unix socket only
};

class RestServer final {
public:
    using Handler = std::function<RestResponse(const RestRequest&)>;

    RestServer();
    ~RestServer();  // stop()
    RestServer(const RestServer&) = delete;
    RestServer& operator=(const RestServer&) = delete;

    // Pattern: "/1.0/vms/*/start"; `*` is one non-empty path component. A pattern without `*` wins over one with. An unknown path answers 404, a known
    // one with another method 405.
    void route(std::string_view method, std::string_view pattern, Handler handler, Access access = Access::kSites);
    // Tells whether a site is a witness, for certificates that say no role: they are from before there were roles. Before the first listen call.
    void witness_if(std::function<bool(const std::string& site)> is_witness);
    // Removes a stale socket file, listens with mode 0660 and, where that group exists, group `group`.
    Result<void> listen_unix(const std::string& path, const std::string& group = "blanket");
    // Port 0 = any free one. A second call replaces the listener (the identity changed); running requests of the old one end first.
    Result<std::uint16_t> listen_tls(const TlsContext& tls, const std::string& address, std::uint16_t port);
    // The listener on TCP, if there is one, shows this identity to those who come from now on and checks them by it; nothing that is open ends.
    Result<void> renew_tls(const TlsContext& tls);
    // Stops accepting, waits for running requests, joins.
    void stop();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace blanket
