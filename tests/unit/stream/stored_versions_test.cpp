// SPDX-License-Identifier: GPL-2.0-or-later
// Differences from pages that both sites' stores have of a VM's last move: what comes out is what went in whatever becomes of either store, and a VM that comes back
// brings what it has written, not the pages that it has written to.
#include <gtest/gtest.h>

#include <sys/stat.h>

#include "tests/unit/stream/store_passage.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/stream/frame_keys.hpp"

namespace blanket::stream {
namespace {

// Three in four pages have content. A frame's page is written to by some words, or becomes another page.
struct Guest {
    std::mt19937_64 random;
    std::vector<fakes::Page> memory;
    Guest(std::uint64_t seed, std::size_t frames) : random(seed), memory(frames) {
        for (std::size_t frame = 0; frame < frames; ++frame)
            if (frame % 4 != 0) memory[frame] = fakes::likely_page(random);
    }
    std::vector<std::size_t> write(std::size_t pages, std::size_t words) {
        std::vector<std::size_t> frames(pages);
        for (std::size_t& frame : frames) {
            frame = random() % memory.size();
            for (std::size_t i = 1 + random() % words; i > 0; --i) {
                const std::uint64_t value = random();
                std::memcpy(memory[frame].data() + random() % kWords * 8, &value, 8);
            }
        }
        std::ranges::sort(frames);
        frames.erase(std::ranges::unique(frames).begin(), frames.end());
        return frames;
    }
    void send(fakes::XenStream& stream, std::span<const std::size_t> frames) const {
        for (std::size_t at = 0; at < frames.size();) {
            std::vector<fakes::XenStream::Sent> batch;
            for (; at < frames.size() && batch.size() < 1000; ++at) batch.push_back({frames[at], &memory[frames[at]]});
            stream.pages(batch);
        }
    }
    // All of it, and then in each round what was written meanwhile.
    Bytes save(int rounds = 1, std::size_t pages = 0, std::size_t words = 8) {
        fakes::XenStream stream;
        std::vector<std::size_t> all(memory.size());
        std::iota(all.begin(), all.end(), std::size_t{0});
        send(stream, all);
        for (int round = 1; round < rounds; ++round) send(stream, write(pages, words));
        stream.end();
        return std::move(stream.bytes);
    }
};

struct Sites {
    StoreFolder east_folder, west_folder;
    std::unique_ptr<ContentStore> east = east_folder.open(), west = west_folder.open();

