// SPDX-License-Identifier: GPL-2.0-or-later
// See render.hpp.
#include "toolstack/cli/render.hpp"

#include <algorithm>
#include <array>

#include "toolstack/base/text.hpp"
#include "toolstack/cli/yaml.hpp"

namespace blanket::cli {
namespace {

const Json& field(const Json& object, std::string_view name) {
    static const Json kNone;
    if (!object.is_object()) return kNone;
    const auto at = object.find(name);
    return at == object.end() ? kNone : *at;
}

// Strings as they are, numbers and booleans as text, lists joined, null and absent empty.
std::string text_of(const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    if (value.is_number_float()) return std::format("{:.6g}", value.get<double>());
    if (value.is_number() || value.is_boolean()) return value.dump();
    if (!value.is_array()) return {};
    std::string joined;
    for (const auto& one : value)
        if (const auto part = text_of(one); !part.empty()) joined += (joined.empty() ? "" : ",") + part;
    return joined;
}
std::string text(const Json& object, std::string_view name) { return text_of(field(object, name)); }
std::string bytes(const Json& object, std::string_view name) {
    const Json& value = field(object, name);
    return value.is_number_unsigned() ? format_bytes(value.get<std::uint64_t>()) : std::string();
}
std::string mib(const Json& object, std::string_view name) {
    const std::string number = text(object, name);
    return number.empty() ? number : number + " MiB";
}
std::string of_list(const Json& object, std::string_view list, std::string_view name) {
    std::string joined;
    for (const auto& one : field(object, list))
        if (const auto part = text(one, name); !part.empty()) joined += (joined.empty() ? "" : ",") + part;
    return joined;
}
// "raw 12,zero 7" of an object of numbers; empty for any other value.
std::string counts_of(const Json& value) {
    std::string joined;
    if (!value.is_object()) return joined;
    for (const auto& [name, count] : value.items()) {
        if (!count.is_number()) return {};
        joined += std::format("{}{} {}", joined.empty() ? "" : ",", name, text_of(count));
    }
    return joined;
}
double number(const Json& object, std::string_view name, double fallback) {
    const Json& value = field(object, name);
    return value.is_number() ? value.get<double>() : fallback;
}

struct Column {
    std::string_view heading;
    std::string (*cell)(const Json&);
};

template <std::size_t N>
Table make_table(const Json& reply, std::string_view list, const std::array<Column, N>& columns) {
    Table table;
    for (const auto& column : columns) table.columns.emplace_back(column.heading);
    for (const auto& one : field(reply, list)) {
        auto& row = table.rows.emplace_back();
        for (const auto& column : columns) row.push_back(column.cell(one));
    }
    return table;
}

}  // namespace

std::string to_text(const Json& value, Format format) {
    return format == Format::kYaml ? to_yaml(value) : value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Table vm_table(const Json& reply) {
    static constexpr std::array<Column, 7> kColumns{{
        {"NAME", [](const Json& vm) { return text(vm, "name"); }},
        {"STATE", [](const Json& vm) { return text(vm, "phase") == "migrating" ? std::string("migrating") : text(vm, "state"); }},
        {"SITE", [](const Json& vm) { return text(vm, "owner"); }},
        {">MEMORY", [](const Json& vm) { return mib(vm, "memory_mib"); }},
        {">VCPUS", [](const Json& vm) { return text(vm, "vcpus"); }},
        {"NET", [](const Json& vm) { return of_list(vm, "nics", "net"); }},
        {"IP", [](const Json& vm) { return of_list(vm, "nics", "ip"); }},
    }};
    return make_table(reply, "vms", kColumns);
}

Table site_table(const Json& reply) {
    static constexpr std::array<Column, 7> kColumns{{
        {"NAME", [](const Json& site) { return text(site, "name"); }},
        {">INDEX", [](const Json& site) { return text(site, "index"); }},
        {"ADDRESS", [](const Json& site) { return text(site, "address"); }},
        {"ROLE", [](const Json& site) { return text(site, "role"); }},
        {"VERSION", [](const Json& site) { return text(site, "version"); }},
        {"STATE", [](const Json& site) { return text(site, "state"); }},
        {"PROVIDER", [](const Json& site) { return text(site, "provider"); }},
    }};
    return make_table(reply, "sites", kColumns);
}

Table image_table(const Json& reply) {
    static constexpr std::array<Column, 4> kColumns{{
        {"NAME", [](const Json& image) { return text(image, "name"); }},
        {">SIZE", [](const Json& image) { return bytes(image, "size"); }},
        {"SITES", [](const Json& image) { return text(image, "sites"); }},
        {"SHA256", [](const Json& image) { return text(image, "sha256").substr(0, 16); }},
    }};
    return make_table(reply, "images", kColumns);
}

Table uplink_table(const Json& reply) {
    static constexpr std::array<Column, 6> kColumns{{
        {"NAME", [](const Json& uplink) { return text(uplink, "name"); }},
        {"KIND", [](const Json& uplink) { return text(uplink, "kind"); }},
        {"DRIVER", [](const Json& uplink) { return text(uplink, "driver"); }},
        {"WAY", [](const Json& uplink) { return text(uplink, "path"); }},
        {"STATE", [](const Json& uplink) { return text(uplink, "state"); }},
        {"BETTER", [](const Json& uplink) { return text(uplink, "better"); }},
    }};
    return make_table(reply, "uplinks", kColumns);
}

Table path_table(const Json& reply) {
    static constexpr auto known = [](const Json& path, std::string_view name, std::string_view unit) {
        const Json& value = field(path, name);
        return value.is_number() ? std::format("{:.{}f}{}", value.get<double>(), value.is_number_float() && value.get<double>() < 100 ? 1 : 0, unit) : std::string("-");
    };
    static constexpr std::array<Column, 9> kColumns{{
        {"SITE", [](const Json& path) { return text(path, "site"); }},
        {"WAY", [](const Json& path) { return text(path, "way"); }},
        {"ENDPOINT", [](const Json& path) { return text(path, "endpoint"); }},
        {">RTT", [](const Json& path) { return known(path, "rtt_ms", " ms"); }},
        {">LOSS", [](const Json& path) { return known(path, "loss_percent", " %"); }},
        {">MTU", [](const Json& path) { return known(path, "mtu", ""); }},
        {">KEYS AGREED", [](const Json& path) { return field(path, "handshake_s").is_number() ? known(path, "handshake_s", " s ago") : std::string("never"); }},
        {">RECEIVED", [](const Json& path) { return bytes(path, "received"); }},
        {">SENT", [](const Json& path) { return bytes(path, "sent"); }},
    }};
    return make_table(reply, "paths", kColumns);
}

std::string path_notes(const Json& reply) {
    std::string out;
    for (const auto& path : field(reply, "paths"))
        if (const std::string why = text_of(field(path, "why")); !why.empty()) out += printable(std::format("{}: {}", text(path, "site"), why)) + "\n";
    return out.empty() ? out : "\n" + out;
}

Table uplink_stat_table(const Json& reply) {
    static constexpr std::array<Column, 6> kColumns{{
        {"NAME", [](const Json& uplink) { return text(uplink, "name"); }},
        {">READ", [](const Json& uplink) { return bytes(field(uplink, "counters"), "read_bytes"); }},
        {">WRITTEN", [](const Json& uplink) { return bytes(field(uplink, "counters"), "written_bytes"); }},
        {">READS", [](const Json& uplink) { return text(field(uplink, "counters"), "reads"); }},
        {">WRITES", [](const Json& uplink) { return text(field(uplink, "counters"), "writes"); }},
        {">ERRORS", [](const Json& uplink) { return text(field(uplink, "counters"), "errors"); }},
    }};
    return make_table(reply, "uplinks", kColumns);
}

Fields uplink_bus_fields(const Json& reply) {
    Fields fields;
    if (text(reply, "provider_xen").empty()) return fields;
    fields.emplace_back("provider", text(reply, "provider_xen"));
    for (const char* name : {"ports", "grants", "grant_frames", "granted_own", "granted_guests", "upcalls", "forwarded", "dropped", "sends", "send_failures"})
        fields.emplace_back(name, text(field(reply, "bus"), name));
    return fields;
}

Table net_table(const Json& reply) {
    static constexpr std::array<Column, 6> kColumns{{
        {"NAME", [](const Json& net) { return text(net, "name"); }},
        {"CIDR", [](const Json& net) { return text(net, "cidr"); }},
        {"GATEWAY", [](const Json& net) { return text(net, "gateway"); }},
        {">VNI", [](const Json& net) { return text(net, "vni"); }},
        {">MTU", [](const Json& net) { return text(net, "mtu"); }},
        {">PUBLIC PORTS", [](const Json& net) {
             std::size_t ports = 0;
             for (const auto& anchor : field(net, "anchors")) ports += field(anchor, "ports").size();
             return std::format("{}", ports);
         }},
    }};
    return make_table(reply, "nets", kColumns);
}

std::string net_text(const Json& net, const Terminal& terminal) {
    static constexpr std::array<Column, 5> kVmColumns{{
        {"VM", [](const Json& vm) { return text(vm, "name"); }},
        {"IP", [](const Json& vm) { return text(vm, "ip"); }},
        {"MAC", [](const Json& vm) { return text(vm, "mac"); }},
        {"SITE", [](const Json& vm) { return text(vm, "site"); }},
        {"STATE", [](const Json& vm) { return text(vm, "state"); }},
    }};
    static constexpr std::array<Column, 3> kGroupColumns{{
        {"SECURITY GROUP", [](const Json& group) { return text(group, "name"); }},
        {">RULES", [](const Json& group) { return std::format("{}", field(group, "rules").size()); }},
        {">VMS", [](const Json& group) { return json_bool_or(group, "everybody", false) ? std::string("all") : std::format("{}", field(group, "vms").size()); }},
    }};
    static constexpr std::array<Column, 4> kPublicColumns{{
        {"PUBLIC", [](const Json& port) { return std::format("{}:{}", text(port, "proto"), text(port, "port")); }},
        {"AT", [](const Json& port) { return text(port, "site"); }},
        {"ADDRESS", [](const Json& port) { return text(port, "address"); }},
        {"LEADS TO", [](const Json& port) { return std::format("{}:{}", text(port, "vm"), text(port, "to")); }},
    }};
    const Json& guests = field(net, "guest_mtu");
    std::string out = format_fields({{"name", text(net, "name")}, {"cidr", text(net, "cidr")}, {"gateway", text(net, "gateway")}, {"vni", text(net, "vni")}, {"state", text(net, "state")},
                                     {"guest mtu", text(guests, "mtu") + (text(guests, "why").empty() ? "" : std::format(" ({})", text(guests, "why")))}});
    if (!text(net, "trouble").empty()) out += format_fields({{"not here", text(net, "trouble")}});
    const Table groups = make_table(net, "groups", kGroupColumns), vms = make_table(net, "vms", kVmColumns);
    for (const auto& anchor : field(net, "anchors")) out += format_fields({{"as at " + text(anchor, "site"), text(anchor, "ip") + " (the VMs see what comes from outside there come from it)"}});
    const Table open = make_table(net, "public", kPublicColumns);
    if (!open.rows.empty()) out += "\n" + format_table(open, terminal);
    out += "\n" + (groups.rows.empty() ? "no security groups: its VMs send and get everything inside of it\n" : format_table(groups, terminal));
    return out + "\n" + (vms.rows.empty() ? "no VMs\n" : format_table(vms, terminal));
}

Table security_group_table(const Json& reply) {
    Table table{{"NET", "NAME", ">RULES", ">VMS"}, {}};
    for (const auto& net : field(reply, "nets"))
        for (const auto& group : field(net, "groups"))
            table.rows.push_back({text(net, "name"), text(group, "name"), std::format("{}", field(group, "rules").size()), json_bool_or(group, "everybody", false) ? "all" : std::format("{}", field(group, "vms").size())});
    return table;
}

std::string security_group_text(const Json& net, const Json& group, const Terminal& terminal) {
    const bool everybody = json_bool_or(group, "everybody", false);
    std::string out = format_fields({{"network", text_of(net)}, {"name", text(group, "name")}, {"vms", everybody ? "all of the network" : text(group, "vms").empty() ? "none" : text(group, "vms")}});
    Table rules{{">RULE", "DIRECTION", "PROTO", "PORTS", "REMOTE"}, {}};
    for (const auto& rule : field(group, "rules")) {
        const std::string remote_group = text(rule, "remote_group"), remote = text(rule, "remote");
        rules.rows.push_back({std::format("{}", rules.rows.size() + 1), text(rule, "direction"), text(rule, "proto") + (json_bool_or(rule, "established", false) ? " (established)" : ""),
                              text(rule, "ports").empty() ? "all" : text(rule, "ports"), !remote_group.empty() ? "group " + remote_group : remote.empty() ? "anybody" : remote});
    }
    return out + "\n" + (rules.rows.empty() ? "no rules: its VMs send and get nothing, unless another group of theirs allows it\n" : format_table(rules, terminal));
}

std::string trace_text(const Json& reply, const Terminal& terminal) {
    static constexpr std::array<Column, 6> kColumns{{
        {"WAY", [](const Json& hop) { return text(hop, "way"); }},
        {"SITE", [](const Json& hop) { return text(hop, "site"); }},
        {"TABLE", [](const Json& hop) { return text(hop, "table"); }},
        {"IN SWITCH", [](const Json& hop) { return text(hop, "installed"); }},
        {"VERDICT", [](const Json& hop) { return text(hop, "verdict"); }},
        {"ENTRY", [](const Json& hop) { return text(hop, "entry"); }},
    }};
    const Json& trace = field(reply, "trace");
    std::string out;
    if (const Table hops = make_table(trace, "hops", kColumns); !hops.rows.empty()) out += format_table(hops, terminal) + "\n";
    for (const auto& difference : field(trace, "differences")) out += "differs: " + printable(text_of(difference)) + "\n";
    for (const auto& path : field(trace, "paths")) {
        const std::string why = text_of(field(path, "why"));
        out += printable(std::format("tunnel to {}: {}{}", text(path, "site"), text(path, "way"), why.empty() ? "" : std::format(" ({})", why))) + "\n";
    }
    const std::string answer = text(trace, "answer"), next = text(trace, "next");
    out += printable(std::format("{} ({}) to {} in {}: {}{}: {}", text(trace, "from"), text(trace, "from_ip"), text(trace, "to_ip"), text(trace, "net"), text(trace, "verdict"),
                                 answer.empty() ? "" : std::format(", answer {}", answer), text(trace, "reason"))) + "\n";
    return out + (next.empty() ? "" : std::format("  next: {}\n", printable(next)));
}

Table job_table(const Json& reply) {
    static constexpr std::array<Column, 6> kColumns{{
        {"ID", [](const Json& job) { return text(job, "id"); }},
        {"VERB", [](const Json& job) { return text(job, "verb"); }},
        {"SUBJECT", [](const Json& job) { return subject_of(job); }},
        {"STATE", [](const Json& job) { return text(job, "state"); }},
        {"PHASE", [](const Json& job) { return text(field(job, "progress"), "phase"); }},
        {"CREATED", [](const Json& job) { return text(job, "created"); }},
    }};
    return make_table(reply, "jobs", kColumns);
}

Table event_table(const Json& reply) {
    static constexpr std::array<Column, 5> kColumns{{
        {">SEQ", [](const Json& event) { return text(event, "seq"); }},
        {"TIME", [](const Json& event) { return text(event, "time"); }},
        {"TYPE", [](const Json& event) { return text(event, "type"); }},
        {"SUBJECT", [](const Json& event) { return text(event, "subject"); }},
        {"TEXT", [](const Json& event) { return text(event, "text"); }},
    }};
    return make_table(reply, "events", kColumns);
}

std::string event_line(const Json& event) {
    return printable(std::format("{:>5}  {}  {:<16}  {:<12}  {}", text(event, "seq"), text(event, "time"), text(event, "type"), text(event, "subject"), text(event, "text"))) + "\n";
}

Fields vm_fields(const Json& vm) {
    Fields fields{{"name", text(vm, "name")},       {"uuid", text(vm, "uuid")},   {"state", text(vm, "state")},   {"phase", text(vm, "phase")},
                  {"site", text(vm, "owner")},      {"epoch", text(vm, "epoch")}, {"moving to", text(field(vm, "migration"), "target")},
                  {"memory", mib(vm, "memory_mib")}, {"vcpus", text(vm, "vcpus")}, {"domain id", number(vm, "host_id", -1) >= 0 ? text(vm, "host_id") : ""},
                  {"policy", text(vm, "policy")},   {"created", text(vm, "created")}};
    for (const auto& fork : field(vm, "forks"))
        fields.emplace_back("fork", std::format("at {}, epoch {}, since {} (vm drop-fork)", text(fork, "site"), text(fork, "epoch"), text(fork, "since")));
    if (const Json& standby = field(vm, "standby"); standby.is_object())
        fields.emplace_back("standby", std::format("at {}, disk of epoch {}, as of {}", text(standby, "site"), text(standby, "epoch"), text(standby, "since")));
    if (const Json& seed = field(vm, "seed"); seed.is_object()) {
        const std::string sum = text(seed, "sha256");
        fields.emplace_back("seed", std::format("host name {}, {} ssh keys, {}", text(seed, "hostname"), text(seed, "ssh_keys"),
                                                sum.empty() ? "no user-data" : std::format("user-data of {} (sha256 {})", bytes(seed, "size"), sum)));
    }
    for (const auto& nic : field(vm, "nics")) fields.emplace_back("nic", std::format("{} {} {}", text(nic, "net"), text(nic, "ip"), text(nic, "mac")));
    for (const auto& volume : field(vm, "volumes")) {
        const std::string image = text(volume, "image");
        fields.emplace_back("volume", std::format("{} {} ({}{})", text(volume, "target"), bytes(volume, "size"), text(volume, "id"), image.empty() ? "" : ", image " + image.substr(0, 16)));
    }
    return fields;
}

Fields site_fields(const Json& site) {
    Fields fields{{"name", text(site, "name")},   {"index", text(site, "index")},     {"address", text(site, "address")}, {"wireguard key", text(site, "wireguard_key")},
                  {"role", text(site, "role")},   {"version", text(site, "version")}, {"state", text(site, "state")}};
    if (const std::string provider = text(site, "provider"); !provider.empty()) fields.emplace_back("provider", provider);
    for (const Json& one : field(site, "uplinks")) fields.emplace_back("uplink", text_of(one));  // of the site that answers
    return fields;
}

Fields job_fields(const Json& job) {
    const Json& progress = field(job, "progress");
    const bool running = text(job, "state") == "running";
    Fields fields{{"id", text(job, "id")},           {"verb", text(job, "verb")},   {"subject", subject_of(job)}, {"state", text(job, "state")},
                  {"created", text(job, "created")}, {"ended", text(job, "ended")}, {"phase", running ? text(progress, "phase") : ""},
                  {"percent", running ? text(progress, "percent") : ""}};
    const Json& result = field(job, "result");
    if (result.is_object())
        for (const auto& [name, value] : result.items())
            if (!value.is_array()) fields.emplace_back(name, value.is_object() ? counts_of(value) : text_of(value));  // rounds: in json and yaml
    fields.emplace_back("error", text(field(job, "error"), "what"));
    fields.emplace_back("next", text(field(job, "error"), "hint"));
    return fields;
}

Table phase_table(const Json& job) {
    Table table{{"PHASE", ">START", ">TOOK"}, {}};
    for (const auto& phase : field(job, "phases")) {
        const double start = number(phase, "start_ms", 0), end = number(phase, "end_ms", -1);
        table.rows.push_back({text(phase, "name"), seconds_text(start / 1000), end >= start && end > 0 ? seconds_text((end - start) / 1000) : ""});
    }
    return table;
}

std::string federation_text(const Json& reply, const Terminal& terminal) {
    const Json& federation = field(reply, "federation");
    if (!federation.is_object()) return "no federation\n";
    Json sites = Json::array();
    for (const auto& site : field(federation, "sites")) sites.push_back(site.is_object() ? Json(text(site, "name")) : site);
    std::string out = format_fields({{"name", text(federation, "name")}, {"id", text(federation, "id")}, {"sites", text_of(sites)}});
    Table members{{"MEMBER", "ROLE", "HEALTHY"}, {}};
    for (const auto& member : field(federation, "members"))
        members.rows.push_back({text(member, "name"), text(member, "role"), json_bool_or(member, "healthy", false) ? "yes" : "no"});
    if (!members.rows.empty()) out += "\n" + format_table(members, terminal);
    return out;
}

std::string doctor_text(const Json& reply, const Terminal& terminal) {
    struct Mark {
        std::string_view status, sign, word, colour;
    };
    static constexpr std::array<Mark, 3> kMarks{{{"ok", "✓", "ok", "\033[32m"}, {"warning", "!", "warning", "\033[33m"}, {"fail", "✗", "FAIL", "\033[31m"}}};
    const bool signs = terminal.out && terminal.utf8;
    std::array<int, 3> counts{};
    std::size_t width = 0;
    for (const auto& check : field(reply, "checks")) width = std::max(width, display_width(text(check, "name")));
    std::string out;
    for (const auto& check : field(reply, "checks")) {
        const std::string status = text(check, "status"), name = printable(text(check, "name"));
        const auto at = std::ranges::find(kMarks, status, &Mark::status);
        const Mark& mark = at == kMarks.end() ? kMarks[2] : *at;
        ++counts[static_cast<std::size_t>(&mark - kMarks.data())];
        std::string shown = signs ? std::string(mark.sign) : std::format("{:<7}", mark.word);
        if (terminal.out_colour) shown = std::string(mark.colour) + shown + "\033[0m";
        out += std::format("{}  {}{}  {}\n", shown, name, std::string(width - display_width(name), ' '), printable(text(check, "detail")));
        const std::string hint = text(check, "hint");
        if (!hint.empty() && status != "ok") out += std::format("{}next: {}\n", std::string((signs ? 1 : 7) + width + 4, ' '), printable(hint));
    }
    return out + std::format("{} ok, {} warning{}, {} failed\n", counts[0], counts[1], counts[1] == 1 ? "" : "s", counts[2]);
}

std::string steps_text(const Json& reply) {
    std::string out;
    int index = 0;
    for (const auto& step : field(reply, "steps")) out += std::format("{:>2}. {}\n", ++index, printable(text_of(step)));
    return index == 0 ? "nothing to do\n" : out;
}

std::string error_text(const Error& error, const std::string& action) {
    const std::string cannot = action.empty() ? std::string() : std::format("cannot {}", action);
    std::string what = printable(error.what);
    if (!cannot.empty() && !what.starts_with(cannot)) what = std::format("{}: {}", cannot, what);
    std::string out = std::format("blanket: {}\n", what);
    if (!error.hint.empty()) out += std::format("  next: {}\n", printable(error.hint));
    return out;
}

std::string subject_of(const Json& job) {
    const std::string subject = text(job, "subject");
    return subject.substr(subject.find('/') + 1);
}

double job_seconds(const Json& job) {
    double end = number(field(job, "result"), "total_s", -1) * 1000;
    if (end < 0)
        for (const auto& phase : field(job, "phases")) end = std::max(end, number(phase, "end_ms", -1));
    return end < 0 ? -1 : end / 1000;
}

std::string seconds_text(double seconds) {
    if (seconds < 1) return std::format("{:.0f} ms", seconds * 1000);
    if (seconds < 100) return std::format("{:.1f} s", seconds);
    const auto whole = static_cast<std::uint64_t>(seconds + 0.5);
    return std::format("{} min {:02} s", whole / 60, whole % 60);
}

std::string job_summary(const Json& job, const std::string& action) {
    const double seconds = job_seconds(job);
    const std::string took = seconds < 0 ? "" : std::format(" in {}", seconds_text(seconds));
    const Json& result = field(job, "result");
    if (text(job, "verb").contains("migrate") && result.is_object() && result.contains("downtime_ms"))
        return printable(std::format("{} moved from {} to {}{}: stopped for {:.0f} ms, {} rounds, {} of memory and {} of disk sent, epoch {}", subject_of(job),
                                     text(result, "from"), text(result, "to"), took, number(result, "downtime_ms", 0), text(result, "rounds"),
                                     bytes(result, "memory_wire_bytes"), bytes(result, "disk_wire_bytes"), text(result, "epoch"))) + "\n";
    return printable(std::format("done: {}{}", action, took)) + "\n";
}

}  // namespace blanket::cli
