// SPDX-License-Identifier: GPL-2.0-or-later
// The one table of error classes: wire name and exit code.
#include "toolstack/base/result.hpp"

#include <array>
#include <cerrno>
#include <cstring>

namespace blanket {
namespace {

struct Row {
    Kind kind;
    std::string_view name;
    int exit;
};

constexpr std::array kRows{
    Row{Kind::kInternal, "internal", 1},       Row{Kind::kInvalid, "invalid", 2},
    Row{Kind::kNotFound, "not-found", 3},      Row{Kind::kConflict, "conflict", 4},
    Row{Kind::kPrecondition, "precondition", 5}, Row{Kind::kTimeout, "timeout", 6},
    Row{Kind::kDenied, "denied", 7},           Row{Kind::kUnavailable, "unavailable", 8},
    Row{Kind::kIo, "io", 1},                   Row{Kind::kCancelled, "cancelled", 9},
};

}  // namespace

std::unexpected<Error> fail_errno(std::string_view call, std::string_view subject) {
    const int code = errno;
    std::array<char, 128> text{};
    const char* message = strerror_r(code, text.data(), text.size());
    return std::unexpected(
        Error{code == ENOENT ? Kind::kNotFound : Kind::kIo, std::format("{} '{}': {}", call, subject, message), {}});
}

std::string_view to_string(Kind kind) {
    for (const auto& row : kRows)
        if (row.kind == kind) return row.name;
    return "internal";
}

Kind kind_from_string(std::string_view name) {
    for (const auto& row : kRows)
        if (row.name == name) return row.kind;
    return Kind::kInternal;
}

int exit_code(Kind kind) {
    for (const auto& row : kRows)
        if (row.kind == kind) return row.exit;
    return 1;
}

}  // namespace blanket
