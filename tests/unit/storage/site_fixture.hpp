// SPDX-License-Identifier: GPL-2.0-or-later
// One site with a fake kernel and a table in a folder of its own; a restart of blanketd or of the host is one call.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/storage/fake_system.hpp"
#include "toolstack/storage/fd_image.hpp"
#include "toolstack/core/content_hash.hpp"
#include "toolstack/storage/thin_move.hpp"

namespace blanket::storage {

struct FakeHost {
    FakeHost() {
        char pattern[] = "/tmp/storage-test-XXXXXX";
        folder = ::mkdtemp(pattern);
    }
    ~FakeHost() { std::filesystem::remove_all(folder); }
    FakeHost(const FakeHost&) = delete;
    FakeHost& operator=(const FakeHost&) = delete;

    Result<void> start() {  // blanketd starts (again)
        store.reset();
        BLANKET_TRY(store, ThinStore::create("blanket/pool", folder + "/storage.json", system));
        return {};
    }
    // An image of `blocks` blocks, block i filled with the letter 'A' + i; every fourth is a hole.
    static std::string image_content(std::size_t blocks) {
        std::string content(blocks * kBlock, '\0');
        for (std::size_t i = 0; i < blocks; ++i)
            if (i % 4 != 3) content.replace(i * kBlock, kBlock, kBlock, static_cast<char>('A' + i));
        return content;
    }
    static std::string hash(const std::string& content) {
        ContentHasher hasher;
        for (std::size_t at = 0; at < content.size(); at += kBlock) hasher.add(as_bytes(std::string_view(content).substr(at, kBlock)));
        return hasher.finish();
    }
    Result<void> import(const std::string& content, const std::string& sha256) const {
        const UniqueFd file(::memfd_create("image", MFD_CLOEXEC));
        BLANKET_CHECK(write_all(file.get(), as_bytes(content)));
        ::lseek(file.get(), 0, SEEK_SET);
        FdImage reader(file.get(), content.size());
        return store->import_image(sha256, content.size(), reader);
    }
    Result<void> import_default() const { return import(image_content(8), hash(image_content(8))); }
    static Volume volume(const std::string& id = "web", bool blank = false) {
        return {.id = id, .image = blank ? "" : hash(image_content(8)), .size = 16 * kBlock, .target = "xvda"};
    }
    Result<std::string> read(const std::string& id = "web") const { return system->user_read(volume_device(id), 0, 16 * kBlock); }

    std::string folder;
    std::shared_ptr<FakeSystem> system = std::make_shared<FakeSystem>();
    std::unique_ptr<ThinStore> store;
};

}  // namespace blanket::storage
