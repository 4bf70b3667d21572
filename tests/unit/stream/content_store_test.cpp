// SPDX-License-Identifier: GPL-2.0-or-later
// The content store: what it was fed it offers again, to its own tenant; whatever becomes of its files, no wrong page comes out, and no move is the worse for it.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <csignal>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/unit/stream/store_passage.hpp"
#include "toolstack/base/file.hpp"

namespace blanket::stream {
namespace {

void feed(ContentStore& store, const StoreSubject& subject, std::span<const fakes::Page> pages) {
    const auto one = store.feed(subject).value();
    for (const auto& page : pages) ASSERT_TRUE(one->seen(page));
    store.settle();
}

// How many of them a move would be told by reference.
std::size_t offered(ContentStore& store, const StoreSubject& subject, std::span<const fakes::Page> pages, std::size_t most = kMaxOffered) {
    const auto offer = store.offer(subject, most).value();
    if (!offer) return 0;
    auto known = KnownPages::parse(offer->close(std::chrono::minutes(1)), most).value();
    EXPECT_LE(known.size(), most);
    return static_cast<std::size_t>(std::ranges::count_if(pages, [&](const fakes::Page& page) { return known.find(page).has_value(); }));
}

TEST(ContentStore, OffersWhatItWasFedAlsoAfterARestart) {
    const StoreFolder folder;
    const auto pages = pages_of(1, 700), others = pages_of(2, 100);
    {
        const auto store = folder.open();
        EXPECT_EQ(store->offer(kWeb, 100).value(), nullptr);
        feed(*store, kWeb, pages);
        EXPECT_EQ(offered(*store, kWeb, pages), 700u);
        EXPECT_EQ(offered(*store, kWeb, others), 0u);
        EXPECT_EQ(store->facts().written, 700u);
        feed(*store, kWeb, pages);
        EXPECT_EQ(store->facts().written, 700u);
        EXPECT_EQ(store->facts().known, 700u);
    }
    const auto store = folder.open();
    EXPECT_EQ(store->facts().pages, 700u);
    EXPECT_EQ(offered(*store, kWeb, pages), 700u);
    feed(*store, kDb, pages);
    EXPECT_EQ(store->facts().known, 700u);
    struct stat facts {};
    for (const auto& file : folder.files()) {
        ASSERT_EQ(::stat(file.c_str(), &facts), 0);
        EXPECT_EQ(facts.st_mode & 0777, 0600u);
    }
    ASSERT_EQ(::stat((folder.path + "/key").c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, 0600u);
    ASSERT_EQ(::stat(folder.path.c_str(), &facts), 0);
    EXPECT_EQ(facts.st_mode & 0777, 0700u);
}

TEST(ContentStore, TenantsLieApart) {
    const StoreFolder folder;
    const auto pages = pages_of(1, 50);
    const auto store = folder.open();
    feed(*store, kWeb, pages);
    EXPECT_EQ(store->offer(kOther, 100).value(), nullptr);
    EXPECT_EQ(offered(*store, kDb, pages), 50u);  // of the same one
    feed(*store, kOther, pages);
    EXPECT_EQ(store->facts().written, 100u);  // each has its own
    EXPECT_EQ(offered(*store, kOther, pages), 50u);
    EXPECT_EQ(folder.files().size(), 2u);
}

TEST(ContentStore, AVmsOwnPagesComeFirst) {
    const StoreFolder folder;
    const auto web = pages_of(1, 300), db = pages_of(2, 300);
    const auto store = folder.open();
    feed(*store, kWeb, web);
    feed(*store, kDb, db);
    EXPECT_EQ(offered(*store, kWeb, web, 300), 300u);
    EXPECT_EQ(offered(*store, kDb, db, 300), 300u);
    EXPECT_EQ(offered(*store, kDb, web, 400), 100u);
    EXPECT_EQ(offered(*store, kDb, db, 100), 100u);
    EXPECT_EQ(offered(*store, kDb, std::span(db).last(100), 100), 100u);  // the latest
}

// Eight files' worth; what was used last stays.
TEST(ContentStore, KeepsItsQuotaAndWhatWasOfUse) {
    const StoreFolder folder;
    constexpr std::uint64_t kFile = PageSegment::kPagesAt + PageSegment::kSlots * kPage;
    const auto first = pages_of(1, PageSegment::kSlots), second = pages_of(2, PageSegment::kSlots), third = pages_of(3, PageSegment::kSlots), fourth = pages_of(4, PageSegment::kSlots);
    {
        const auto store = folder.open(3 * kFile);
        feed(*store, kWeb, first);
        feed(*store, kWeb, second);
        feed(*store, kWeb, third);
        feed(*store, kWeb, std::span(first).first(1));  // of use
        feed(*store, kWeb, fourth);
        EXPECT_LE(store->facts().bytes, 3 * kFile);
        EXPECT_EQ(store->facts().pages, 3 * PageSegment::kSlots);
        EXPECT_EQ(offered(*store, kWeb, first), first.size());
        EXPECT_EQ(offered(*store, kWeb, second), 0u);
        EXPECT_EQ(offered(*store, kWeb, fourth), fourth.size());
        feed(*store, kWeb, second);  // what was forgotten is learned again
        EXPECT_EQ(offered(*store, kWeb, second), second.size());
    }
    const auto store = folder.open(2 * kFile);  // less from now on: those used last stay
    EXPECT_LE(store->facts().bytes, 2 * kFile);
    EXPECT_EQ(offered(*store, kWeb, second), second.size());
    EXPECT_EQ(offered(*store, kWeb, third), 0u);
    std::uint64_t bytes = 0;
    for (const auto& file : folder.files()) bytes += std::filesystem::file_size(file);
    EXPECT_LE(bytes, 2 * kFile);
}

// A guest whose memory is fed while it leaves, moves back some time later.
TEST(ContentStore, WhoComesBackBringsWhatHasChanged) {
    ImageShelf shelf;
    const std::string image = fakes::seeded_image(1, 400), sha256 = shelf.add(image);
    fakes::SeededGuest guest(5, 4000, image);
    const StoreFolder folder;
    const auto store = folder.open();
    const auto away = guest.save(3).bytes;
    CodecPair there(400, store.get(), nullptr, kWeb, &shelf, sha256);
    const auto left = pass(there, away);
    ASSERT_TRUE(left.result);
    EXPECT_EQ(left.referred, 0u);
    guest.write();
    const auto home = guest.save(3).bytes;
    CodecPair back(400, nullptr, store.get(), kWeb, &shelf, sha256);
    const auto came = pass(back, home);
    ASSERT_TRUE(came.result) << came.result.error().what;
    EXPECT_GT(came.referred, 700u);
    EXPECT_EQ(back.encoder->cache().state(), back.decoder->cache().state());
    CodecPair off(400, nullptr, nullptr, kWeb, &shelf, sha256);
    const auto without = pass(off, home);
    EXPECT_LT(came.wire + back.offer_bytes, without.wire / 2);
    const auto& counts = back.encoder->counts();
    EXPECT_LT(counts.store.wire_bytes, counts.store.pages * 4);
    EXPECT_EQ(back.offer->taken(), counts.store.pages);
}

// A file cut anywhere, as a crash leaves it, or with parts that were never written: what is left of use is used, and no wrong page comes.
TEST(ContentStore, ACrashAtAnyOffsetCostsHitsOnly) {
    const StoreFolder folder;
    const auto pages = pages_of(7, 24);
    const auto data = stream_of(pages);
    { feed(*folder.open(), kWeb, pages); }
    ASSERT_EQ(folder.files().size(), 1u);
    const std::string path = folder.files()[0], whole = read_file(path, 64u << 20).value();
    ASSERT_EQ(whole.size(), PageSegment::kPagesAt + 24 * kPage);
    std::vector<std::size_t> cuts;
    for (std::size_t at = 0; at < whole.size(); at += at < 64 || (at >= PageSegment::kHeadBytes && at < PageSegment::kHeadBytes + 25 * PageSegment::kEntry) ? 1 : 1021) cuts.push_back(at);
    std::size_t most = 0, least = 24, tried = 0;
    for (const std::size_t cut : cuts) {
        for (const int kind : {0, 1}) {  // cut there; or nothing written behind it, but the length: the disk took its blocks in an order of its own
            if (kind == 1 && tried % 8 != 0) continue;
            std::string torn = whole.substr(0, cut);
            if (kind == 1) torn.resize(whole.size());
            put(path, torn);
            const auto store = folder.open();
            CodecPair pair(8, nullptr, store.get(), kWeb);
            const auto passed = pass(pair, data);
            ASSERT_TRUE(passed.result) << cut;
            most = std::max<std::size_t>(most, passed.referred);
            least = std::min<std::size_t>(least, passed.referred);
            store->settle();
            for (const auto& file : folder.files()) (void)remove_file(file);  // what the pass brought stands in one of its own
        }
        ++tried;
    }
    EXPECT_GT(tried, 900u);
    EXPECT_EQ(least, 0u);
    EXPECT_EQ(most, 23u);
}

TEST(ContentStore, DamageCostsHitsOnly) {
    const StoreFolder folder;
    const auto pages = pages_of(8, 32);
    const auto data = stream_of(pages);
    { feed(*folder.open(), kWeb, pages); }
    const std::string path = folder.files()[0], whole = read_file(path, 64u << 20).value();
    std::mt19937 random(3);
    std::size_t missed = 0;
    for (int i = 0; i < 150; ++i) {
        std::string damaged = whole;
        for (std::size_t n = 1 + random() % 6; n > 0; --n) {
            const std::size_t at = i % 3 == 0 ? random() % 4096 : i % 3 == 1 ? 4096 + random() % (32 * PageSegment::kEntry) : PageSegment::kPagesAt + random() % (32 * kPage);
            damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
        }
        put(path, damaged);
        const auto store = folder.open();
        CodecPair pair(8, nullptr, store.get(), kWeb);
        const auto passed = pass(pair, data);
        ASSERT_TRUE(passed.result);
        missed += 32 - passed.referred;
        store->settle();
        for (const auto& file : folder.files()) (void)remove_file(file);
    }
    EXPECT_GT(missed, 150u);
}

// Between the list and the page's use: the move fails before the page is in the stream. The next one knows what the bytes are.
TEST(ContentStore, APageThatChangesUnderAMoveIsNotUsed) {
    const StoreFolder folder;
    const auto pages = pages_of(9, 200);
    const auto data = stream_of(pages);
    const auto store = folder.open();
    feed(*store, kWeb, pages);
    CodecPair pair(8, nullptr, store.get(), kWeb);
    {
        const UniqueFd file(::open(folder.files()[0].c_str(), O_WRONLY));
        const std::byte other{0x5a};
        ASSERT_TRUE(pwrite_all(file.get(), {&other, 1}, PageSegment::offset(100) + 17));
    }
    const auto passed = pass(pair, data);
    ASSERT_FALSE(passed.result);
    EXPECT_EQ(passed.result.error().kind, Kind::kInvalid);
    EXPECT_NE(passed.result.error().what.find("not those that the source has"), std::string::npos);
    CodecPair again(8, nullptr, store.get(), kWeb);
    const auto second = pass(again, data);
    ASSERT_TRUE(second.result);
    EXPECT_EQ(second.referred, 199u);
}

TEST(ContentStore, MayBeDeletedAtAnyTime) {
    const StoreFolder folder;
    const auto pages = pages_of(10, 200), more = pages_of(11, 100);
    const auto data = stream_of(pages);
    const auto store = folder.open();
    feed(*store, kWeb, pages);
    CodecPair pair(8, nullptr, store.get(), kWeb);  // its files are open
    std::filesystem::remove_all(folder.path);
    const auto passed = pass(pair, data);
    ASSERT_TRUE(passed.result) << passed.result.error().what;
    EXPECT_EQ(passed.referred, 200u);
    EXPECT_EQ(offered(*store, kWeb, pages), 0u);
    feed(*store, kWeb, pages);  // finds out
    feed(*store, kWeb, pages);
    EXPECT_EQ(offered(*store, kWeb, pages), 200u);
    EXPECT_EQ(store->facts().pages, 200u);
    // The key alone: nobody can say whose pages these were.
    ASSERT_TRUE(remove_file(folder.path + "/key"));
    const auto next = folder.open();
    EXPECT_EQ(next->facts().pages, 0u);
    feed(*next, kWeb, more);
    EXPECT_EQ(offered(*next, kWeb, more), 100u);
}

TEST(ContentStore, StrangeFilesAreLeftAloneOrRemoved) {
    const StoreFolder folder;
    ASSERT_TRUE(make_dirs(folder.path, 0700));
    ASSERT_TRUE(write_file(folder.path + "/notes.txt", "mine"));
    ASSERT_TRUE(write_file(folder.path + "/0000000000000007.pages", "short"));
    ASSERT_TRUE(write_file(folder.path + "/key", "short"));
    ASSERT_EQ(::symlink("/etc/passwd", (folder.path + "/0000000000000008.pages").c_str()), 0);
    const auto pages = pages_of(12, 10);
    const auto store = folder.open();
    feed(*store, kWeb, pages);
    EXPECT_EQ(offered(*store, kWeb, pages), 10u);
    EXPECT_EQ(folder.files().size(), 1u);
    EXPECT_TRUE(std::filesystem::exists("/etc/passwd"));
    EXPECT_TRUE(std::filesystem::exists(folder.path + "/notes.txt"));
}

// A move that feeds never waits: what is too much is dropped, and counted.
TEST(ContentStore, FeedingDropsWhatIsTooMuch) {
    const StoreFolder folder;
    const auto pages = pages_of(13, 6000);
    const auto store = folder.open(256u << 20, 0, false);
    {
        const auto one = store->feed(kWeb).value();
        for (std::size_t i = 0; i < pages.size(); ++i) {
            (void)one->seen(pages[i]);
            if (i >= 3000 && i % 500 == 0) store->settle();  // and then no more at once than has room
        }
    }
    store->settle();
    const auto facts = store->facts();
    EXPECT_EQ(facts.written + facts.known + facts.dropped, 6000u);
    EXPECT_GE(facts.written, 900u);
    EXPECT_GE(offered(*store, kWeb, pages), 900u);
}

// A disk that is full, by its own size and by what is to be kept free of it.
TEST(ContentStore, AFullDiskCostsHitsOnly) {
    const StoreFolder folder;
    const std::string parent = std::filesystem::path(folder.path).parent_path();
    ASSERT_EQ(::mount("tmpfs", parent.c_str(), "tmpfs", 0, "size=24m"), 0) << std::strerror(errno);
    const auto pages = pages_of(14, 9000);
    const auto data = stream_of(std::span(pages).first(300));
    for (const bool full : {true, false}) {
        // No room at all; or an error in the midst of a file. Later tries would have luck.
        const auto store = folder.open({.quota = 1u << 30, .keep_free = 0, .wait = true, .back_off = std::chrono::hours(1)});
        rlimit before{};
        ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
        if (full) {
            put(parent + "/etcd", std::string((24u << 20) - 100'000, 'x'));
        } else {
            std::signal(SIGXFSZ, SIG_IGN);
            const rlimit small{1u << 20, before.rlim_max};
            ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
        }
        feed(*store, kWeb, std::span(pages).first(1500));
        EXPECT_FALSE(store->facts().trouble.empty());
        EXPECT_GT(store->facts().dropped, 100u);
        CodecPair pair(8, store.get(), store.get(), kWeb);
        EXPECT_TRUE(pass(pair, data).result);
        ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
        (void)remove_file(parent + "/etcd");
    }
    for (const auto& file : folder.files()) (void)remove_file(file);
    {
        const auto store = folder.open(1u << 30, 8u << 20);
        feed(*store, kWeb, pages);
        EXPECT_TRUE(store->facts().trouble.empty()) << store->facts().trouble;
        EXPECT_LE(store->facts().bytes, (16u << 20) + PageSegment::kPagesAt);
        EXPECT_GT(offered(*store, kWeb, pages), 0u);
        EXPECT_GE(std::filesystem::space(parent).available, (8u << 20) - 65536);
        ASSERT_TRUE(write_file(parent + "/etcd", std::string(6u << 20, 'x')));  // others need it
        feed(*store, kWeb, pages_of(15, 70));
        EXPECT_GE(std::filesystem::space(parent).available, (8u << 20) - 65536);
    }
    EXPECT_EQ(::umount2(parent.c_str(), MNT_DETACH), 0);
}

TEST(KnownPages, RefusesWhatIsNoOffer) {
    const auto refused = [](std::size_t bytes, std::size_t most) {
        const auto known = KnownPages::parse(Bytes(bytes), most);
        return !known && known.error().kind == Kind::kInvalid;
    };
    for (const std::size_t bytes : {0, 1, 31, 33, 39, 41}) EXPECT_TRUE(refused(bytes, 100)) << bytes;
    EXPECT_FALSE(refused(32, 100));
    EXPECT_FALSE(refused(32 + 800, 100));
    EXPECT_TRUE(refused(32 + 808, 100));
    EXPECT_TRUE(refused(32 + 8 * (kMaxOffered + 1), ~std::size_t{0}));
    // Equal beginnings are no reference: the identity is of the key.
    auto known = KnownPages::parse(Bytes(32 + 800), 100).value();
    const auto pages = pages_of(1, 10);
    for (const auto& page : pages) EXPECT_FALSE(known.find(page));
}

// A peer that has the offer and not the pages cannot refer to them, nor to what was not offered.
TEST(HostileOffer, ReferencesNeedTheProof) {
    const StoreFolder folder;
    const auto pages = pages_of(16, 40);
    const auto store = folder.open();
    feed(*store, kWeb, pages);
    const auto batch = [](std::uint64_t count, std::uint64_t image, std::uint64_t step, std::size_t residue) {
        Bytes tokens, body(8 * count);
        put_number(tokens, count << 3 | static_cast<std::uint64_t>(Token::kPlainEntries));
        for (std::uint64_t i = 0; i < count; ++i) std::memcpy(body.data() + 8 * i, &i, 8);
        put_number(tokens, count << 3 | static_cast<std::uint64_t>(Token::kReference));
        put_number(tokens, image);
        put_number(tokens, fold(step));
        body.resize(body.size() + residue, std::byte{0x11});
        Bytes out(kHead);
        for (const auto& [at, number] : {std::pair(0, count * (8 + kPage)), std::pair(4, std::uint64_t{tokens.size()}), std::pair(8, std::uint64_t{body.size()})}) {
            const auto narrow = static_cast<std::uint32_t>(number);
            std::memcpy(out.data() + at, &narrow, 4);
        }
        out.insert(out.end(), body.begin(), body.end());
        out.insert(out.end(), tokens.begin(), tokens.end());
        return out;
    };
    struct Case {
        const char* what;
        std::uint64_t count, image, step;
        std::size_t residue;
    };
    for (const auto& one : {Case{"no proof", 1, 0, 3, 0}, Case{"a short proof", 1, 0, 3, 15}, Case{"a wrong proof", 1, 0, 3, 16}, Case{"a longer proof", 1, 0, 3, 17}, Case{"many", 40, 0, 0, 16},
                            Case{"beyond the offer", 1, 0, 40, 16}, Case{"across its end", 2, 0, 39, 16}, Case{"before it", 1, 0, ~std::uint64_t{0}, 16}, Case{"no such image", 1, 1, 0, 16}}) {
        CodecPair pair(8, nullptr, store.get(), kWeb);
        const auto plain = pair.decoder->decode(batch(one.count, one.image, one.step, one.residue));
        ASSERT_FALSE(plain) << one.what;
        EXPECT_EQ(plain.error().kind, Kind::kInvalid) << one.what << ": " << plain.error().what;
    }
    // With the right one it is taken; a proof is of its own batch's pages, and of their order.
    CodecPair good(8, nullptr, store.get(), kWeb);
    ASSERT_TRUE(pass(good, stream_of(pages)).result);
    EXPECT_EQ(good.encoder->counts().store.pages, 40u);
    CodecPair none(8, nullptr, nullptr, kWeb);
    EXPECT_FALSE(none.decoder->decode(batch(1, 0, 0, 16)));
}

TEST(HostileOffer, MutationsStayWithinTheBounds) {
    const StoreFolder folder;
    auto pages = pages_of(17, 60);
    const auto store = folder.open();
    feed(*store, kWeb, pages);
    std::mt19937 random(5);
    pages[20] = fakes::Page{};
    pages[40][7] ^= std::byte{1};
    const auto data = stream_of(pages);
    CodecPair source(8, nullptr, store.get(), kWeb);
    std::vector<Bytes> batches;
    for (std::size_t at = 0; at < data.size(); at += 20'000) {
        source.encoder->compress(at % 3 != 0);
        const auto batch = source.encoder->encode(std::span(data).subspan(at, std::min<std::size_t>(20'000, data.size() - at))).value();
        if (!batch.empty()) batches.emplace_back(batch.begin(), batch.end());
    }
    std::size_t refused = 0;
    for (int i = 0; i < 3000; ++i) {
        const auto target = Decoder::create(8, {}, source.offer.get()).value();
        std::size_t at = 0, index = random() % batches.size();
        for (std::size_t next = 0; next <= index; ++next) {
            Bytes batch = batches[next];
            if (next == index)
                for (std::size_t n = 1 + random() % 3; n > 0; --n) batch[random() % std::min<std::size_t>(batch.size(), 200)] ^= static_cast<std::byte>(1u << random() % 8);
            const auto plain = target->decode(batch);
            if (!plain) {
                EXPECT_EQ(plain.error().kind, Kind::kInvalid) << plain.error().what;
                ++refused;
                if (source.offer->referred()) (void)source.offer->proof();  // of what was refused: the next one begins anew
                break;
            }
            EXPECT_LE(plain->size(), kMaxPlain);
            at += plain->size();
        }
    }
    EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace blanket::stream
