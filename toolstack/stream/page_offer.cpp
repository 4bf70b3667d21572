// SPDX-License-Identifier: GPL-2.0-or-later
// See page_offer.hpp.
#include "toolstack/stream/page_offer.hpp"

#include <algorithm>
#include <fcntl.h>
#include <sys/resource.h>

#include "toolstack/core/content_hash.hpp"

namespace blanket::stream {
namespace {

constexpr std::size_t kAtOnce = 64;  // pages read by one call
constexpr std::size_t kMaxFiles = 256;  // open at once
constexpr int kNice = 10;
constexpr auto kPoll = std::chrono::milliseconds(5);

}  // namespace

PageOffer::PageOffer(const IdentityKey& key, Identifier list, Identifier use, Candidates candidates)
    : key_(key), list_(std::move(list)), identifier_(std::move(use)), candidates_(std::move(candidates)), thread_([this](const std::stop_token& stop) { make_list(stop); }) {}

Result<std::unique_ptr<PageOffer>> PageOffer::begin(Candidates candidates) {
    candidates.most = std::min(candidates.most, kMaxOffered);
    BLANKET_TRY(const IdentityKey key, make_identity_key());
    BLANKET_TRY(Identifier list, Identifier::create(key));
    BLANKET_TRY(Identifier use, Identifier::create(key));
    return std::unique_ptr<PageOffer>(new PageOffer(key, std::move(list), std::move(use), std::move(candidates)));
}

// The VM's own pages, as it left: the latest ones, in the order in which they came. Then others, those used last first.
std::vector<PageOffer::Place> PageOffer::choose() {
    std::vector<Place> own, others;
    for (const std::string& path : candidates_.files) {
        if (files_.size() == kMaxFiles) break;
        auto file = PageSegment::open(path);
        const auto entries = file ? file->entries() : Result<std::vector<PageSegment::Found>>(std::unexpected(file.error()));
        if (!entries) continue;  // evicted or damaged meanwhile
        const auto index = static_cast<std::uint32_t>(files_.size());
        files_.push_back(std::move(*file));
        for (const auto& found : *entries) (found.entry.group == candidates_.group ? own : others).push_back({index, found.slot, load<std::uint64_t>(found.entry.identity.data())});
    }
    std::ranges::stable_sort(own, {}, [this](const Place& place) { return files_[place.file].number(); });
    if (own.size() > candidates_.most) own.erase(own.begin(), own.end() - static_cast<std::ptrdiff_t>(candidates_.most));
    others.resize(std::min(others.size(), candidates_.most - own.size()));
    own.insert(own.end(), others.begin(), others.end());
    return own;
}

void PageOffer::make_list(const std::stop_token& stop) {
    (void)::setpriority(PRIO_PROCESS, 0, kNice);  // of this thread
    const std::vector<Place> chosen = choose();
    places_.reserve(chosen.size());
    shorts_.reserve(chosen.size());
    std::vector<std::byte> pages(kAtOnce * kPage);
    for (std::size_t at = 0; at < chosen.size() && !stop.stop_requested();) {
        std::size_t run = 1;
        while (at + run < chosen.size() && run < kAtOnce && chosen[at + run].file == chosen[at].file && chosen[at + run].slot == chosen[at].slot + run) ++run;
        const bool whole = pread_all(files_[chosen[at].file].fd(), std::span(pages).first(run * kPage), PageSegment::offset(chosen[at].slot)).has_value();
        for (std::size_t i = 0; i < run && whole; ++i) {
            const auto page = std::span<const std::byte>(pages).subspan(i * kPage, kPage);
            if (is_zero(page)) continue;  // an entry whose page was not written
            const auto identity = list_.of(page);
            if (!identity) continue;
            places_.push_back(chosen[at + i]);
            shorts_.push_back(load<std::uint64_t>(identity->data()));
        }
        at += run;
    }
    done_ = true;
}

std::vector<std::byte> PageOffer::close(std::chrono::milliseconds wait) {
    const auto until = std::chrono::steady_clock::now() + wait;
    while (!done_ && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(kPoll);
    thread_ = {};
    std::vector<std::byte> out(sizeof key_ + shorts_.size() * 8);
    std::ranges::copy(key_, out.begin());
    if (!shorts_.empty()) std::memcpy(out.data() + sizeof key_, shorts_.data(), shorts_.size() * 8);
    return out;
}

template <typename Do>
Result<void> PageOffer::each_run(std::uint64_t first, std::uint64_t count, const Do& work) const {
    if (count > places_.size() || first > places_.size() - count) return fail(Kind::kInvalid, "a reference to {} pages from {} of {} that were offered", count, first, places_.size());
    for (std::uint64_t at = first; at < first + count;) {
        const Place& begin = places_[at];
        std::uint64_t run = 1;
        while (at + run < first + count && places_[at + run].file == begin.file && places_[at + run].slot == begin.slot + run) ++run;
        BLANKET_CHECK(work(begin, at - first, run));
        at += run;
    }
    return {};
}

void PageOffer::will_need(std::uint64_t first, std::uint64_t count) const {
    (void)each_run(first, count, [this](const Place& begin, std::uint64_t, std::uint64_t run) -> Result<void> {  // what is wrong, read() says
        (void)::posix_fadvise(files_[begin.file].fd(), static_cast<off_t>(PageSegment::offset(begin.slot)), static_cast<off_t>(run * kPage), POSIX_FADV_WILLNEED);
        return {};
    });
}

Result<void> PageOffer::read(std::uint64_t first, std::span<std::byte> out) {
    BLANKET_CHECK(each_run(first, out.size() / kPage, [&](const Place& begin, std::uint64_t at, std::uint64_t run) {
        return pread_all(files_[begin.file].fd(), out.subspan(at * kPage, run * kPage), PageSegment::offset(begin.slot));
    }));
    for (std::size_t at = 0; at < out.size(); at += kPage) {
        BLANKET_TRY(const Identity identity, identifier_.of(out.subspan(at, kPage)));
        proof_.add(identity);
    }
    taken_ += out.size() / kPage;
    return {};
}

}  // namespace blanket::stream
