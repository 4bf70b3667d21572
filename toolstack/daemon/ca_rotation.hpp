// SPDX-License-Identifier: GPL-2.0-or-later
// The holder's side of a new CA: makes it, says one step after the other, and goes on only when all sites have followed. Everything that it knows lies in files
// (ca_trust.hpp), so that it may end anywhere: run again, it goes on where it was. Used by Federation.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "toolstack/daemon/ca_trust.hpp"

namespace blanket {

struct CaRotation {
    std::string root, site;            // of the holder
    std::vector<std::string> without;  // sites that are left behind, in any order
    std::chrono::seconds patience{600};  // without any progress

    std::function<Result<std::vector<Site>>()> sites;  // as they stand now, revoked ones as such
    // By TLS, not by its word: that site accepts a certificate of the new CA (trust), shows one (issue), refuses one of the old CA (drop).
    std::function<Result<void>(const Site& site, const CaStatement& statement)> prove;
    std::function<Result<void>()> before_drop;  // what is signed by certificates of the old CA is signed anew
    std::function<Result<void>()> after;        // tokens that name the old CA go
    std::function<void()> follow = [] {};       // the holder follows its own statement now, rather than soon
    std::function<void(const std::string&)> phase = [](const std::string&) {}, note = [](const std::string&) {};
    std::function<void(double)> progress = [](double) {};  // percent
    std::function<bool()> cancelled = [] { return false; };
};

// What rotate_ca() would do from here on. kPrecondition: this site does not hold the CA's key, or a newcomer is being admitted.
Result<std::vector<std::string>> plan_ca_rotation(const std::string& root, const std::string& site, const std::vector<Site>& sites, const std::vector<std::string>& without);
// A rollover that has begun here has not ended yet.
bool ca_rotation_open(const std::string& root);
// Answers {"ca":{"from","to","sites":[..],"without":[..]}}. kTimeout: a site does not follow; kCancelled. Then, and after a crash, everything works on with what there is.
Result<Json> rotate_ca(Registry& registry, TimeSource& clock, CaStore& store, const CaRotation& how);

}  // namespace blanket
