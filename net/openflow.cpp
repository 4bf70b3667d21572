// SPDX-License-Identifier: GPL-2.0-or-later
// See openflow.hpp.
#include "net/openflow.hpp"

#include <charconv>
#include <limits>
#include <optional>

#include "net/flow.hpp"
#include "toolstack/base/text.hpp"
#include "toolstack/core/records.hpp"

namespace blanket::net {
namespace {

constexpr std::uint8_t kVersion = 5;  // OpenFlow 1.4
constexpr std::uint32_t kAnyPort = 0xffff'ffff, kNoBuffer = 0xffff'ffff, kController = 0xffff'fffd, kInPort = 0xffff'fff8;

// ---------------------------------------------------------------- bytes in network order
class Writer final {
public:
    template <typename T>
    Writer& put(T value, std::size_t bytes = sizeof(T)) {
        for (std::size_t i = bytes; i-- > 0;) out_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> 8 * i & 0xff));
        return *this;
    }
    Writer& zero(std::size_t count) {
        out_.resize(out_.size() + count);
        return *this;
    }
    Writer& append(std::span<const std::byte> bytes) {
        out_.insert(out_.end(), bytes.begin(), bytes.end());
        return *this;
    }
    Writer& pad(std::size_t begin, std::size_t to = 8) {
        while ((out_.size() - begin) % to != 0) out_.push_back(std::byte{0});
        return *this;
    }
    void set16(std::size_t at, std::size_t value) {
        out_[at] = static_cast<std::byte>(value >> 8 & 0xff);
        out_[at + 1] = static_cast<std::byte>(value & 0xff);
    }
    [[nodiscard]] std::size_t size() const { return out_.size(); }
    Bytes take() { return std::move(out_); }

private:
    Bytes out_;
};

std::uint64_t number_at(std::span<const std::byte> bytes, std::size_t at, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i) value = value << 8 | std::to_integer<std::uint64_t>(bytes[at + i]);
    return value;
}

Writer begin(OpenFlowType type, std::uint32_t xid) {
    Writer out;
    out.put(kVersion).put(static_cast<std::uint8_t>(type)).put(std::uint16_t{0}).put(xid);
    return out;
}

Result<Bytes> finish(Writer out) {
    if (out.size() > std::numeric_limits<std::uint16_t>::max()) return fail(Kind::kInvalid, "an OpenFlow message of {} bytes", out.size());
    out.set16(2, out.size());
    return out.take();
}

// ---------------------------------------------------------------- fields: class, number, bytes
struct Field {
    std::uint16_t group = 0x8000;  // OXM basic; 0 and 1: Nicira's
    std::uint8_t number = 0, bytes = 0;
    [[nodiscard]] std::uint32_t head(bool masked = false) const {
        return std::uint32_t{group} << 16 | std::uint32_t{number} << 9 | (masked ? 0x100u : 0u) | static_cast<std::uint32_t>(masked ? 2 * bytes : bytes);
    }
};
constexpr Field kFieldInPort{0x8000, 0, 4}, kFieldMetadata{0x8000, 2, 8}, kFieldEthDst{0x8000, 3, 6}, kFieldEthSrc{0x8000, 4, 6}, kFieldEthType{0x8000, 5, 2},
    kFieldIpProto{0x8000, 10, 1}, kFieldIpSrc{0x8000, 11, 4}, kFieldIpDst{0x8000, 12, 4}, kFieldTcpSrc{0x8000, 13, 2}, kFieldTcpDst{0x8000, 14, 2}, kFieldUdpSrc{0x8000, 15, 2},
    kFieldUdpDst{0x8000, 16, 2}, kFieldIcmpType{0x8000, 19, 1}, kFieldArpOp{0x8000, 21, 2}, kFieldArpSpa{0x8000, 22, 4}, kFieldArpTpa{0x8000, 23, 4}, kFieldArpSha{0x8000, 24, 6},
    kFieldTunnelId{0x8000, 38, 8}, kFieldTunSrc{1, 31, 4}, kFieldTunDst{1, 32, 4}, kFieldTcpFlags{1, 34, 2}, kFieldReg0{1, 0, 4}, kFieldReg1{1, 1, 4};
constexpr Field kNxInPort{0, 0, 2}, kNxEthDst{0, 1, 6}, kNxEthSrc{0, 2, 6}, kNxArpSpa{0, 16, 4}, kNxArpTpa{0, 17, 4}, kNxTunId{1, 16, 8}, kNxArpSha{1, 17, 6}, kNxArpTha{1, 18, 6};

