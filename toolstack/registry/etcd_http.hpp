// SPDX-License-Identifier: GPL-2.0-or-later
// One HTTPS exchange with one etcd endpoint; connections are kept for the next one. Only etcd_client.cpp uses it (httplib stays in etcd_http.cpp).
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/registry/etcd_client.hpp"

namespace blanket {

struct EtcdReply {
    int status = 0;
    std::string body;
};

// Thread safe; belongs to one configuration of the client.
class EtcdHttp final {
public:
    explicit EtcdHttp(EtcdTls tls);
    ~EtcdHttp();
    // kUnavailable: no connection, nothing was done. kTimeout: sent, but no whole answer came.
    Result<EtcdReply> post(const std::string& endpoint, const std::string& path, const std::string& body, std::chrono::milliseconds deadline);
    // Streams the answer's lines (without newline, at most 16 MiB each) until `stop`, an error, 40 s without any, or `on_line` returning an error.
    Result<void> stream(const std::string& endpoint, const std::string& path, const std::string& body, std::stop_token stop,
                        const std::function<Result<void>(std::string_view)>& on_line);

private:
    struct Connection;
    Result<std::unique_ptr<Connection>> open(const std::string& endpoint) const;
    EtcdTls tls_;
    std::mutex mutex_;
    std::multimap<std::string, std::unique_ptr<Connection>> idle_;
};

}  // namespace blanket
