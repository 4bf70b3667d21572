// SPDX-License-Identifier: GPL-2.0-or-later
// See fake_store.hpp. Its own indices are its own: what the page says of them is never read.
#include "tests/unit/uplink/fake_store.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace blanket::uplink {
namespace {

constexpr std::uint32_t kSpoilt = 0x12345678;  // what the module never writes itself in these tests

FakeStore* own = nullptr;

std::uint32_t look(std::uint32_t& word) { return std::atomic_ref(word).load(); }
void set(std::uint32_t& word, std::uint32_t value) { std::atomic_ref(word).store(value); }

std::vector<std::string> strings_of(const std::string& body) {
    std::vector<std::string> all;
    for (std::size_t at = 0; at < body.size();) {
        all.emplace_back(body.c_str() + at);
        at += all.back().size() + 1;
    }
    return all;
}

}  // namespace

FakeStore::FakeStore(std::map<std::string, std::string> nodes, Spoil spoil) : nodes_(std::move(nodes)), spoil_(std::move(spoil)) {
    page_ = static_cast<xenstore_domain_interface*>(std::aligned_alloc(4096, 4096));
    std::memset(static_cast<void*>(page_), 0, 4096);
    // Near the end of their range, so that every test goes over it.
    req_cons_ = rsp_prod_ = 0xffffff00;
    page_->req_cons = page_->req_prod = page_->rsp_cons = page_->rsp_prod = rsp_prod_;
    own = this;
    xs_as_loaded();
    thread_ = std::thread([this] { run(); });
}

FakeStore::~FakeStore() {
    stop_ = true;
    thread_.join();
    own = nullptr;
    std::free(page_);
}

void FakeStore::interrupt() {
    if (const irq_handler_t now = handler; now != nullptr) now(1, nullptr);
}

bool FakeStore::take(void* to, std::size_t size) {
    for (std::size_t done = 0; done < size;) {
        if (stop_) return false;
        const std::uint32_t prod = look(page_->req_prod), there = prod == kSpoilt ? 0 : prod - req_cons_;
        if (there == 0 || there > XENSTORE_RING_SIZE) {
            std::this_thread::sleep_for(std::chrono::microseconds(20));
            std::lock_guard hold(lock_);
            if (done == 0 && !unasked_.empty()) return false;
            continue;
        }
        const std::uint32_t at = req_cons_ % XENSTORE_RING_SIZE;
        const std::size_t now = std::min<std::size_t>({size - done, there, XENSTORE_RING_SIZE - at});
        std::memcpy(static_cast<char*>(to) + done, page_->req + at, now);
        done += now;
        set(page_->req_cons, req_cons_ += static_cast<std::uint32_t>(now));
        interrupt();
    }
    return true;
}

bool FakeStore::put(const void* from, std::size_t size) {
    for (std::size_t done = 0; done < size;) {
        if (stop_) return false;
        const std::uint32_t cons = look(page_->rsp_cons), used = rsp_prod_ - (cons == kSpoilt ? message_start_ : cons);
        if (used >= XENSTORE_RING_SIZE) {
            std::this_thread::sleep_for(std::chrono::microseconds(20));
            continue;
        }
        const std::uint32_t at = rsp_prod_ % XENSTORE_RING_SIZE;
        const std::size_t now = std::min<std::size_t>({size - done, XENSTORE_RING_SIZE - used, XENSTORE_RING_SIZE - at});
        std::memcpy(page_->rsp + at, static_cast<const char*>(from) + done, now);
        done += now;
        set(page_->rsp_prod, rsp_prod_ += static_cast<std::uint32_t>(now));
        interrupt();
    }
    return true;
}

void FakeStore::send(const Message& message) {
    message_start_ = rsp_prod_;
    if (put(&message.header, sizeof message.header)) put(message.body.data(), message.body.size());
}

std::vector<Message> FakeStore::events_of(const std::string& path) {
    std::vector<Message> events;
    for (const auto& [watched, token] : watches_)
        if (path.starts_with(watched)) events.push_back({{.type = XS_WATCH_EVENT, .req_id = 0, .tx_id = 0, .len = 0}, path + '\0' + token + '\0'});
    for (auto& event : events) event.header.len = static_cast<std::uint32_t>(event.body.size());
    return events;
}

