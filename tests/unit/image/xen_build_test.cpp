// SPDX-License-Identifier: GPL-2.0-or-later
// hypercall-passthrough/describe over a source package of a few lines: what `blanket doctor` is told of the hypervisor's build.
#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/json.hpp"
#include "toolstack/base/process.hpp"

namespace blanket {
namespace {

TEST(XenBuild, VersionDateAndFixesComeFromTheSource) {
    const FakeRoot cache;
    const std::string version = "4.20.3+127-gc42374a105-0+deb13u1", source = cache.path() + "/xen-source/" + version;
    cache.file("/xen-1/source-version", version + "\n");
    cache.file("/package/debian/changelog",
               "xen (" + version + ") trixie-security; urgency=medium\n\n"
               "    - Use after free of paging structures in EPT\n      XSA-480 CVE-2026-23554\n"
               "    - pygrub: security-supported only when run de-privileged\n      XSA-508\n"
               "    - vNUMA\n      XSA-502 CVE-2026-1 CVE-2026-2\n"
               "  * Note that the following XSA are not listed, because...\n    - XSA-482 has patches for the Linux kernel\n\n"
               " -- A Maintainer <a@example.org>  Tue, 21 Jul 2026 10:00:00 +0200\n\n"
               "xen (4.20.0-1) unstable; urgency=medium\n\n      XSA-480 CVE-2026-23554\n      XSA-470\n\n -- A Maintainer <a@example.org>  Mon, 03 Mar 2025 10:00:00 +0000\n\n"
               "xen (4.17.5-1) unstable; urgency=medium\n\n      XSA-460\n\n -- A Maintainer <a@example.org>  Mon, 01 Jan 2024 10:00:00 +0000\n");
    std::filesystem::create_directories(source);
    const auto packed = run_any({"tar", "-cJf", source + "/xen_1.debian.tar.xz", "-C", cache.path() + "/package", "debian"});
    ASSERT_TRUE(packed && packed->status == 0) << (packed ? packed->err : packed.error().what);
    const auto ran = run_any({"env", "BLANKET_CACHE_DIR=" + cache.path(), BLANKET_SOURCE_DIR "/hypercall-passthrough/describe", cache.path() + "/xen-1"});
    ASSERT_TRUE(ran) << ran.error().what;
    ASSERT_EQ(ran->status, 0) << ran->err;
    const auto json = parse_json(ran->out);
    ASSERT_TRUE(json) << ran->out;
    EXPECT_EQ(*json, (Json{{"version", version}, {"upstream", "4.20.3"}, {"commit", "c42374a105"}, {"released", 1784620800}, {"advisories", {470, 480, 502, 508}}}));
}

}  // namespace
}  // namespace blanket
