// SPDX-License-Identifier: GPL-2.0-or-later
// See method_blanket.hpp.
#include "tests/bench/migrate/method_blanket.hpp"

#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <sys/mman.h>

#include "tests/bench/codec_run.hpp"
#include "toolstack/migrate/protocol.hpp"

namespace blanket::bench {
namespace {

constexpr std::size_t kMessageHead = 16, kTlsRecord = 16 * 1024, kTlsExtra = 22;  // of the link's messages; of TLS 1.3 with AES-GCM
constexpr std::uint64_t kFramesPerMib = 256;

std::size_t on_wire(std::size_t batch) {
    const std::size_t message = batch + kMessageHead;
    return message + (message + kTlsRecord - 1) / kTlsRecord * kTlsExtra;
}

}  // namespace

void add_record(fakes::XenStream& stream, const GuestMemory& memory, std::span<const Frame> frames, std::vector<fakes::XenStream::Sent>& scratch) {
    scratch.clear();
    for (const Frame frame : frames) scratch.push_back({fakes::XenStream::entry(memory.type(frame), frame), &memory.page(frame)});
    stream.pages(scratch);
}

Result<UniqueFd> SharedImage::Site::open_image(const std::string&) {
    UniqueFd copy(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));  // read by offset only, so that they share one does not matter
    if (!copy) return fail_errno("fcntl", "base image");
    return copy;
}

Result<std::unique_ptr<SharedImage>> SharedImage::create(const Corpus& corpus) {
    std::unique_ptr<SharedImage> made(new SharedImage);
    std::string folder = "/tmp/bench-image-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) return fail_errno("mkdtemp", folder);
    made->folder_ = folder;
    made->index_path_ = folder + "/index";
    made->sha256_ = fakes::image_hash(corpus.bytes);
    made->site_.file.reset(::memfd_create("image", MFD_CLOEXEC));
    BLANKET_CHECK(write_all(made->site_.file.get(), as_bytes(corpus.bytes)));
    BLANKET_CHECK(stream::index_of(corpus.bytes, made->sha256_).save(made->index_path_));
    return made;
}

SharedImage::~SharedImage() {
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

void BlanketMethod::Target::page(std::uint64_t frame, stream::PageBytes data) {
    good_ = good_ && frame < pages_.size();
    if (good_) std::memcpy(pages_[frame].data(), data.data(), data.size());
}

bool BlanketMethod::Target::equals(const GuestMemory& memory) const {
    if (!good_ || memory.frames() != pages_.size()) return false;
    for (std::size_t frame = 0; frame < pages_.size(); ++frame)
        if (pages_[frame] != memory.page(static_cast<Frame>(frame))) return false;
    return true;
}

BlanketMethod::BlanketMethod(const BlanketEnds& ends, std::unique_ptr<stream::CodecPair> pair)
    : meter_(ends.meter), cipher_s_per_byte_(ends.cipher_s_per_byte), to_(ends.to), pair_(std::move(pair)), choice_(ends.features.compression), target_(ends.frames) {}

Result<std::unique_ptr<BlanketMethod>> BlanketMethod::create(const BlanketEnds& ends) {
    const auto& features = ends.features;
    stream::CodecPair::Ends both;
    if (features.references && ends.image != nullptr) {
        BLANKET_TRY(auto index, ends.image->index());
        BLANKET_TRY(auto image, ends.image->open());
        both.indexes.push_back(std::move(index));
        both.images.push_back(std::move(image));
    }
    both.from = features.store ? ends.from : nullptr;
    both.to = features.store ? ends.to : nullptr;
    both.subject = {"net", ends.vm};
    both.frames = ends.frames;
    both.deltas = features.store_deltas;
    const std::size_t cache = features.versions ? migrate::cache_pages_for(ends.frames / kFramesPerMib) : 0;
    return std::unique_ptr<BlanketMethod>(new BlanketMethod(ends, std::make_unique<stream::CodecPair>(cache, std::move(both))));
}

Result<void> BlanketMethod::begin(VirtualWire& wire) {
    if (pair_->offer) wire.ask(on_wire(pair_->offer_bytes));
    return {};
}

Result<void> BlanketMethod::pages(const GuestMemory& memory, std::span<const Frame> frames, VirtualWire& wire) {
    add_record(plain_, memory, frames, batch_);
    const auto passed = pass(plain_.bytes, wire);
    plain_.bytes.clear();
    return passed;
}

Result<void> BlanketMethod::end(VirtualWire& wire) {
    plain_.end();
    BLANKET_CHECK(pass(plain_.bytes, wire));
    plain_.bytes.clear();
    BLANKET_TRY(const auto rest, pair_->encoder->finish());
    if (!rest.empty()) BLANKET_CHECK(put(rest, 0, wire));
    splitter_.finish(target_);
    return {};
}

Result<void> BlanketMethod::pass(std::span<const std::byte> plain, VirtualWire& wire) {
    Result<void> outcome;
    stream::in_pieces(plain, [&](std::span<const std::byte> piece) {
        if (!outcome) return;
        given_ += piece.size();
        const std::int64_t before = wire.now_ms();
        pair_->encoder->compress(choice_.compress());
        if (stopping_) pair_->encoder->hurry();
        Result<std::span<const std::byte>> batch;
        const double coding_s = meter_.cost(piece.size(), [&] { batch = pair_->encoder->encode(piece); });
        if (!batch) {
            outcome = std::unexpected(batch.error());
            return;
        }
        wire.spend(coding_s);
        const std::int64_t coded = wire.now_ms();
        if (!batch->empty()) outcome = put(*batch, piece.size(), wire);
        // As the product does: where most pages were told and not sent, the time says nothing of compression.
        if (pair_->encoder->body() >= piece.size() / 4)
            choice_.took({.bytes = pair_->encoder->body(), .wire = batch->size(), .coding_ms = coded - before, .sending_ms = wire.now_ms() - coded});
    });
    return outcome;
}

// The cipher is part of sending, as in the product. No answer of the target's is waited for, so that both ends work in one thread here changes no byte.
Result<void> BlanketMethod::put(std::span<const std::byte> batch, std::size_t plain_bytes, VirtualWire& wire) {
    const std::size_t bytes = on_wire(batch.size());
    const double cipher_s = cipher_s_per_byte_ * static_cast<double>(bytes);
    cipher_s_ += cipher_s;
    wire.spend(cipher_s);
    Result<std::span<const std::byte>> plain;
    const double decoding_s = meter_.cost(plain_bytes, [&] { plain = pair_->decoder->decode(batch); });
    if (!plain) return std::unexpected(plain.error());
    came_ += plain->size();
    splitter_.feed(*plain, target_);
    wire.send(bytes, decoding_s + cipher_s);
    return {};
}

std::optional<bool> BlanketMethod::exact(const GuestMemory& memory) const { return given_ == came_ && !splitter_.lost() && target_.equals(memory); }

void BlanketMethod::arrived() {
    if (pair_->target_feed) pair_->target_feed->arrived();
    if (to_ != nullptr) to_->settle();
}

}  // namespace blanket::bench
