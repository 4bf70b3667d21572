// SPDX-License-Identifier: GPL-2.0-or-later
// The backend of a network card that lies (rogue.cpp). It is honest until the guest sends by the card, and lies once, in its next answer: to what the guest sends (tx) or of what has come for it (rx).
//   tx-id     of a request that cannot be            tx-twice  of a request that is answered already       tx-index, rx-index  the index of the answers jumps
//   rx-id     of another request than the one that the place in the ring is for                            rx-size             more bytes than a page has
// Ends, and takes the card away, four seconds later.
#include "tests/vm/uplink_rig/rogue.hpp"

#include <cstdio>

#include <xen/io/netif.h>
#include <xen/io/xenbus.h>

namespace rogue {
namespace {

// What the guest has asked for and what was answered, at our own indices.
template <typename Page>
struct CardRing {
    Page* page;
    std::uint32_t requests = 0, responses = 0;
    static constexpr std::uint32_t kSize = 256;  // in one page, of either kind
    [[nodiscard]] bool any() const { return __atomic_load_n(&page->req_prod, __ATOMIC_ACQUIRE) != requests; }
    std::uint16_t next_id() { return page->ring[requests++ % kSize].req.id; }
    auto& answer() { return page->ring[responses++ % kSize].rsp; }
    void publish(std::uint32_t more) { __atomic_store_n(&page->rsp_prod, responses + more, __ATOMIC_RELEASE); }
};
using Sent = CardRing<netif_tx_sring_t>;
using Received = CardRing<netif_rx_sring_t>;

void answer(Sent& tx, std::uint16_t id) {
    auto& response = tx.answer();
    response.id = id;
    response.status = NETIF_RSP_OKAY;
}

bool lie_of_sent(Sent& tx, const std::string& way) {
    bool lied = false;
    while (tx.any()) {
        const std::uint16_t id = tx.next_id();
        answer(tx, id);
        if (lied || !way.starts_with("tx-")) continue;
        lied = true;
        if (way == "tx-id") answer(tx, 0xbeef);
        if (way == "tx-twice") answer(tx, id);
    }
    tx.publish(way == "tx-index" && lied ? 1000 : 0);
    return lied;
}

bool lie_of_received(Received& rx, const std::string& way) {
    if (!way.starts_with("rx-") || !rx.any()) return false;
    const std::uint16_t id = rx.next_id();
    auto& response = rx.answer();
    response.id = way == "rx-id" ? static_cast<std::uint16_t>(id ^ 0x5555) : id;
    response.offset = 0;
    response.flags = 0;
    response.status = way == "rx-size" ? 30000 : 60;
    rx.publish(way == "rx-index" ? 1000 : 0);
    return true;
}

}  // namespace

int card(const std::string& way) {
    Device device("vif", "9");
    write(device.back + "/feature-rx-copy", "1");
    write(device.front + "/handle", "9");
    write(device.front + "/mac", "00:16:3e:99:00:19");
    device.offer();
    device.wait_state(XenbusStateConnected);
    device.bind();
    Sent tx{.page = static_cast<netif_tx_sring_t*>(device.map("tx-ring-ref"))};
    Received rx{.page = static_cast<netif_rx_sring_t*>(device.map("rx-ring-ref"))};
    device.switch_to(XenbusStateConnected);
    bool lied = false;
    auto until = Clock::now() + std::chrono::seconds(60);  // until the guest has brought the card up, and sends
    while (Clock::now() < until && !device.gone()) {
        const std::uint32_t before = tx.responses + rx.responses;
        if (!lied) {
            lied = lie_of_sent(tx, way) || (tx.requests > 0 && lie_of_received(rx, way));
            if (lied) until = Clock::now() + std::chrono::seconds(4);
        }
        if (lied || tx.responses + rx.responses != before) device.notify();
        std::this_thread::sleep_for(std::chrono::milliseconds(lied ? 100 : 20));
    }
    device.take_away();
    std::printf("rogue: card %s: %s\n", way.c_str(), lied ? "lied" : "had no occasion");
    return lied ? 0 : 1;
}

}  // namespace rogue
