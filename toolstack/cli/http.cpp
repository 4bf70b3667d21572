// SPDX-License-Identifier: GPL-2.0-or-later
// See http.hpp.
#include "toolstack/cli/http.hpp"

#include <algorithm>
#include <charconv>

#include "toolstack/base/text.hpp"

namespace blanket::cli {
namespace {

constexpr std::size_t kMaxHead = 32u << 10;
constexpr std::size_t kMaxBody = 16u << 20;
constexpr std::size_t kMaxChunkLine = 128;

bool same_word(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) { return (x | 0x20) == (y | 0x20); });
}

}  // namespace

std::string http_request(std::string_view method, std::string_view path, std::string_view body) {
    std::string text = std::format("{} {} HTTP/1.1\r\nHost: blanketd\r\nAccept: application/json\r\nConnection: close\r\n", method, path);
    if (!body.empty()) text += "Content-Type: application/json\r\n";
    if (!body.empty() || method == "POST") text += std::format("Content-Length: {}\r\n", body.size());
    text += "\r\n";
    text += body;
    return text;
}

std::string percent_encode(std::string_view segment) {
    constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    std::string text;
    for (const char c : segment)
        if (kPlain.contains(c)) text += c;
        else text += std::format("%{:02X}", static_cast<unsigned char>(c));
    return text;
}

Result<void> ReplyParser::parse_head(std::string_view head) {
    const auto lines = split(head, '\n');
    const std::string_view first = trim(lines[0]);
    const auto code = first.size() >= 12 && first.starts_with("HTTP/1.") ? parse_number(first.substr(9, 3), 100, 599, "status") : fail(Kind::kIo, "no status");
    if (!code) return fail(Kind::kIo, "the answer is not HTTP: '{}'", first.substr(0, 60));
    status_ = static_cast<int>(*code);
    bool chunked = false, length = false;
    for (std::size_t i = 1; i < lines.size(); ++i) {
        const std::string_view line = trim(lines[i]);
        const auto colon = line.find(':');
        if (line.empty() || colon == std::string_view::npos) continue;
        const std::string_view name = line.substr(0, colon), value = trim(line.substr(colon + 1));
        if (same_word(name, "transfer-encoding")) {
            if (!same_word(value, "chunked")) return fail(Kind::kIo, "transfer encoding '{}' is not known", value.substr(0, 40));
            chunked = true;
        } else if (same_word(name, "content-length")) {
            const auto bytes = parse_number(value, 0, kMaxBody, "Content-Length");
            if (!bytes) return fail(Kind::kIo, "the answer's length '{}' is more than {}", value.substr(0, 40), format_bytes(kMaxBody));
            left_ = static_cast<std::size_t>(*bytes);
            length = true;
        }
    }
    if (status_ >= 100 && status_ < 200) state_ = State::kHead;  // 100 Continue: the real one follows
    else if (chunked) state_ = State::kChunkSize;
    else if (status_ == 204 || status_ == 304 || (length && left_ == 0)) state_ = State::kDone;
    else state_ = length ? State::kLength : State::kUntilClose;
    return {};
}

Result<void> ReplyParser::take_body(std::size_t count) {
    if (body_.size() + count > kMaxBody) return fail(Kind::kIo, "the answer is longer than {}", format_bytes(kMaxBody));
    body_.append(buffer_, 0, count);
    buffer_.erase(0, count);
    return {};
}

// One step of the state machine; more = something was consumed and the next step may go on.
Result<void> ReplyParser::step(bool& more) {
    more = false;
    const auto line_end = [&] { return buffer_.find("\r\n"); };
    switch (state_) {
        case State::kHead: {
            const auto end = buffer_.find("\r\n\r\n");  // of which all but the last byte may be here already
            if (end == std::string::npos ? buffer_.size() > kMaxHead + 3 : end > kMaxHead) return fail(Kind::kIo, "the answer's headers are longer than {}", format_bytes(kMaxHead));
            if (end == std::string::npos) return {};
            const std::string head = buffer_.substr(0, end);
            buffer_.erase(0, end + 4);
            more = true;
            return parse_head(head);
        }
        case State::kLength:
        case State::kChunkData: {
            const std::size_t count = std::min(left_, buffer_.size());
            if (count == 0) return {};
            BLANKET_CHECK(take_body(count));
            left_ -= count;
            if (left_ == 0) state_ = state_ == State::kLength ? State::kDone : State::kChunkEnd;
            more = true;
            return {};
        }
        case State::kChunkSize: {
            const auto end = line_end();
            if (end == std::string::npos ? buffer_.size() > kMaxChunkLine + 1 : end > kMaxChunkLine) return fail(Kind::kIo, "a chunk's size line is too long");
            if (end == std::string::npos) return {};
            std::size_t size = 0;
            const auto [stop, code] = std::from_chars(buffer_.data(), buffer_.data() + end, size, 16);
            const bool good = code == std::errc() && (stop == buffer_.data() + end || *stop == ';' || *stop == ' ');
            if (!good || size > kMaxBody) return fail(Kind::kIo, "a chunk's size '{}' is not possible", buffer_.substr(0, std::min<std::size_t>(end, 20)));
            buffer_.erase(0, end + 2);
            left_ = size;
            state_ = size == 0 ? State::kTrailer : State::kChunkData;
            more = true;
            return {};
        }
        case State::kChunkEnd:
            if (buffer_.size() < 2) return {};
            if (!buffer_.starts_with("\r\n")) return fail(Kind::kIo, "a chunk does not end where it should");
            buffer_.erase(0, 2);
            state_ = State::kChunkSize;
            more = true;
            return {};
        case State::kTrailer: {
            const auto end = line_end();
            trailer_ += end == std::string::npos ? 0 : end + 2;
            if (trailer_ > kMaxHead || (end == std::string::npos && buffer_.size() > kMaxHead)) return fail(Kind::kIo, "the answer's trailer is too long");
            if (end == std::string::npos) return {};
            if (end == 0) state_ = State::kDone;
            buffer_.erase(0, end + 2);
            more = true;
            return {};
        }
        case State::kUntilClose: return take_body(buffer_.size());
        case State::kDone: return {};
    }
    return {};
}

Result<void> ReplyParser::feed(std::string_view data) {
    buffer_ += data;
    for (bool more = true; more && state_ != State::kDone;) BLANKET_CHECK(step(more));
    return {};
}

Result<void> ReplyParser::end_of_stream() {
    if (state_ == State::kUntilClose) state_ = State::kDone;
    if (state_ != State::kDone) return fail(Kind::kIo, "the answer was cut short");
    return {};
}

}  // namespace blanket::cli
