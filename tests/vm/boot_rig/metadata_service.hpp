// SPDX-License-Identifier: GPL-2.0-or-later
// EC2's metadata service, version 2 only: without a token of its own it says 401, and a token ends after its time. On the loopback; a Machine reaches it at 169.254.169.254.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

namespace blanket::boot_rig {

class MetadataService final {
public:
    // `entries`: "meta-data/instance-id" -> text; folders follow from them.
    explicit MetadataService(std::map<std::string, std::string> entries);
    ~MetadataService();
    [[nodiscard]] std::string address() const;  // "127.0.0.1:PORT"
    [[nodiscard]] unsigned answered() const { return answered_; }
    [[nodiscard]] unsigned refused() const { return refused_; }  // asked without a token

private:
    struct Server;
    std::map<std::string, std::string> entries_;
    std::atomic<unsigned> answered_ = 0, refused_ = 0;
    std::unique_ptr<Server> server_;
};

}  // namespace blanket::boot_rig
