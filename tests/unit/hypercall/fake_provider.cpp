// SPDX-License-Identifier: GPL-2.0-or-later
// See fake_provider.hpp.
#include "tests/unit/hypercall/fake_provider.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace blanket::hypercall {
namespace {

FakeProvider* provider = nullptr;

void wrong(const std::string& text) { provider->wrongs.push_back(text); }

bool fails() { return provider->fail_in >= 0 && provider->fail_in-- == 0; }

FakeProvider::Port* port_of(std::uint32_t number) {
    const auto at = provider->ports.find(number);
    return at == provider->ports.end() ? nullptr : &at->second;
}

}  // namespace

FakeProvider::FakeProvider() {
    provider = this;
    (void)blanket_op(XBLANKET_RESET, nullptr);
    params = {{HVM_PARAM_STORE_PFN, 0xfeffc}, {HVM_PARAM_STORE_EVTCHN, store_port}, {HVM_PARAM_CONSOLE_PFN, 0xfefff}, {HVM_PARAM_CONSOLE_EVTCHN, 4}};
    ports = {{3, {}}, {4, {}}};
    for (std::uint64_t page = 1000; page < 1200; ++page) dom0_pages.insert(page);
}

FakeProvider::~FakeProvider() {
    hardware_domain = enabled = true;
    fail_in = -1;
    (void)blanket_op(XBLANKET_RESET, nullptr);  // its state is the file's, as in the hypervisor
    provider = nullptr;
}

xblanket_stats FakeProvider::stats() {
    xblanket_stats out{};
    if (call(XBLANKET_STATS, out) != 0) wrongs.emplace_back("no statistics");
    return out;
}

}  // namespace blanket::hypercall

using blanket::hypercall::fails;
using blanket::hypercall::port_of;
using blanket::hypercall::provider;
using blanket::hypercall::wrong;

