// SPDX-License-Identifier: GPL-2.0-or-later
// See boot_env.hpp.
#include "toolstack/update/boot_env.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::update {
namespace {

constexpr std::string_view kHead = "# GRUB Environment Block\n";

}  // namespace

BootEnv parse_boot_env(std::string_view text) {
    BootEnv env;
    if (text.size() != kBootEnvSize || !text.starts_with(kHead)) return env;
    for (const auto& line : split(text, '\n')) {
        const auto is_slot = [](std::string_view value) { return value == "a" || value == "b"; };
        const auto equals = line.find('=');
        if (equals == std::string::npos || line.starts_with('#')) continue;
        const std::string_view name = std::string_view(line).substr(0, equals), value = std::string_view(line).substr(equals + 1);
        if (name == "slot" && is_slot(value)) env.slot = value[0];
        if (name == "trial" && is_slot(value)) env.trial = value[0];
        if (name == "armed") env.armed = value == "1";
        if (name == "tries") env.tries = static_cast<unsigned>(parse_number(value, 0, 3, "tries").value_or(0));
    }
    return env;
}

std::string format_boot_env(const BootEnv& env) {
    std::string text = std::format("{}slot={}\ntries={}\ntrial={}\narmed={}\n", kHead, env.slot, env.tries, env.trial == 0 ? std::string() : std::string(1, env.trial), env.armed ? 1 : 0);
    text.resize(kBootEnvSize, '#');
    return text;
}

Result<void> write_boot_env(const std::string& path, const BootEnv& env) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd) return fail_errno("open", path);
    BLANKET_CHECK(pwrite_all(fd.get(), as_bytes(format_boot_env(env)), 0));
    if (::fsync(fd.get()) != 0) return fail_errno("fsync", path);
    return {};
}

}  // namespace blanket::update
