// SPDX-License-Identifier: GPL-2.0-or-later
// See rest_server.hpp. The HTTP is cpp-httplib's; routing is ours, so that both listeners share one table and one place checks access.
#include "toolstack/peer/rest_server.hpp"

#include <array>
#include <atomic>
#include <grp.h>
#include <httplib.h>
#include <mutex>
#include <semaphore>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/peer/rest_tls.hpp"
#include "toolstack/peer/worker_threads.hpp"

namespace blanket {
namespace {

constexpr std::size_t kMaxBody = 4u << 20;
constexpr std::size_t kMaxWaiting = 256;  // connections that no thread serves yet
constexpr std::size_t kLocalThreads = 12;
constexpr std::ptrdiff_t kAnswers = 8, kToStrangers = 4;  // at the same time, over TLS

struct Route {
    std::string method;
    std::vector<std::string> parts;
    bool exact = false;  // no `*`
    RestServer::Handler handler;
    Access access = Access::kSites;
};

bool match(const Route& route, const std::vector<std::string>& parts, std::vector<std::string>& matches) {
    if (route.parts.size() != parts.size()) return false;
    matches.clear();
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (route.parts[i] == "*" && !parts[i].empty()) matches.push_back(parts[i]);
        else if (route.parts[i] != parts[i]) return false;
    }
    return true;
}

// The connection of a request that is being answered, so that a long poll of a site that is revoked meanwhile ends at once.
class Answering final : public Cuttable {
public:
    explicit Answering(int fd) : fd_(fd) {}
    void cut() override {
        const std::scoped_lock lock(mutex_);
        if (fd_ >= 0) ::shutdown(fd_, SHUT_RDWR);
    }
    void over() {  // the descriptor may be another's soon
        const std::scoped_lock lock(mutex_);
        fd_ = -1;
    }

private:
    std::mutex mutex_;
    int fd_;
};

RestResponse refuse_revoked_site(const std::string& site) {
    return RestResponse::of(Error{Kind::kDenied, std::format("site '{}' is revoked: it is cut off from the federation", site), "reinstall the machine to join again under another name"});
}

// One httplib server with the thread that runs it.
struct Listener {
    std::unique_ptr<httplib::Server> server;
    RestTlsServer* tls = nullptr;  // the same, on TCP
    std::jthread thread;

    void start() {
        thread = std::jthread([this] { server->listen_after_bind(); });
        server->wait_until_ready();
    }
    ~Listener() {
        if (thread.joinable()) server->stop();
        if (tls != nullptr) tls->end_strangers();
    }
};

}  // namespace

int http_status(Kind kind) {
    switch (kind) {
        case Kind::kInvalid: return 400;
        case Kind::kDenied: return 403;
        case Kind::kNotFound: return 404;
        case Kind::kConflict: return 409;
        case Kind::kPrecondition: return 412;
        case Kind::kTimeout: return 504;
        case Kind::kUnavailable: return 503;
        case Kind::kCancelled: return 499;
        case Kind::kInternal:
        case Kind::kIo: break;
    }
    return 500;
}

RestResponse RestResponse::of(const Json& value, int status) {
    return {status, value.dump(-1, ' ', false, Json::error_handler_t::replace), "application/json"};
}
RestResponse RestResponse::of(const Error& error) { return of(to_json(error), http_status(error.kind)); }

Result<Json> RestRequest::json() const {
    if (body.empty()) return Json::object();
    return parse_json(body, kMaxBody);
}

struct RestServer::State {
    std::vector<Route> routes;
    std::mutex mutex;  // guards the listeners
    std::unique_ptr<Listener> unix_listener, tls_listener;
    std::string socket_path;
    std::function<bool(const std::string&)> is_witness = [](const std::string&) { return false; };
    std::counting_semaphore<> answers{kAnswers}, to_strangers{kToStrangers};

