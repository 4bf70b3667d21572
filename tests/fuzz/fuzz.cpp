// SPDX-License-Identifier: GPL-2.0-or-later
// Between libFuzzer and a target: counts the heap, and writes the target's seeds into a folder (BLANKET_SEEDS=FOLDER), one file each, named as libFuzzer does.
#include "tests/fuzz/fuzz.hpp"

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <openssl/evp.h>
#include <sanitizer/allocator_interface.h>
#include <unistd.h>

namespace blanket::fuzz {
namespace {

std::atomic<std::size_t> heap_now = 0, heap_most = 0;

void taken(const volatile void* at, std::size_t) {
    const std::size_t now = heap_now.fetch_add(__sanitizer_get_allocated_size(const_cast<const void*>(at))) + __sanitizer_get_allocated_size(const_cast<const void*>(at));
    std::size_t most = heap_most;
    while (now > most && !heap_most.compare_exchange_weak(most, now)) {}
}
void given_back(const volatile void* at) { heap_now -= __sanitizer_get_allocated_size(const_cast<const void*>(at)); }

std::string sha1_hex(std::string_view data) {
    unsigned char hash[20];
    unsigned length = 0;
    EVP_Digest(data.data(), data.size(), hash, &length, EVP_sha1(), nullptr);
    std::string text;
    for (const unsigned char byte : hash) text += std::format("{:02x}", byte);
    return text;
}

void write_seeds(const std::string& folder) {
    std::size_t count = 0;
    for (const auto& seed : target::seeds()) {
        require(seed.size() <= 4096, "a seed is longer than 4 KiB");
        std::ofstream file(folder + "/" + sha1_hex(seed), std::ios::binary);
        file.write(seed.data(), static_cast<std::streamsize>(seed.size())).flush();
        require(file.good(), "a seed cannot be written");
        ++count;
    }
    require(count > 0, "the target has no seeds");
}

}  // namespace

void broken(std::string_view what) {
    std::fprintf(stderr, "\nBROKEN: %.*s\n", static_cast<int>(what.size()), what.data());
    std::abort();
}

std::string scratch(std::string_view name) { return std::format("/tmp/fuzz-{}-{}", ::getpid(), name); }

}  // namespace blanket::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    std::signal(SIGPIPE, SIG_IGN);  // as blanketd does
    if (const char* const folder = std::getenv("BLANKET_SEEDS")) {
        blanket::fuzz::write_seeds(folder);
        std::_Exit(0);
    }
    blanket::fuzz::require(__sanitizer_install_malloc_and_free_hooks(blanket::fuzz::taken, blanket::fuzz::given_back) != 0, "the heap cannot be watched");
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace blanket::fuzz;
    const std::size_t before = heap_now;
    heap_most = before;
    target::run(Input(std::as_bytes(std::span(data, size))));
    const std::size_t most = heap_most, used = most > before ? most - before : 0;
    if (used > target::kHeap) broken(std::format("{} bytes of input took {} bytes of memory, more than {}", size, used, target::kHeap));
    return 0;
}
