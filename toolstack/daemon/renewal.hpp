// SPDX-License-Identifier: GPL-2.0-or-later
// A member's certificate, signed anew with the same key once half of its life is over: by itself where it holds the CA's key, by the site that does otherwise. Used by
// Federation and by blanket-witness. Thread safe.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "toolstack/core/ports.hpp"
#include "toolstack/peer/pki.hpp"
#include "toolstack/peer/tls_context.hpp"

namespace blanket {

class Renewal final {
public:
    // `root`/pki holds the certificate; `rest_port`: of the other sites.
    Renewal(std::string root, Subject subject, std::uint16_t rest_port) : root_(std::move(root)), subject_(std::move(subject)), rest_port_(rest_port) {}

    // True at most once an hour, while the certificate is past half of its life at `now` (Unix seconds), or is one from before there were roles. Reads one file.
    Result<bool> due(std::int64_t now);
    // Here is the CA's key: ourselves() needs nobody.
    [[nodiscard]] bool alone() const;
    // Signs it anew where the CA's key is, also when it has expired. As renew() otherwise.
    Result<void> ourselves();
    // Asks, checks what comes back and replaces the one file root/pki/site.crt, whole or not at all. Waits 20 s at most for the other site. kUnavailable: it is away;
    // kInvalid: its answer is no certificate of ours, or does not last longer than the one that we have.
    Result<void> renew(Registry& registry, const TlsContext& tls);

private:
    Result<void> replace(const std::function<Result<std::string>(const std::string& csr, const std::string& ca)>& sign) const;
    Result<std::string> ask(Registry& registry, const TlsContext& tls, const std::string& csr) const;

    std::string root_;
    Subject subject_;
    std::uint16_t rest_port_;
    std::mutex mutex_;
    std::int64_t asked_ = 0;  // under mutex_
};

}  // namespace blanket