void put_field(Writer& out, const Field& field, std::uint64_t value, std::optional<std::uint64_t> mask = {}) {
    out.put(field.head(mask.has_value())).put(value, field.bytes);
    if (mask) out.put(*mask, field.bytes);
}

std::unexpected<Error> unknown(std::string_view what, std::string_view word) { return fail(Kind::kPrecondition, "no OpenFlow {} is known for '{}'", what, word.substr(0, 60)); }

Result<std::uint64_t> number_of(std::string_view text, std::uint64_t max) {
    const bool hex = text.starts_with("0x");
    if (hex) text.remove_prefix(2);
    std::uint64_t value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
    if (text.empty() || code != std::errc() || end != text.data() + text.size() || value > max) return fail(Kind::kInvalid, "'{}' is no number up to {}", text.substr(0, 30), max);
    return value;
}

Result<std::uint64_t> ethernet_of(std::string_view text) {  // broadcast too, which parse_mac() refuses
    std::string digits("0x");
    for (std::size_t i = 0; i < text.size(); ++i)
        if (i % 3 != 2) digits += text[i];
        else if (text[i] != ':') return fail(Kind::kInvalid, "'{}' is no ethernet address", text.substr(0, 30));
    if (text.size() != 17) return fail(Kind::kInvalid, "'{}' is no ethernet address", text.substr(0, 30));
    return number_of(digits, (1ull << 48) - 1);
}

Result<std::uint64_t> value_of(const Field& field, std::string_view text) {
    if (field.bytes == 6) return ethernet_of(text);
    if (text.contains('.')) return parse_ipv4(text).transform([](std::uint32_t address) { return std::uint64_t{address}; });
    return number_of(text, field.bytes == 8 ? ~0ull : (1ull << 8 * field.bytes) - 1);
}

// ---------------------------------------------------------------- match
struct Protocol {
    std::uint64_t ether_type = 0;
    std::optional<std::uint64_t> ip_proto;
};

std::optional<Protocol> protocol_of(std::string_view word) {
    if (word == "arp") return Protocol{0x0806, {}};
    if (word == "ip") return Protocol{0x0800, {}};
    if (word == "icmp") return Protocol{0x0800, 1};
    if (word == "tcp") return Protocol{0x0800, 6};
    if (word == "udp") return Protocol{0x0800, 17};
    return std::nullopt;
}

Result<const Field*> match_field(std::string_view name, const Protocol& protocol) {
    const bool udp = protocol.ip_proto == 17;
    if (name == "in_port") return &kFieldInPort;
    if (name == "metadata") return &kFieldMetadata;
    if (name == "tun_src") return &kFieldTunSrc;
    if (name == "dl_src") return &kFieldEthSrc;
    if (name == "dl_dst") return &kFieldEthDst;
    if (name == "nw_src") return &kFieldIpSrc;
    if (name == "nw_dst") return &kFieldIpDst;
    if (name == "arp_spa") return &kFieldArpSpa;
    if (name == "arp_tpa") return &kFieldArpTpa;
    if (name == "arp_op") return &kFieldArpOp;
    if (name == "arp_sha") return &kFieldArpSha;
    if (name == "tp_src" && protocol.ip_proto) return udp ? &kFieldUdpSrc : &kFieldTcpSrc;
    if (name == "tp_dst" && protocol.ip_proto) return udp ? &kFieldUdpDst : &kFieldTcpDst;
    if (name == "icmp_type") return &kFieldIcmpType;
    if (name == "reg0") return &kFieldReg0;
    if (name == "reg1") return &kFieldReg1;
    return unknown("field", name);
}

