// SPDX-License-Identifier: GPL-2.0-or-later
// See revocations.hpp.
#include "toolstack/peer/revocations.hpp"

#include <algorithm>

#include "toolstack/base/file.hpp"

namespace blanket {
namespace {

constexpr std::size_t kMostRevocations = 1024;
constexpr std::size_t kLargestFile = 8u << 20;

}  // namespace

Result<Revocation> sign_revocation(const PkiPaths& paths, Revocation revocation) {
    BLANKET_TRY(const std::string key, read_file(paths.key, 65536));
    BLANKET_TRY(revocation.cert, read_file(paths.cert, 65536));
    BLANKET_TRY(revocation.by, certificate_name(revocation.cert));
    BLANKET_TRY(revocation.signature, sign_text(key, revocation.text()));
    return parse_revocation(to_json(revocation));  // within the bounds that others set
}

Result<void> check_revocation(const Revocation& revocation, std::string_view ca_pem) {
    const auto check = [&]() -> Result<void> {
        if (revocation.by == revocation.site) return fail(Kind::kDenied, "it is by the site itself");
        BLANKET_CHECK(check_issued(ca_pem, revocation.cert, revocation.by));
        return check_signed_text(revocation.cert, revocation.text(), revocation.signature);
    };
    auto checked = check();
    if (checked) return {};
    Error error = std::move(checked).error().context(std::format("a revocation of site '{}' by '{}' is not believed", revocation.site, revocation.by));
    error.kind = Kind::kDenied;
    return std::unexpected(std::move(error));
}

Result<std::shared_ptr<Revocations>> Revocations::load(const std::string& dir) {
    std::shared_ptr<Revocations> made(new Revocations(dir));
    BLANKET_CHECK(made->read());
    return made;
}

Result<void> Revocations::reload() {
    const std::scoped_lock one(adding_);
    return read();
}

Result<void> Revocations::read() {
    const std::string path = dir_ + "/revoked.json";
    std::vector<Revocation> found;
    const auto parse = [&]() -> Result<void> {
        const auto text = read_file(path, kLargestFile);
        if (!text && text.error().kind == Kind::kNotFound) return {};
        if (!text) return std::unexpected(text.error());
        BLANKET_TRY(const Json value, parse_json(*text, kLargestFile));
        const auto list = value.find("revoked");
        if (list == value.end() || !list->is_array() || list->size() > kMostRevocations) return fail(Kind::kInvalid, "it holds no list");
        for (const auto& item : *list) {
            BLANKET_TRY(Revocation one, parse_revocation(item));
            found.push_back(std::move(one));
        }
        return {};
    };
    if (auto done = parse(); !done) {
        Error error = std::move(done).error().context(path);
        error.hint = "it names the sites that are cut off: copy it from another site; do not remove it";
        return std::unexpected(std::move(error));
    }
    BLANKET_CHECK(write(found));
    const std::scoped_lock lock(mutex_);
    list_ = std::move(found);
    return {};
}

// etcd's list first: a crash between the two leaves out the statement, which comes again, and no site of the list is let in.
Result<void> Revocations::write(const std::vector<Revocation>& list) const {
    std::vector<std::string> names;
    Json texts = Json::array();
    for (const auto& one : list) {
        names.push_back(one.site);
        texts.push_back(to_json(one));
    }
    BLANKET_TRY(const std::string crl, make_crl(names));
    BLANKET_CHECK(write_file(crl_path(), crl, 0644));
    return write_file(dir_ + "/revoked.json", Json{{"revoked", texts}}.dump(1) + "\n", 0600);
}

bool Revocations::refuses(std::string_view site) const {
    const std::scoped_lock lock(mutex_);
    return std::ranges::contains(list_, site, &Revocation::site);
}

bool Revocations::refuses_key(std::string_view wireguard_key) const {
    if (wireguard_key.empty()) return false;
    const std::scoped_lock lock(mutex_);
    return std::ranges::any_of(list_, [&](const Revocation& one) { return std::ranges::contains(one.wireguard_keys, wireguard_key); });
}

std::vector<Revocation> Revocations::list() const {
    const std::scoped_lock lock(mutex_);
    return list_;
}

Result<bool> Revocations::add(const Revocation& revocation, std::string_view ca_pem) {
    const std::scoped_lock one(adding_);
    if (refuses(revocation.site)) return false;
    BLANKET_CHECK(check_revocation(revocation, ca_pem));
    if (refuses(revocation.by)) return fail(Kind::kDenied, "site '{}' is cut off itself and cannot revoke '{}'", revocation.by, revocation.site);
    std::vector<Revocation> next = list();
    next.push_back(revocation);
    if (next.size() > kMostRevocations) return fail(Kind::kConflict, "{} sites have been revoked: no more can be", kMostRevocations);
    // In memory first: a full disk must not keep a thief in.
    std::vector<std::shared_ptr<Cuttable>> ending;
    {
        const std::scoped_lock lock(mutex_);
        list_ = next;
        for (const auto& live : live_)
            if (live.site == revocation.site)
                if (auto connection = live.connection.lock()) ending.push_back(std::move(connection));
        std::erase_if(live_, [&](const Live& live) { return live.site == revocation.site; });
    }
    for (const auto& connection : ending) connection->cut();
    BLANKET_CHECK(write(next));
    return true;
}

Result<void> Revocations::renew(const Revocation& revocation, std::string_view ca_pem) {
    const std::scoped_lock one(adding_);
    BLANKET_CHECK(check_revocation(revocation, ca_pem));
    if (refuses(revocation.by)) return fail(Kind::kDenied, "site '{}' is cut off itself", revocation.by);
    std::vector<Revocation> next = list();
    const auto at = std::ranges::find(next, revocation.site, &Revocation::site);
    if (at == next.end()) return fail(Kind::kNotFound, "site '{}' is not cut off", revocation.site);
    *at = revocation;
    BLANKET_CHECK(write(next));
    const std::scoped_lock lock(mutex_);
    list_ = std::move(next);
    return {};
}

bool Revocations::enrol(const std::string& site, const std::weak_ptr<Cuttable>& connection) {
    const std::scoped_lock lock(mutex_);
    if (std::ranges::contains(list_, site, &Revocation::site)) return false;
    std::erase_if(live_, [](const Live& live) { return live.connection.expired(); });
    live_.push_back({site, connection});
    return true;
}

}  // namespace blanket
