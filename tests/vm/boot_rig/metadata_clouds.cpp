// SPDX-License-Identifier: GPL-2.0-or-later
// What the metadata service of each cloud answers, as far as cloud-init asks.
#include <set>

#include "tests/vm/boot_rig/metadata_service.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

// A folder of EC2's metadata: one name a line, folders with a slash, keys with a number and a name.
Answer folder(const std::map<std::string, std::string>& entries, std::string path) {
    if (!path.empty() && !path.ends_with('/')) path += '/';
    std::set<std::string> names;
    for (const auto& [name, text] : entries) {
        if (!name.starts_with(path)) continue;
        const std::string rest = name.substr(path.size());
        const auto slash = rest.find('/');
        names.insert(path == "meta-data/public-keys/" ? rest.substr(0, slash) + "=key" : slash != std::string::npos ? rest.substr(0, slash + 1) : rest);
    }
    if (names.empty()) return {.status = 404};
    std::string list;
    for (const auto& name : names) list += (list.empty() ? "" : "\n") + name;
    return {.body = list};
}

constexpr const char* kGoalState =
    "<?xml version=\"1.0\" encoding=\"utf-8\"?><GoalState><Version>2012-11-30</Version><Incarnation>1</Incarnation><Machine><ExpectedState>Started</ExpectedState></Machine>"
    "<Container><ContainerId>c1</ContainerId><RoleInstanceList><RoleInstance><InstanceId>i1</InstanceId><State>Started</State></RoleInstance></RoleInstanceList></Container></GoalState>";

}  // namespace

Answers ec2_metadata(std::map<std::string, std::string> entries, int hop_limit) {
    return [entries = std::move(entries), hop_limit, tokens = std::set<std::string>()](const Request& request) mutable -> Answer {
        if (request.method == "PUT" && request.path == "/latest/api/token") {
            if (request.header("X-aws-ec2-metadata-token-ttl-seconds").empty()) return {.status = 400};
            return {.body = *tokens.insert(random_hex(16)).first, .hops = hop_limit};
        }
        if (!tokens.contains(request.header("X-aws-ec2-metadata-token"))) return {.status = 401};
        const auto slash = request.path.find('/', 1);  // "/2021-03-23/meta-data/..."
        const std::string path = slash == std::string::npos ? "" : request.path.substr(slash + 1);
        if (const auto at = entries.find(path); at != entries.end()) return {.body = at->second};
        return folder(entries, path);
    };
}

Answers gce_metadata(std::string hostname, std::string key, std::string user_data) {
    return [=](const Request& request) -> Answer {
        if (request.header("Metadata-Flavor") != "Google") return {.status = 403};
        const std::string root = "/computeMetadata/v1/";
        if (!request.path.starts_with(root)) return {.status = 404};
        const std::string path = request.path.substr(root.size());
        if (path == "instance/id") return {.body = "1234567890123456789"};
        if (path == "instance/zone") return {.body = "projects/1/zones/europe-west3-a"};
        if (path == "instance/hostname") return {.body = hostname + ".europe-west3-a.c.project.internal"};
        if (path == "instance/attributes/") return {.body = Json{{"ssh-keys", "root:" + key + "\nsomebody:ssh-ed25519 AAAA nobody"}, {"user-data", user_data}}.dump(), .type = "application/json"};
        if (path == "project/attributes/") return {.body = "{}", .type = "application/json"};
        return {.status = 404};
    };
}

Answers openstack_metadata(std::string meta_data_json, std::string user_data, std::map<std::string, std::string> ec2) {
    return [=](const Request& request) -> Answer {
        // Nova answers as EC2 does, too, and without tokens; cloud-init asks for that besides.
        if (const std::string latest = "/latest/"; request.path.starts_with(latest)) {
            const std::string path = request.path.substr(latest.size());
            if (const auto at = ec2.find(path); at != ec2.end()) return {.body = at->second};
            return folder(ec2, path);
        }
        if (request.path == "/openstack" || request.path == "/openstack/") return {.body = "2015-10-15\n2018-08-27\nlatest"};
        if (!request.path.starts_with("/openstack/2018-08-27/") && !request.path.starts_with("/openstack/latest/")) return {.status = 404};
        const std::string file = request.path.substr(request.path.rfind('/') + 1);
        if (file == "meta_data.json") return {.body = meta_data_json, .type = "application/json"};
        if (file == "user_data") return {.body = user_data};
        return {.status = 404};
    };
}

Answers azure_metadata(std::string instance_json, std::shared_ptr<std::atomic<bool>> ready) {
    return [=](const Request& request) -> Answer {
        if (request.path.starts_with("/metadata/")) {
            if (request.header("Metadata") != "true" || !request.query.contains("api-version")) return {.status = 400};
            if (request.path == "/metadata/instance") return {.body = instance_json, .type = "application/json"};
            return {.status = 404};
        }
        if (!request.path.starts_with("/machine")) return {.status = 404};
        if (request.header("x-ms-version").empty() || request.header("x-ms-agent-name").empty()) return {.status = 400};
        const auto component = request.query.find("comp");
        if (component == request.query.end()) return {.status = 400};
        if (component->second == "goalstate") return {.body = kGoalState, .type = "text/xml"};
        if (component->second == "health" && request.method == "POST") {
            if (request.body.contains("<State>Ready</State>")) *ready = true;
            return {};
        }
        return {.status = 404};
    };
}

Answers broken_metadata() {
    return [](const Request&) { return Answer{.status = 500}; };
}

}  // namespace blanket::boot_rig
