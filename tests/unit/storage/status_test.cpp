// SPDX-License-Identifier: GPL-2.0-or-later
// The pool's status line and /proc/drbd.
#include <gtest/gtest.h>

#include "toolstack/storage/drbd_status.hpp"
#include "toolstack/storage/names.hpp"
#include "toolstack/storage/pool_status.hpp"

namespace blanket::storage {
namespace {

TEST(PoolStatus, HealthyLine) {
    const auto status = parse_pool_status("0 2097152 thin-pool 3 159/4096 5120/16384 - rw no_discard_passdown queue_if_no_space - 1024\n");
    ASSERT_TRUE(status) << status.error().what;
    EXPECT_TRUE(status->writable);
    EXPECT_FALSE(status->metadata_snapshot);
    EXPECT_EQ(facts_of(*status).size, 16384 * kBlock);
    EXPECT_EQ(facts_of(*status).used, 5120 * kBlock);
    EXPECT_TRUE(admit_new(*status));
}

TEST(PoolStatus, RefusalsSayWhy) {
    const auto refused = [](std::string_view line) {
        const auto status = parse_pool_status(line);
        EXPECT_TRUE(status) << line;
        const auto admitted = status ? admit_new(*status) : Result<void>{};
        EXPECT_FALSE(admitted) << line;
        return admitted ? std::string() : admitted.error().what;
    };
    EXPECT_NE(refused("0 8 thin-pool 0 1/100 90/100 - rw x queue_if_no_space - 1024").find("pool is full"), std::string::npos);
    EXPECT_NE(refused("0 8 thin-pool 0 90/100 1/100 - rw x queue_if_no_space - 1024").find("metadata is full"), std::string::npos);
    EXPECT_NE(refused("0 8 thin-pool 0 1/100 100/100 - out_of_data_space x queue_if_no_space - 1024").find("pool is full"), std::string::npos);
    EXPECT_NE(refused("0 8 thin-pool 0 1/100 1/100 - ro x queue_if_no_space needs_check 1024").find("need of a check"), std::string::npos);
    EXPECT_NE(refused("0 8 thin-pool Fail").find("failed"), std::string::npos);
}

TEST(PoolStatus, Hostile) {
    for (const auto* bad : {"", "0 8 linear 1", "0 8 thin-pool", "0 8 thin-pool 1 2/3", "0 8 thin-pool 1 4/3 1/2 - rw", "0 8 thin-pool 1 1/0 1/2 - rw", "0 8 thin-pool x 1/3 1/2 - rw",
                            "0 8 thin-pool 1 1-3 1/2 - rw", "0 8 thin-pool 1 1/3/4 1/2 - rw"})
        EXPECT_FALSE(parse_pool_status(bad)) << bad;
}

constexpr std::string_view kProc = R"(version: 8.4.11 (api:1/proto:86-101)
srcversion: 8B0CD2ADB12FD4A92DE6A6B
 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate A r-----
    ns:1234 nr:0 dw:5678 dr:91 al:2 bm:0 lo:1 pe:2 ua:3 ap:4 ep:1 wo:f oos:0
 1: cs:Unconfigured
 3: cs:SyncSource ro:Primary/Secondary ds:UpToDate/Inconsistent A s-----
    ns:12 nr:0 dw:12 dr:700 al:2 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:4512
	[===>................] sync'ed: 23.1% (4512/5864)K
	finish: 0:00:04 speed: 1,024 (1,024) K/sec
)";

TEST(ProcDrbd, RealText) {
    const auto devices = parse_proc_drbd(kProc);
    ASSERT_TRUE(devices) << devices.error().what;
    ASSERT_EQ(devices->size(), 3u);
    const auto& first = devices->at(0);
    EXPECT_TRUE(first.in_step());
    EXPECT_EQ(first.protocol, 'A');
    EXPECT_EQ(first.pending, 2u);
    EXPECT_EQ(first.applying, 4u);
    EXPECT_EQ(devices->at(1).connection, "Unconfigured");
    EXPECT_FALSE(devices->at(3).in_step());
    EXPECT_TRUE(devices->at(3).suspended_io);
    EXPECT_EQ(devices->at(3).out_of_sync_kib, 4512u);
    EXPECT_EQ(describe(devices->at(3)), "SyncSource, Primary/Secondary, UpToDate/Inconsistent, 4512 KiB out of sync");
}

TEST(ProcDrbd, Hostile) {
    EXPECT_TRUE(parse_proc_drbd("")->empty());
    for (const auto* bad : {"x: cs:Connected ro:a/b ds:c/d", "0: cs: ro:a/b ds:c/d", "0: cs:Connected ro:a ds:c/d", "0: cs:Connected", "99999999: cs:Connected ro:a/b ds:c/d",
                            "0: cs:Connected ro:a/b ds:c/d A r-----\n ns:0 oos:x"})
        EXPECT_FALSE(parse_proc_drbd(bad)) << bad;
}

}  // namespace
}  // namespace blanket::storage
