// SPDX-License-Identifier: GPL-2.0-or-later
// start-domu KERNEL INITRD: starts one PV guest without a store and without devices, tells what it says on its console, and ends with it: status 0 when it
// said so ("PROBE refused ok") and powered off. Runs in the dom0 inside (probe.cpp); the libraries come along in the initramfs.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>

#define XC_WANT_COMPAT_MAP_FOREIGN_API
extern "C" {
#include <xenctrl.h>
#include <xenguest.h>
}
#include <xen/io/console.h>

namespace {

constexpr unsigned kMeg = 112;
// The kernel's client of the store would wait for one for ever.
constexpr const char* kWords = "console=hvc0 quiet panic=2 refused=5000 initcall_blacklist=xenbus_init,xenbus_probe_initcall";

[[noreturn]] void end_with(const char* what, long rc) {
    std::printf("start-domu: %s: %ld\n", what, rc);
    std::exit(1);
}

void check(const char* what, long rc) {
    if (rc != 0) end_with(what, rc);
}

std::string said_since(xencons_interface& page) {
    std::string text;
    std::uint32_t cons = page.out_cons;
    const std::uint32_t prod = __atomic_load_n(&page.out_prod, __ATOMIC_ACQUIRE);
    if (prod - cons > sizeof page.out) end_with("bad index of the guest's console", prod - cons);
    for (; cons != prod; ++cons) text.push_back(page.out[cons % sizeof page.out]);
    __atomic_store_n(&page.out_cons, cons, __ATOMIC_RELEASE);
    return text;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    xc_interface* const xc = xc_interface_open(nullptr, nullptr, 0);
    if (xc == nullptr) end_with("xc_interface_open", 0);
    xen_domctl_createdomain config{};
    config.max_vcpus = 1;
    config.max_evtchn_port = 1023;
    config.max_grant_frames = config.max_maptrack_frames = -1;
    config.grant_opts = XEN_DOMCTL_GRANT_version(1);
    std::uint32_t domain = 0;
    check("create", xc_domain_create(xc, &domain, &config));
    check("vcpus", xc_domain_max_vcpus(xc, domain, 1));
    check("memory", xc_domain_setmaxmem(xc, domain, (kMeg + 1) * 1024));
    xc_dom_image* const dom = xc_dom_allocate(xc, kWords, nullptr);
    dom->container_type = xc_dom_image::XC_DOM_PV_CONTAINER;
    check("kernel", xc_dom_kernel_file(dom, argv[1]));
    check("initrd", xc_dom_module_file(dom, argv[2], nullptr));
    check("init", xc_dom_boot_xen_init(dom, xc, domain));
    check("parse", xc_dom_parse_image(dom));
    check("memory size", xc_dom_mem_init(dom, kMeg));
    check("memory map", xc_dom_boot_mem_init(dom));
    const int console = xc_evtchn_alloc_unbound(xc, domain, 0), store = xc_evtchn_alloc_unbound(xc, domain, 0);
    if (console < 0 || store < 0) end_with("event channels", console);
    dom->console_evtchn = static_cast<unsigned>(console);
    dom->xenstore_evtchn = static_cast<unsigned>(store);
    check("build", xc_dom_build_image(dom));
    check("boot", xc_dom_boot_image(dom));
    auto* const page = static_cast<xencons_interface*>(xc_map_foreign_range(xc, domain, 4096, 3, xc_dom_p2m(dom, dom->console_pfn)));
    if (page == nullptr) end_with("console", 0);
    xc_dom_release(dom);
    check("unpause", xc_domain_unpause(xc, domain));
    std::string all;
    unsigned reason = ~0u;
    for (int tenths = 0; tenths < 1500 && reason == ~0u; ++tenths) {
        ::usleep(100'000);
        xc_domaininfo_t info{};
        check("info", xc_domain_getinfo_single(xc, domain, &info));
        if ((info.flags & XEN_DOMINF_shutdown) != 0) reason = (info.flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask;
        const std::string text = said_since(*page);
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
        all += text;
    }
    vcpu_guest_context_any_t where{};
    xc_vcpuinfo_t is{};
    if (reason == ~0u && xc_vcpu_getcontext(xc, domain, 0, &where) == 0 && xc_vcpu_getinfo(xc, domain, 0, &is) == 0)
        std::printf("start-domu: at %lx, stack %lx; rax %lx rdi %lx rsi %lx; blocked %u, running %u, %.1f s of processor time\n", where.x64.user_regs.rip, where.x64.user_regs.rsp,
                    where.x64.user_regs.rax, where.x64.user_regs.rdi, where.x64.user_regs.rsi, is.blocked, is.running, static_cast<double>(is.cpu_time) / 1e9);
    xc_domain_destroy(xc, domain);
    if (reason != 0) end_with("the guest did not power off; reason", static_cast<int>(reason));
    return all.find("PROBE refused ok") != std::string::npos ? 0 : 3;
}
