// SPDX-License-Identifier: GPL-2.0-or-later
// The DiskMoves port over a ThinStore: hands migrations their movers. Thread safe as the store is.
#pragma once

#include "toolstack/storage/thin_move.hpp"

namespace blanket::storage {

class ThinMoves final : public DiskMoves {
public:
    explicit ThinMoves(ThinStore& store) : store_(store) {}
    Result<std::unique_ptr<DiskMove>> source(const Volume& volume) override {
        BLANKET_TRY(auto move, ThinMove::source(store_, volume));
        return std::unique_ptr<DiskMove>(std::move(move));
    }
    Result<std::unique_ptr<DiskMove>> target(const Volume& volume) override {
        BLANKET_TRY(auto move, ThinMove::target(store_, volume));
        return std::unique_ptr<DiskMove>(std::move(move));
    }

private:
    ThinStore& store_;
};

}  // namespace blanket::storage
