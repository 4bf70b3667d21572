// SPDX-License-Identifier: GPL-2.0-or-later
// Result and Error: how every function of the toolstack fails. Used by all folders; no exception of ours crosses a function.
#pragma once

#include <cstdint>
#include <expected>
#include <format>
#include <string>
#include <string_view>
#include <utility>

namespace blanket {

// The closed list of error classes. Each maps to one exit code (exit_code) and one wire name (to_string).
enum class Kind : std::uint8_t {
    kInternal,      // a bug or an unexpected state of ours
    kInvalid,       // the caller's input is wrong (syntax, range, unknown verb)
    kNotFound,      // the named thing does not exist
    kConflict,      // exists already, lost a compare-and-swap, or the state forbids it
    kPrecondition,  // the other side cannot take it: memory, CPU features, version, clock
    kTimeout,       // a deadline passed
    kDenied,        // authentication or authorisation
    kUnavailable,   // no quorum, peer or daemon unreachable
    kIo,            // a device, file or socket failed
    kCancelled,     // somebody asked for the end of it
};

struct Error {
    Kind kind = Kind::kInternal;
    std::string what;  // what happened and why, with the values; one sentence
    std::string hint;  // the operator's next step; may be empty

    // Puts "where: " before the text; use it where an error passes from one job to the next.
    [[nodiscard]] Error context(std::string_view where) && {
        what = std::format("{}: {}", where, what);
        return std::move(*this);
    }
};

template <typename T = void>
using Result = std::expected<T, Error>;

// fail(Kind::kInvalid, "name '{}' is empty", name)
template <typename... Args>
[[nodiscard]] std::unexpected<Error> fail(Kind kind, std::format_string<Args...> text, Args&&... args) {
    return std::unexpected(Error{kind, std::format(text, std::forward<Args>(args)...), {}});
}

[[nodiscard]] inline std::unexpected<Error> fail_hint(Kind kind, std::string what, std::string hint) {
    return std::unexpected(Error{kind, std::move(what), std::move(hint)});
}

// fail_errno("open", path): kind kIo (kNotFound for ENOENT), text from errno.
[[nodiscard]] std::unexpected<Error> fail_errno(std::string_view call, std::string_view subject);

[[nodiscard]] std::string_view to_string(Kind kind);
[[nodiscard]] Kind kind_from_string(std::string_view name);  // unknown -> kInternal
// 0 is success; 1 internal/io, 2 usage, 3 not found, 4 conflict, 5 precondition, 6 timeout, 7 denied, 8 unavailable, 9 cancelled.
[[nodiscard]] int exit_code(Kind kind);

}  // namespace blanket

// BLANKET_TRY(auto x, f()): x is the value, or the enclosing function returns the error.
#define BLANKET_CONCAT2(a, b) a##b
#define BLANKET_CONCAT(a, b) BLANKET_CONCAT2(a, b)
#define BLANKET_TRY(decl, expr) BLANKET_TRY_IMPL(BLANKET_CONCAT(try_result_, __LINE__), decl, expr)
#define BLANKET_TRY_IMPL(tmp, decl, expr)                     \
    auto tmp = (expr);                                        \
    if (!tmp) return std::unexpected(std::move(tmp).error()); \
    decl = std::move(*tmp)
// BLANKET_CHECK(f()): for Result<void>.
#define BLANKET_CHECK(expr) BLANKET_CHECK_IMPL(BLANKET_CONCAT(check_result_, __LINE__), expr)
#define BLANKET_CHECK_IMPL(tmp, expr) /* complete if-else, so that an else after it belongs to the if before it */ \
    if (auto tmp = (expr); tmp) {                                                                               \
    } else                                                                                                      \
        return std::unexpected(std::move(tmp).error())
