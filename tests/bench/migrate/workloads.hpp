// SPDX-License-Identifier: GPL-2.0-or-later
// The makers of the guests' loads (guest.hpp says what they are). Each takes its frames from the place, fills them, and keeps no reference but to the palette.
#pragma once

#include "tests/bench/migrate/guest.hpp"
#include "tests/bench/migrate/system.hpp"

namespace blanket::bench {

template <typename Own>
class Cloned : public Workload {
public:
    [[nodiscard]] std::unique_ptr<Workload> clone() const final { return std::make_unique<Own>(static_cast<const Own&>(*this)); }
};

// Ranks 0 to count - 1, the low ones most often, scattered over the places (J. Gray et al., "Quickly generating billion-record synthetic databases", SIGMOD'94; theta 0.99 as in YCSB).
class Zipf final {
public:
    explicit Zipf(std::size_t count);
    [[nodiscard]] std::size_t draw(Random& random) const;

private:
    std::size_t count_;
    double zeta_ = 0, alpha_, eta_;
};

std::unique_ptr<Workload> make_idle(const Place& place);
std::unique_ptr<Workload> make_web_db(const Place& place);
std::unique_ptr<Workload> make_compile(const Place& place);
std::unique_ptr<Workload> make_key_values(const Place& place, bool uniform);
std::unique_ptr<Workload> make_thrasher(const Place& place);

}  // namespace blanket::bench
