// SPDX-License-Identifier: GPL-2.0-or-later
// A very small HTTP/1.1 server for the demo's guests: keep-alive, no bodies in requests, a thread per connection. demo_guest.cpp gives it its routes.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket::lab {

struct HttpRequest {
    std::string method, path;
    std::map<std::string, std::string> query;  // percent-decoding is not done: values are names and numbers
    [[nodiscard]] std::string get(const std::string& name, const std::string& fallback = {}) const;
    [[nodiscard]] std::uint64_t number(const std::string& name, std::uint64_t fallback) const;
};

// Pure: the head of a request, without the empty line that ends it.
Result<HttpRequest> parse_http_head(std::string_view head);
bool wants_close(std::string_view head);

// 200 with the text, or 404, 400 or 500 with the error's text.
using HttpHandler = std::function<Result<std::string>(const HttpRequest&)>;
// Serves on all addresses until the process ends; returns only when it cannot listen.
Result<void> serve_http(std::uint16_t port, const HttpHandler& handler);

}  // namespace blanket::lab
