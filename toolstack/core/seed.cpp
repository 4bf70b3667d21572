// SPDX-License-Identifier: GPL-2.0-or-later
// See seed.hpp. The form of the seed: cloud-init's NoCloud data source; meta-data is JSON, which is YAML.
#include "toolstack/core/seed.hpp"

#include <algorithm>
#include <array>

#include "toolstack/base/text.hpp"
#include "toolstack/core/iso9660.hpp"

namespace blanket {
namespace {

// Names of DNS (RFC 1123): labels of letters, digits and hyphens.
Result<void> check_hostname(std::string_view name) {
    const auto bad = [&] {
        return fail_hint(Kind::kInvalid, std::format("'{}' is no host name", name.substr(0, 80)), "give one of letters, digits, hyphens and dots: --hostname web.example.org");
    };
    if (name.empty() || name.size() > 253) return bad();
    for (const auto& label : split(name, '.')) {
        constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
        if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-' || label.find_first_not_of(kAllowed) != std::string::npos) return bad();
    }
    return {};
}

Result<void> check_ssh_key(std::string_view key) {
    constexpr std::string_view kHint = "give the public half, the file that ends in .pub";
    if (key.contains("PRIVATE KEY")) return fail_hint(Kind::kInvalid, "this is a private key: it belongs to its owner alone", std::string(kHint));
    if (key.size() > kMaxSshKey) return fail_hint(Kind::kInvalid, std::format("an ssh key of {} bytes is longer than {}", key.size(), kMaxSshKey), std::string(kHint));
    constexpr std::array<std::string_view, 4> kKinds{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"};
    const bool known = std::ranges::any_of(kKinds, [&](std::string_view kind) { return key.starts_with(kind); });
    const auto space = key.find(' ');
    if (!known || space == std::string_view::npos || !base64_decode(key.substr(space + 1, key.find(' ', space + 1) - space - 1)))
        return fail_hint(Kind::kInvalid, "there is something in it that is no public ssh key", std::string(kHint));
    if (std::ranges::any_of(key, [](char c) { return static_cast<unsigned char>(c) < ' '; }) || !is_utf8(key))
        return fail_hint(Kind::kInvalid, "an ssh key holds characters that are not text", std::string(kHint));
    return {};
}

}  // namespace

Result<void> check_seed(const Seed& seed) {
    BLANKET_CHECK(check_hostname(seed.hostname));
    const std::string& text = seed.user_data;
    if (text.size() > kMaxUserData)
        return fail_hint(Kind::kInvalid, std::format("user-data of {} bytes is longer than {}", text.size(), kMaxUserData), "put the rest where the guest fetches it: an '#include' of a URL");
    if (text.contains('\0') || !is_utf8(text))
        return fail_hint(Kind::kInvalid, "the user-data is not text in UTF-8", text.starts_with("\x1f\x8b") ? "it is compressed: give it uncompressed" : "give a cloud-config, a script, or a MIME message");
    if (seed.ssh_keys.size() > kMaxSshKeys)
        return fail_hint(Kind::kInvalid, std::format("{} ssh keys are more than {}", seed.ssh_keys.size(), kMaxSshKeys), "put them into user-data: ssh_authorized_keys");
    for (const auto& key : seed.ssh_keys) BLANKET_CHECK(check_ssh_key(key));
    return {};
}

std::optional<std::string> doubt_user_data(std::string_view user_data) {
    if (trim(user_data).empty()) return "it is empty";
    constexpr std::array<std::string_view, 9> kForms{"#cloud-config", "#!", "#cloud-boothook", "#include", "#part-handler", "## template: jinja", "Content-Type:", "MIME-Version:", "From "};
    std::string lower;  // the fields of a MIME message may be written in any case
    for (const char c : user_data.substr(0, 32)) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool known = std::ranges::any_of(kForms, [&](std::string_view form) { return user_data.starts_with(form); }) || lower.starts_with("content-type:") || lower.starts_with("mime-version:");
    if (known) return std::nullopt;
    return "it begins neither with #cloud-config, nor with #! or #include, nor is it a MIME message: cloud-init will not act on it";
}

Result<std::vector<std::string>> parse_ssh_keys(std::string_view text) {
    std::vector<std::string> keys;
    for (const auto& line : split(text, '\n')) {
        const auto key = trim(line);
        if (key.empty() || key.starts_with('#')) continue;
        BLANKET_CHECK(check_ssh_key(key));
        keys.emplace_back(key);
    }
    if (keys.empty()) return fail_hint(Kind::kInvalid, "there is no ssh key in it", "give a file such as ~/.ssh/id_ed25519.pub");
    return keys;
}

SeedFacts facts_of(const Seed& seed) {
    return {seed.hostname, seed.user_data.empty() ? std::string() : sha256_hex(seed.user_data), seed.user_data.size(), seed.ssh_keys.size()};
}

Json to_json(const Seed& seed) { return {{"hostname", seed.hostname}, {"user_data", seed.user_data}, {"ssh_keys", seed.ssh_keys}}; }

Json to_json(const SeedFacts& facts) { return {{"hostname", facts.hostname}, {"sha256", facts.sha256}, {"size", facts.size}, {"ssh_keys", facts.ssh_keys}}; }

Result<Seed> parse_seed(const Json& value) {
    Seed seed;
    BLANKET_TRY(seed.hostname, json_string(value, "hostname"));
    seed.user_data = json_string_or(value, "user_data", "");
    if (const auto keys = value.find("ssh_keys"); keys != value.end()) {
        if (!keys->is_array() || keys->size() > kMaxSshKeys) return fail(Kind::kInvalid, "field 'ssh_keys' is not a list of up to {}", kMaxSshKeys);
        for (const auto& key : *keys) {
            if (!key.is_string()) return fail(Kind::kInvalid, "field 'ssh_keys' holds something other than text");
            seed.ssh_keys.push_back(key.get<std::string>());
        }
    }
    BLANKET_CHECK(check_seed(seed));
    return seed;
}

Result<SeedFacts> parse_seed_facts(const Json& value) {
    SeedFacts facts;
    BLANKET_TRY(facts.hostname, json_string(value, "hostname"));
    BLANKET_CHECK(check_hostname(facts.hostname));
    facts.sha256 = json_string_or(value, "sha256", "");
    if (!facts.sha256.empty() && (facts.sha256.size() != 64 || facts.sha256.find_first_not_of("0123456789abcdef") != std::string::npos))
        return fail(Kind::kInvalid, "the seed's field 'sha256' is not a SHA-256");
    facts.size = json_number_or(value, "size", 0);
    facts.ssh_keys = json_number_or(value, "ssh_keys", 0);
    return facts;
}

std::string seed_key(const std::string& uuid) { return "seeds/" + uuid; }

std::string seed_device(const std::string& uuid) { return "/dev/blanket/seed-" + uuid; }

std::string seed_image(const std::string& uuid, const Seed& seed) {
    Json meta{{"instance-id", uuid}, {"local-hostname", seed.hostname}};
    if (!seed.ssh_keys.empty()) meta["public-keys"] = seed.ssh_keys;
    return make_iso9660("cidata", {{"meta-data", meta.dump(1, ' ', true, Json::error_handler_t::replace) + "\n"}, {"user-data", seed.user_data}});
}

}  // namespace blanket
