// SPDX-License-Identifier: GPL-2.0-or-later
// A stateful fake of the commands of a host: it holds an OVSDB, a flow table, links and units, and answers as the real programs print.
#pragma once

#include <gtest/gtest.h>
#include <map>
#include <mutex>
#include <set>

#include "net/commands.hpp"
#include "net/hold.hpp"
#include "net/flow.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::net::test {

class FakeHost : public CommandRunner {
public:
    struct Port {
        std::map<std::string, std::string> columns, ids, options;
        std::int64_t number = 0;
    };
    bool bridge = false;
    std::map<std::string, std::string> bridge_columns;
    std::map<std::string, Port> ports;
    std::map<std::string, std::string> flows;  // key -> line as dump-flows prints it
    std::map<std::string, std::pair<std::uint64_t, std::vector<std::string>>> links;
    std::map<std::string, std::string> routes;  // destination -> line
    std::string wireguard, endpoints, firewall;
    std::vector<std::string> packets, units, log;
    std::string fail_on;      // commands whose text holds this fail
    bool lose_answer = false;  // the next bundle is done, but fails

    void plug(const std::string& name, const std::string& uuid, const std::string& mac) {
        ports[name] = {.columns = {}, .ids = {{"vm-uuid", uuid}, {"vm-mac", mac}}, .options = {}, .number = next_++};
    }
    void unplug(const std::string& name) { ports.erase(name); }

    struct Mutex : std::mutex {  // of its own in each copy
        Mutex() = default;
        Mutex(const Mutex&) {}
        Mutex& operator=(const Mutex&) { return *this; }
    } mutex;  // for a test that looks while another thread of the overlay works

    Result<std::string> run(const Command& command) override {
        const std::lock_guard lock(mutex);
        const std::string text = to_string(command.argv);
        log.push_back(text);
        if (!fail_on.empty() && (text + command.input).contains(fail_on)) return fail(Kind::kIo, "'{}' failed with status 1: told to", text);
        const std::string& program = command.argv[0];
        if (program == "ovs-vsctl") return text.contains("find Bridge") ? dump() : change(command.argv);
        if (program == "ovs-ofctl") {
            if (text.contains("dump-flows")) return dump_flows();
            const auto done = bundle(command.input);
            if (std::exchange(lose_answer, false)) return fail(Kind::kTimeout, "its answer is lost");
            return done;
        }
        if (program == "ip") return text.contains("-json") ? addresses() : batch(command.input);
        if (program == "wg" && text.contains(" show ")) return endpoints;
        if (program == "wg") wireguard = command.input;
        else if (program == "nft" && text.contains(" list ")) return firewall.empty() ? Result<std::string>(fail(Kind::kIo, "No such file or directory")) : firewall;
        else if (program == "nft") firewall = command.input;
        else if (program == "systemctl") units.push_back(command.argv[1] + ' ' + command.argv[2]);
        else return fail(Kind::kNotFound, "no program '{}'", program);
        return std::string();
    }
    unsigned count(std::string_view part) const {
        return static_cast<unsigned>(std::ranges::count_if(log, [&](const auto& line) { return line.contains(part); }));
    }

private:
    std::int64_t next_ = 1;

    static Json map_cell(const std::map<std::string, std::string>& map) {
        Json pairs = Json::array();
        for (const auto& [key, value] : map) pairs.push_back({key, value});
        return Json::array({"map", pairs});
    }
    static Json uuid_cell(const std::string& name) { return Json::array({"uuid", name}); }

    std::string dump() const {
        Json bridges{{"headings", {"_uuid", "name", "ports", "datapath_type", "fail_mode"}}, {"data", Json::array()}};
        Json port_rows{{"headings", {"_uuid", "name", "interfaces"}}, {"data", Json::array()}};
        Json rows{{"headings", {"_uuid", "name", "type", "ofport", "external_ids", "options", "mac", "mtu_request", "error"}}, {"data", Json::array()}};
        const Json none = Json::array({"set", Json::array()});
        Json members = Json::array();
        for (const auto& [name, port] : ports) {
            members.push_back(uuid_cell("p-" + name));
            port_rows["data"].push_back(Json::array({uuid_cell("p-" + name), name, uuid_cell("i-" + name)}));
            const auto column = [&](const std::string& key) { return port.columns.contains(key) ? Json(port.columns.at(key)) : none; };
            Json mtu = none;
            if (port.columns.contains("mtu_request")) mtu = std::stoull(port.columns.at("mtu_request"));
            rows["data"].push_back(Json::array({uuid_cell("i-" + name), name, port.columns.contains("type") ? port.columns.at("type") : "",
                                                port.number, map_cell(port.ids), map_cell(port.options), column("mac"), mtu, column("error")}));
        }
        if (bridge)
            bridges["data"].push_back(Json::array({uuid_cell("b"), "br-int", Json::array({"set", members}),
                                                   bridge_columns.contains("datapath_type") ? bridge_columns.at("datapath_type") : "",
                                                   bridge_columns.contains("fail_mode") ? Json(bridge_columns.at("fail_mode")) : none}));
        return bridges.dump() + "\n" + port_rows.dump() + "\n" + rows.dump() + "\n";
    }

