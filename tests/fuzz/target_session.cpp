// SPDX-License-Identifier: GPL-2.0-or-later
// The target's half of a move against a hostile source, message by message, with the real Target over a site in memory. Whatever is said: it ends, it commits only
// what was complete, and what is not committed leaves nothing behind.
#include <deque>

#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/fakes/fake_clock.hpp"
#include "tests/unit/fakes/fake_overlay.hpp"
#include "tests/unit/fakes/fake_registry.hpp"
#include "tests/unit/fakes/fake_site.hpp"
#include "tests/unit/fakes/xen_stream.hpp"
#include "toolstack/base/log.hpp"
#include "toolstack/migrate/target.hpp"
#include "toolstack/stream/encoder.hpp"

namespace blanket::fuzz {

using namespace migrate;

const std::size_t target::kHeap = 48u << 20;  // the fake restore alone takes 4 MiB, twice where it is kept

namespace {

constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";
constexpr std::uint64_t kNow = 1'800'000'000'000;
const std::string kMemory = "a guest's memory, as bytes that are no stream of Xen's: END";

// Says what the input says, and stops listening when that is over.
class Hostile final : public PeerLink {
public:
    std::deque<Message> says;
    std::size_t heard = 0;

    Result<void> send(std::uint32_t type, std::span<const std::byte> payload) override {
        require(type != 0 && payload.size() <= 1u << 20, "an answer beyond the bound");
        ++heard;
        return {};
    }
    Result<Message> receive(std::chrono::milliseconds) override {
        if (says.empty()) return fail(Kind::kIo, "closed by the peer");
        Message message = std::move(says.front());
        says.pop_front();
        return message;
    }
    std::uint64_t bytes_sent() const override { return 0; }
    const std::string& peer() const override { return name_; }
    void shutdown() override {}

private:
    std::string name_ = "east";
};

struct Still final : TimeSource {
    std::int64_t boot = 1000;
    std::int64_t boottime_ms() override { return ++boot; }
    std::int64_t unix_ms() override { return kNow; }
    void sleep(std::chrono::milliseconds time) override { boot += time.count(); }
};

// The real store makes an image of any size thin; the fake one has it in memory.
struct Site final : fakes::FakeSite {
    using FakeSite::FakeSite;
    Result<void> import_image(const std::string& sha256, std::uint64_t size, ImageReader& content) override {
        if (size > 1u << 20) return fail(Kind::kPrecondition, "no room");
        return FakeSite::import_image(sha256, size, content);
    }
};

const std::string& image() {
    static const std::string kImage = fakes::seeded_image(3, 16);
    return kImage;
}

VmRecord record() {
    VmRecord vm;
    vm.uuid = kUuid;
    vm.name = "web";
    vm.owner = "east";
    vm.phase = Phase::kMigrating;
    vm.migration = Migration{"job", "west"};
    vm.memory_mib = 256;
    vm.cpu_features = {"sse2"};
    vm.volumes = {{"web-1", fakes::image_hash(image()), 65536, "xvda"}, {"web-2", "", 131072, "xvdb"}};
    return vm;
}

void say_bytes(Output& out, Type type, std::string_view payload) { out.byte(static_cast<unsigned>(type)).piece(payload); }
void say(Output& out, Type type, const Json& payload) { say_bytes(out, type, payload.dump()); }
std::string as_text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace

std::vector<std::string> target::seeds() {
    std::vector<std::string> out;
    StreamDigest digest;
    digest.add(as_bytes(kMemory));
    const auto encoder = stream::Encoder::create(2048, {}).value();
    std::string coded = as_text(encoder->encode(as_bytes(kMemory)).value());
    coded += as_text(encoder->finish().value());
    for (const unsigned flags : {0u, 1u, 2u, 3u}) {  // 1: the image is missing here; 2: a standby's disk is here
        Output script;
        script.byte(flags);
        say(script, Type::kHello, Json{{"version", kProtocolVersion}, {"job", "job"}, {"time_ms", kNow}});
        VmRecord offered = record();
        offered.phase = Phase::kRunning;
        offered.migration.reset();
        say(script, Type::kPrepare, Json{{"record", to_json(offered)}, {"cache_pages", 2048}});
        say(script, Type::kBegin, Json{{"revision", 1}});
        if ((flags & 1) != 0) {
            say(script, Type::kImage, Json{{"sha256", fakes::image_hash(image())}, {"size", image().size()}});
            const Coded block = encode(as_bytes(std::string_view(image()).substr(0, 4096)));
            say_bytes(script, Type::kBlock, as_text(pack_block({0, 0, 4096, block.coding, block.data})).substr(0, 2000));
            say(script, Type::kImageEnd, Json::object());
        }
        const std::string disk = "on the disk";
        std::string padded = disk + std::string(65536 - disk.size(), '\0');
        const Coded block = encode(as_bytes(padded));
        say_bytes(script, Type::kBlock, as_text(pack_block({0, 0, 65536, block.coding, block.data})));
        say_bytes(script, Type::kBlock, as_text(pack_block({1, 65536, 65536, Coding::kZero, {}})));
        say(script, Type::kRoundEnd, Json{{"volume", 0}});
        say(script, Type::kMirror, Json{{"volume", 0}, {"port", 7789}, {"source_ip", "10.213.1.1"}, {"target_ip", "10.213.2.1"}});
        say(script, Type::kMemoryBegin, Json{{"stream", stream::kVersion}, {"images", flags == 0 ? Json::array({fakes::image_hash(image())}) : Json::array()}});
        say_bytes(script, Type::kMemory, coded);
        say(script, Type::kMemoryEnd, Json{{"bytes", kMemory.size()}, {"digest", digest.value()}});
        say(script, Type::kDrained, Json::object());
        out.push_back(script);
    }
    Output fault;
    fault.byte(0);
    say(fault, Type::kHello, Json{{"version", kProtocolVersion}, {"job", "job"}, {"time_ms", kNow}});
    say(fault, Type::kError, to_json(Error{Kind::kCancelled, "what", "hint"}));
    out.push_back(fault);
    return out;
}

void target::run(Input input) {
    static const bool quiet = (log::set_level(log::Level::kError), true);
    (void)quiet;
    const std::uint8_t flags = input.byte();
    fakes::FakeRegistry registry;
    Site site("west"), source("east");
    site.other = &source;
    fakes::FakeOverlay overlay;
    Still clock;
    const VmRecord vm = record();
    require_value(registry.create_vm(vm), "the record");
    if ((flags & 1) == 0) {
        site.images.insert(vm.volumes[0].image);
        site.image_content[vm.volumes[0].image] = image();
    }
    if ((flags & 2) != 0) site.disks["web-1"] = {.data = "old", .open = false, .epoch = 1};
    if ((flags & 4) != 0) site.fail_at.insert("restore");
    Hostile link;
    while (!input.empty() && link.says.size() < 64) {
        const std::uint32_t type = input.byte();
        const auto payload = input.piece();
        link.says.push_back({type, {payload.begin(), payload.end()}});
    }
    Result<void> served;
    {
        Target target({registry, site, site, site, site, overlay, clock}, link, "west", [] { return true; });
        served = target.serve();
    }
    const auto now = registry.vm(kUuid).value();
    require(now.has_value(), "the record is gone");
    const bool committed = now->value.owner == "west";
    require(served.has_value() <= committed, "a move that went well has no commit");
    if (committed) {
        require(now->value.epoch == vm.epoch + 1, "a commit under another epoch");
        require(site.runs(kUuid) && site.memory[kUuid].ends_with("END"), "a commit of a VM that is not whole");
        require(site.disks.contains("web-1") && site.disks.contains("web-2"), "a commit without its disks");
        return;
    }
    require(now->value == vm, "the record changed without a commit");
    require(site.domains.empty(), "a domain is left of a move that was refused");
    require(!site.disks.contains("web-2"), "a volume is left of a move that was refused");
    require((flags & 2) != 0 || !site.disks.contains("web-1"), "a volume is left of a move that was refused");
}

}  // namespace blanket::fuzz
