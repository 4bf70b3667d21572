// SPDX-License-Identifier: GPL-2.0-or-later
// See snapshot_changes.hpp.
#include "toolstack/registry/snapshot_changes.hpp"

#include <algorithm>

#include "toolstack/registry/etcd_registry.hpp"

namespace blanket {
namespace {

// What follows `folder` in the key, if it is there.
std::optional<std::string_view> name_in(std::string_view key, std::string_view folder) {
    key.remove_prefix(std::min(kRegistryPrefix.size(), key.size()));
    return key.starts_with(folder) ? std::optional(key.substr(folder.size())) : std::nullopt;
}

const std::string& name_of(const Versioned<VmRecord>& one) { return one.value.uuid; }
const std::string& name_of(const Versioned<Revocation>& one) { return one.value.site; }
const std::string& name_of(const Gone& one) { return one.uuid; }
template <typename T>
const std::string& name_of(const Versioned<T>& one) { return one.value.name; }

template <typename T>
auto place_of(std::vector<T>& list, std::string_view name) {
    return std::ranges::lower_bound(list, name, {}, [](const T& one) { return std::string_view(name_of(one)); });
}

template <typename T>
void put(std::vector<T>& list, T one) {
    const auto at = place_of(list, name_of(one));
    if (at != list.end() && name_of(*at) == name_of(one)) *at = std::move(one);
    else list.insert(at, std::move(one));
}

template <typename T>
void remove(std::vector<T>& list, std::string_view name) {
    if (const auto at = place_of(list, name); at != list.end() && name_of(*at) == name) list.erase(at);
}

// The list that has the record of this key.
template <typename Work>
bool with_list(Snapshot& snapshot, std::string_view key, const Work& work) {
    if (const auto name = name_in(key, "vms/")) return work(snapshot.vms, *name), true;
    if (const auto name = name_in(key, "sites/")) return work(snapshot.sites, *name), true;
    if (const auto name = name_in(key, "nets/")) return work(snapshot.nets, *name), true;
    if (const auto name = name_in(key, "images/")) return work(snapshot.images, *name), true;
    if (const auto name = name_in(key, "revoked/")) return work(snapshot.revocations, *name), true;
    if (const auto name = name_in(key, "gone/")) return work(snapshot.gone, *name), true;
    return false;
}

Result<void> parse(const Json& json, VmRecord& out) { return parse_vm(json).transform([&](VmRecord one) { out = std::move(one); }); }
Result<void> parse(const Json& json, Site& out) { return parse_site(json).transform([&](Site one) { out = std::move(one); }); }
Result<void> parse(const Json& json, Net& out) { return parse_net(json).transform([&](Net one) { out = std::move(one); }); }
Result<void> parse(const Json& json, Image& out) { return parse_image(json).transform([&](Image one) { out = std::move(one); }); }
Result<void> parse(const Json& json, Revocation& out) { return parse_revocation(json).transform([&](Revocation one) { out = std::move(one); }); }

Result<void> read(const EtcdKv& kv, Gone& out) {
    BLANKET_TRY(const Json json, parse_json(kv.value));
    BLANKET_TRY(out, parse_gone(json));
    return {};
}
template <typename T>
Result<void> read(const EtcdKv& kv, Versioned<T>& out) {
    BLANKET_TRY(const Json json, parse_json(kv.value));
    out.revision = kv.mod_revision;
    return parse(json, out.value);
}

}  // namespace

Result<VmRecord> parse_vm_kv(const EtcdKv& kv) {
    Versioned<VmRecord> one;
    BLANKET_CHECK(read(kv, one));
    if (name_in(kv.key, "vms/") != one.value.uuid) return fail(Kind::kInvalid, "it names the UUID {}", one.value.uuid);
    return std::move(one.value);
}

Result<void> put_into(Snapshot& snapshot, const EtcdKv& kv) {
    Result<void> done;
    with_list(snapshot, kv.key, [&]<typename T>(std::vector<T>& list, std::string_view name) {
        T one;
        done = read(kv, one);
        if (done && name_of(one) != name) done = fail(Kind::kInvalid, "it names '{}'", name_of(one));
        if (done) put(list, std::move(one));
    });
    return done;
}

bool take_events(Snapshot& snapshot, std::span<const EtcdEvent> events) {
    std::uint64_t revision = snapshot.revision;
    for (const EtcdEvent& event : events) {
        if (event.kv.mod_revision <= snapshot.revision) continue;  // read already
        revision = std::max(revision, event.kv.mod_revision);
        if (name_in(event.kv.key, "federation") == std::string_view()) return false;
        if (std::ranges::any_of(snapshot.malformed, [&](const Malformed& one) { return name_in(event.kv.key, "") == one.key; })) return false;
        if (event.deleted) with_list(snapshot, event.kv.key, [](auto& list, std::string_view name) { remove(list, name); });
        else if (!put_into(snapshot, event.kv)) return false;
    }
    snapshot.revision = revision;
    return true;
}

}  // namespace blanket
