// SPDX-License-Identifier: GPL-2.0-or-later
// The provider's side of the store's page: a thread that answers as xenstored does, and lets a test change what it says, or write where it should not.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <xen/io/xs_wire.h>

#include "tests/unit/uplink/modules.h"

namespace blanket::uplink {

struct Message {
    xsd_sockmsg header{};
    std::string body;
};

class FakeStore {
public:
    using Spoil = std::function<void(std::vector<Message>& answers, const Message& request)>;

    // `spoil` sees each answer before it goes out, on the store's thread.
    explicit FakeStore(std::map<std::string, std::string> nodes = {}, Spoil spoil = {});
    ~FakeStore();
    FakeStore(const FakeStore&) = delete;
    FakeStore& operator=(const FakeStore&) = delete;

    void change(const std::string& path, const std::string& value);  // as the toolstack: watches fire
    void say(Message message);                                        // unasked
    xenstore_domain_interface& page() { return *page_; }
    void interrupt();                                                 // an event at the module
    std::atomic<bool> spoils_their_indices = false;  // after each request and answer, the two that are the module's; for tests without watches
    std::atomic<irq_handler_t> handler = nullptr;    // the module's, while it is bound

private:
    void run();
    bool take(void* to, std::size_t size);
    bool put(const void* from, std::size_t size);
    void send(const Message& message);
    std::vector<Message> answer(const Message& request);
    std::vector<Message> events_of(const std::string& path);

    std::map<std::string, std::string> nodes_;
    std::vector<std::pair<std::string, std::string>> watches_;  // path, token
    Spoil spoil_;
    xenstore_domain_interface* page_;
    std::uint32_t req_cons_ = 0, rsp_prod_ = 0, message_start_ = 0;
    std::mutex lock_;  // nodes_, watches_, unasked_
    std::vector<Message> unasked_;
    std::atomic<bool> stop_ = false;
    std::thread thread_;
};

}  // namespace blanket::uplink
