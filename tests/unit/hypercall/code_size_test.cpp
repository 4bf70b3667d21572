// SPDX-License-Identifier: GPL-2.0-or-later
// How much code the way to a provider's Xen is, as lines that are not blank, comments included. In the hypervisor: src/, the ABI's header (here only, the modules share it), and what all
// patches add, also those that mend Xen's clocks (02*) and its start (03*). In dom0's kernel: the modules' .c and .h; the frontends are the distribution's own.
// And what each patch says of itself.
#include <algorithm>
#include <filesystem>
#include <gtest/gtest.h>
#include <print>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostOfHypervisor = 900, kMostOfModules = 3000;

bool blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

std::size_t lines_of(const fs::path& file) {
    const auto text = read_file(file.string());
    EXPECT_TRUE(text) << file;
    return text ? static_cast<std::size_t>(std::ranges::count_if(split(*text, '\n'), [](const auto& line) { return !blank(line); })) : 0;
}

std::size_t added_by(const fs::path& patch) {
    const auto text = read_file(patch.string());
    EXPECT_TRUE(text) << patch;
    const auto added = [](std::string_view line) { return line.starts_with('+') && !line.starts_with("+++ ") && !blank(line.substr(1)); };
    return text ? static_cast<std::size_t>(std::ranges::count_if(split(*text, '\n'), added)) : 0;
}

template <typename Count>
std::size_t sum(const char* folder, const auto& wanted, Count count) {
    std::size_t lines = 0;
    for (const auto& entry : fs::directory_iterator(fs::path(BLANKET_SOURCE_DIR) / folder))
        if (wanted(entry.path())) lines += count(entry.path());
    return lines;
}

bool is_c(const fs::path& file) { return file.extension() == ".c" || file.extension() == ".h"; }
bool is_patch(const fs::path& file) { return file.extension() == ".patch"; }

TEST(CodeSize, TheHypervisorsPartStaysSmall) {
    const std::size_t own = sum("hypercall-passthrough/src", is_c, lines_of), abi = sum("hypercall-passthrough/abi", is_c, lines_of);
    const std::size_t patches = sum("hypercall-passthrough/patches", is_patch, added_by);
    std::println("hypervisor: {} lines of {}: src {}, abi {}, patches add {}", own + abi + patches, kMostOfHypervisor, own, abi, patches);
    EXPECT_TRUE(own > 0 && abi > 0 && patches > 0);
    EXPECT_LE(own + abi + patches, kMostOfHypervisor);
}

TEST(CodeSize, TheModulesStaySmall) {
    const std::size_t modules = sum("blanket-drivers", is_c, lines_of);
    std::println("modules: {} lines of {}", modules, kMostOfModules);
    EXPECT_GT(modules, 0U);
    EXPECT_LE(modules, kMostOfModules);
}

TEST(Patches, EachSaysWhyAndWhatUpstreamHas) {
    const auto series = read_file((fs::path(BLANKET_SOURCE_DIR) / "hypercall-passthrough/patches/series").string());
    ASSERT_TRUE(series);
    std::size_t patches = 0;
    for (const auto& entry : fs::directory_iterator(fs::path(BLANKET_SOURCE_DIR) / "hypercall-passthrough/patches")) {
        if (!is_patch(entry.path())) continue;
        ++patches;
        const auto text = read_file(entry.path().string());
        ASSERT_TRUE(text) << entry.path();
        const std::string head = text->substr(0, text->find("\n--- "));
        for (const char* begin : {"\nWhy: ", "\nUpstream: "}) EXPECT_TRUE(head.contains(begin)) << entry.path() << " has no line" << begin;
        EXPECT_TRUE(series->contains("\n" + entry.path().filename().string() + "\n")) << entry.path() << " is not applied";
    }
    EXPECT_GT(patches, 0U);
}

}  // namespace
}  // namespace blanket
