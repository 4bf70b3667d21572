// SPDX-License-Identifier: GPL-2.0-or-later
// Deleting a network. No VM may be left in a network that is gone, so that the record goes in two writes:
//   1. it is marked (`deleting`): from here on no registry creates a VM in it (ports.hpp, create_vm: mark and VM are compared in one step);
//   2. the VMs are read anew: those of before the mark are all among them. One uses it: the mark is taken back. None does: the record is removed, if it
//      still is the one that was marked.
// Whoever dies in between leaves the mark, which hurts no VM; the next `blanket net delete` goes on from there, or takes it back.
#include <thread>

#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/net_rules.hpp"
#include "toolstack/daemon/nets.hpp"
#include "toolstack/daemon/world.hpp"

namespace blanket {
namespace {

constexpr int kDeleteTries = 8;

// A record that cannot be read may be of a VM in any network.
Result<void> check_readable(const Snapshot& now) {
    for (const auto& record : now.malformed)
        if (!record.replaced && record.of_vm())
            return fail_hint(Kind::kPrecondition, std::format("record {} makes no sense ({}), and may be of a VM in this network", record.key, record.why.substr(0, 200)),
                             "write a good version of it to etcd, or remove it; then try again");
    return {};
}

Result<void> check_no_user(const std::string& name, const Snapshot& now) {
    BLANKET_CHECK(check_readable(now));
    std::vector<VmRecord> vms;
    for (const auto& vm : now.vms) vms.push_back(vm.value);
    return check_unused(name, vms);
}

Result<void> check_jobs(const std::string& name, const std::string& site, const Json& jobs) {
    if (!jobs.is_array()) return {};
    for (const auto& job : jobs)
        if (json_string_or(job, "state", "") == "running" && json_string_or(job, "uses", "") == "net/" + name)
            return fail_hint(Kind::kConflict,
                             std::format("job {} at '{}' ({} of {}) brings a VM into network '{}'", json_string_or(job, "id", "?").substr(0, 40), site,
                                         json_string_or(job, "verb", "?").substr(0, 20), json_string_or(job, "subject", "?").substr(0, 80), name),
                             std::format("wait for its end, at '{}': blanket job watch {}", site, json_string_or(job, "id", "ID").substr(0, 40)));
    return {};
}

// A courtesy to whoever imports or creates a VM just now; what it does not see (a site that does not answer) fails at the mark, and leaves nothing behind.
Result<void> check_jobs_everywhere(App& app, const std::string& name, const Snapshot& now) {
    BLANKET_CHECK(check_jobs(name, app.site, app.jobs.list()));
    struct Asked {
        Site site;
        Result<Json> answer;
    };
    std::vector<Asked> all;
    for (const auto& [site, revision] : now.sites)
        if (site.name != app.site && site.role != "witness" && site.state == "joined") all.push_back({site, Json()});
    {
        std::vector<std::jthread> threads;  // all at once: one that is away takes seconds
        for (auto& asked : all) threads.emplace_back([&app, &asked] { asked.answer = app.neighbours.call(asked.site, "GET", "/1.0/jobs", nullptr); });
    }
    for (const auto& [site, answer] : all) {
        if (!answer) log::warning("net", "site '{}' does not say what it is at: {}", site.name, answer.error().what);
        else if (const auto jobs = answer->find("jobs"); jobs != answer->end()) BLANKET_CHECK(check_jobs(name, site.name, *jobs));
    }
    return {};
}

Result<void> take_mark_back(App& app, Net net, std::uint64_t revision, Error why) {
    net.deleting = false;
    if (const auto back = app.registry.put("nets/" + net.name, to_json(net), revision); !back && back.error().kind != Kind::kConflict) {
        why.what += std::format("; and it stays marked as being deleted: {}", back.error().what);
        why.hint = std::format("when the registry answers: blanket net delete {}", net.name);
    }
    return std::unexpected(std::move(why));
}

}  // namespace

Result<Json> delete_net(App& app, const std::string& name, bool dry_run) {
    BLANKET_CHECK(check_name(name, "network"));
    for (int attempt = 0; attempt < kDeleteTries; ++attempt) {
        BLANKET_TRY(const auto stored, app.registry.get("nets/" + name));
        if (!stored) {
            BLANKET_CHECK(app.world.refresh());
            BLANKET_CHECK(app.world.net(name));  // an error that says what there is
            continue;
        }
        BLANKET_TRY(Net net, parse_net(stored->value));
        BLANKET_TRY(const Snapshot before, app.registry.snapshot());
        if (auto unused = check_no_user(name, before); !unused) {
            if (net.deleting && !dry_run) BLANKET_CHECK(take_mark_back(app, net, stored->revision, std::move(unused).error()));  // of who died with it
            return std::unexpected(std::move(unused).error());
        }
        BLANKET_CHECK(check_jobs_everywhere(app, name, before));
        if (dry_run) {
            Json steps{std::format("mark the record of network '{}' ({}), so that no VM comes into it", name, net.cidr), "make sure that no VM uses it",
                       std::format("remove the record, and with it {} security group{}", net.groups.size(), net.groups.size() == 1 ? "" : "s"),
                       "every site takes its gateway port, DHCP server and flows away"};
            return Json{{"steps", std::move(steps)}};
        }
        net.deleting = true;
        const auto marked = app.registry.put("nets/" + name, to_json(net), stored->revision);
        if (!marked && marked.error().kind == Kind::kConflict) continue;
        if (!marked) return std::unexpected(marked.error());
        const auto after = app.registry.snapshot();
        if (auto unused = after ? check_no_user(name, *after) : Result<void>(std::unexpected(after.error())); !unused)
            BLANKET_CHECK(take_mark_back(app, net, *marked, std::move(unused).error()));
        const auto removed = app.registry.remove("nets/" + name, *marked);
        if (!removed && removed.error().kind == Kind::kConflict) continue;
        if (!removed) return std::unexpected(removed.error());
        for (const auto& anchor : net.anchors)  // addresses that deleted VMs' public ports left
            if (auto freed = app.registry.remove(address_key(name, anchor.ip)); !freed) log::warning("net", "{}", freed.error().what);
        app.events.add("net", name, "deleted");
        (void)app.world.refresh();
        return Json{{"net", name}};
    }
    return fail_hint(Kind::kConflict, std::format("the record of network '{}' changes too often", name), std::format("try again: blanket net delete {}", name));
}

}  // namespace blanket