    RestResponse answer(RestRequest& request) {
        const auto parts = split(request.path, '/');
        bool known = false;
        for (const bool exact : {true, false}) {
            for (const auto& route : routes) {
                if (route.exact != exact || !match(route, parts, request.matches)) continue;
                known = true;
                if (route.method != request.method) continue;
                if (!request.local && route.access == Access::kLocal)
                    return RestResponse::of(Error{Kind::kDenied, std::format("{} is served on the unix socket only", request.path), {}});
                if (!request.local && route.access != Access::kOpen && request.peer_site.empty())
                    return RestResponse::of(Error{Kind::kDenied, "this needs a client certificate of the federation", {}});
                if (!request.local && route.access == Access::kSites && request.peer_role == kWitnessRole)
                    return RestResponse::of(Error{Kind::kDenied, std::format("'{}' is a witness: {} is for sites", request.peer_site, request.path), {}});
                return route.handler(request);
            }
        }
        if (known) return RestResponse::of(to_json(Error{Kind::kInvalid, std::format("{} does not take {}", request.path, request.method), {}}), 405);
        return RestResponse::of(Error{Kind::kNotFound, std::format("there is no {} {}", request.method, request.path), "GET /1.0 tells the version of this API"});
    }

    // `peer` was let in by the handshake, which may have been before it was revoked; and what is answered must not reach it if it was revoked meanwhile.
    RestResponse answer_peer(RestRequest& request, const TlsContext& tls, const httplib::Request& in) {
        if (request.peer_site.empty()) {
            if (!to_strangers.try_acquire()) return RestResponse::of(Error{Kind::kUnavailable, "this site answers as many strangers at this moment as it does at once", "try again in a moment"});
            const std::unique_ptr<std::counting_semaphore<>, void (*)(std::counting_semaphore<>*)> turn(&to_strangers, [](auto* over) { over->release(); });
            RestTlsServer::answering();
            return answer(request);
        }
        answers.acquire();
        const std::unique_ptr<std::counting_semaphore<>, void (*)(std::counting_semaphore<>*)> turn(&answers, [](auto* over) { over->release(); });
        const auto answering = std::make_shared<Answering>(SSL_get_fd(in.ssl));
        if (!tls.enrol(request.peer_site, answering)) return refuse_revoked_site(request.peer_site);
        const std::unique_ptr<Answering, void (*)(Answering*)> guard(answering.get(), [](Answering* over) { over->over(); });
        RestResponse response = answer(request);
        return tls.refuses(request.peer_site) ? refuse_revoked_site(request.peer_site) : std::move(response);
    }

    // `tls` of the listener on TCP, null for the unix socket.
    void prepare(httplib::Server& server, const TlsContext* tls, std::size_t threads) {
        const bool local = tls == nullptr;
        const auto handle = [this, local, tls = local ? TlsContext() : *tls](const httplib::Request& in, httplib::Response& out) {
            RestRequest request;
            request.method = in.method;
            request.path = in.path;
            for (const auto& [name, value] : in.params) request.query.emplace(name, value);
            request.body = in.body;
            request.local = local;
            if (in.ssl != nullptr) {
                const Subject peer = peer_subject(in.ssl);
                request.peer_site = peer.name;
                request.peer_address = peer.address;
                request.signed_role = peer.role;
                request.peer_role = !peer.role.empty() || peer.name.empty() ? peer.role : is_witness(peer.name) ? kWitnessRole : kSiteRole;
            }
            RestResponse response = local ? answer(request) : answer_peer(request, tls, in);
            out.status = response.status;
            out.set_content(std::move(response.body), response.content_type);
        };
        server.Get(".*", handle).Post(".*", handle).Put(".*", handle).Delete(".*", handle).Patch(".*", handle);
        server.set_payload_max_length(kMaxBody);
        server.set_read_timeout(10, 0);
        server.set_write_timeout(10, 0);
        server.set_keep_alive_max_count(1);  // an idle connection would hold a thread
        server.set_tcp_nodelay(!local);
        server.new_task_queue = [threads] { return new WorkerThreads(threads, kMaxWaiting); };
        server.set_exception_handler([](const httplib::Request& in, httplib::Response& out, const std::exception_ptr&) {
            log::error("rest", "{} {} threw an exception", in.method, in.path);
            const RestResponse response = RestResponse::of(Error{Kind::kInternal, "an unexpected exception", "see the log of blanketd"});
            out.status = response.status;
            out.set_content(response.body, response.content_type);
        });
        server.set_error_handler([](const httplib::Request&, httplib::Response& out) {  // refusals of httplib itself
            if (!out.body.empty()) return;
            const std::string what = out.status == 413 ? "the request's body is larger than 4 MiB" : std::format("malformed request (HTTP {})", out.status);
            out.set_content(to_json(Error{Kind::kInvalid, what, {}}).dump(), "application/json");
        });
    }
};

