// SPDX-License-Identifier: GPL-2.0-or-later
// The server of metadata_service.hpp; what each cloud says is in metadata_clouds.cpp.
#include "tests/vm/boot_rig/metadata_service.hpp"

#include <httplib.h>
#include <mutex>
#include <thread>

namespace blanket::boot_rig {

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
