// SPDX-License-Identifier: GPL-2.0-or-later
// What every target of tests/fuzz has in common. A target is one .cpp file that defines the three things of `target` below; fuzz.cpp drives it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <format>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/result.hpp"

namespace blanket::fuzz {

// An input, read from the front. Behind its end there are zeros, so that every input is one for every target.
class Input final {
public:
    explicit Input(std::span<const std::byte> data) : data_(data) {}
    [[nodiscard]] bool empty() const { return data_.empty(); }
    template <typename T>
    T number() {  // little-endian
        static_assert(std::is_unsigned_v<T>);
        T value = 0;
        const auto part = bytes(sizeof value);
        if (!part.empty()) std::memcpy(&value, part.data(), part.size());
        return value;
    }
    std::uint8_t byte() { return number<std::uint8_t>(); }
    bool flag() { return (byte() & 1) != 0; }
    std::size_t below(std::size_t count) { return number<std::uint16_t>() % count; }
    std::span<const std::byte> bytes(std::size_t most) {
        const auto part = data_.first(std::min(most, data_.size()));
        data_ = data_.subspan(part.size());
        return part;
    }
    std::span<const std::byte> piece() { return bytes(number<std::uint16_t>()); }  // with its length before it
    std::span<const std::byte> rest() { return bytes(data_.size()); }
    std::string text(std::span<const std::byte> part) { return {reinterpret_cast<const char*>(part.data()), part.size()}; }
    std::string rest_text() { return text(rest()); }

private:
    std::span<const std::byte> data_;
};

// The same the other way round, for seeds.
class Output final {
public:
    template <typename T>
    Output& number(T value) {
        static_assert(std::is_unsigned_v<T>);
        data_.append(reinterpret_cast<const char*>(&value), sizeof value);
        return *this;
    }
    Output& byte(std::size_t value) { return number(static_cast<std::uint8_t>(value)); }
    Output& text(std::string_view value) {
        data_.append(value);
        return *this;
    }
    Output& bytes(std::span<const std::byte> value) { return text({reinterpret_cast<const char*>(value.data()), value.size()}); }
    Output& piece(std::string_view value) {  // 65535 bytes at most
        return number(static_cast<std::uint16_t>(value.size())).text(value);
    }
    operator std::string() const { return data_; }

private:
    std::string data_;
};

// A property that the input broke: says it and ends the process, which libFuzzer reports with the input.
[[noreturn]] void broken(std::string_view what);
inline void require(bool good, std::string_view what) {
    if (!good) broken(what);
}
template <typename T>
void require_value(const Result<T>& result, std::string_view what) {
    if (!result) broken(std::format("{}: {}: {}", what, to_string(result.error().kind), result.error().what));
}
// Input from outside may be refused for what it is, and for nothing else.
template <typename T>
void require_refusal(const Result<T>& result, std::string_view what, Kind also = Kind::kInvalid) {
    if (result) return;
    if (result.error().kind != Kind::kInvalid && result.error().kind != also) broken(std::format("{}: {}: {}", what, to_string(result.error().kind), result.error().what));
    if (result.error().what.empty() || result.error().what.size() > 4096) broken(std::format("{}: an error of {} bytes", what, result.error().what.size()));
}

std::string scratch(std::string_view name);  // a path of this process's own in /tmp, which the build root's end takes away

// A target.
namespace target {
extern const std::size_t kHeap;       // bytes that one input may have allocated at once, all threads; more is a finding
void run(Input input);                // one input
std::vector<std::string> seeds();     // real encodings to begin with, 4 KiB each at most
}  // namespace target

}  // namespace blanket::fuzz
