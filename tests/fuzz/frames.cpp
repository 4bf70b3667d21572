// SPDX-License-Identifier: GPL-2.0-or-later
// The framed channel against a member of the federation that sends anything: a frame comes out as it was sent, one that is too large is refused before memory is
// taken for it, and what is cut short is an error.
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <thread>

#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/peer/identity.hpp"
#include "toolstack/peer/channel.hpp"
#include "toolstack/peer/ssl_ptr.hpp"

namespace blanket::fuzz {

// What OpenSSL has for two ends, and one frame; of a frame that is announced with 8 MiB, so much.
const std::size_t target::kHeap = 12u << 20;

namespace {

std::string frame(std::uint32_t type, std::string_view payload) { return Output().number(type).number(static_cast<std::uint32_t>(payload.size())).text(payload); }

void say(const TlsContext& tls, UniqueFd socket, std::span<const std::byte> bytes, std::size_t piece) {
    const SslPtr ssl(SSL_new(tls.raw()));
    SSL_set_fd(ssl.get(), socket.get());
    if (SSL_connect(ssl.get()) != 1) return;
    for (; !bytes.empty(); bytes = bytes.subspan(std::min(piece, bytes.size())))
        if (SSL_write(ssl.get(), bytes.data(), static_cast<int>(std::min(piece, bytes.size()))) <= 0) return;
    (void)SSL_shutdown(ssl.get());
}

}  // namespace

std::vector<std::string> target::seeds() {
    const std::string one = frame(1, "{\"version\":2}"), none = frame(8, "");
    return {Output().byte(255).text(one + none + one), Output().byte(0).text(one), Output().byte(3).text(one).number(std::uint32_t{7}).number(std::uint32_t{8u << 20}).text("cut"),
            Output().byte(3).text(none).number(std::uint32_t{7}).number(std::uint32_t{(8u << 20) + 1}), Output().byte(3).number(~std::uint64_t{0}), Output().byte(1)};
}

void target::run(Input input) {
    struct Sites {
        test::TempDir dir;
        test::Authority authority{dir.path()};
        TlsContext east = authority.identity("east"), west = authority.identity("west");
    };
    static Sites& sites = *new Sites;  // gone with the process's /tmp
    const std::size_t piece = 1 + input.byte();
    const auto sent = input.rest();
    int pair[2] = {-1, -1};
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "no sockets");
    UniqueFd ours(pair[0]);
    std::jthread peer([&, theirs = UniqueFd(pair[1])]() mutable { say(sites.east, std::move(theirs), sent, piece); });
    auto channel = Channel::accept(sites.west, std::move(ours), std::chrono::seconds(10));
    require_value(channel, "an honest handshake");
    require((*channel)->peer() == "east", "another peer");
    Input expected(sent);
    for (;;) {
        const auto got = (*channel)->receive(std::chrono::seconds(10));
        const auto type = expected.number<std::uint32_t>(), length = expected.number<std::uint32_t>();
        const auto payload = expected.bytes(length);
        if (!got) {
            require(got.error().kind == Kind::kInvalid || got.error().kind == Kind::kIo, "another error than was due: " + got.error().what);
            require((got.error().kind == Kind::kInvalid) == (length > Channel::kMaxPayload), "a frame that is refused, and should not be: " + got.error().what);
            require(length > Channel::kMaxPayload || payload.size() < length || expected.empty(), "a whole frame is refused");
            return;
        }
        require(got->type == type && std::ranges::equal(got->payload, payload) && payload.size() == length, "a frame that is another");
        (void)got->json();
    }
}

}  // namespace blanket::fuzz
