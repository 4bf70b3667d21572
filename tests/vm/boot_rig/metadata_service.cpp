// SPDX-License-Identifier: GPL-2.0-or-later
// The server of metadata_service.hpp; what each cloud says is in metadata_clouds.cpp.
#include "tests/vm/boot_rig/metadata_service.hpp"

#include <arpa/inet.h>
#include <filesystem>
#include <httplib.h>
#include <mutex>
#include <sys/socket.h>
#include <thread>

#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

std::uint16_t port_at(int fd, int (*end)(int, sockaddr*, socklen_t*)) {
    sockaddr_in address{};
    socklen_t length = sizeof address;
    return end(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 && address.sin_family == AF_INET ? ntohs(address.sin_port) : 0;
}

// httplib does not tell by which socket a request came: it is the one whose two ends are the request's. False if there is none.
bool limit_hops(const httplib::Request& request, int hops) {
    std::error_code code;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", code)) {
        const auto fd = parse_number(entry.path().filename().string(), 0, 1 << 20, "descriptor");
        if (!fd || port_at(static_cast<int>(*fd), ::getsockname) != request.local_port || port_at(static_cast<int>(*fd), ::getpeername) != request.remote_port) continue;
        return ::setsockopt(static_cast<int>(*fd), IPPROTO_IP, IP_TTL, &hops, sizeof hops) == 0;
    }
    return false;
}

}  // namespace

struct MetadataService::Server {
    httplib::Server http;
    std::thread thread;
    int port = 0;
    std::mutex mutex;
    Answers answers;
};

MetadataService::MetadataService(Answers answers, std::chrono::milliseconds delay) : server_(std::make_unique<Server>()) {
    server_->answers = std::move(answers);
    const auto handle = [this, delay](const httplib::Request& request, httplib::Response& response) {
        std::this_thread::sleep_for(delay);
        Request asked{.method = request.method, .path = request.path, .query = {request.params.begin(), request.params.end()},
                      .header = [&](const std::string& name) { return request.get_header_value(name); }, .body = request.body};
        const std::lock_guard lock(server_->mutex);
        Answer answer = server_->answers(asked);
        if (answer.hops != 0 && !limit_hops(request, answer.hops)) answer = {.status = 500, .body = "no hop limit"};
        if (answer.status == 400 || answer.status == 401 || answer.status == 403) ++refused_;
        if (answer.status == 200) ++answered_;
        response.status = answer.status;
        response.set_content(std::move(answer.body), answer.type);
    };
    server_->http.Get(".*", handle).Put(".*", handle).Post(".*", handle);
    server_->http.set_keep_alive_max_count(1);
    server_->port = server_->http.bind_to_any_port("127.0.0.1");
    server_->thread = std::thread([server = server_.get()] { server->http.listen_after_bind(); });
}

MetadataService::~MetadataService() {
    server_->http.stop();
    server_->thread.join();
}

std::string MetadataService::address() const { return std::format("127.0.0.1:{}", server_->port); }

}  // namespace blanket::boot_rig
