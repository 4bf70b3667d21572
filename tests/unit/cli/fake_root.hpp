// SPDX-License-Identifier: GPL-2.0-or-later
// A folder that plays /sys and /proc for readers with an injectable root; gone with the object.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <string>

#include "toolstack/base/file.hpp"

namespace blanket {

class FakeRoot {
public:
    FakeRoot() {
        std::string name = std::filesystem::temp_directory_path() / "doctor.XXXXXX";
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        path_ = name;
    }
    ~FakeRoot() { std::filesystem::remove_all(path_); }
    void file(const std::string& at, const std::string& text) const {
        std::filesystem::create_directories(std::filesystem::path(path_ + at).parent_path());
        ASSERT_TRUE(write_file(path_ + at, text));
    }
    void link(const std::string& at, const std::string& to) const {
        std::filesystem::create_directories(std::filesystem::path(path_ + at).parent_path());
        std::filesystem::create_symlink(to, path_ + at);
    }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    std::string path_;
};

}  // namespace blanket
