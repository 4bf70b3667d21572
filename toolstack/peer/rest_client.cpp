// SPDX-License-Identifier: GPL-2.0-or-later
// See rest_client.hpp.
#include "toolstack/peer/rest_client.hpp"

#include <algorithm>
#include <httplib.h>
#include <mutex>

#include "toolstack/peer/ssl_ptr.hpp"

namespace blanket {
namespace {

constexpr std::size_t kMaxAnswer = 32u << 20;

// The CA that the server sent has the pinned fingerprint and signed the server's own certificate.
bool verify_pinned(const SSL* ssl, const std::string& pin) {
    X509* leaf = SSL_get0_peer_certificate(ssl);
    const STACK_OF(X509)* chain = SSL_get_peer_cert_chain(ssl);
    if (leaf == nullptr || chain == nullptr) return false;
    for (int i = 0; i < sk_X509_num(chain); ++i) {
        X509* ca = sk_X509_value(chain, i);
        if (X509_check_ca(ca) == 1 && x509_fingerprint(ca) == pin) return x509_signed_by(leaf, ca);
    }
    return false;
}

// A call that waits for a site that is revoked meanwhile ends at once.
class Calling final : public Cuttable {
public:
    explicit Calling(httplib::ClientImpl& client) : client_(&client) {}
    void cut() override {
        const std::scoped_lock lock(mutex_);
        if (client_ != nullptr) client_->stop();
    }
    void over() {
        const std::scoped_lock lock(mutex_);
        client_ = nullptr;
    }

private:
    std::mutex mutex_;
    httplib::ClientImpl* client_;
};

Error revoked(const std::string& site) { return {Kind::kDenied, std::format("site '{}' is revoked: it is cut off from the federation", site), "blanket site list"}; }

Error transport_error(httplib::Error code, const std::string& where, const std::string& method, const std::string& path) {
    const std::string what = std::format("{} {} at {}: {}", method, path, where, httplib::to_string(code));
    switch (code) {
        case httplib::Error::SSLServerVerification:
        case httplib::Error::SSLServerHostnameVerification:
        case httplib::Error::SSLLoadingCerts:
            return {Kind::kDenied, what + " (its certificate is not the expected one)", "check the address, and that both sites are of the same federation"};
        case httplib::Error::Read: return {Kind::kTimeout, what + " (no answer in time, or the server refused our certificate)", {}};
        default: return {Kind::kUnavailable, what, "check that blanketd runs there and that the address and port are reachable"};
    }
}

Result<RestReply> exchange(httplib::ClientImpl& client, const std::string& where, const std::string& method, const std::string& path, const Json* body,
                           std::chrono::seconds deadline) {
    client.set_connection_timeout(std::min(deadline, std::chrono::seconds(10)));
    client.set_read_timeout(deadline);
    client.set_write_timeout(std::min(deadline, std::chrono::seconds(30)));
    client.set_tcp_nodelay(true);
    httplib::Request request;
    request.method = method;
    request.path = path;
    request.headers = {{"Host", "localhost"}, {"Connection", "close"}};
    if (body != nullptr) {
        request.body = body->dump(-1, ' ', false, Json::error_handler_t::replace);
        request.headers.emplace("Content-Type", "application/json");
    }
    std::string answer;
    bool flood = false;
    request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
        flood = answer.size() + size > kMaxAnswer;
        if (!flood) answer.append(data, size);
        return !flood;
    };
    const httplib::Result result = client.send(request);
    if (flood) return fail(Kind::kIo, "the answer to {} {} is longer than {} bytes", method, path, kMaxAnswer);
    if (!result) return std::unexpected(transport_error(result.error(), where, method, path));
    RestReply reply;
    reply.status = result->status;
    if (answer.empty()) reply.body = Json::object();
    else {
        auto parsed = parse_json(answer, kMaxAnswer);
        if (!parsed) return std::unexpected(std::move(parsed).error().context(std::format("answer to {} {} (HTTP {})", method, path, reply.status)));
        reply.body = std::move(*parsed);
    }
    return reply;
}

}  // namespace

RestClient RestClient::unix_socket(const std::string& path) {
    RestClient client;
    client.host_ = path;
    return client;
}

RestClient RestClient::site(const TlsContext& tls, const std::string& host, std::uint16_t port, const std::string& expected_site) {
    RestClient client;
    client.mode_ = Mode::kSite;
    client.tls_ = tls;
    client.host_ = host;
    client.port_ = port;
    client.expected_site_ = expected_site;
    return client;
}

RestClient RestClient::pinned(const std::string& ca_sha256, const std::string& host, std::uint16_t port) {
    RestClient client;
    client.mode_ = Mode::kPinned;
    client.host_ = host;
    client.port_ = port;
    client.pin_ = ca_sha256;
    return client;
}

RestClient RestClient::unverified(const std::string& host, std::uint16_t port) {
    RestClient client;
    client.mode_ = Mode::kUnverified;
    client.host_ = host;
    client.port_ = port;
    return client;
}

Result<RestReply> RestClient::call(const std::string& method, const std::string& path, const Json* body, std::chrono::seconds deadline) const {
    if (mode_ == Mode::kUnix) {
        httplib::ClientImpl client(host_, 80);
        client.set_address_family(AF_UNIX);
        return exchange(client, host_, method, path, body, deadline);
    }
    const std::string where = std::format("{}:{}", host_, port_);
    httplib::SSLClient client(host_, port_);
    if (mode_ == Mode::kSite) {
        BLANKET_CHECK(tls_.apply(client.ssl_context(), true));
        client.set_ca_cert_path(tls_.paths().ca_cert);
        client.set_server_certificate_verifier([this](SSL* ssl) {
            const std::string name = peer_name(ssl);
            return !name.empty() && !tls_.refuses(name) && (expected_site_.empty() || name == expected_site_);
        });
        if (!expected_site_.empty()) {
            const auto calling = std::make_shared<Calling>(client);
            if (!tls_.enrol(expected_site_, calling)) return std::unexpected(revoked(expected_site_));
            auto reply = exchange(client, where, method, path, body, deadline);
            calling->over();
            if (tls_.refuses(expected_site_)) return std::unexpected(revoked(expected_site_));
            return reply;
        }
    } else {
        SSL_CTX_set_min_proto_version(client.ssl_context(), TLS1_3_VERSION);
        client.set_server_certificate_verifier([this](SSL* ssl) { return mode_ == Mode::kUnverified || verify_pinned(ssl, pin_); });
    }
    return exchange(client, where, method, path, body, deadline);
}

Result<Json> RestClient::call_ok(const std::string& method, const std::string& path, const Json* body, std::chrono::seconds deadline) const {
    BLANKET_TRY(RestReply reply, call(method, path, body, deadline));
    if (reply.status >= 400) return std::unexpected(error_from_json(reply.body));
    return std::move(reply.body);
}

}  // namespace blanket