Result<Bytes> encode_match(const std::vector<std::string>& words) {
    Protocol protocol;
    for (const auto& word : words)
        if (const auto known = protocol_of(word)) protocol = *known;
    Writer fields;
    if (protocol.ether_type != 0) put_field(fields, kFieldEthType, protocol.ether_type);
    if (protocol.ip_proto) put_field(fields, kFieldIpProto, *protocol.ip_proto);
    for (const auto& word : words) {
        if (protocol_of(word)) continue;
        const auto equal = word.find('=');
        if (equal == std::string::npos) return unknown("field", word);
        const std::string_view name = std::string_view(word).substr(0, equal);
        std::string_view text = std::string_view(word).substr(equal + 1);
        if (name == "tcp_flags") {
            if (text != "+ack") return unknown("field", word);
            put_field(fields, kFieldTcpFlags, 0x10, 0x10);
            continue;
        }
        BLANKET_TRY(const Field* const field, match_field(name, protocol));
        std::optional<std::uint64_t> mask;
        if (const auto slash = text.find('/'); slash != std::string_view::npos && field->bytes <= 4) {
            if (const auto bits = text.substr(slash + 1); bits.starts_with("0x")) {
                BLANKET_TRY(mask, number_of(bits, (1ull << 8 * field->bytes) - 1));
            } else if (field->bytes == 4) {
                BLANKET_TRY(const auto prefix, number_of(bits, 32));
                mask = prefix == 0 ? 0 : 0xffff'ffffull << (32 - prefix) & 0xffff'ffff;
            } else return unknown("mask", word);
            text = text.substr(0, slash);
        }
        BLANKET_TRY(const auto value, value_of(*field, text));
        put_field(fields, *field, mask ? value & *mask : value, mask);
    }
    const Bytes body = fields.take();
    Writer out;
    out.put(std::uint16_t{1}).put(static_cast<std::uint16_t>(4 + body.size())).append(body).pad(0);  // OFPMT_OXM
    return out.take();
}

// ---------------------------------------------------------------- actions and instructions
void put_output(Writer& out, std::uint32_t port) { out.put(std::uint16_t{0}).put(std::uint16_t{16}).put(port).put(std::uint16_t{0xffff}).zero(6); }

void put_set_field(Writer& out, const Field& field, std::uint64_t value) {
    const std::size_t begin = out.size();
    out.put(std::uint16_t{25}).put(std::uint16_t{0});
    put_field(out, field, value);
    out.pad(begin);
    out.set16(begin + 2, out.size() - begin);
}

void put_move(Writer& out, const Field& from, const Field& to, std::uint16_t bits) {  // Nicira's reg_move; OpenFlow has copy_field only from 1.5 on
    out.put(std::uint16_t{0xffff}).put(std::uint16_t{24}).put(std::uint32_t{0x2320}).put(std::uint16_t{6}).put(bits).put(std::uint32_t{0}).put(from.head()).put(to.head());
}

Result<void> put_move(Writer& out, std::string_view text) {
    if (text == "NXM_NX_TUN_ID[0..23]->OXM_OF_METADATA[0..23]") put_move(out, kNxTunId, kFieldMetadata, 24);
    else if (text == "NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]") put_move(out, kNxEthSrc, kNxEthDst, 48);
    else if (text == "NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]") put_move(out, kNxArpSha, kNxArpTha, 48);
    else if (text == "NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]") put_move(out, kNxArpSpa, kNxArpTpa, 32);
    else return unknown("move", text);
    return {};
}

Result<void> put_set(Writer& out, std::string_view text) {
    const auto arrow = text.find("->");
    const std::string_view value = text.substr(0, arrow), name = arrow == std::string_view::npos ? "" : text.substr(arrow + 2);
    const Field* field = nullptr;
    if (name == "metadata") field = &kFieldMetadata;
    else if (name == "in_port") field = &kNxInPort;  // Open vSwitch takes 0 only in this form
    else if (name == "tun_id") field = &kFieldTunnelId;
    else if (name == "tun_dst") field = &kFieldTunDst;
    else if (name == "eth_src") field = &kFieldEthSrc;
    else if (name == "eth_dst") field = &kFieldEthDst;
    else if (name == "arp_op") field = &kFieldArpOp;
    else if (name == "arp_sha") field = &kFieldArpSha;
    else if (name == "arp_spa") field = &kFieldArpSpa;
    else if (name == "reg0") field = &kFieldReg0;
    else if (name == "reg1") field = &kFieldReg1;
    else return unknown("field to set", text);
    BLANKET_TRY(const auto number, value_of(*field, value));
    put_set_field(out, *field, number);
    return {};
}

struct Actions {
    Bytes list;
    std::optional<std::uint8_t> next_table;
};

