// SPDX-License-Identifier: GPL-2.0-or-later
// See rates.hpp.
#include "tests/bench/migrate/rates.hpp"

#include <array>
#include <chrono>
#include <memory>
#include <openssl/evp.h>
#include <sys/socket.h>
#include <thread>
#include <vector>

#include "tests/bench/migrate/method.hpp"
#include "toolstack/base/fd.hpp"

namespace blanket::bench {
namespace {

constexpr int kRecord = 16 * 1024, kRecords = 16 * 1024;         // 256 MiB
constexpr std::size_t kWrite = 256 * 1024, kWrites = 4 * 1024;  // 1 GiB

struct FreeCipher {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

bool encrypt(EVP_CIPHER_CTX* context, const std::vector<unsigned char>& plain, std::vector<unsigned char>& out) {
    std::array<unsigned char, 12> nonce{};
    std::array<unsigned char, 16> tag{};
    for (int record = 0; record < kRecords; ++record) {
        nonce[0] = static_cast<unsigned char>(record);
        int length = 0;
        if (EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, nonce.data()) != 1 || EVP_EncryptUpdate(context, out.data(), &length, plain.data(), kRecord) != 1 ||
            EVP_EncryptFinal_ex(context, out.data() + length, &length) != 1 || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, tag.data()) != 1)
            return false;
    }
    return true;
}

}  // namespace

Result<double> measure_cipher() {
    const std::unique_ptr<EVP_CIPHER_CTX, FreeCipher> context(EVP_CIPHER_CTX_new());
    constexpr std::array<unsigned char, 16> kKey{1, 2, 3};
    if (!context || EVP_EncryptInit_ex(context.get(), EVP_aes_128_gcm(), nullptr, kKey.data(), nullptr) != 1) return fail(Kind::kInternal, "OpenSSL has no AES-128-GCM");
    const std::vector<unsigned char> plain(kRecord, 7);
    std::vector<unsigned char> out(kRecord + 32);
    bool good = true;
    const double seconds = CpuMeter().cost(0, [&] { good = encrypt(context.get(), plain, out); });
    if (!good) return fail(Kind::kInternal, "AES-128-GCM fails");
    return seconds / (static_cast<double>(kRecord) * kRecords);
}

Result<double> measure_socket() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return fail_errno("socketpair", "");
    const UniqueFd in(ends[0]);
    UniqueFd out(ends[1]);
    const auto begin = std::chrono::steady_clock::now();
    Result<void> written;
    std::size_t read = 0;
    {
        const std::jthread writer([&] {
            const std::vector<std::byte> data(kWrite, std::byte{1});
            for (std::size_t i = 0; i < kWrites && written; ++i) written = write_all(out.get(), data);
            out.reset();
        });
        std::vector<std::byte> buffer(kWrite);
        for (;;) {
            const auto got = read_some(in.get(), buffer);
            if (!got || *got == 0) break;
            read += *got;
        }
    }
    if (!written) return std::unexpected(written.error());
    if (read != kWrite * kWrites) return fail(Kind::kIo, "{} of {} bytes came through a local socket", read, kWrite * kWrites);
    return static_cast<double>(read) / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace blanket::bench
