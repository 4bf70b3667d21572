// SPDX-License-Identifier: GPL-2.0-or-later
// See doctor_report.hpp.
#include "toolstack/daemon/doctor_report.hpp"

#include "toolstack/daemon/doctor.hpp"
#include "toolstack/daemon/nets.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {
namespace {

RegistryFacts registry_facts(Federation& federation) {
    RegistryFacts facts;
    const auto members = federation.etcd()->members();
    facts.running = federation.etcd()->status(federation.local().endpoints.empty() ? "127.0.0.1:2379" : federation.local().endpoints.front()).has_value();
    facts.quorum = members.has_value();  // a list is a linearizable read
    if (!members) {
        facts.error = members.error().what;
        return facts;
    }
    for (const auto& member : *members) {
        if (member.learner) continue;
        ++facts.voters;
        for (const auto& url : member.client_urls) {
            const auto at = url.find("://");
            const auto status = federation.etcd()->status(at == std::string::npos ? url : url.substr(at + 3));
            if (!status) continue;
            ++facts.healthy;
            if (status->leader == member.id) facts.leader = member.name;
            break;
        }
    }
    return facts;
}

}  // namespace

Json doctor_report(App& app, Federation& federation, const std::string& uplink, const std::string& shut, const WayTo& way) {
    DoctorInputs inputs = gather_doctor({.root = {}, .run = {}, .clock = {}, .uplink = uplink});
    if (auto host = app.hypervisor.facts()) inputs.host = std::move(*host);
    else inputs.host_error = host.error().what;
    if (auto pool = app.blocks.pool()) inputs.pool = *pool;
    else inputs.pool_error = pool.error().what;
    if (app.store != nullptr) {
        const auto store = app.store->facts();
        inputs.store = ContentStoreFacts{store.quota, store.bytes, store.pages, store.offered, store.taken, store.trouble};
    }
    inputs.registry = registry_facts(federation);
    inputs.federated = federation.federated();
    inputs.shut = shut;
    inputs.revoked = federation.revoked();
    if (const auto behind = federation.refuse_behind(); !behind) inputs.behind = behind.error();
    for (const auto& one : federation.revocations()->list())
        if (one.site != app.site) inputs.revoked_sites.push_back(std::format("{} (by {}, {})", one.site, one.by, one.since));
    if (const auto expires = federation.certificate_expires()) inputs.certificate_days = (*expires - static_cast<std::int64_t>(app.clock.unix_ms() / 1000)) / 86'400;
    for (const auto& site : app.world.snapshot().sites) {
        const auto known = way(site.value.name);
        if (!known || known->way == "-" || known->way == "direct") continue;  // what is silent is counted already
        if (known->way == "punched") inputs.punched.push_back(std::format("{}: {}", site.value.name, known->why));
        else inputs.relayed.push_back(std::format("{} {}: {}", site.value.name, known->way, known->why));
    }
    inputs.malformed = app.world.snapshot().malformed;
    auto unserved = unserved_nets(app);
    inputs.unserved = std::move(unserved.used);
    inputs.unservable = std::move(unserved.unused);
    return to_json(run_doctor(inputs));
}

}  // namespace blanket