extern "C" {

void bl_lock(int*) {
    if (provider->locked++ != 0) wrong("locked twice");
}
void bl_unlock(int*) { --provider->locked; }
void* bl_zalloc(size_t size) { return std::calloc(1, size); }
int bl_copy_in(void* to, bl_arg_t from, size_t size) {
    if (from == nullptr) return -EFAULT;
    std::memcpy(to, from, size);
    return 0;
}
int bl_copy_out(bl_arg_t to, const void* from, size_t size) {
    std::memcpy(to, from, size);
    return 0;
}
long bl_may_call(unsigned int) { return provider->hardware_domain ? 0 : -EPERM; }
bool bl_enabled(void) { return provider->enabled; }

long bl_evtchn_op(unsigned int cmd, void* arg) {
    if (cmd != EVTCHNOP_close && fails()) return -EINVAL;
    switch (cmd) {
        case EVTCHNOP_alloc_unbound: {
            auto* alloc = static_cast<evtchn_alloc_unbound*>(arg);
            if (alloc->dom != DOMID_SELF) wrong("a port of another domain");
            std::uint32_t number = provider->free_from;
            while (provider->ports.contains(number)) ++number;
            provider->free_from = number;
            if (number >= provider->most_ports) return -ENOSPC;
            provider->ports[number].remote = alloc->remote_dom;
            alloc->port = number;
            return 0;
        }
        case EVTCHNOP_close: {
            const std::uint32_t number = static_cast<evtchn_close*>(arg)->port;
            if (number == provider->store_port) wrong("the xenstore port was closed");
            if (provider->ports.erase(number) == 0) wrong("a port was closed that is not open");
            provider->free_from = std::min(provider->free_from, std::max(number, 1u));
            return 0;
        }
        case EVTCHNOP_send: {
            auto* port = port_of(static_cast<evtchn_send*>(arg)->port);
            if (port == nullptr) return -EINVAL;
            ++port->sent;
            return 0;
        }
        case EVTCHNOP_unmask: {
            auto* port = port_of(static_cast<evtchn_unmask*>(arg)->port);
            if (port == nullptr) return -EINVAL;
            port->masked = false;
            return 0;
        }
        case EVTCHNOP_bind_vcpu: {
            const auto* bind = static_cast<evtchn_bind_vcpu*>(arg);
            auto* port = port_of(bind->port);
            if (port == nullptr) return -EINVAL;
            port->vcpu = bind->vcpu;
            return 0;
        }
        default: wrong("an unknown event channel operation"); return -ENOSYS;
    }
}

long bl_gnttab_op(unsigned int cmd, void* arg) {
    if (fails()) return -EINVAL;
    if (cmd != GNTTABOP_query_size) wrong("an unknown grant table operation");
    auto* size = static_cast<gnttab_query_size*>(arg);
    size->status = GNTST_okay;
    size->nr_frames = 4;
    size->max_nr_frames = provider->max_grant_frames;
    return 0;
}

long bl_memory_op(unsigned int cmd, void* arg) {
    if (fails()) return provider->fails_clean ? -EINVAL : -ENOMEM;
    const auto* add = static_cast<xen_add_to_physmap*>(arg);
    if (cmd != XENMEM_add_to_physmap || add->space != XENMAPSPACE_grant_table || add->domid != DOMID_SELF) wrong("an unknown memory operation");
    if (!provider->held.contains(add->gpfn)) wrong("a frame that is not held was given away");
    if (add->idx >= provider->max_grant_frames) return -EINVAL;
    provider->grant[static_cast<std::uint32_t>(add->idx)] = add->gpfn;
    return 0;
}

long bl_get_param(uint32_t index, uint64_t* value) {
    if (fails()) return -EINVAL;
    const auto at = provider->params.find(index);
    if (at == provider->params.end()) wrong("an unknown parameter was asked for");
    else *value = at->second;
    return 0;
}
long bl_set_param(uint32_t index, uint64_t value) {
    if (index != HVM_PARAM_CALLBACK_IRQ) wrong("an unknown parameter was set");
    provider->params[index] = value;
    return 0;
}
long bl_shutdown(unsigned int reason) {
    provider->shut_down_for = reason;
    return 0;
}
uint32_t bl_provider_version(void) { return (4u << 16) | 17; }
uint32_t bl_processors(void) { return provider->processors; }
bool bl_has_processor(uint32_t processor) { return processor < provider->processors && processor != provider->offline; }
uint32_t bl_provider_vcpu(uint32_t processor) {
    if (!bl_has_processor(processor)) wrong("a processor that is not there");
    return processor * 2;
}
uint32_t bl_delivery(void) { return provider->delivery; }
long bl_scan(void) { return 7; }
void bl_mask(uint32_t number) {
    if (auto* port = port_of(number); port != nullptr) port->masked = true;
}
bool bl_owns_console(void) { return provider->owns_console; }

int bl_local_alloc(void) {
    if (fails()) return -ENOSPC;
    while (provider->local.contains(provider->local_next)) ++provider->local_next;
    const std::uint32_t number = provider->local_next++;
    provider->local.insert(number);
    return static_cast<int>(number);
}
void bl_local_free(uint32_t number) {
    if (provider->local.erase(number) == 0) wrong("a local port was freed that is not in use");
}
void bl_local_notify(uint32_t number) {
    if (!provider->local.contains(number)) wrong("an event at a local port that is not in use");
    ++provider->notified[number];
}
long bl_page_hold(uint64_t frame) {
    if (!provider->dom0_pages.contains(frame)) return -EINVAL;
    provider->held.insert(frame);
    return 0;
}
void bl_page_release(uint64_t frame) {
    const auto at = provider->held.find(frame);
    if (at == provider->held.end()) wrong("a page was released that is not held");
    else provider->held.erase(at);
}
uint8_t bl_inb(uint16_t port) { return port == 0x12 ? provider->protocol : 0xff; }
uint16_t bl_inw(uint16_t port) {
    if (port != 0x10) return 0xffff;
    return provider->magic;
}
void bl_outw(uint16_t value, uint16_t port) {
    if (port == 0x10) provider->unplugged |= value;
}
void bl_outl(uint32_t, uint16_t) {
    if (provider->refuses) provider->magic = 0xffff;
}
}
