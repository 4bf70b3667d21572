// SPDX-License-Identifier: GPL-2.0-or-later
// A blanketd of canned replies on a unix socket, that remembers what it was asked. Used by program_test.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "toolstack/base/fd.hpp"
#include "toolstack/base/json.hpp"

namespace blanket::cli {

class FakeDaemon final {
public:
    struct Asked {
        std::string method, path;  // with the query
        Json body;
    };
    FakeDaemon();
    ~FakeDaemon();

    // Replies to "GET /1.0/vms", in turn; the last one stays. A query that is not part of the key is ignored.
    void on(const std::string& request, int status, const std::string& body);
    void on_raw(const std::string& request, const std::string& reply);  // bytes as they are, then the connection closes
    void hang(const std::string& request);                             // never answers
    [[nodiscard]] const std::string& socket() const { return socket_; }
    [[nodiscard]] const std::string& folder() const { return folder_; }
    [[nodiscard]] std::vector<Asked> asked();

private:
    void serve(std::stop_token stop);
    void answer(UniqueFd connection);

    std::string folder_, socket_;
    UniqueFd listener_;
    std::mutex mutex_;
    std::map<std::string, std::deque<std::string>> replies_;
    std::vector<Asked> asked_;
    std::vector<UniqueFd> hanging_;
    std::jthread thread_;
};

}  // namespace blanket::cli
