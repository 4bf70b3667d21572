// SPDX-License-Identifier: GPL-2.0-or-later
// The little of HTTP/1.1 (RFC 9112) that the client needs: one request, one reply, Content-Length or chunked. Pure. Called by client.
#pragma once

#include <string>
#include <string_view>

#include "toolstack/base/result.hpp"

namespace blanket::cli {

// "GET /1.0 HTTP/1.1" and the headers; a body goes as JSON. `path` must be encoded already.
std::string http_request(std::string_view method, std::string_view path, std::string_view body);
std::string percent_encode(std::string_view segment);  // for one segment or one query value

// Takes a reply as it comes. Bounds: 32 KiB of headers, 16 MiB of body. Errors are kIo: the daemon's answer is not HTTP, too long, or cut short.
class ReplyParser final {
public:
    Result<void> feed(std::string_view data);
    Result<void> end_of_stream();  // no more data will come
    [[nodiscard]] bool done() const { return state_ == State::kDone; }
    [[nodiscard]] int status() const { return status_; }
    [[nodiscard]] const std::string& body() const { return body_; }

private:
    enum class State : std::uint8_t { kHead, kLength, kChunkSize, kChunkData, kChunkEnd, kTrailer, kUntilClose, kDone };
    Result<void> step(bool& more);
    Result<void> parse_head(std::string_view head);
    Result<void> take_body(std::size_t count);

    State state_ = State::kHead;
    int status_ = 0;
    std::size_t left_ = 0;  // of the body or the chunk
    std::size_t trailer_ = 0;
    std::string buffer_, body_;
};

}  // namespace blanket::cli