    // From one store's site to the other's; the VM arrives.
    static Passed move(ContentStore& from, ContentStore& to, std::span<const std::byte> data, std::unique_ptr<CodecPair>& pair, bool deltas = true) {
        pair = std::make_unique<CodecPair>(64, &from, &to, kWeb, nullptr, "", deltas);
        auto passed = pass(*pair, data);
        EXPECT_TRUE(passed.result) << passed.result.error().what;
        EXPECT_EQ(pair->encoder->cache().state(), pair->decoder->cache().state());
        passed.wire += pair->offer_bytes;
        pair->target_feed->arrived();
        to.settle();
        return passed;
    }
};

TEST(StoredVersions, WhoComesBackBringsWhatItHasWritten) {
    Guest guest(1, 6000);
    const auto away = guest.save();
    guest.write(2000, 8);
    const auto home = guest.save();
    std::size_t wire[2] = {};
    for (const bool deltas : {true, false}) {
        Sites sites;
        std::unique_ptr<CodecPair> pair;
        const auto left = Sites::move(*sites.east, *sites.west, away, pair);
        EXPECT_EQ(pair->frames_known, 0u);
        EXPECT_EQ(pair->encoder->counts().store_delta.pages, 0u);
        const auto back = Sites::move(*sites.west, *sites.east, home, pair, deltas);
        wire[deltas ? 1 : 0] = back.wire;
        const PageCounts& counts = pair->encoder->counts();
        if (!deltas) {
            EXPECT_EQ(counts.store_delta.pages, 0u);
            continue;
        }
        EXPECT_GT(pair->frames_known, 4400u);
        EXPECT_GT(counts.store_delta.pages, 1000u);
        EXPECT_GT(counts.store.pages, 2500u);
        EXPECT_LT(counts.raw.pages, 500u);  // those that were zero
        EXPECT_LT(counts.store_delta.wire_bytes, counts.store_delta.pages * 100);
        EXPECT_EQ(pair->offer->taken(), counts.store.pages + counts.store_delta.pages);
        EXPECT_EQ(pair->encoder->passes().front().pages.store_delta.pages, counts.store_delta.pages);
        EXPECT_LT(back.wire * 3, left.wire);
    }
    const double ratio = static_cast<double>(wire[0]) / static_cast<double>(wire[1]);
    RecordProperty("bytes_without_over_with", std::to_string(ratio));
    std::cout << "a return of 2,000 sparse writes over 6,000 frames: " << wire[1] << " bytes, " << wire[0] << " without differences: " << ratio << " times fewer\n";
    EXPECT_GT(ratio, 10.0);
}

// There and back and there again: each arrival is the next move's.
TEST(StoredVersions, EachArrivalIsTheNextMoves) {
    Guest guest(2, 1200);
    Sites sites;
    std::unique_ptr<CodecPair> pair;
    (void)Sites::move(*sites.east, *sites.west, guest.save(3, 100), pair);
    for (int i = 0; i < 4; ++i) {
        guest.write(200, 20);
        ContentStore &from = i % 2 == 0 ? *sites.west : *sites.east, &to = i % 2 == 0 ? *sites.east : *sites.west;
        (void)Sites::move(from, to, guest.save(3, 100), pair);
        EXPECT_GT(pair->encoder->counts().store_delta.pages, 120u) << i;
        if (i == 1) {  // both sites start again
            pair.reset();
            sites.east.reset();
            sites.west.reset();
            sites.east = sites.east_folder.open();
            sites.west = sites.west_folder.open();
        }
    }
}

// A later round knows by the last move what the first one sent and nobody holds any more; but not more of it than the bound, and nothing once the guest is to stop.
TEST(StoredVersions, LaterRoundsUseThemWithinABound) {
    Guest guest(3, 9000);
    Sites sites;
    std::unique_ptr<CodecPair> pair;
    (void)Sites::move(*sites.east, *sites.west, guest.save(), pair);
    const auto home = guest.save(2, 20'000, 4);  // nearly all of it
    (void)Sites::move(*sites.west, *sites.east, home, pair);
    ASSERT_EQ(pair->encoder->passes().size(), 2u);
    const auto& late = pair->encoder->passes()[1].pages;
    EXPECT_GT(late.store_delta.pages + late.store.pages, 2500u);
    EXPECT_LE(late.store_delta.pages + late.store.pages, 4096u);
    EXPECT_GT(late.raw.pages, 1000u);

    pair = std::make_unique<CodecPair>(64, sites.east.get(), sites.west.get(), kWeb);
    const auto halves = {std::span(home).first(home.size() / 2), std::span(home).subspan(home.size() / 2)};
    std::uint64_t before = 0;
    for (const auto half : halves) {
        for (std::size_t at = 0; at < half.size(); at += 200'000) {
            const auto batch = pair->encoder->encode(half.subspan(at, std::min<std::size_t>(200'000, half.size() - at))).value();
            if (!batch.empty()) ASSERT_TRUE(pair->decoder->decode(batch));
        }
        const std::uint64_t told = pair->encoder->counts().store_delta.pages;
        if (half.data() != home.data()) EXPECT_EQ(told, before);
        else EXPECT_GT(before = told, 0u);
        pair->encoder->hurry();
    }
}

// At a third site that knows other pages, or none of it.
TEST(StoredVersions, WhatTheTargetLacksIsSent) {
    Guest guest(4, 1000), other(5, 200);
    Sites sites, third;
    std::unique_ptr<CodecPair> pair;
    (void)Sites::move(*third.east, *third.west, other.save(), pair);
    (void)Sites::move(*sites.east, *sites.west, guest.save(), pair);
    guest.write(300, 6);
    const auto data = guest.save();
    const auto with = Sites::move(*sites.west, *third.west, data, pair);
    EXPECT_GT(pair->frames_known, 700u);
    EXPECT_EQ(pair->encoder->counts().store_delta.pages, 0u);
    CodecPair off(64, nullptr, nullptr, kWeb);
    EXPECT_LE(with.wire - pair->offer_bytes, pass(off, data).wire + 100);
}

// A move that did not end here names nothing; nor does another tenant's file.
TEST(StoredVersions, OnlyAnArrivalIsKept) {
    Guest guest(6, 300);
    Sites sites;
    const auto data = guest.save();
    {
        CodecPair pair(64, sites.east.get(), sites.west.get(), kWeb);
        EXPECT_TRUE(pass(pair, data).result);
    }
    sites.west->settle();
    EXPECT_EQ(sites.west->versions(kWeb).value(), nullptr);
    std::unique_ptr<CodecPair> pair;
    (void)Sites::move(*sites.east, *sites.west, data, pair);
    const auto found = sites.west->versions(kWeb).value();
    ASSERT_NE(found, nullptr);
    EXPECT_GT(found->close(std::chrono::minutes(1)), 200u);
    EXPECT_EQ(sites.west->versions(kDb).value(), nullptr);
    const auto files = frame_files(sites.west_folder);
    ASSERT_EQ(files.size(), 1u);
    struct stat facts {};
    ASSERT_EQ(::stat(files[0].c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, 0600u);
    // The VM has another tenant's nets now, and somebody gave it the old file.
    (void)Sites::move(*sites.east, *sites.west, data, pair);
    auto foreign = FrameKeys::load(files[0]).value();
    foreign.tag[3] ^= std::byte{1};
    ASSERT_TRUE(foreign.save(files[0]));
    EXPECT_EQ(sites.west->versions(kWeb).value()->close(std::chrono::minutes(1)), 0u);
    // Without the site's key nobody can say whose they are.
    pair.reset();
    sites.west.reset();
    ASSERT_TRUE(remove_file(sites.west_folder.path + "/key"));
    sites.west = sites.west_folder.open();
    EXPECT_TRUE(frame_files(sites.west_folder).empty());
}

// The version that the target lists is not what it reads: the move fails before the page is in the stream, and the next one knows what the bytes are.
TEST(StoredVersions, AVersionThatChangesUnderAMoveIsNotUsed) {
    Guest guest(7, 400);
    Sites sites;
    std::unique_ptr<CodecPair> pair;
    (void)Sites::move(*sites.east, *sites.west, guest.save(), pair);
    for (fakes::Page& page : guest.memory) page[100] ^= std::byte{1};
    const auto data = guest.save();
    CodecPair broken(64, sites.west.get(), sites.east.get(), kWeb);
    for (const auto& path : sites.east_folder.files()) {
        const UniqueFd file(::open(path.c_str(), O_WRONLY));
        const std::byte other{0x5a};
        ASSERT_TRUE(pwrite_all(file.get(), {&other, 1}, PageSegment::offset(100) + 17));
    }
    const auto passed = pass(broken, data);
    ASSERT_FALSE(passed.result);
    EXPECT_EQ(passed.result.error().kind, Kind::kInvalid);
    EXPECT_NE(passed.result.error().what.find("not those that the source has"), std::string::npos);
    (void)Sites::move(*sites.west, *sites.east, data, pair);
    EXPECT_EQ(pair->encoder->counts().store_delta.pages, 299u);
}

// The source's own store is damaged, or lies about which frame had which page.
TEST(StoredVersions, ADamagedStoreAtTheSourceCostsHitsOnly) {
    Guest guest(8, 400);
    Sites sites;
    std::unique_ptr<CodecPair> pair;
    (void)Sites::move(*sites.east, *sites.west, guest.save(), pair);
    for (fakes::Page& page : guest.memory) page[100] ^= std::byte{1};
    const auto data = guest.save();
    const std::string map = frame_files(sites.west_folder).at(0), pages = sites.west_folder.files().at(0);
    const auto good = FrameKeys::load(map).value();
    auto shifted = good;
    std::ranges::rotate(shifted.keys, shifted.keys.begin() + 1);
    ASSERT_TRUE(shifted.save(map));
    const auto told = [&] {
        CodecPair one(64, sites.west.get(), sites.east.get(), kWeb);
        EXPECT_TRUE(pass(one, data).result);
        sites.west->settle();
        sites.east->settle();
        return one.encoder->counts().store_delta.pages;
    };
    EXPECT_EQ(told(), 0u);
    ASSERT_TRUE(good.save(map));
    {
        const UniqueFd file(::open(pages.c_str(), O_WRONLY));
        const std::byte other{0x5a};
        for (std::uint32_t slot = 0; slot < 100; ++slot) ASSERT_TRUE(pwrite_all(file.get(), {&other, 1}, PageSegment::offset(slot) + 17));
    }
    EXPECT_EQ(told(), 200u);
    (void)remove_file(pages);
    EXPECT_EQ(told(), 0u);
}

// What a disk or another program may do to a store in use; its writer may remove the file at the same moment.
void damage(const StoreFolder& folder, std::mt19937_64& random) {
    std::vector<std::string> files = folder.files();
    for (const auto& path : frame_files(folder)) files.push_back(path);
    if (files.empty()) return;
    const std::string& path = files[random() % files.size()];
    const UniqueFd file(::open(path.c_str(), O_WRONLY));
    struct stat facts {};
    if (!file || ::fstat(file.get(), &facts) != 0 || facts.st_size == 0) return;
    const auto size = static_cast<std::uint64_t>(facts.st_size);
    const std::size_t kind = random() % 8;
    if (kind == 0) std::filesystem::remove(path);
    else if (kind <= 2) ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(kind == 1 ? random() % size : size + random() % 10'000)), 0);
    for (std::size_t n = random() % 20; n > 0; --n) {
        const std::uint64_t at = random() % 3 == 0 ? random() % std::min<std::uint64_t>(size, 8192) : random() % size, value = random();
        ASSERT_TRUE(pwrite_all(file.get(), std::as_bytes(std::span(&value, 1)).first(1 + random() % 8), at));
    }
}

// Guests that move to and fro while their sites' stores are damaged, evicted, restarted or full, at any moment: what comes out is what went in, or, where pages that were
// offered changed before their use, the move is refused.
TEST(StoredVersions, AnyGuestOverAnyStores) {
    std::uint64_t told = 0, moves = 0, refused = 0;
    for (std::uint64_t seed = 1; seed <= 15; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937_64 random(seed);
        Guest guest(seed, 50 + random() % 500);
        const std::array<StoreFolder, 2> folders;
        const auto open = [&](std::size_t site) {
            const std::uint64_t quotas[] = {400u << 10, 2u << 20, 64u << 20, 64u << 20};
            return folders[site].open(quotas[random() % 4], random() % 12 == 0 ? std::uint64_t{1} << 60 : 0);
        };
        std::array<std::unique_ptr<ContentStore>, 2> stores{open(0), open(1)};
        for (std::size_t i = 0; i < 8; ++i) {
            const std::size_t here = i % 2, there = 1 - here;
            guest.write(random() % 200, 1 + random() % 300);
            if (random() % 3 == 0) guest.memory[random() % guest.memory.size()] = random() % 2 == 0 ? fakes::Page{} : fakes::random_page(guest.random);
            const auto data = guest.save(static_cast<int>(1 + random() % 4), random() % 100, 1 + random() % 30);
            if (random() % 4 == 0) damage(folders[random() % 2], random);
            for (const std::size_t site : {here, there})
                if (random() % 4 == 0) {
                    stores[site].reset();
                    stores[site] = open(site);
                }
            CodecPair pair(random() % 60, stores[here].get(), stores[there].get(), kWeb);
            const bool late = random() % 5 == 0;
            const std::size_t when = random() % data.size(), stop = random() % (2 * data.size());
            bool damaged = false, failed = false;
            std::size_t at = 0;
            const auto take = [&](const Result<std::span<const std::byte>>& batch) {
                ASSERT_TRUE(batch);
                if (batch->empty()) return;
                const auto plain = pair.decoder->decode(*batch);
                failed = !plain;
                if (failed) {
                    EXPECT_TRUE(damaged && (plain.error().kind == Kind::kInvalid || plain.error().kind == Kind::kIo)) << plain.error().what;
                    return;
                }
                ASSERT_LE(at + plain->size(), data.size());
                ASSERT_TRUE(std::ranges::equal(*plain, std::span(data).subspan(at, plain->size())));
                at += plain->size();
            };
            for (std::size_t from = 0; from < data.size() && !failed;) {
                const std::size_t piece = std::min<std::size_t>(1 + random() % 300'000, data.size() - from);
                pair.encoder->compress(random() % 3 != 0);
                if (from >= stop) pair.encoder->hurry();
                take(pair.encoder->encode(std::span(data).subspan(from, piece)));
                if (HasFatalFailure()) return;
                from += piece;
                if (late && !damaged && from >= when) {
                    damaged = true;
                    damage(folders[random() % 3 == 0 ? here : there], random);
                }
                if (random() % 8 == 0)
                    for (const auto& store : stores) store->settle();
            }
            if (!failed) take(pair.encoder->finish());
            if (!failed) ASSERT_EQ(at, data.size());
            if (!failed) ASSERT_EQ(pair.encoder->cache().state(), pair.decoder->cache().state());
            told += pair.encoder->counts().store_delta.pages;
            ++moves;
            refused += failed ? 1 : 0;
            if (!failed && random() % 8 != 0) pair.target_feed->arrived();
            if (random() % 3 != 0) stores[there]->settle();
        }
    }
    std::cout << moves << " moves, " << refused << " refused, " << told << " pages by a difference\n";
    EXPECT_GT(told, 800u);
    EXPECT_LT(refused, moves / 5);
}

// A source that has the offer and not the pages cannot refer to one by a difference either; and differences fit, or the batch is refused.
TEST(HostileDifference, NeedsTheProofAndFits) {
    const StoreFolder folder;
    const auto pages = pages_of(16, 40);
    const auto store = folder.open();
    {
        CodecPair first(8, store.get(), nullptr, kWeb);
        ASSERT_TRUE(pass(first, stream_of(pages)).result);
    }
    store->settle();
    const auto offer = store->offer(kWeb, kMaxOffered).value();
    ASSERT_TRUE(offer);
    const auto list = offer->close(std::chrono::minutes(1));
    ASSERT_EQ(offer->size(), 40u);
    IdentityKey key;
    std::copy_n(list.begin(), key.size(), key.begin());
    auto identifier = Identifier::create(key).value();
    struct Case {
        const char* what;
        std::uint64_t place, runs;
        std::vector<std::uint64_t> numbers;
        std::size_t words;
        bool good = false, proven = true, announced = true;
        std::size_t proof = 16;
    };
    for (const Case& one : std::vector<Case>{{"a good one", 3, 2, {5, 1, 500, 6}, 7, true},
                                             {"no proof", 3, 1, {5, 1}, 1, false, true, true, 0},
                                             {"a short proof", 3, 1, {5, 1}, 1, false, true, true, 15},
                                             {"a long proof", 3, 1, {5, 1}, 1, false, true, true, 17},
                                             {"a wrong proof", 3, 1, {5, 1}, 1, false, false},
                                             {"not announced", 3, 1, {5, 1}, 1, false, true, false},
                                             {"beyond the offer", 40, 1, {5, 1}, 1},
                                             {"before it", ~std::uint64_t{0}, 1, {5, 1}, 1},
                                             {"no words", 3, 1, {5, 0}, 0},
                                             {"words beyond the page", 3, 1, {510, 3}, 3},
                                             {"a skip beyond the page", 3, 1, {513, 1}, 1},
                                             {"a skip beyond everything", 3, 1, {~std::uint64_t{0}, 1}, 1},
                                             {"words beyond the residue", 3, 1, {5, 9}, 1},
                                             {"runs that are missing", 3, 2, {5, 1}, 1},
                                             {"many runs", 3, ~std::uint64_t{0} >> 3, {5, 1}, 1}}) {
        Bytes tokens, body(8);
        if (one.announced) put_number(tokens, 1 << 3 | static_cast<std::uint64_t>(Token::kPlainEntries));
        else put_number(tokens, 8 << 3 | static_cast<std::uint64_t>(Token::kBytes));
        put_number(tokens, one.runs << 3 | static_cast<std::uint64_t>(Token::kReference));
        put_number(tokens, 1);
        put_number(tokens, fold(one.place));
        for (const std::uint64_t number : one.numbers) put_number(tokens, number);
        body.resize(8 + 8 * one.words, std::byte{0x11});
        PageProof proof;
        proof.add(identifier.of(pages[one.proven ? 3 : 4]).value());
        const auto value = proof.take(identifier).value();
        for (std::size_t i = 0; i < one.proof; ++i) body.push_back(i < value.size() ? value[i] : std::byte{});
        Bytes batch(kHead);
        for (const auto& [at, number] : {std::pair(0, 8 + kPage), std::pair(4, tokens.size()), std::pair(8, body.size())}) {
            const auto narrow = static_cast<std::uint32_t>(number);
            std::memcpy(batch.data() + at, &narrow, 4);
        }
        batch.insert(batch.end(), body.begin(), body.end());
        batch.insert(batch.end(), tokens.begin(), tokens.end());
        const auto decoder = Decoder::create(8, {}, offer.get()).value();
        const auto plain = decoder->decode(batch);
        if (offer->referred()) (void)offer->proof();  // of what was refused: the next one begins anew
        EXPECT_EQ(plain.has_value(), one.good) << one.what << ": " << (plain ? "" : plain.error().what);
        if (!plain) {
            EXPECT_EQ(plain.error().kind, Kind::kInvalid) << one.what << ": " << plain.error().what;
            continue;
        }
        fakes::Page expected = pages[3];
        for (const std::size_t word : {5, 506, 507, 508, 509, 510, 511})
            for (std::size_t i = 0; i < 8; ++i) expected[word * 8 + i] ^= std::byte{0x11};
        EXPECT_TRUE(std::ranges::equal(plain->subspan(8), expected));
    }
    const auto closed = Decoder::create(8, {}).value();  // nothing was offered
    Bytes tokens, head(kHead), body(8);
    put_number(tokens, 1 << 3 | static_cast<std::uint64_t>(Token::kPlainEntries));
    for (const std::uint64_t number : {std::uint64_t{1 << 3 | 6}, std::uint64_t{1}, std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{1}}) put_number(tokens, number);
    body.resize(8 + 8 + 16);
    for (const auto& [at, number] : {std::pair(0, 8 + kPage), std::pair(4, tokens.size()), std::pair(8, body.size())}) {
        const auto narrow = static_cast<std::uint32_t>(number);
        std::memcpy(head.data() + at, &narrow, 4);
    }
    head.insert(head.end(), body.begin(), body.end());
    head.insert(head.end(), tokens.begin(), tokens.end());
    const auto refused = closed->decode(head);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, Kind::kInvalid);
}

}  // namespace
}  // namespace blanket::stream
