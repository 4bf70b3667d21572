// SPDX-License-Identifier: GPL-2.0-or-later
// The link of a replayed move, in virtual time. A model, and the only thing here that is one besides QEMU's methods: a link sends what its rate, or the windows of the
// connections over it, allow; BBR is taken to keep it full at these losses, and to take its usual start to get there. No queues of others, no jitter. Pure, one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace blanket::bench {

struct Link {
    std::string name;
    double bits_per_s = 0, rtt_s = 0, loss = 0;
};
// CloudNet's, IBM's seed figure, vMotion's limit.
inline const std::array<Link, 3> kWanLinks{Link{"100M_85ms", 100e6, 0.085, 0}, Link{"1G_55ms", 1e9, 0.055, 0}, Link{"1G_150ms_loss", 1e9, 0.150, 0.001}};

struct Connections {
    unsigned count = 1;
    double window = 3 << 20;  // bytes of each: what Linux's own tuning comes to (tcp_rmem of 6 MiB, of which a part is for its bookkeeping)
};

double goodput(const Link& link, const Connections& connections);         // bytes of payload a second
double startup_seconds(const Link& link, const Connections& connections);  // that a cold connection loses against one that sends at its rate from the first byte

// One move's way from the sender's processor to the target. The sender's work and the link go on side by side: send() waits only where more would lie unsent before
// the link than TCP_NOTSENT_LOWAT lets a socket take (peer/tcp.cpp), alike for all methods; or where the target's work lags behind by more than a window.
class VirtualWire final {
public:
    VirtualWire(const Link& link, const Connections& connections);
    [[nodiscard]] double now() const { return now_; }  // seconds since the move began, at the sender
    [[nodiscard]] std::int64_t now_ms() const { return static_cast<std::int64_t>(now_ * 1000); }
    void spend(double seconds);                                // the sender's processor works
    void send(std::size_t bytes, double work_at_target_s = 0);
    void ask(std::size_t answer_bytes);                        // and wait for the answer, which counts as sent, too
    [[nodiscard]] double arrived() const;                      // when all that was sent is there, and worked on
    [[nodiscard]] std::size_t bytes() const { return bytes_; }
    [[nodiscard]] double spent() const { return spent_; }      // seconds

private:
    double rate_, rtt_, unsent_s_, lag_s_;
    double now_ = 0, sent_ = 0, done_ = 0, spent_ = 0;
    std::size_t bytes_ = 0;
};

}  // namespace blanket::bench