    Result<std::string> change(const Argv& argv) {
        std::vector<Argv> steps;
        for (const auto& word : argv) {
            if (word == "--") steps.emplace_back();
            else if (!steps.empty()) steps.back().push_back(word);
        }
        for (auto& step : steps) {
            std::erase_if(step, [](const std::string& word) { return word.starts_with("--"); });
            if (step[0] == "add-br") bridge = true;
            else if (step[0] == "add-port") {
                if (!ports.contains(step[2])) ports[step[2]].number = next_++;
            } else if (step[0] == "del-port") ports.erase(step[2]);
            else if (step[0] == "set") {
                for (std::size_t i = 3; i < step.size(); ++i) {
                    const auto equal = step[i].find('=');
                    std::string key = step[i].substr(0, equal), value = step[i].substr(equal + 1);
                    std::erase(value, '"');
                    if (step[1] == "Bridge") bridge_columns[key] = value;
                    else if (key.starts_with("options:")) ports[step[2]].options[key.substr(8)] = value;
                    else if (key.starts_with("external_ids:")) ports[step[2]].ids[key.substr(13)] = value;
                    else ports[step[2]].columns[key] = value;
                }
                if (step[1] == "Interface" && ports[step[2]].columns["type"] == "internal" && !links.contains(step[2])) links[step[2]] = {1500, {}};
            } else return fail(Kind::kIo, "unknown step '{}'", step[0]);
        }
        return std::string();
    }

    std::string dump_flows() const {
        std::string text;
        for (const auto& [key, line] : flows) text += line + '\n';
        return text;
    }

    Result<std::string> bundle(const std::string& lines) {
        for (const auto& line : split(trim(lines), '\n')) {
            if (line.starts_with("flow add ")) {
                const std::string body = line.substr(9);
                const auto at = body.find(",actions=");
                std::string printed = " " + body.substr(0, at) + " " + body.substr(at + 1);
                const auto flow = parse_flow_line(printed);
                if (!flow) return std::unexpected(flow.error());
                flows[flow->key()] = printed;
            } else if (line.starts_with("flow delete_strict ")) {
                const auto flow = parse_flow_line(line.substr(19) + " actions=drop");
                if (!flow) return std::unexpected(flow.error());
                flows.erase(flow->key());
            } else if (line.starts_with("packet-out ")) packets.push_back(line);
            else return fail(Kind::kIo, "ovs-ofctl: bad line '{}'", line);
        }
        return std::string();
    }

    std::string addresses() const {
        Json out = Json::array();
        for (const auto& [name, link] : links) {
            Json list = Json::array();
            for (const auto& address : link.second)
                list.push_back({{"family", "inet"}, {"local", address.substr(0, address.find('/'))}, {"prefixlen", std::stoul(address.substr(address.find('/') + 1))}});
            Json flags = Json::array();
            if (up_.contains(name)) flags.push_back("UP");
            out.push_back({{"ifname", name}, {"mtu", link.first}, {"flags", flags}, {"addr_info", list}});
        }
        return out.dump();
    }

    Result<std::string> batch(const std::string& lines) {
        for (const auto& line : split(trim(lines), '\n')) {
            const auto words = split(line, ' ');
            if (line.starts_with("link add ")) links[words[2]] = {1420, {}};
            else if (line.starts_with("link set dev ")) {
                if (!links.contains(words[3])) return fail(Kind::kIo, "Cannot find device \"{}\"", words[3]);
                if (words.back() == "up") up_[words[3]] = true;
                if (words[4] == "mtu") links[words[3]].first = std::stoull(words[5]);
            } else if (line.starts_with("route replace ")) {
                if (!links.contains(words[4])) return fail(Kind::kIo, "Cannot find device \"{}\"", words[4]);
                routes[words[2]] = line;
            } else if (line.starts_with("address add ")) links[words[4]].second.push_back(words[2]);
            else if (line.starts_with("address del ")) std::erase(links[words[4]].second, words[2]);
        }
        return std::string();
    }

    std::map<std::string, bool> up_;
};

// Holds whose frames are counted; they go into the bridge that FakeHost plays.
class FakeHolds : public HoldHost {
public:
    struct Device {
        unsigned waiting = 0, delivered = 0;
        bool closed = false;
    };
    std::map<std::string, Device> devices;
    bool broken = false;

    Result<std::unique_ptr<HoldDevice>> open(const std::string& name) override {
        if (broken) return fail(Kind::kIo, "device '{}': told to fail", name);
        if (!devices.try_emplace(name).second) return fail(Kind::kConflict, "there is a network device '{}' already", name);
        return std::make_unique<Handle>(devices[name]);
    }
    std::map<std::string, int> connects_after;  // vif -> looks at its carrier that find none; a vif that is not here never connects
    bool carrier(const std::string& vif) override {
        const auto at = connects_after.find(vif);
        return at != connects_after.end() && at->second-- <= 0;
    }
    std::uint64_t sent(const std::string&) override {  // a guest with `last_words` left says one at each look
        const std::lock_guard lock(mutex_);
        if (last_words > 0) {
            --last_words;
            ++said_;
        }
        return said_;
    }
    unsigned last_words = 0;

private:
    class Handle : public HoldDevice {
    public:
        explicit Handle(Device& device) : device_(device) {}
        ~Handle() override { device_.closed = true; }
        Result<unsigned> deliver() override {
            const unsigned count = std::exchange(device_.waiting, 0u);
            device_.delivered += count;
            return count;
        }

    private:
        Device& device_;
    };
    std::mutex mutex_;
    std::uint64_t said_ = 0;
};

}  // namespace blanket::net::test
