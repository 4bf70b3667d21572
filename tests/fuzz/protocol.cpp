// SPDX-License-Identifier: GPL-2.0-or-later
// Messages between the two ends of a move, one by one: disk blocks, JSON, errors, the target's report; and the frames that carry them over one connection or several.
#include "toolstack/migrate/protocol.hpp"

#include <algorithm>

#include "tests/fuzz/fuzz.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/migrate/link_inbox.hpp"
#include "toolstack/migrate/link_outbox.hpp"
#include "toolstack/migrate/move_times.hpp"

namespace blanket::fuzz {

using namespace migrate;

const std::size_t target::kHeap = 4u << 20;

namespace {

// A peer that has said one thing.
class OneMessage final : public PeerLink {
public:
    explicit OneMessage(Message message) : message_(std::move(message)) {}
    Result<void> send(std::uint32_t type, std::span<const std::byte> payload) override {
        message_ = Message{type, {payload.begin(), payload.end()}};
        return {};
    }
    Result<Message> receive(std::chrono::milliseconds) override { return message_; }
    std::uint64_t bytes_sent() const override { return 0; }
    const std::string& peer() const override { return name_; }
    void shutdown() override {}

private:
    Message message_;
    std::string name_ = "east";
};

void block(Input& input) {
    const auto payload = input.rest();
    const auto parsed = parse_block(payload);
    require_refusal(parsed, "parse_block");
    if (!parsed) return;
    require(std::ranges::equal(pack_block(*parsed), payload), "a block that is packed again is another");
    if (parsed->coding == Coding::kZero) return;  // never decoded
    const auto plain = decode(parsed->coding, parsed->data, parsed->length);
    require_refusal(plain, "decode");
    if (plain) require(plain->size() == parsed->length && plain->size() <= kMaxBlock, "a block of another length");
}

void message(Input& input) {
    const auto sent = static_cast<Type>(input.byte()), due = static_cast<Type>(1 + input.below(20));
    const auto payload = input.rest();
    OneMessage link({static_cast<std::uint32_t>(sent), {payload.begin(), payload.end()}});
    const auto got = expect(link, due, std::chrono::milliseconds(1));
    require(!got || sent == due, "another message than was due");
    if (!got) {
        if (sent != Type::kError) require_refusal(got, "expect", Kind::kCancelled);
        require_value(send_error(link, got.error()), "an error passed on");  // what a peer says goes on to the next
        const auto passed = expect(link, Type::kAck, std::chrono::milliseconds(1));
        const bool text = is_utf8(got.error().what);  // else it quotes a peer, and what is no text is replaced
        require(!passed && passed.error().kind == got.error().kind && (!text || passed.error().what == got.error().what), "an error changes on its way");
        return;
    }
    require_value(send_json(link, due, *got), "a message passed on");
    const auto again = expect(link, due, std::chrono::milliseconds(1));
    require_value(again, "a message of ours");
    require(again->dump() == got->dump(), "a message changes on its way");
}

void report(Input& input) {
    const auto json = parse_json(input.rest_text());
    if (!json) return;
    const auto parsed = parse_target_report(*json);
    require_refusal(parsed, "parse_target_report");
    if (!parsed) return;
    const std::string printed = to_json(*parsed).dump();  // as text, for that is how it travels: a number that was read is not of the type that was printed
    const auto read = parse_json(printed);
    require_value(read, "a report's text");
    const auto again = parse_target_report(*read);
    require_value(again, "a report of ours");
    require(to_json(*again).dump() == printed, "a report changes on its way");
    SourceTimes source;
    source.hello_said = 1, source.hello_heard = 60, source.asked = 100, source.suspended = 150, source.last_pages = 200, source.end_said = 210, source.drained = 250;
    source.committed_heard = 400, source.resumed_heard = 500;
    (void)clock_offset(source, parsed->times);
    if (const auto downtime = downtime_of(source, parsed->times)) (void)downtime->unexplained_ms();
}

void digest(Input& input) {
    const std::size_t cut = input.byte();
    const auto data = input.rest();
    StreamDigest whole, parts;
    whole.add(data);
    parts.add(data.first(std::min(cut, data.size())));
    parts.add(data.subspan(std::min(cut, data.size())));
    require(whole.value() == parts.value() && whole.bytes() == data.size(), "a digest that depends on the pieces");
    if (!data.empty()) {
        std::vector<std::byte> other(data.begin(), data.end());
        other[cut % other.size()] ^= std::byte{1};
        StreamDigest changed;
        changed.add(other);
        require(changed.value() != whole.value(), "a digest that does not see a bit");
    }
}

// Frames of ours that come in any order (of one connection: in theirs), and twice: the messages are what was said.
void said_and_heard(Input& input) {
    constexpr unsigned kLanes = 4;
    const bool many = input.flag();
    LinkOutbox out(many);
    LinkInbox in(many, input.below(1000));
    std::vector<std::vector<std::byte>> said;
    for (std::size_t left = 1 + input.below(4); left > 0; --left) {
        said.emplace_back(input.below(2 * kLinkPiece / 3), static_cast<std::byte>(input.byte()));
        if (input.flag()) said.back().resize(2 * said.back().size() + kLinkPiece / 2);
        out.push(LinkOutbox::cut(many, static_cast<std::uint32_t>(said.size()), said.back()));
    }
    std::vector<LinkOutbox::Frame> frames;
    const auto give = [&] {
        while (const auto number = out.due()) frames.push_back(out.give(number, many ? static_cast<unsigned>(input.below(kLanes)) : 0, {}));
    };
    give();
    require(frames.size() == out.highest(), "a frame that was not given");
    if (many) {  // a lost connection
        out.give_back(static_cast<unsigned>(input.below(kLanes)));
        require(out.again_due() == 0 || out.due() != 0, "what was given back is not due");
        give();
    }
    std::size_t heard = 0;
    const auto hear = [&] {
        while (!in.empty()) {
            const auto message = in.pop();
            require_value(message, "a message of ours");
            require(heard < said.size() && message->type == heard + 1 && message->payload == said[heard], "a message that is another");
            ++heard;
        }
    };
    while (!frames.empty()) {
        const std::size_t which = many ? input.below(frames.size()) : 0;
        require_value(in.take({frames[which].type, *frames[which].bytes}), "a frame of ours");
        require(in.ahead() == 0 || in.ahead() > in.taken(), "a frame that is held and taken");
        if (input.below(4) != 3) frames.erase(frames.begin() + static_cast<std::ptrdiff_t>(which));
        if (!many || input.flag()) hear();
    }
    hear();
    require(heard == said.size() && in.taken() == out.highest() && in.ahead() == 0, "not all was heard");
    out.acknowledge(in.taken());
    require(out.empty() && out.unsent() == 0 && out.due() == 0, "what was acknowledged is kept");
}

// Frames of a peer that says anything: taken, or refused for what they are.
void frames_of_a_stranger(Input& input) {
    LinkInbox in(input.flag(), 100);
    while (!input.empty()) {
        Message frame{input.flag() ? kLinkPart : input.number<std::uint32_t>(), std::vector<std::byte>(input.below(2 * kLinkNumber))};
        const std::uint64_t number = input.flag() ? input.number<std::uint64_t>() : in.taken() + input.byte();
        if (frame.payload.size() >= kLinkNumber) put_link_number(frame.payload.data(), number);
        const auto piece = input.bytes(input.byte());
        frame.payload.insert(frame.payload.end(), piece.begin(), piece.end());
        const auto before = in.taken();
        const auto taken = in.take(std::move(frame));
        require_refusal(taken, "LinkInbox::take");
        if (!taken) return;
        require(in.taken() >= before, "what was taken is not any more");
        if (in.full() || input.flag())
            while (!in.empty()) require_value(in.pop(), "a message");
    }
}

}  // namespace

std::vector<std::string> target::seeds() {
    std::vector<std::string> out;
    const std::vector<std::byte> plain(300, std::byte{'x'});
    for (const auto& coded : {encode(plain), encode(std::vector<std::byte>(64)), encode(std::vector<std::byte>{std::byte{1}, std::byte{2}})})
        out.push_back(Output().byte(0).bytes(pack_block({1, 65536, 300, coded.coding, coded.data})));
    const auto said = [&](Type type, const Json& json) {
        out.push_back(Output().byte(1).byte(static_cast<unsigned>(type)).number(static_cast<std::uint16_t>(static_cast<unsigned>(type) - 1)).text(json.dump()));
    };
    said(Type::kHello, {{"version", kProtocolVersion}, {"job", "1"}, {"time_ms", 1'800'000'000'000u}});
    said(Type::kReady, {{"missing", {std::string(64, 'a')}}, {"cache_pages", 2048}});
    said(Type::kMirror, {{"volume", 0}, {"port", 7789}, {"source_ip", "10.213.1.1"}, {"target_ip", "10.213.2.1"}});
    said(Type::kMemoryBegin, {{"stream", 1}, {"images", {std::string(64, 'a')}}});
    said(Type::kMemoryEnd, {{"bytes", 12345}, {"digest", StreamDigest().value()}});
    said(Type::kError, to_json(Error{Kind::kPrecondition, "what", "hint"}));
    said(Type::kAbort, {});
    const TargetReport report{{{"prepare", 0, 700}, {"commit", 700, 800}}, {1, 2, 3, 4, 5, 6, 7, 8, 9}};
    out.push_back(Output().byte(2).text(to_json(report).dump()));
    out.push_back(Output().byte(3).byte(5).text("a digest over pieces"));
    for (const unsigned many : {0u, 1u}) {
        out.push_back(Output().byte(4).byte(many).number(std::uint16_t{500}).number(std::uint16_t{2}).number(std::uint16_t{30'000}).byte('a').byte(1).number(std::uint16_t{7}).byte('b').byte(0)
                          .number(std::uint16_t{0}).byte('c').byte(1).text(std::string(60, '\1')));
        Output frames;
        frames.byte(5).byte(many);
        for (const unsigned next : {1u, 1u, 2u}) frames.byte(0).number(std::uint32_t{7}).number(std::uint16_t{8}).byte(0).byte(next).byte(3).text("abc").byte(0);
        out.push_back(frames);
    }
    return out;
}

void target::run(Input input) {
    switch (input.byte() % 6) {
        case 0: return block(input);
        case 1: return message(input);
        case 2: return report(input);
        case 3: return digest(input);
        case 4: return said_and_heard(input);
        default: return frames_of_a_stranger(input);
    }
}

}  // namespace blanket::fuzz
