// SPDX-License-Identifier: GPL-2.0-or-later
// What --out names may be a device or a link.
#include "toolstack/cli/output_file.hpp"

#include <array>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::cli {
namespace {

TEST(OutputFile, IsReplacedOnlyWhereItIsARegularFile) {
    const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("output-" + random_hex(4));
    std::filesystem::create_directories(folder);
    const std::string pipe = folder / "pipe", file = folder / "file", link = folder / "link", nowhere = folder / "nowhere";
    ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
    const UniqueFd reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    ASSERT_TRUE(write_output(pipe, "text"));
    std::array<std::byte, 16> read{};
    EXPECT_EQ(read_some(reader.get(), read).value_or(0), 4u);
    EXPECT_TRUE(std::filesystem::is_fifo(pipe));
    ASSERT_TRUE(write_output(file, "a longer text"));
    ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
    ASSERT_TRUE(write_output(file, "text"));
    EXPECT_EQ(read_file(file).value_or("?"), "text");
    struct stat info{};
    ASSERT_EQ(::stat(file.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
    std::filesystem::create_symlink("file", link);
    ASSERT_TRUE(write_output(link, "t"));
    EXPECT_TRUE(std::filesystem::is_symlink(link));
    EXPECT_EQ(read_file(file).value_or("?"), "t");
    std::filesystem::create_symlink("new", nowhere);
    ASSERT_TRUE(write_output(nowhere, "made"));
    EXPECT_EQ(read_file(folder / "new").value_or("?"), "made");
    EXPECT_FALSE(write_output(folder, "x"));
    EXPECT_EQ(write_output(folder / "none/file", "x").error().kind, Kind::kNotFound);
    std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace blanket::cli
