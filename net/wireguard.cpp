// SPDX-License-Identifier: GPL-2.0-or-later
// See wireguard.hpp. The key is X25519 (RFC 7748), made and completed by OpenSSL.
#include "net/wireguard.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <limits>
#include <memory>
#include <openssl/evp.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net {
namespace {

using Pkey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Raw = std::array<unsigned char, 32>;

Result<std::string> raw(EVP_PKEY* key, int (*get)(const EVP_PKEY*, unsigned char*, size_t*)) {
    Raw bytes{};
    std::size_t size = bytes.size();
    if (key == nullptr || get(key, bytes.data(), &size) != 1 || size != bytes.size())
        return fail(Kind::kInternal, "OpenSSL gave no X25519 key");
    return base64_encode(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

}  // namespace

Result<WireGuardKey> identity(const std::string& path) {
    auto text = read_file(path, 4096);
    if (!text && text.error().kind != Kind::kNotFound) return std::unexpected(text.error());
    if (text) {
        const std::string secret(trim(*text));
        const auto bytes = base64_decode(secret);
        if (!bytes || bytes->size() != 32)
            return fail_hint(Kind::kInvalid, std::format("'{}' does not hold a WireGuard key", path),
                             "put the old file back, or remove it and let this site join again with a new key");
        Pkey key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, reinterpret_cast<const unsigned char*>(bytes->data()), 32), EVP_PKEY_free);
        BLANKET_TRY(std::string pub, raw(key.get(), EVP_PKEY_get_raw_public_key));
        return WireGuardKey{secret, std::move(pub)};
    }
    BLANKET_TRY(WireGuardKey made, make_identity());
    const auto folder = std::filesystem::path(path).parent_path();
    if (!folder.empty() && !std::filesystem::exists(folder)) BLANKET_CHECK(make_dirs(folder.string(), 0700));
    BLANKET_CHECK(write_identity(path, made));
    return made;
}

Result<WireGuardKey> make_identity() {
    Pkey key(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"), EVP_PKEY_free);
    WireGuardKey made;
    BLANKET_TRY(made.secret, raw(key.get(), EVP_PKEY_get_raw_private_key));
    BLANKET_TRY(made.pub, raw(key.get(), EVP_PKEY_get_raw_public_key));
    return made;
}

Result<void> write_identity(const std::string& path, const WireGuardKey& key) { return write_file(path, key.secret + "\n", 0600); }

std::string wireguard_config(const WireGuardKey& key, const Underlay& underlay, const std::set<std::string>& kept) {
    std::string text = std::format("[Interface]\nPrivateKey = {}\nListenPort = {}\n", key.secret, kWireGuardPort);
    for (const auto& peer : underlay.peers)
        text += std::format("\n[Peer]\nPublicKey = {}\nAllowedIPs = {}\n{}PersistentKeepalive = 25\n", peer.key, peer.allowed,
                            kept.contains(peer.key) || peer.endpoint.empty() ? std::string() : std::format("Endpoint = {}\n", peer.endpoint));
    return text;
}

Result<std::map<std::string, PeerCount>> parse_wireguard_dump(std::string_view text) {
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    constexpr std::size_t kMostPeers = 4096;
    std::map<std::string, PeerCount> out;
    std::size_t at = text.find('\n');
    while (at != std::string_view::npos && at + 1 < text.size()) {
        const std::size_t end = std::min(text.find('\n', at + 1), text.size());
        // public key, preshared key, endpoint, allowed addresses, last handshake, received, sent, keepalive
        const auto words = split(text.substr(at + 1, end - at - 1), '\t');
        if (words.size() != 8) return fail(Kind::kInvalid, "a line of 'wg show dump' has {} words, not 8", words.size());  // none of them is told: one may be secret
        PeerCount peer;
        if (words[2] != "(none)") peer.endpoint = words[2];
        BLANKET_TRY(const auto handshake, parse_number(words[4], 0, kMost, "time of a handshake"));
        BLANKET_TRY(peer.received, parse_number(words[5], 0, kMost, "count of bytes"));
        BLANKET_TRY(peer.sent, parse_number(words[6], 0, kMost, "count of bytes"));
        peer.handshake_s = static_cast<std::int64_t>(handshake);
        if (out.size() == kMostPeers) return fail(Kind::kInvalid, "WireGuard has more than {} peers", kMostPeers);
        out[words[0]] = std::move(peer);
        at = end;
    }
    return out;
}

std::set<std::string> parse_wireguard_endpoints(std::string_view text) {
    std::set<std::string> out;
    for (const auto& line : split(text, '\n')) {
        const auto tab = line.find('\t');
        if (tab != std::string::npos && trim(std::string_view(line).substr(tab + 1)) != "(none)") out.insert(line.substr(0, tab));
    }
    return out;
}

}  // namespace blanket::net