void FakeStore::say(Message message) {
    std::lock_guard hold(lock_);
    unasked_.push_back(std::move(message));
}

void FakeStore::change(const std::string& path, const std::string& value) {
    std::lock_guard hold(lock_);
    nodes_[path] = value;
    for (auto& event : events_of(path)) unasked_.push_back(std::move(event));
}

std::vector<Message> FakeStore::answer(const Message& request) {
    std::lock_guard hold(lock_);
    const auto words = strings_of(request.body);
    const std::string path = words.empty() ? "" : words[0], second = words.size() < 2 ? "" : words[1];
    Message reply{request.header, "OK"};
    reply.body.push_back('\0');
    std::vector<Message> events;
    const auto error = [&](const char* name) {
        reply.header.type = XS_ERROR;
        reply.body = std::string(name) + '\0';
    };
    switch (request.header.type) {
        case XS_READ:
            if (const auto at = nodes_.find(path); at != nodes_.end()) reply.body = at->second;
            else error("ENOENT");
            break;
        case XS_WRITE:
            nodes_[path] = second;
            events = events_of(path);
            break;
        case XS_DIRECTORY: {
            reply.body.clear();
            std::string last;
            for (const auto& [name, value] : nodes_) {
                if (!name.starts_with(path + "/")) continue;
                const std::string child = name.substr(path.size() + 1, name.find('/', path.size() + 1) - path.size() - 1);
                if (child != last) reply.body += child + '\0';
                last = child;
            }
            break;
        }
        case XS_TRANSACTION_START: reply.body = std::string("7") + '\0'; break;
        case XS_WATCH: {
            const auto others = watches_;
            watches_.assign(1, {path, second});
            events = events_of(path);
            watches_.insert(watches_.end(), others.begin(), others.end());
            break;
        }
        case XS_UNWATCH: std::erase(watches_, std::pair(path, second)); break;
        case XS_RESET_WATCHES: watches_.clear(); break;
        case XS_TRANSACTION_END: break;
        default: error("ENOSYS");
    }
    reply.header.len = static_cast<std::uint32_t>(reply.body.size());
    events.insert(events.begin(), reply);
    return events;
}

void FakeStore::run() {
    while (!stop_) {
        Message request;
        if (take(&request.header, sizeof request.header)) {
            request.body.resize(std::min<std::size_t>(request.header.len, XENSTORE_PAYLOAD_MAX));
            if (!take(request.body.data(), request.body.size())) continue;
            if (spoils_their_indices) set(page_->req_prod, kSpoilt);
            auto answers = answer(request);
            if (spoil_) spoil_(answers, request);
            for (const auto& message : answers) send(message);
            if (spoils_their_indices) set(page_->rsp_cons, kSpoilt);
        }
        std::vector<Message> unasked;
        {
            std::lock_guard hold(lock_);
            unasked.swap(unasked_);
        }
        for (const auto& message : unasked) send(message);
    }
}

}  // namespace blanket::uplink

using blanket::uplink::own;

extern "C" {

long uplink_op(unsigned int cmd, void* arg) {
    auto* param = static_cast<xblanket_param*>(arg);
    if (cmd != XBLANKET_GET_PARAM || param->index != XBLANKET_PARAM_STORE_PFN) return -ENOSYS;
    param->value = reinterpret_cast<std::uintptr_t>(&own->page()) >> 12;
    return 0;
}
int uplink_bind_store(evtchn_port_t* port) {
    *port = 1;
    return 0;
}
int uplink_bind_evtchn(evtchn_port_t, irq_handler_t handler, unsigned long, const char*, void*) {
    own->handler = handler;
    return 1;
}
void uplink_unbind_irq(unsigned int, void*) { own->handler = nullptr; }
int uplink_free_port(evtchn_port_t) { return 0; }
void notify_remote_via_irq(int) {}
void* memremap(uint64_t at, size_t, unsigned long) { return reinterpret_cast<void*>(at); }
}
