// SPDX-License-Identifier: GPL-2.0-or-later
// See processor_cap.hpp. The cap's unit is one hundredth of a physical processor; 0 means none.
#include "toolstack/hypervisor/processor_cap.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>

extern "C" {
#include <xenctrl.h>
#include <xenstore.h>
}

#include "toolstack/base/text.hpp"
#include "toolstack/core/ports.hpp"

namespace blanket {
namespace {

constexpr std::int64_t kLeastMeasured = 500;  // ms
constexpr std::uint16_t kNoCap = 0;

struct CapStoreDeleter {
    void operator()(xs_handle* store) const { xs_close(store); }
};
using CapStore = std::unique_ptr<xs_handle, CapStoreDeleter>;

std::string cap_node(std::uint32_t domid) { return std::format("/libxl/{}/blanket-cap", domid); }

Result<void> set_cap(xc_interface_core* control, std::uint32_t domid, std::uint16_t cap) {
    xen_domctl_sched_credit2 params{};
    if (xc_sched_credit2_domain_get(control, domid, &params) != 0) return fail_errno("read the credit2 parameters of domain", std::to_string(domid));
    params.cap = cap;
    if (xc_sched_credit2_domain_set(control, domid, &params) != 0) return fail_errno("set the credit2 cap of domain", std::to_string(domid));
    return {};
}

}  // namespace

ProcessorCap::ProcessorCap(xc_interface_core* control, std::uint32_t domid) : control_(control), domid_(domid), begin_(use()) {}

ProcessorCap::Use ProcessorCap::use() const {
    xc_domaininfo_t info{};
    if (xc_domain_getinfo_single(control_, domid_, &info) != 0) return {};
    return {.cpu_ns = info.cpu_time, .at_ms = system_time().boottime_ms()};
}

Result<void> ProcessorCap::hold(double share) {
    if (used_percent_ == 0) {
        int scheduler = 0;
        if (xc_sched_id(control_, &scheduler) != 0) return fail_errno("ask for the scheduler of", "Xen");
        if (scheduler != XEN_SCHEDULER_CREDIT2) return fail(Kind::kUnavailable, "Xen's scheduler is not credit2: no domain can be held back");
        const Use now = use();
        if (begin_.at_ms == 0 || now.at_ms - begin_.at_ms < kLeastMeasured) return fail(Kind::kUnavailable, "what domain {} uses of the processors is not known yet", domid_);
        const double percent = static_cast<double>(now.cpu_ns - begin_.cpu_ns) / 1e4 / static_cast<double>(now.at_ms - begin_.at_ms);
        xen_domctl_sched_credit2 params{};
        if (xc_sched_credit2_domain_get(control_, domid_, &params) != 0) return fail_errno("read the credit2 parameters of domain", std::to_string(domid_));
        const CapStore store(xs_open(0));
        const std::string before = std::to_string(params.cap);
        if (!store || !xs_write(store.get(), XBT_NULL, cap_node(domid_).c_str(), before.data(), static_cast<unsigned>(before.size())))
            return fail_errno("xenstore write", cap_node(domid_));
        used_percent_ = std::max(percent, 1.0);
    }
    return set_cap(control_, domid_, static_cast<std::uint16_t>(std::clamp(used_percent_ * share, 1.0, 60'000.0)));
}

Result<void> ProcessorCap::lift() {
    const CapStore store(xs_open(0));
    if (!store) return fail(Kind::kUnavailable, "xenstore does not answer");
    unsigned length = 0;
    const std::unique_ptr<char, decltype(&std::free)> text(static_cast<char*>(xs_read(store.get(), XBT_NULL, cap_node(domid_).c_str(), &length)), &std::free);
    if (!text) return {};
    const auto before = parse_number(std::string_view(text.get(), length), 0, UINT16_MAX, "cap");
    auto done = set_cap(control_, domid_, before ? static_cast<std::uint16_t>(*before) : kNoCap);
    if (done) xs_rm(store.get(), XBT_NULL, cap_node(domid_).c_str());
    used_percent_ = 0;
    return done;
}

}  // namespace blanket