RestServer::RestServer() : state_(std::make_unique<State>()) {}
RestServer::~RestServer() { stop(); }

void RestServer::route(std::string_view method, std::string_view pattern, Handler handler, Access access) {
    state_->routes.push_back({std::string(method), split(pattern, '/'), pattern.find('*') == std::string_view::npos, std::move(handler), access});
}

void RestServer::witness_if(std::function<bool(const std::string& site)> is_witness) { state_->is_witness = std::move(is_witness); }

Result<void> RestServer::listen_unix(const std::string& path, const std::string& group) {
    sockaddr_un address{};
    if (path.size() >= sizeof address.sun_path) return fail(Kind::kInvalid, "socket path '{}' is too long", path);
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, path.size());
    {
        const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
            return fail_hint(Kind::kConflict, std::format("another blanketd listens on {}", path), "stop it first: systemctl stop blanketd");
    }
    ::unlink(path.c_str());
    auto listener = std::make_unique<Listener>();
    listener->server = std::make_unique<httplib::Server>();
    state_->prepare(*listener->server, nullptr, kLocalThreads);
    listener->server->set_address_family(AF_UNIX);
    if (!listener->server->bind_to_port(path, 80)) return fail_errno("bind", path);
    if (::chmod(path.c_str(), 0660) != 0) return fail_errno("chmod", path);
    std::array<char, 4096> buffer{};
    struct group entry{};
    struct group* found = nullptr;
    if (!group.empty() && ::getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr &&
        ::chown(path.c_str(), static_cast<uid_t>(-1), entry.gr_gid) != 0)
        log::warning("rest", "cannot give {} to group {}", path, group);
    listener->start();
    const std::scoped_lock lock(state_->mutex);
    state_->unix_listener = std::move(listener);
    state_->socket_path = path;
    return {};
}

Result<std::uint16_t> RestServer::listen_tls(const TlsContext& tls, const std::string& address, std::uint16_t port) {
    const std::scoped_lock lock(state_->mutex);
    state_->tls_listener.reset();
    auto listener = std::make_unique<Listener>();
    BLANKET_TRY(std::unique_ptr<RestTlsServer> server, RestTlsServer::create(tls));
    listener->tls = server.get();
    listener->server = std::move(server);
    state_->prepare(*listener->server, &tls, static_cast<std::size_t>(kAnswers + kToStrangers) + RestTlsServer::kThreads);
    int bound = port;
    if (port == 0) bound = listener->server->bind_to_any_port(address);
    else if (!listener->server->bind_to_port(address, port)) bound = -1;
    if (bound <= 0)
        return fail_hint(Kind::kIo, std::format("cannot listen on {}:{}", address, port), "check that the address is this host's and the port is free");
    listener->start();
    state_->tls_listener = std::move(listener);
    return static_cast<std::uint16_t>(bound);
}

Result<void> RestServer::renew_tls(const TlsContext& tls) {
    const std::scoped_lock lock(state_->mutex);
    if (!state_->tls_listener) return {};
    return state_->tls_listener->tls->use(tls);
}

void RestServer::stop() {
    const std::scoped_lock lock(state_->mutex);
    state_->tls_listener.reset();
    state_->unix_listener.reset();
    if (!state_->socket_path.empty()) ::unlink(state_->socket_path.c_str());
    state_->socket_path.clear();
}

}  // namespace blanket