Result<Actions> encode_actions(std::string_view text) {
    Actions out;
    Writer list;
    for (const auto& word : split(text, ',')) {
        if (out.next_table) return unknown("action behind a goto", word);  // it would run before the table
        if (word == "drop") continue;
        if (word == "IN_PORT") put_output(list, kInPort);
        else if (word.starts_with("output:")) {
            BLANKET_TRY(const auto port, number_of(std::string_view(word).substr(7), 0xffff'ffff));
            put_output(list, static_cast<std::uint32_t>(port));
        } else if (word.starts_with("goto_table:")) {
            BLANKET_TRY(const auto table, number_of(std::string_view(word).substr(11), 254));
            out.next_table = static_cast<std::uint8_t>(table);
        } else if (word.starts_with("set_field:")) {
            BLANKET_CHECK(put_set(list, std::string_view(word).substr(10)));
        } else if (word.starts_with("move:")) {
            BLANKET_CHECK(put_move(list, std::string_view(word).substr(5)));
        } else return unknown("action", word);
    }
    out.list = list.take();
    return out;
}

// ---------------------------------------------------------------- messages
struct Line {
    std::vector<std::string> match;
    std::uint64_t cookie = 0, table = 0, priority = 32768, hard_timeout = 0;
    std::string_view actions;
};

Result<Line> parse_line(std::string_view text, bool with_actions) {
    Line line;
    if (with_actions) {
        constexpr std::string_view kActions = ",actions=";
        const auto at = text.find(kActions);
        if (at == std::string_view::npos) return fail(Kind::kInvalid, "'{}' has no actions", text.substr(0, 60));
        line.actions = text.substr(at + kActions.size());
        text = text.substr(0, at);
    }
    for (auto& word : split(text, ',')) {
        const std::string_view value = std::string_view(word).substr(std::min(word.size(), word.find('=') + 1));
        if (word.starts_with("cookie=")) {
            BLANKET_TRY(line.cookie, number_of(value, ~0ull));
        } else if (word.starts_with("table=")) {
            BLANKET_TRY(line.table, number_of(value, 254));
        } else if (word.starts_with("priority=")) {
            BLANKET_TRY(line.priority, number_of(value, 0xffff));
        } else if (word.starts_with("hard_timeout=")) {
            BLANKET_TRY(line.hard_timeout, number_of(value, 0xffff));
        } else {
            line.match.push_back(std::move(word));
        }
    }
    return line;
}

Result<Bytes> flow_mod(std::string_view text, bool add, std::uint32_t xid) {
    BLANKET_TRY(const Line line, parse_line(text, add));
    BLANKET_TRY(const Bytes match, encode_match(line.match));
    Writer out = begin(OpenFlowType::kFlowMod, xid);
    out.put(line.cookie).put(std::uint64_t{0}).put(static_cast<std::uint8_t>(line.table)).put(std::uint8_t{add ? std::uint8_t{0} : std::uint8_t{4}});  // ADD, DELETE_STRICT
    out.put(std::uint16_t{0}).put(static_cast<std::uint16_t>(line.hard_timeout)).put(static_cast<std::uint16_t>(line.priority));
    out.put(kNoBuffer).put(kAnyPort).put(kAnyPort).put(std::uint16_t{0}).put(std::uint16_t{0});
    out.append(match);
    if (add) {
        BLANKET_TRY(const Actions actions, encode_actions(line.actions));
        if (!actions.list.empty()) out.put(std::uint16_t{4}).put(static_cast<std::uint16_t>(8 + actions.list.size())).zero(4).append(actions.list);  // APPLY_ACTIONS
        if (actions.next_table) out.put(std::uint16_t{1}).put(std::uint16_t{8}).put(*actions.next_table).zero(3);                                     // GOTO_TABLE
    }
    return finish(std::move(out));
}

Result<Bytes> packet_out(std::string_view text, std::uint32_t xid) {
    constexpr std::string_view kHead = "in_port=controller,packet=", kActions = ",actions=";
    const auto at = text.find(kActions);
    if (!text.starts_with(kHead) || at == std::string_view::npos) return unknown("packet-out", text);
    const std::string_view hex = text.substr(kHead.size(), at - kHead.size());
    BLANKET_TRY(const Actions actions, encode_actions(text.substr(at + kActions.size())));
    if (actions.next_table || hex.empty() || hex.size() % 2 != 0) return fail(Kind::kInvalid, "a packet-out of '{}'", text.substr(0, 60));
    Writer out = begin(OpenFlowType::kPacketOut, xid);
    out.put(kNoBuffer).put(kController).put(static_cast<std::uint16_t>(actions.list.size())).zero(6).append(actions.list);
    for (std::size_t i = 0; i < hex.size(); i += 2) {
        std::uint8_t byte = 0;
        const auto [end, code] = std::from_chars(hex.data() + i, hex.data() + i + 2, byte, 16);
        if (code != std::errc() || end != hex.data() + i + 2) return fail(Kind::kInvalid, "'{}' is no packet", hex.substr(0, 60));
        out.put(byte);
    }
    return finish(std::move(out));
}

constexpr std::uint32_t kBundleId = 1;  // bundles belong to a connection, and each has its own
constexpr std::uint16_t kAtomicOrdered = 3;
enum class Control : std::uint16_t { kOpen = 0, kCommit = 4, kCommitted = 5 };

Result<Bytes> bundle_control(Control control, std::uint32_t xid) {
    Writer out = begin(OpenFlowType::kBundleControl, xid);
    out.put(kBundleId).put(static_cast<std::uint16_t>(control)).put(kAtomicOrdered);
    return finish(std::move(out));
}

}  // namespace

Result<OpenFlowHead> parse_head(std::span<const std::byte> head) {
    if (head.size() < kOpenFlowHead) return fail(Kind::kInvalid, "an OpenFlow head of {} bytes", head.size());
    OpenFlowHead out{.version = std::to_integer<std::uint8_t>(head[0]), .type = static_cast<OpenFlowType>(head[1]), .length = static_cast<std::uint16_t>(number_at(head, 2, 2)),
                     .xid = static_cast<std::uint32_t>(number_at(head, 4, 4))};
    if (out.length < kOpenFlowHead) return fail(Kind::kInvalid, "an OpenFlow message that says it has {} bytes", out.length);
    return out;
}

Bytes hello(std::uint32_t xid) { return finish(begin(OpenFlowType::kHello, xid)).value(); }

Bytes echo_reply(std::span<const std::byte> request) {
    Bytes reply(request.begin(), request.end());
    reply[1] = static_cast<std::byte>(OpenFlowType::kEchoReply);
    return reply;
}

Result<Bundle> encode_bundle(std::string_view lines, std::uint32_t first_xid) {
    constexpr std::uint32_t kMaxLines = 100'000;
    Bundle out;
    std::uint32_t xid = first_xid;
    BLANKET_TRY(out.lines, bundle_control(Control::kOpen, xid++));
    while (!lines.empty()) {
        const auto end = lines.find('\n');
        const std::string_view line = trim(lines.substr(0, end));
        lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
        if (line.empty()) continue;
        if (xid - first_xid > kMaxLines) return fail(Kind::kInvalid, "a bundle of more than {} lines", kMaxLines);
        constexpr std::string_view kAdd = "flow add ", kDelete = "flow delete_strict ", kPacket = "packet-out ";
        Result<Bytes> inner = unknown("message", line);
        if (line.starts_with(kAdd)) inner = flow_mod(line.substr(kAdd.size()), true, xid);
        else if (line.starts_with(kDelete)) inner = flow_mod(line.substr(kDelete.size()), false, xid);
        else if (line.starts_with(kPacket)) inner = packet_out(line.substr(kPacket.size()), xid);
        if (!inner) return std::unexpected(std::move(inner).error());
        Writer add = begin(OpenFlowType::kBundleAdd, xid++);
        add.put(kBundleId).zero(2).put(kAtomicOrdered).append(*inner);
        BLANKET_TRY(const Bytes message, finish(std::move(add)));
        out.lines.insert(out.lines.end(), message.begin(), message.end());
    }
    out.barrier_xid = xid++;
    BLANKET_TRY(const Bytes barrier, finish(begin(OpenFlowType::kBarrierRequest, out.barrier_xid)));
    out.lines.insert(out.lines.end(), barrier.begin(), barrier.end());
    out.commit_xid = xid;
    BLANKET_TRY(out.commit, bundle_control(Control::kCommit, xid));
    return out;
}

Result<BundleNews> bundle_news(const OpenFlowHead& head, std::span<const std::byte> body, const Bundle& bundle) {
    if (head.type == OpenFlowType::kError) {
        if (body.size() < 4) return fail(Kind::kIo, "the switch refused the change without a reason");
        return fail(Kind::kIo, "the switch refused message {} of the change: OpenFlow error type {} code {}", head.xid, number_at(body, 0, 2), number_at(body, 2, 2));
    }
    if (head.type == OpenFlowType::kBarrierReply && head.xid == bundle.barrier_xid) return BundleNews::kTaken;
    if (head.type != OpenFlowType::kBundleControl || head.xid != bundle.commit_xid) return BundleNews::kNone;
    if (body.size() < 8 || number_at(body, 4, 2) != static_cast<std::uint64_t>(Control::kCommitted)) return fail(Kind::kIo, "the switch answers a commit with something else");
    return BundleNews::kCommitted;
}

}  // namespace blanket::net
