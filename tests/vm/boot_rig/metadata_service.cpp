// SPDX-License-Identifier: GPL-2.0-or-later
// See metadata_service.hpp.
#include "tests/vm/boot_rig/metadata_service.hpp"

#include <httplib.h>
#include <mutex>
#include <set>
#include <thread>

#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {

struct MetadataService::Server {
    httplib::Server http;
    std::thread thread;
    int port = 0;
    std::mutex mutex;
    std::set<std::string> tokens;
};

MetadataService::MetadataService(std::map<std::string, std::string> entries) : entries_(std::move(entries)), server_(std::make_unique<Server>()) {
    Server& server = *server_;
    server.http.Put("/latest/api/token", [&server](const httplib::Request& request, httplib::Response& response) {
        if (request.get_header_value("X-aws-ec2-metadata-token-ttl-seconds").empty()) {
            response.status = 400;
            return;
        }
        const std::lock_guard lock(server.mutex);
        const std::string token = random_hex(16);
        server.tokens.insert(token);
        response.set_content(token, "text/plain");
    });
    server.http.Get(R"(/[^/]+(/.*)?)", [this, &server](const httplib::Request& request, httplib::Response& response) {
        {
            const std::lock_guard lock(server.mutex);
            if (!server.tokens.contains(request.get_header_value("X-aws-ec2-metadata-token"))) {
                ++refused_;
                response.status = 401;
                return;
            }
        }
        std::string path = request.path.substr(1);  // "2021-03-23/meta-data/..."
        path = path.contains('/') ? path.substr(path.find('/') + 1) : "";
        if (const auto at = entries_.find(path); at != entries_.end()) {
            ++answered_;
            response.set_content(at->second, "text/plain");
            return;
        }
        if (!path.empty() && !path.ends_with('/')) path += '/';
        std::set<std::string> names;
        for (const auto& [name, text] : entries_) {
            if (!name.starts_with(path)) continue;
            const std::string rest = name.substr(path.size());
            const bool folder = rest.contains('/');
            std::string shown = folder ? rest.substr(0, rest.find('/') + 1) : rest;
            if (path == "meta-data/public-keys/") shown = rest.substr(0, rest.find('/')) + "=key";
            names.insert(shown);
        }
        if (names.empty()) {
            response.status = 404;
            return;
        }
        ++answered_;
        std::string list;
        for (const auto& name : names) list += (list.empty() ? "" : "\n") + name;
        response.set_content(list, "text/plain");
    });
    server.http.set_keep_alive_max_count(1);
    server.port = server.http.bind_to_any_port("127.0.0.1");
    server.thread = std::thread([&server] { server.http.listen_after_bind(); });
}

MetadataService::~MetadataService() {
    server_->http.stop();
    server_->thread.join();
}

std::string MetadataService::address() const { return std::format("127.0.0.1:{}", server_->port); }

}  // namespace blanket::boot_rig
