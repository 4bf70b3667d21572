// SPDX-License-Identifier: GPL-2.0-or-later
// See bundle.hpp.
#include "toolstack/update/bundle.hpp"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::update {
namespace {

constexpr std::size_t kBlock = 512, kMaxManifest = 64u << 10, kSignature = 64;

using PublicKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

PublicKey parse_key(const std::string& pem) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
    PublicKey key(bio ? PEM_read_bio_PUBKEY(bio.get(), nullptr, nullptr, nullptr) : nullptr, EVP_PKEY_free);
    if (key && EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_ED25519) key.reset();
    return key;
}

const unsigned char* octets(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

bool signed_by(const std::string& pem, std::string_view text, std::string_view signature) {
    const PublicKey key = parse_key(pem);
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    return key && context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
           EVP_DigestVerify(context.get(), octets(signature), signature.size(), octets(text), text.size()) == 1;
}

std::unexpected<Error> no_update(const std::string& path) {
    return fail_hint(Kind::kInvalid, std::format("'{}' is no update of blanket", path), "make one: ./dev image --format update --sign KEY");
}
std::unexpected<Error> truncated(const std::string& path, std::uint64_t have, std::uint64_t want) {
    return fail_hint(Kind::kInvalid, std::format("'{}' is truncated: it has {} bytes of at least {}", path, have, want), "fetch it again");
}

// The tar member at `at` must be the plain file `name`; its size, at most `most`.
Result<std::uint64_t> member(int fd, const std::string& path, std::uint64_t at, std::uint64_t file_bytes, std::string_view name, std::uint64_t most) {
    if (file_bytes < at + kBlock) return at == 0 ? no_update(path) : truncated(path, file_bytes, at + kBlock);
    std::string header(kBlock, 0);
    BLANKET_CHECK(pread_all(fd, std::as_writable_bytes(std::span(header)), at));
    const auto field = [&](std::size_t from, std::size_t length) {
        const std::string_view text = std::string_view(header).substr(from, length);
        return text.substr(0, text.find('\0'));
    };
    if (field(0, 100) != name || header[156] != '0' || field(257, 5) != "ustar") return no_update(path);
    std::uint64_t size = 0;
    for (const char digit : field(124, 12)) {
        if (digit == ' ') break;
        if (digit < '0' || digit > '7') return no_update(path);
        size = size * 8 + static_cast<std::uint64_t>(digit - '0');  // 11 digits: no overflow
    }
    if (size == 0 || size > most) return no_update(path);
    return size;
}

std::uint64_t padded(std::uint64_t size) { return (size + kBlock - 1) / kBlock * kBlock; }

}  // namespace

Result<std::vector<Key>> read_keys(const std::vector<std::string>& folders) {
    std::vector<Key> keys;
    for (const auto& folder : folders) {
        std::vector<std::string> paths;
        std::error_code code;
        for (const auto& entry : std::filesystem::directory_iterator(folder, code))
            if (entry.path().extension() == ".pub") paths.push_back(entry.path());
        std::ranges::sort(paths);
        for (const auto& path : paths) {
            BLANKET_TRY(std::string pem, read_file(path, 16u << 10));
            if (!parse_key(pem)) return fail_hint(Kind::kInvalid, std::format("'{}' is no Ed25519 public key", path), "openssl pkey -in release.key -pubout");
            keys.push_back({path, std::move(pem)});
        }
    }
    return keys;
}

Result<Bundle> Bundle::open(const std::string& path, const std::vector<Key>& keys) {
    Bundle bundle;
    bundle.fd_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!bundle.fd_) return fail_errno("open", path);
    const int fd = bundle.fd_.get();
    struct stat info{};
    if (::fstat(fd, &info) != 0) return fail_errno("stat", path);
    if (!S_ISREG(info.st_mode)) return fail(Kind::kInvalid, "'{}' is not a file", path);
    const auto bytes = static_cast<std::uint64_t>(info.st_size);
    BLANKET_TRY(const std::uint64_t manifest_size, member(fd, path, 0, bytes, "manifest.json", kMaxManifest));
    const std::uint64_t signature_at = kBlock + padded(manifest_size);
    BLANKET_TRY(const std::uint64_t signature_size, member(fd, path, signature_at, bytes, "manifest.sig", kSignature));
    if (signature_size != kSignature) return no_update(path);
    const std::uint64_t tree_header = signature_at + 2 * kBlock;
    if (bytes < tree_header) return truncated(path, bytes, tree_header);
    std::string manifest(manifest_size, 0), signature(kSignature, 0);
    BLANKET_CHECK(pread_all(fd, std::as_writable_bytes(std::span(manifest)), kBlock));
    BLANKET_CHECK(pread_all(fd, std::as_writable_bytes(std::span(signature)), signature_at + kBlock));
    if (keys.empty())
        return fail_hint(Kind::kDenied, "this machine trusts no key, so it takes no update", "put the public key of whom you trust into /etc/blanket/update-keys/NAME.pub (release.pub of a release)");
    const auto key = std::ranges::find_if(keys, [&](const Key& one) { return signed_by(one.pem, manifest, signature); });
    if (key == keys.end())
        return fail_hint(Kind::kDenied, std::format("'{}' was signed by none of the {} keys that this machine trusts, or was altered", path, keys.size()), "do not use it; the keys are in /etc/blanket/update-keys and /usr/share/blanket/update-keys");
    bundle.signer_ = key->name;
    BLANKET_TRY(bundle.manifest_, parse_manifest(manifest));
    BLANKET_TRY(const std::uint64_t tree_size, member(fd, path, tree_header, bytes, "tree.tar.zst", 8ull << 30));
    if (tree_size != bundle.manifest_.tree_bytes) return fail_hint(Kind::kInvalid, std::format("'{}' was altered: its tree is not as long as the manifest says", path), "fetch it again");
    bundle.tree_at_ = tree_header + kBlock;
    if (bytes < bundle.tree_at_ + tree_size) return truncated(path, bytes, bundle.tree_at_ + tree_size);
    return bundle;
}

Result<void> Bundle::read_tree(const std::function<Result<void>(std::span<const std::byte>)>& sink) const {
    const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) return fail(Kind::kInternal, "OpenSSL has no SHA-256");
    std::vector<std::byte> buffer(1u << 20);
    for (std::uint64_t done = 0; done < manifest_.tree_bytes;) {
        const std::span<std::byte> piece(buffer.data(), static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), manifest_.tree_bytes - done)));
        BLANKET_CHECK(pread_all(fd_.get(), piece, tree_at_ + done));
        if (EVP_DigestUpdate(context.get(), piece.data(), piece.size()) != 1) return fail(Kind::kInternal, "SHA-256 failed");
        BLANKET_CHECK(sink(piece));
        done += piece.size();
    }
    std::array<std::uint8_t, 32> digest{};
    if (EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1) return fail(Kind::kInternal, "SHA-256 failed");
    if (to_hex(digest) != manifest_.tree_sha256) return fail_hint(Kind::kInvalid, "the update's content is not what was signed: it was damaged or altered on its way", "fetch it again");
    return {};
}

}  // namespace blanket::update
