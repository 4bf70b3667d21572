// SPDX-License-Identifier: GPL-2.0-or-later
// httplib's server over our own TLS: who has not shown a certificate has a few seconds for the handshake and a few more for the whole request, and cannot keep others out
// by holding connections open (knocks.hpp). Used by rest_server.cpp.
#pragma once

#include <httplib.h>

#include <memory>
#include <mutex>

#include "toolstack/peer/knocks.hpp"
#include "toolstack/peer/tls_context.hpp"

namespace blanket {

class RestTlsServer final : public httplib::Server {
public:
    // Threads that it needs besides those that answer.
    static constexpr std::size_t kThreads = Knocks::kMost;

    static Result<std::unique_ptr<RestTlsServer>> create(const TlsContext& tls);
    // Connections from now on see this identity and are checked by it; those that there are go on as they began.
    Result<void> use(const TlsContext& tls);
    // The request of the connection that this thread serves is being answered: it is not one any more that only holds its place.
    static void answering();
    // At the end, or it would wait for those that have not shown a certificate.
    void end_strangers() { knocks_.end_all(); }

private:
    explicit RestTlsServer(std::shared_ptr<ssl_ctx_st> context) : context_(std::move(context)) {}
    bool process_and_close_socket(socket_t socket) override;

    std::mutex mutex_;
    std::shared_ptr<ssl_ctx_st> context_;  // under mutex_
    Knocks knocks_;
};

}  // namespace blanket
