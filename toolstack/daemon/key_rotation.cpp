// SPDX-License-Identifier: GPL-2.0-or-later
// See key_rotation.hpp.
#include "toolstack/daemon/key_rotation.hpp"

#include "net/wireguard.hpp"
#include "toolstack/base/log.hpp"

namespace blanket {

Result<Json> rotate_wireguard_key(const KeyRotation& how) {
    BLANKET_TRY(const net::WireGuardKey old, net::identity(how.path));
    BLANKET_CHECK(how.publish(old.pub));  // nothing changes by this; a registry that is away says so before anything does
    BLANKET_TRY(const net::WireGuardKey fresh, net::make_identity());
    BLANKET_CHECK(net::write_identity(how.path, fresh));
    Result<void> done = how.apply();
    if (done) done = how.publish(fresh.pub);
    if (done) return Json{{"key", fresh.pub}};
    if (const auto back = net::write_identity(how.path, old); !back)
        return fail_hint(Kind::kIo, std::format("neither the new WireGuard key could be used ({}) nor the old one be put back ({})", done.error().what, back.error().what),
                         "see that the disk of /var has room, then: blanket site rotate-key");
    for (const auto& back : {how.apply(), how.publish(old.pub)})  // what fails here is done at the next change of a record, and when the registry answers
        if (!back) log::error("network", "going back to the old WireGuard key: {}", back.error().what);
    return std::unexpected(Error(done.error()).context("the old WireGuard key stays"));
}

}  // namespace blanket
