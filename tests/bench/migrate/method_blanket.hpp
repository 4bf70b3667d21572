// SPDX-License-Identifier: GPL-2.0-or-later
// Our own way: the product's encoder and decoder over a stream as libxenguest writes it, with the choice about compression that the product makes (migrate/source_memory.cpp),
// TLS's bytes and cipher included. What the decoder gives is taken apart into the target's memory.
#pragma once

#include "tests/bench/migrate/corpus.hpp"
#include "tests/bench/migrate/method.hpp"
#include "tests/unit/stream/pair.hpp"
#include "toolstack/stream/features.hpp"

namespace blanket::bench {

// A base image that both sites have, with the source's index of it. Written and indexed once, however many moves use it; any thread.
class SharedImage final {
public:
    static Result<std::unique_ptr<SharedImage>> create(const Corpus& corpus);
    ~SharedImage();
    SharedImage(const SharedImage&) = delete;
    SharedImage& operator=(const SharedImage&) = delete;
    [[nodiscard]] Result<stream::ImageIndex> index() const { return stream::ImageIndex::load(index_path_, sha256_); }
    [[nodiscard]] Result<stream::BaseImage> open() { return stream::BaseImage::open(site_, sha256_); }

private:
    struct Site final : fakes::FakeSite {
        Site() : FakeSite("target") {}
        Result<UniqueFd> open_image(const std::string& sha256) override;
        UniqueFd file;
    };
    SharedImage() = default;
    Site site_;
    std::string folder_, index_path_, sha256_;
};

struct BlanketEnds {
    SharedImage* image = nullptr;                          // null: the sites share none
    stream::ContentStore *from = nullptr, *to = nullptr;   // the source's and the target's, or null
    std::string vm = "vm";
    std::size_t frames = 0;                                // of the guest
    stream::Features features = {};
    double cipher_s_per_byte = 0;                          // at either end
    CpuMeter meter = {};
};

class BlanketMethod final : public Method {
public:
    static Result<std::unique_ptr<BlanketMethod>> create(const BlanketEnds& ends);
    Result<void> begin(VirtualWire& wire) override;
    Result<void> pages(const GuestMemory& memory, std::span<const Frame> frames, VirtualWire& wire) override;
    void stop() override { stopping_ = true; }
    Result<void> end(VirtualWire& wire) override;
    [[nodiscard]] std::optional<bool> exact(const GuestMemory& memory) const override;

    void arrived();  // after a good move: the target's store keeps what it knows of this VM
    [[nodiscard]] const stream::PageCounts& counts() const { return pair_->encoder->counts(); }
    [[nodiscard]] double cipher_s() const { return cipher_s_; }  // of the sender's processor

private:
    class Target final : public stream::Splitter::Sink {
    public:
        explicit Target(std::size_t frames) : pages_(frames) {}
        void bytes(std::span<const std::byte>) override {}
        void entries(std::span<const std::byte>) override {}
        void page(std::uint64_t frame, stream::PageBytes data) override;
        [[nodiscard]] bool equals(const GuestMemory& memory) const;

    private:
        std::vector<Page> pages_;
        bool good_ = true;
    };
    BlanketMethod(const BlanketEnds& ends, std::unique_ptr<stream::CodecPair> pair);
    Result<void> pass(std::span<const std::byte> plain, VirtualWire& wire);
    Result<void> put(std::span<const std::byte> batch, std::size_t plain_bytes, VirtualWire& wire);

    CpuMeter meter_;
    double cipher_s_per_byte_, cipher_s_ = 0;
    stream::ContentStore* to_;
    std::unique_ptr<stream::CodecPair> pair_;
    stream::CodingChoice choice_;
    fakes::XenStream plain_;
    std::vector<fakes::XenStream::Sent> batch_;
    stream::Splitter splitter_;
    Target target_;
    std::size_t given_ = 0, came_ = 0;  // bytes of the plain stream
    bool stopping_ = false;
};

// The record of these pages, as libxenguest writes it, behind what `stream` has.
void add_record(fakes::XenStream& stream, const GuestMemory& memory, std::span<const Frame> frames, std::vector<fakes::XenStream::Sent>& scratch);

}  // namespace blanket::bench
