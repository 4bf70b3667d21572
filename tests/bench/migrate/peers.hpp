// SPDX-License-Identifier: GPL-2.0-or-later
// The ways that others have, over the same pages. xl's stream is told by its length (its bytes are the pages), zstd's is made by zstd. QEMU's methods are our own code after the
// published algorithms, not QEMU: docs/devel/migration and the code of QEMU 10 (page heads, the XBZRLE cache and coding, multifd's packets). What their targets do takes no time here
// but for ssh's cipher, which is in their favour.
#pragma once

#include <memory>

#include "tests/bench/migrate/method.hpp"

namespace blanket::bench {

// The raw stream: what `xl migrate` sends. `cipher_s_per_byte`: through ssh, whose packets and cipher come on top; 0: over a plain socket.
std::unique_ptr<Method> make_raw(double cipher_s_per_byte = 0);
// The raw stream through `zstd -1`, as XAPI's stream compression does it.
Result<std::unique_ptr<Method>> make_zstd_pipe(const CpuMeter& meter);
// Precopy with the XBZRLE cache of 64 MiB (a page's difference from what was sent of it before, from the second round on).
std::unique_ptr<Method> make_qemu_xbzrle(std::size_t frames, const CpuMeter& meter);
// Two multifd channels, each with a zstd stream of level 1; zero pages are told.
Result<std::unique_ptr<Method>> make_qemu_multifd_zstd(const CpuMeter& meter);

// Bytes of XBZRLE's coding of `now` against `before`: runs of equal and of other bytes by turns, their lengths in base 128. 0: they are equal. Nothing: more than a page.
std::optional<std::size_t> xbzrle_size(const Page& before, const Page& now);

}  // namespace blanket::bench
