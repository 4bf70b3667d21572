// SPDX-License-Identifier: GPL-2.0-or-later
// A provider that lies to its guest DOMAIN; runs in the provider's dom0.
//   rogue DOMAIN disk id|twice|index|none|size   is the backend of a disk xvdc: honest until a sector from 8 MiB on is read, then as said. Ends, and takes the
//                                           disk away, when the guest has noticed (15 s at most). size: a disk of a size that cannot be
//   rogue DOMAIN card tx-id|tx-twice|tx-index|rx-id|rx-size|rx-index   is the backend of a network card vif-9: lies once the guest sends (rogue_card.cpp)
//   rogue DOMAIN names                      devices with names, numbers and backends that cannot be
//   rogue DOMAIN store index|noise          the index of the store's answers jumps; noise: its page is written over, with events, for 2 s
#include "tests/vm/uplink_rig/rogue.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <random>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <xen/hvm/params.h>
#include <xen/io/blkif.h>
#include <xen/io/xenbus.h>
#include <xen/io/xs_wire.h>

namespace rogue {

void end_with(const std::string& what) {
    std::fprintf(stderr, "rogue: %s\n", what.c_str());
    std::exit(1);
}

void write(const std::string& path, const std::string& value) {
    if (!xs_write(store, XBT_NULL, path.c_str(), value.data(), static_cast<unsigned>(value.size()))) end_with("cannot write " + path);
}

std::string read(const std::string& path) {
    unsigned length = 0;
    char* const text = static_cast<char*>(xs_read(store, XBT_NULL, path.c_str(), &length));
    std::string value = text == nullptr ? "" : std::string(text, length);
    std::free(text);
    return value;
}

unsigned read_number(const std::string& path) { return static_cast<unsigned>(std::strtoul(read(path).c_str(), nullptr, 10)); }

void make(const std::string& path, unsigned owner, unsigned reader) {
    xs_permissions permissions[2]{};
    permissions[0].id = owner;
    permissions[0].perms = XS_PERM_NONE;
    permissions[1].id = reader;
    permissions[1].perms = XS_PERM_READ;
    xs_rm(store, XBT_NULL, path.c_str());
    if (!xs_mkdir(store, XBT_NULL, path.c_str()) || !xs_set_permissions(store, XBT_NULL, path.c_str(), permissions, 2)) end_with("cannot make " + path);
}

std::string guest() { return "/local/domain/" + std::to_string(domain); }

Device::Device(const std::string& kind, const std::string& number)
    : front(guest() + "/device/" + kind + "/" + number), back("/local/domain/0/backend/rogue/" + std::to_string(domain) + "/" + number) {
    make(back, 0, domain);
    write(back + "/frontend-id", std::to_string(domain));
    write(back + "/frontend", front);
    switch_to(XenbusStateInitWait);
    make(front, domain, 0);
    write(front + "/backend-id", "0");
    write(front + "/backend", back);
}

void Device::offer() const { write(front + "/state", std::to_string(XenbusStateInitialising)); }

void Device::wait_state(unsigned state) const {
    if (!wait_for([&] { return read_number(front + "/state") == state; }, 60)) end_with("the guest does not come to state " + std::to_string(state) + " with " + front);
}

void Device::bind() {
    grants_ = xengnttab_open(nullptr, 0);
    events_ = xenevtchn_open(nullptr, 0);
    if (grants_ == nullptr || events_ == nullptr) end_with("no grant or event device (modprobe xen-gntdev xen-evtchn)");
    const unsigned port = read_number(front + "/event-channel");
    const auto local = xenevtchn_bind_interdomain(events_, domain, port);
    if (local < 0) end_with("cannot bind port " + std::to_string(port));
    local_ = static_cast<evtchn_port_t>(local);
}

void* Device::map(const std::string& name) {
    const unsigned grant = read_number(front + "/" + name);
    void* const page = xengnttab_map_grant_ref(grants_, domain, grant, PROT_READ | PROT_WRITE);
    if (page == nullptr || count_ == 2) end_with("cannot map grant " + std::to_string(grant));
    return pages_[count_++] = page;
}

void Device::notify() const { xenevtchn_notify(events_, local_); }

void Device::take_away() {
    switch_to(XenbusStateClosing);
    wait_for([&] { return read_number(front + "/state") >= XenbusStateClosing; }, 3);
    for (; count_ > 0; --count_) xengnttab_unmap(grants_, pages_[count_ - 1], 1);
    xs_rm(store, XBT_NULL, back.c_str());
    xs_rm(store, XBT_NULL, front.c_str());
}

namespace {

// The ring's answers, at our own index.
struct Ring {
    blkif_sring_t* page;
    std::uint32_t requests = 0, responses = 0;
    static constexpr std::uint32_t kSize = 32;
    bool next(blkif_request_t& request) {
        if (__atomic_load_n(&page->req_prod, __ATOMIC_ACQUIRE) == requests) return false;
        request = page->ring[requests++ % kSize].req;
        page->req_event = requests + 1;
        return true;
    }
    void answer(std::uint64_t id, std::uint8_t operation) {
        auto& response = page->ring[responses++ % kSize].rsp;
        response.id = id;
        response.operation = operation;
        response.status = BLKIF_RSP_OKAY;
    }
    void publish(std::uint32_t more = 0) { __atomic_store_n(&page->rsp_prod, responses + more, __ATOMIC_RELEASE); }
};

// true: it has lied.
bool serve(Ring& ring, const std::string& way) {
    blkif_request_t request{};
    bool lied = false;
    while (ring.next(request)) {
        ring.answer(request.id, request.operation);
        if (request.operation != BLKIF_OP_READ || request.sector_number < 16384 || lied) continue;
        lied = true;
        if (way == "id") ring.answer(0xdeadbeef, request.operation);
        if (way == "twice") ring.answer(request.id, request.operation);
        if (way == "none") ring.answer((request.id + 1) % Ring::kSize, request.operation);  // a slot of the frontend's that waits for nothing
    }
    ring.publish(lied && way == "index" ? 1000 : 0);
    return lied;
}

int disk(const std::string& way) {
    Device device("vbd", "51744");
    write(device.front + "/virtual-device", "51744");
    write(device.front + "/device-type", "disk");
    device.offer();
    device.wait_state(XenbusStateInitialised);
    device.bind();
    Ring ring{.page = static_cast<blkif_sring_t*>(device.map("ring-ref"))};
    write(device.back + "/sectors", way == "size" ? "18446744073709551615" : "65536");
    write(device.back + "/sector-size", way == "size" ? "4294967295" : "512");
    write(device.back + "/info", "0");
    device.switch_to(XenbusStateConnected);
    bool lied = false;
    auto until = Clock::now() + std::chrono::seconds(way == "size" ? 5 : 15);
    while (Clock::now() < until && !device.gone()) {
        const std::uint32_t before = ring.responses;
        if (!lied) lied = serve(ring, way);
        if (ring.responses != before || lied) device.notify();
        if (lied && until > Clock::now() + std::chrono::seconds(4)) until = Clock::now() + std::chrono::seconds(4);
        std::this_thread::sleep_for(std::chrono::milliseconds(lied ? 100 : 2));
    }
    device.take_away();
    std::printf("rogue: disk %s: %s\n", way.c_str(), lied ? "lied" : "had no occasion");
    return lied || way == "size" ? 0 : 1;
}

int names() {
    const std::string device = guest() + "/device/";
    for (const char* name : {"vbd/not-a-number", "vbd/51744-and-a-name-that-is-much-longer-than-any-number", "vbd/-1", "vif/99999999999999999999", "v_b_d/1", "a-kind-of-device-that-nobody-knows/0"}) {
        for (const char* domain_of_backend : {"-1", "99999", "32752", "0", "what"}) {
            make(device + name, domain, 0);
            write(device + name + "/backend-id", domain_of_backend);
            write(device + name + "/backend", std::string(domain_of_backend) == "0" ? std::string(1500, 'b') : "/local/domain/0");
            write(device + name + "/state", std::to_string(XenbusStateInitialising));
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
            write(device + name + "/state", "-17");
            write(device + name + "/state", std::string(600, '9'));
        }
        xs_rm(store, XBT_NULL, (device + name).c_str());
    }
    return 0;
}

// The store's daemon does not send events about what it did not write: so we do, at its port.
class StoreEvents {
public:
    StoreEvents(xc_interface* xc, std::uint64_t port_of_guest) {
        for (evtchn_port_t port = 1; port < 4096 && port_ == 0; ++port) {
            xc_evtchn_status_t status{};
            status.dom = DOMID_SELF;
            status.port = port;
            if (xc_evtchn_status(xc, &status) == 0 && status.status == EVTCHNSTAT_interdomain && status.u.interdomain.dom == domain && status.u.interdomain.port == port_of_guest)
                port_ = port;
        }
        privcmd_ = ::open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC);
        if (port_ == 0 || privcmd_ < 0) end_with("no way to send the guest an event of its store");
    }
    void send() const {
        evtchn_send send{.port = port_};
        struct {
            std::uint64_t op, arg[5];
        } call{__HYPERVISOR_event_channel_op, {EVTCHNOP_send, reinterpret_cast<std::uintptr_t>(&send), 0, 0, 0}};
        ::mlock(&send, sizeof send);
        if (::ioctl(privcmd_, _IOC(_IOC_NONE, 'P', 0, sizeof call), &call) != 0) end_with("the event cannot be sent");
    }

private:
    evtchn_port_t port_ = 0;
    int privcmd_ = -1;
};

int spoil_store(const std::string& way) {
    xc_interface* const xc = xc_interface_open(nullptr, nullptr, 0);
    std::uint64_t frame = 0, port = 0;
    if (xc == nullptr || xc_hvm_param_get(xc, domain, HVM_PARAM_STORE_PFN, &frame) != 0 || xc_hvm_param_get(xc, domain, HVM_PARAM_STORE_EVTCHN, &port) != 0) end_with("no store page");
    auto* const page = static_cast<xenstore_domain_interface*>(xc_map_foreign_range(xc, domain, 4096, PROT_READ | PROT_WRITE, frame));
    if (page == nullptr) end_with("cannot map the store's page");
    const StoreEvents events(xc, port);
    std::mt19937 random(1);
    for (int round = 0; round < (way == "noise" ? 100 : 1); ++round) {
        if (way == "index") __atomic_store_n(&page->rsp_prod, page->rsp_prod + 5000, __ATOMIC_SEQ_CST);
        for (int i = 0; way == "noise" && i < 200; ++i) reinterpret_cast<volatile char*>(page)[random() % sizeof *page] = static_cast<char>(random());
        events.send();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return 0;
}

}  // namespace
}  // namespace rogue

using namespace rogue;

int main(int argc, char** argv) {
    if (argc < 3) return 2;
    domain = static_cast<std::uint32_t>(std::atoi(argv[1]));
    const std::string what = argv[2], way = argc > 3 ? argv[3] : "";
    store = xs_open(0);
    if (store == nullptr || domain == 0) end_with("no store, or no such domain");
    if (what == "disk") return disk(way);
    if (what == "card") return card(way);
    if (what == "names") return names();
    return what == "store" ? spoil_store(way) : 2;
}
