// SPDX-License-Identifier: GPL-2.0-or-later
// Metadata services of the clouds, on the loopback; a Machine reaches one at 169.254.169.254 (and Azure's other half at 168.63.129.16). Each refuses what the real one refuses: a request
// without a token of EC2's version 2, or without the header by which GCE and Azure know that no browser was tricked into asking. EC2's tokens reach no one behind more routers than their
// hop limit allows: a packet that carries one lives for so many hops. (QEMU's user network ends the connection and makes packets of its own: a Machine is next to the service, whatever it routes.)
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace blanket::boot_rig {

struct Request {
    std::string method, path;  // the path without its query
    std::map<std::string, std::string> query;
    std::function<std::string(const std::string& name)> header;
    std::string body;
};
struct Answer {
    int status = 200;
    std::string body = {}, type = "text/plain";
    int hops = 0;  // for how many hops its packets live; 0: for as many as usual
};
// Called on the service's threads, one call at a time.
using Answers = std::function<Answer(const Request&)>;

class MetadataService final {
public:
    // Each answer comes `delay` late.
    explicit MetadataService(Answers answers, std::chrono::milliseconds delay = {});
    ~MetadataService();
    [[nodiscard]] std::string address() const;  // "127.0.0.1:PORT"
    [[nodiscard]] unsigned answered() const { return answered_; }
    [[nodiscard]] unsigned refused() const { return refused_; }  // 400, 401 and 403

private:
    struct Server;
    std::atomic<unsigned> answered_ = 0, refused_ = 0;
    std::unique_ptr<Server> server_;
};

// `entries`: "meta-data/instance-id" -> text; folders follow from them. `hop_limit`: EC2's HttpPutResponseHopLimit; 1, as there: the machine itself gets a token, and who is behind it does not.
Answers ec2_metadata(std::map<std::string, std::string> entries, int hop_limit = 1);
Answers gce_metadata(std::string hostname, std::string key, std::string user_data);
// `ec2`: as for ec2_metadata; Nova's second way of saying the same.
Answers openstack_metadata(std::string meta_data_json, std::string user_data, std::map<std::string, std::string> ec2);
// The instance's metadata and the wireserver; `ready` is set when the machine has reported that it is.
Answers azure_metadata(std::string instance_json, std::shared_ptr<std::atomic<bool>> ready);
Answers broken_metadata();  // 500, whatever is asked

}  // namespace blanket::boot_rig
