// SPDX-License-Identifier: GPL-2.0-or-later
// What of the libvirt adapter can be tested without Xen: error classes, events, and libvirt's own test driver for connection keeping.
#include <gtest/gtest.h>

#include "toolstack/hypervisor/domain_events.hpp"
#include "toolstack/hypervisor/libvirt_connection.hpp"

namespace blanket {
namespace {

TEST(Libvirt, ErrorClasses) {
    EXPECT_EQ(kind_of_libvirt(VIR_ERR_NO_DOMAIN), Kind::kNotFound);
    EXPECT_EQ(kind_of_libvirt(VIR_ERR_XML_ERROR), Kind::kInvalid);
    EXPECT_EQ(kind_of_libvirt(VIR_ERR_OPERATION_INVALID), Kind::kConflict);
    EXPECT_EQ(kind_of_libvirt(VIR_ERR_INTERNAL_ERROR), Kind::kIo);
    EXPECT_EQ(kind_of_libvirt(VIR_ERR_RPC), Kind::kUnavailable);
}

TEST(Libvirt, LifecycleEvents) {
    EXPECT_EQ(lifecycle_event(VIR_DOMAIN_EVENT_DEFINED, 0), DomainEventKind::kDefined);
    EXPECT_EQ(lifecycle_event(VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN), DomainEventKind::kShutdown);
    EXPECT_EQ(lifecycle_event(VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_DESTROYED), DomainEventKind::kDestroyed);
    EXPECT_EQ(lifecycle_event(VIR_DOMAIN_EVENT_STOPPED, VIR_DOMAIN_EVENT_STOPPED_CRASHED), DomainEventKind::kCrashed);
    EXPECT_EQ(lifecycle_event(999, 0), DomainEventKind::kResync);
}

TEST(Libvirt, ConnectionAndLookup) {
    LibvirtConnection connection("test:///default");
    auto handle = connection.get();
    ASSERT_TRUE(handle) << handle.error().what;
    EXPECT_EQ(connection.get()->get(), handle->get());  // the same one while it answers
    const auto none = find_domain(handle->get(), "00000000-0000-4000-8000-000000000000");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().kind, Kind::kNotFound);
    EXPECT_EQ(find_domain(handle->get(), "not a uuid").error().kind, Kind::kInvalid);
}

TEST(Libvirt, NamingTheDomainKeepsTheError) {
    const auto handle = open_libvirt("test:///default").value();
    const DomainHandle domain(virDomainLookupByName(handle.get(), "test"));
    ASSERT_TRUE(domain);
    ASSERT_NE(virDomainCreate(domain.get()), 0);  // it runs already
    const Error error = libvirt_error("start", domain.get());
    EXPECT_TRUE(error.what.starts_with("start test: ")) << error.what;
    EXPECT_TRUE(error.what.contains("running")) << error.what;
}

TEST(Libvirt, UnreachableDaemonIsUnavailable) {
    LibvirtConnection connection("xen+unix:///system?socket=/nonexistent/socket");
    const auto handle = connection.get(std::chrono::milliseconds(0));
    ASSERT_FALSE(handle);
    EXPECT_EQ(handle.error().kind, Kind::kUnavailable);
    EXPECT_FALSE(handle.error().hint.empty());
}

}  // namespace
}  // namespace blanket
