// SPDX-License-Identifier: GPL-2.0-or-later
// The first site of a federation with its door for newcomers, for the tests of registry/.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "tests/unit/registry/members.hpp"
#include "toolstack/peer/rest_server.hpp"

namespace blanket::test {

// Throws (value() of an error) when anything fails. `host` and those of the newcomers: of address_of().
struct Founder {
    std::string root;
    int host;
    TestSite site;
    std::function<Result<Json>(Result<Json>)> on_the_way = [](Result<Json> answer) { return answer; };  // what becomes of the answer to a newcomer
    std::shared_mutex answering;  // for what ThreadSanitizer cannot see: that who has heard an answer comes after it
    RestServer server;

    Founder(std::string dir, int at) : root(std::move(dir)), host(at) { start(); }
    ~Founder() {
        server.stop();
        const std::scoped_lock after(answering);
    }
    Founder(const Founder&) = delete;
    Founder& operator=(const Founder&) = delete;
    void start() {
        TestSite made = make_site(root, "east", host);
        {
            const std::scoped_lock after(answering);
            site = std::move(made);
        }
        site.federation->ensure_local(kQuiet).value();
    }
    void end() {
        const std::scoped_lock after(answering);
        site.federation.reset();
    }
    void open() {
        site.federation->init("lab").value();
        server.route("POST", "/1.0/peer/join", [this](const RestRequest& request) {
            const auto body = request.json();
            Result<Json> answer = fail(Kind::kInternal, "not asked");
            {
                const std::shared_lock lock(answering);
                answer = body ? site.federation->handle_join(*body) : Result<Json>(std::unexpected(body.error()));
            }
            answer = on_the_way(std::move(answer));
            const std::shared_lock lock(answering);
            return answer ? RestResponse::of(*answer) : RestResponse::of(answer.error());
        }, Access::kOpen);
        server.listen_tls(site.federation->tls().value(), address_of(host), 7443).value();
    }
    [[nodiscard]] std::string token(const std::string& role = "site") const {
        return site.federation->make_token(role, "", std::chrono::seconds(600)).value()["token"].get<std::string>();
    }
    [[nodiscard]] EtcdClient& etcd() const { return *site.federation->etcd(); }
    [[nodiscard]] Registry& registry() const { return *site.federation->registry(); }
    [[nodiscard]] Site record(const std::string& name) const {
        const auto read = registry().get("sites/" + name);
        if (!read) throw std::runtime_error(read.error().what + " " + read.error().hint);
        return parse_site(read->value().value).value();
    }
    // Whatever stands there now: as any member can.
    void write(const std::string& key, const std::string& text) const { etcd().txn({}, {{std::string(kRegistryPrefix) + key, text}}).value(); }
    void erase(const std::string& key) const { etcd().txn({}, {{std::string(kRegistryPrefix) + key, std::nullopt}}).value(); }

    // While another one is being admitted it waits.
    Result<void> join(TestSite& newcomer) const {
        newcomer.federation->ensure_local(kQuiet).value();
        Result<void> joined = fail(Kind::kConflict, "not tried");
        eventually([&] {
            joined = newcomer.federation->join(token(), kQuiet);
            return joined || !joined.error().what.contains("at this moment");
        });
        return joined;
    }
    Result<LocalState> join_witness(const Newcomer& witness, EtcdRunner& runner) const {
        Result<LocalState> joined = fail(Kind::kConflict, "not tried");
        eventually([&] {
            joined = join_federation(witness, parse_token_text(token("witness")).value(), runner, kQuiet);
            return joined || !joined.error().what.contains("at this moment");
        });
        return joined;
    }
};

}  // namespace blanket::test
