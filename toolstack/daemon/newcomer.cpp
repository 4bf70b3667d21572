// SPDX-License-Identifier: GPL-2.0-or-later
// See newcomer.hpp.
#include "toolstack/daemon/newcomer.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <thread>

#include "toolstack/base/file.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/records.hpp"
#include "toolstack/peer/rest_client.hpp"
#include "toolstack/peer/revocations.hpp"
#include "toolstack/registry/etcd_registry.hpp"

namespace blanket {
namespace {

namespace fs = std::filesystem;
constexpr std::array kIdentityFiles{"ca.crt", "ca.key", "ca.json", "ca.next.crt", "ca.next.key", "site.crt", "site.key", "revoked.json", "revoked.crl"};
using Clock = std::chrono::steady_clock;

std::string state_file(const std::string& root) { return root + "/state/federation.json"; }

Result<std::vector<std::string>> endpoint_list(const Json& object) {
    std::vector<std::string> out;
    const auto at = object.find("endpoints");
    if (at == object.end() || !at->is_array() || at->size() > 16) return fail(Kind::kInvalid, "the list of etcd endpoints is missing");
    for (const auto& item : *at) {
        if (!item.is_string()) return fail(Kind::kInvalid, "an etcd endpoint is not text");
        BLANKET_CHECK(parse_host_port(item.get<std::string>()));
        out.push_back(item.get<std::string>());
    }
    return out;
}

// The old identity and etcd data, put aside until the join has succeeded. What it has not come to yet, when something fails, is not touched by the way back either.
class SetAside final {
public:
    SetAside(const Newcomer& self, EtcdRunner& runner) : root_(self.root), runner_(runner) {}
    Result<void> take() {
        if (auto old = load_local_state(root_)) old_ = std::move(*old);
        else if (old.error().kind != Kind::kNotFound) return std::unexpected(std::move(old).error());
        taken_ = true;
        BLANKET_CHECK(runner_.stop());
        BLANKET_CHECK(make_dirs(root_ + "/pki/old", 0700));
        for (const char* name : kIdentityFiles) BLANKET_CHECK(put_aside(root_ + "/pki/" + name, root_ + "/pki/old/" + name));
        return put_aside(root_ + "/etcd", root_ + "/etcd.old");
    }
    void keep_new() {
        taken_ = false;
        std::error_code ignored;
        fs::remove_all(root_ + "/pki/old", ignored);
        fs::remove_all(root_ + "/etcd.old", ignored);
    }
    [[nodiscard]] Result<void> put_back(const Newcomer& self) {
        if (!taken_) return {};
        taken_ = false;
        static_cast<void>(runner_.stop());  // one that cannot be stopped starts again below
        Result<void> back;
        for (const auto& item : items_)
            if (auto done = item.there ? move(item.aside, item.place) : remove(item.place); !done && back) back = std::move(done);
        BLANKET_CHECK(back);
        if (!old_) return remove_file(state_file(root_));
        BLANKET_CHECK(save_local_state(root_, *old_));
        if (old_->role == "client") return {};
        const EtcdConfig config = etcd_config(self, *old_);
        BLANKET_CHECK(write_etcd_config(config));
        return runner_.start(config);
    }

private:
    struct Item {
        std::string place, aside;
        bool there = false;  // else nothing was at its place
    };
    Result<void> put_aside(const std::string& place, const std::string& aside) {
        std::error_code code;
        const auto type = fs::symlink_status(place, code).type();
        if (type == fs::file_type::none) return fail(Kind::kIo, "cannot look at {}: {}", place, code.message());
        const bool there = type != fs::file_type::not_found;
        if (there) BLANKET_CHECK(move(place, aside));
        items_.push_back({place, aside, there});
        return {};
    }
    static Result<void> remove(const std::string& path) {
        std::error_code code;
        fs::remove_all(path, code);
        if (code) return fail(Kind::kIo, "cannot remove {}: {}", path, code.message());
        return {};
    }
    static Result<void> move(const std::string& from, const std::string& to) {
        BLANKET_CHECK(remove(to));
        std::error_code code;
        fs::rename(from, to, code);
        if (code) return fail(Kind::kIo, "cannot rename {} to {}: {}", from, to, code.message());
        return {};
    }
    std::string root_;
    EtcdRunner& runner_;
    std::optional<LocalState> old_;
    std::vector<Item> items_;
    bool taken_ = false;
};

struct Admission {
    LocalState state;
    std::uint64_t member = 0;
    std::string ca, cert, key, federation;
    std::vector<Revocation> revoked;
};

std::string join_key(const std::string& root) { return root + "/pki/join.key"; }

// One key until a join has succeeded: by it the site that signs knows a machine again to which its answer was lost.
Result<CsrAndKey> make_request(const Newcomer& self) {
    const Subject subject{self.name, self.address};
    if (const auto key = read_file(join_key(self.root), 65536))
        if (auto csr = make_csr(subject, *key)) return CsrAndKey{std::move(*csr), *key};
    BLANKET_TRY(CsrAndKey made, make_csr(subject));
    BLANKET_CHECK(make_dirs(self.root + "/pki", 0700));
    BLANKET_CHECK(write_file(join_key(self.root), made.key, 0600));
    return made;
}

Result<Admission> ask(const Newcomer& self, const JoinToken& token, const Progress& progress) {
    BLANKET_TRY(const CsrAndKey request, make_request(self));
    const Json body = join_request(self, token, request.csr);
    Result<Json> answer = fail(Kind::kInvalid, "the token names no endpoint");
    for (const auto& endpoint : token.endpoints) {
        BLANKET_TRY(const HostPort where, parse_host_port(endpoint));
        progress(std::format("asking {} for admission", endpoint));
        answer = RestClient::pinned(token.ca_sha256, where.host, where.port).call_ok("POST", "/1.0/peer/join", &body, std::chrono::seconds(90));
        if (answer || answer.error().kind != Kind::kUnavailable) break;
    }
    if (!answer) return std::unexpected(std::move(answer).error().context("not admitted"));
    Admission admission;
    BLANKET_TRY(admission.ca, json_string(*answer, "ca"));
    BLANKET_TRY(admission.cert, json_string(*answer, "cert"));
    admission.key = request.key;
    BLANKET_TRY(const std::string print, fingerprint(admission.ca));
    if (print != token.ca_sha256) return fail(Kind::kDenied, "the CA in the answer is not the token's");
    BLANKET_CHECK(check_identity(admission.ca, admission.cert, admission.key, self.name));
    BLANKET_TRY(admission.federation, json_string(*answer, "federation"));
    BLANKET_TRY(admission.state.role, json_string(*answer, "role"));
    BLANKET_TRY(const std::uint64_t index, json_number(*answer, "index"));
    if (index > 254) return fail(Kind::kInvalid, "site index {} is out of range", index);
    BLANKET_TRY(admission.member, json_number(*answer, "member"));
    BLANKET_TRY(admission.state.endpoints, endpoint_list(*answer));
    admission.state.initial_cluster = json_string_or(*answer, "initial_cluster", "");
    if (const auto revoked = answer->find("revoked"); revoked != answer->end() && revoked->is_array())
        for (const auto& item : *revoked) {
            BLANKET_TRY(Revocation one, parse_revocation(item));
            admission.revoked.push_back(std::move(one));
        }
    admission.state.site = self.name;
    admission.state.address = self.address;
    admission.state.index = static_cast<std::uint32_t>(index);
    admission.state.existing = true;
    admission.state.founder = json_string_or(*answer, "founder", "");
    if (!admission.state.founder.empty()) BLANKET_CHECK(check_name(admission.state.founder, "site"));
    return admission;
}

Result<void> write_identity(const std::string& root, const Admission& admission) {
    const PkiPaths paths = PkiPaths::in(root + "/pki");
    BLANKET_CHECK(make_dirs(root + "/pki", 0700));
    BLANKET_CHECK(write_file(paths.key, admission.key, 0600));
    BLANKET_CHECK(write_file(paths.cert, admission.cert, 0644));
    BLANKET_CHECK(write_file(paths.ca_cert, admission.ca, 0644));
    BLANKET_TRY(const auto revocations, Revocations::load(root + "/pki"));
    for (const auto& one : admission.revoked) BLANKET_CHECK(revocations->add(one, admission.ca));
    return {};
}

// Until the local member is a voter that knows its leader.
Result<void> wait_for_vote(EtcdClient& client, EtcdRunner& runner, const std::string& endpoint, Clock::time_point until, const Progress& progress) {
    bool told = false;
    Error last{Kind::kTimeout, "etcd does not answer", {}};
    while (Clock::now() < until) {
        const auto status = client.status(endpoint);
        if (status && !status->learner && status->leader != 0) return {};
        if (status) {
            last = {Kind::kTimeout, status->learner ? "the member is still a learner" : "the member has no leader", {}};
            if (!told) progress("etcd runs as a learner and copies the registry");
            told = true;
        } else last.what = status.error().what;
        BLANKET_TRY(const bool alive, runner.running());
        if (!alive) return fail_hint(Kind::kIo, "etcd ended right after its start", "look at its log: journalctl -u blanket-etcd (witness: etcd/etcd.log in its folder)");
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
    last.hint = "check that etcd's ports 2379 and 2380 are open between the machines";
    return std::unexpected(std::move(last).context("etcd did not become a voter in time"));
}

Result<void> take_part(const Newcomer& self, const Admission& admission, SetAside& aside, EtcdRunner& runner, const Progress& progress) {
    const auto until = Clock::now() + self.deadline;
    progress(std::format("admitted to '{}' as {} {}", admission.federation, admission.state.role, admission.state.index));
    BLANKET_CHECK(aside.take());
    BLANKET_CHECK(write_identity(self.root, admission));
    if (admission.state.role == "client") {
        EtcdClient client(admission.state.endpoints, etcd_tls(self.root));
        // The token is used up: a registry that is silent for a moment (an election, a busy machine) is asked again.
        auto answers = client.get(std::string(kRegistryPrefix) + "federation");
        while (!answers && (answers.error().kind == Kind::kUnavailable || answers.error().kind == Kind::kTimeout) && Clock::now() < until) {
            std::this_thread::sleep_for(std::chrono::milliseconds(500));
            answers = client.get(std::string(kRegistryPrefix) + "federation");
        }
        BLANKET_CHECK(answers);
        return save_local_state(self.root, admission.state);
    }
    const EtcdConfig config = etcd_config(self, admission.state);
    BLANKET_CHECK(write_etcd_config(config));
    progress("starting etcd");
    BLANKET_CHECK(runner.start(config));
    EtcdClient client({config.own_endpoint()}, etcd_tls(self.root));
    BLANKET_CHECK(wait_for_vote(client, runner, config.own_endpoint(), until, progress));
    progress("this member votes now");
    return save_local_state(self.root, admission.state);
}

// What the founder did for us is taken back, as far as the cluster answers.
void withdraw(const Newcomer& self, const Admission& admission, const std::vector<std::string>& others) {
    if (others.empty() || !fs::exists(PkiPaths::in(self.root + "/pki").cert)) return;
    EtcdClient client(others, etcd_tls(self.root), std::chrono::seconds(10));
    if (admission.member != 0)
        if (auto removed = client.member_remove(admission.member); !removed) log::warning("join", "member {:x} stays: {}", admission.member, removed.error().what);
    if (auto removed = client.txn({}, {{std::string(kRegistryPrefix) + "sites/" + self.name, std::nullopt}}); !removed)
        log::warning("join", "the record of site '{}' stays: {}", self.name, removed.error().what);
}

}  // namespace

Json to_json(const LocalState& state) {
    return {{"site", state.site}, {"address", state.address}, {"role", state.role}, {"index", state.index},
            {"endpoints", state.endpoints}, {"initial_cluster", state.initial_cluster}, {"existing", state.existing}, {"founder", state.founder}};
}

Result<LocalState> parse_local_state(const Json& value) {
    LocalState state;
    BLANKET_TRY(state.site, json_string(value, "site"));
    BLANKET_CHECK(check_name(state.site, "site"));
    BLANKET_TRY(state.address, json_string(value, "address"));
    BLANKET_CHECK(parse_ipv4(state.address));
    BLANKET_TRY(state.role, json_string(value, "role"));
    BLANKET_TRY(const std::uint64_t index, json_number(value, "index"));
    state.index = static_cast<std::uint32_t>(index);
    BLANKET_TRY(state.endpoints, endpoint_list(value));
    state.initial_cluster = json_string_or(value, "initial_cluster", "");
    state.existing = json_bool_or(value, "existing", false);
    state.founder = json_string_or(value, "founder", "");
    if (!state.founder.empty()) BLANKET_CHECK(check_name(state.founder, "site"));
    return state;
}

Result<LocalState> load_local_state(const std::string& root) {
    BLANKET_TRY(const std::string text, read_file(state_file(root), 65536));
    BLANKET_TRY(const Json value, parse_json(text));
    auto state = parse_local_state(value);
    if (!state) return std::unexpected(std::move(state).error().context(state_file(root)));
    return state;
}

Result<void> save_local_state(const std::string& root, const LocalState& state) {
    BLANKET_CHECK(make_dirs(root + "/state", 0700));
    return write_file(state_file(root), to_json(state).dump(2) + "\n", 0600);
}

std::string ca_holder(const std::string& root) {
    const PkiPaths paths = PkiPaths::in(root + "/pki");
    const auto state = load_local_state(root);
    std::error_code ignored;
    if (state && fs::exists(paths.ca_key, ignored)) return state->site;
    if (state && !state->founder.empty()) return state->founder;
    const auto ca = read_file(paths.ca_cert, 65536);  // who joined before there was a pin: the CA's own name says whose it is
    return ca ? ca_maker(*ca) : std::string();
}

EtcdTls etcd_tls(const std::string& root) {
    const PkiPaths paths = PkiPaths::in(root + "/pki");
    return {paths.ca_cert, paths.cert, paths.key, root + "/pki/revoked.crl"};
}

EtcdConfig etcd_config(const Newcomer& self, const LocalState& state) {
    EtcdConfig config;
    config.name = state.site;
    config.dir = self.root + "/etcd";
    config.address = state.address;
    config.listen = self.listen;
    config.client_port = self.client_port;
    config.peer_port = self.peer_port;
    config.loopback = self.loopback;
    config.heartbeat_ms = self.heartbeat_ms;
    config.election_ms = self.election_ms;
    config.tls = etcd_tls(self.root);
    config.initial_cluster = state.initial_cluster;
    config.existing = state.existing;
    return config;
}

Json join_request(const Newcomer& self, const JoinToken& token, const std::string& csr) {
    const auto now = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    return {{"id", token.id}, {"secret", token.secret}, {"name", self.name}, {"address", self.address}, {"role", self.role}, {"version", self.version},
            {"time", static_cast<std::uint64_t>(now)}, {"csr", csr}, {"wireguard_key", self.wireguard_key}, {"client_port", self.client_port},
            {"peer_port", self.peer_port}};
}

Result<LocalState> join_federation(const Newcomer& self, const JoinToken& token, EtcdRunner& runner, const Progress& progress) {
    BLANKET_CHECK(check_name(self.name, "site"));
    BLANKET_CHECK(parse_ipv4(self.address));
    BLANKET_TRY(Admission admission, ask(self, token, progress));
    const std::vector<std::string> others = admission.state.endpoints;
    if (admission.state.role != "client") admission.state.endpoints.insert(admission.state.endpoints.begin(), self.own_etcd());
    SetAside aside(self, runner);
    auto done = take_part(self, admission, aside, runner, progress);
    if (done) {
        aside.keep_new();
        if (auto removed = remove_file(join_key(self.root)); !removed) log::warning("join", "{}", removed.error().what);
        return admission.state;
    }
    Error error = std::move(done).error();
    progress("the join failed, undoing it: " + error.what);
    withdraw(self, admission, others);
    if (auto back = aside.put_back(self); !back) error.what += std::format("; and the old state could not be put back: {}", back.error().what);
    error.hint += std::string(error.hint.empty() ? "" : "; ") + "the token is used up: make a new one with `blanket site token`";
    return std::unexpected(std::move(error));
}

Result<bool> take_revocations(EtcdClient& client, Revocations& revocations, const std::string& root) {
    BLANKET_TRY(const std::string ca, read_file(PkiPaths::in(root + "/pki").ca_cert, 65536));
    BLANKET_TRY(EtcdRange range, client.range_prefix(std::string(kRegistryPrefix) + "revoked/"));
    std::ranges::sort(range.kvs, {}, &EtcdKv::mod_revision);  // of two sites that revoke each other the first counts
    bool any = false;
    for (const auto& kv : range.kvs) {
        const auto value = parse_json(kv.value);
        const auto statement = value ? parse_revocation(*value) : Result<Revocation>(std::unexpected(value.error()));
        const auto added = statement ? revocations.add(*statement, ca) : Result<bool>(std::unexpected(statement.error()));
        if (!added) log::warning("registry", "{}: {}", kv.key, added.error().what);
        else any = any || *added;
    }
    return any;
}

}  // namespace blanket
