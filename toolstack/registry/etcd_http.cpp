// SPDX-License-Identifier: GPL-2.0-or-later
// See etcd_http.hpp.
#include "toolstack/registry/etcd_http.hpp"

#include <algorithm>
#include <csignal>
#include <httplib.h>

#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

constexpr std::size_t kMaxAnswer = 64u << 20, kMaxLine = 16u << 20;
constexpr std::size_t kMaxIdle = 4;
constexpr auto kConnect = std::chrono::seconds(4);       // TCP and TLS each, over a WAN with an emulated CPU at both ends
constexpr auto kSilence = std::chrono::seconds(40);      // etcd sends progress every 10 s (etcd_process.cpp)

bool before_sending(httplib::Error code) {
    using enum httplib::Error;
    return code == Connection || code == ConnectionTimeout || code == SSLConnection || code == SSLLoadingCerts || code == SSLServerVerification ||
           code == SSLServerHostnameVerification;
}

}  // namespace

struct EtcdHttp::Connection {
    httplib::SSLClient client;
    Connection(const std::string& host, int port, const EtcdTls& tls) : client(host, port, tls.cert, tls.key) {}
};

EtcdHttp::EtcdHttp(EtcdTls tls) : tls_(std::move(tls)) { std::signal(SIGPIPE, SIG_IGN); }
EtcdHttp::~EtcdHttp() = default;

Result<std::unique_ptr<EtcdHttp::Connection>> EtcdHttp::open(const std::string& endpoint) const {
    const auto colon = endpoint.rfind(':');
    if (colon == std::string::npos) return fail(Kind::kInvalid, "etcd endpoint '{}' is not host:port", endpoint);
    BLANKET_TRY(const std::uint64_t port, parse_number(std::string_view(endpoint).substr(colon + 1), 1, 65535, "port"));
    auto connection = std::make_unique<Connection>(endpoint.substr(0, colon), static_cast<int>(port), tls_);
    auto& client = connection->client;
    if (!client.is_valid()) return fail(Kind::kDenied, "cannot use the certificate {} for etcd", tls_.cert);
    SSL_CTX_set_min_proto_version(client.ssl_context(), TLS1_3_VERSION);
    client.set_ca_cert_path(tls_.ca_cert);
    client.enable_server_certificate_verification(true);  // chain and the address in its SAN
    client.set_keep_alive(true);
    client.set_tcp_nodelay(true);
    client.set_url_encode(false);
    client.set_connection_timeout(kConnect);
    client.set_write_timeout(kConnect);
    return connection;
}

Result<EtcdReply> EtcdHttp::post(const std::string& endpoint, const std::string& path, const std::string& body, std::chrono::milliseconds deadline) {
    std::unique_ptr<Connection> connection;
    {
        const std::scoped_lock lock(mutex_);
        if (const auto at = idle_.find(endpoint); at != idle_.end()) {
            connection = std::move(at->second);
            idle_.erase(at);
        }
    }
    if (!connection) {
        BLANKET_TRY(connection, open(endpoint));
    }
    auto& client = connection->client;
    client.set_connection_timeout(std::min<std::chrono::milliseconds>(deadline, kConnect));
    client.set_read_timeout(deadline);
    httplib::Request request;
    request.method = "POST";
    request.path = path;
    request.body = body;
    request.headers = {{"Content-Type", "application/json"}};
    EtcdReply reply;
    bool flood = false;
    request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
        flood = reply.body.size() + size > kMaxAnswer;
        if (!flood) reply.body.append(data, size);
        return !flood;
    };
    const httplib::Result result = client.send(request);
    if (flood) return fail(Kind::kIo, "etcd at {} answered more than {} bytes", endpoint, kMaxAnswer);
    if (!result)
        return fail(before_sending(result.error()) ? Kind::kUnavailable : Kind::kTimeout, "etcd at {}: {}", endpoint, httplib::to_string(result.error()));
    reply.status = result->status;
    const std::scoped_lock lock(mutex_);
    if (idle_.size() < kMaxIdle) idle_.emplace(endpoint, std::move(connection));
    return reply;
}

Result<void> EtcdHttp::stream(const std::string& endpoint, const std::string& path, const std::string& body, std::stop_token stop,
                              const std::function<Result<void>(std::string_view)>& on_line) {
    BLANKET_TRY(const auto connection, open(endpoint));
    auto& client = connection->client;
    client.set_read_timeout(kSilence);
    httplib::Request request;
    request.method = "POST";
    request.path = path;
    request.body = body;
    request.headers = {{"Content-Type", "application/json"}};
    std::string line;
    Result<void> outcome;
    request.content_receiver = [&](const char* data, std::size_t size, std::uint64_t, std::uint64_t) {
        if (stop.stop_requested()) return false;
        std::string_view rest(data, size);
        while (outcome && !rest.empty()) {
            const auto end = rest.find('\n');
            line.append(rest.substr(0, end));
            if (line.size() > kMaxLine) outcome = fail(Kind::kIo, "etcd sent a line longer than {} bytes", kMaxLine);
            if (end == std::string_view::npos) break;
            rest.remove_prefix(end + 1);
            if (outcome && !line.empty()) outcome = on_line(line);
            line.clear();
        }
        return outcome.has_value();
    };
    const std::stop_callback wake(stop, [&client] { client.stop(); });
    if (stop.stop_requested()) return {};
    const httplib::Result result = client.send(request);
    if (!outcome || stop.stop_requested()) return outcome;
    if (!result) return fail(Kind::kUnavailable, "etcd at {}: {}", endpoint, httplib::to_string(result.error()));
    return fail(Kind::kUnavailable, "etcd at {} ended the stream (HTTP {})", endpoint, result->status);
}

}  // namespace blanket
