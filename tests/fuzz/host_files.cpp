// SPDX-License-Identifier: GPL-2.0-or-later
// What the host's own files and programs say: the table of thin ids, thin_delta's and thin_dump's XML, /proc/drbd, device-mapper lines, blanket-save's lines, and
// definitions of VMs that somebody imports.
#include "tests/fuzz/fuzz.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/hypervisor/domain_xml.hpp"
#include "toolstack/hypervisor/import.hpp"
#include "toolstack/hypervisor/save_protocol.hpp"
#include "toolstack/storage/delta.hpp"
#include "toolstack/storage/dm_ioctl.hpp"
#include "toolstack/storage/drbd_status.hpp"
#include "toolstack/storage/id_table.hpp"
#include "toolstack/storage/pool_status.hpp"

namespace blanket::fuzz {

const std::size_t target::kHeap = 4u << 20;

namespace {

constexpr std::uint64_t kSize = 64u << 20;

void extents(const Result<std::vector<Extent>>& parsed) {
    require_refusal(parsed, "an XML of thin-provisioning-tools", Kind::kIo);
    if (!parsed) return;
    std::uint64_t end = 0;
    for (const auto& extent : *parsed) {
        require(extent.offset >= end && extent.length > 0 && extent.length <= storage::kMaxExtent && extent.offset <= kSize && extent.length <= kSize - extent.offset, "an extent beyond the volume, or over another");
        end = extent.offset + extent.length;
    }
}

void table(const std::string& text) {
    const auto parsed = storage::parse_id_table(text);
    require_refusal(parsed, "parse_id_table");
    if (!parsed) return;
    const auto again = storage::parse_id_table(to_json(*parsed).dump());
    require_value(again, "a table that was printed");
    require(*again == *parsed, "another table after printing");
    for (const auto& key : parsed->garbage()) require(parsed->find(key) != nullptr, "garbage that is not there");
    storage::IdTable more = *parsed;
    if (const auto added = more.allocate("vol-new", {}))
        for (const auto& [key, entry] : parsed->entries) require(entry.id != added->id, "an id that is taken");
}

void imported(const Result<ImportedVm>& vm) {
    require_refusal(vm, "a definition", Kind::kPrecondition);
    if (!vm) return;
    require_value(check_imported(*vm), "what was imported");
    const auto again = imported_from_json(to_json(*vm));
    require_value(again, "a VM that was printed");
    require(*again == *vm, "another VM after printing");
}

void line(const std::string& text) {
    const auto parsed = parse_line(text);
    require_refusal(parsed, "parse_line");
    if (!parsed) return;
    const auto again = parse_line(format_line(*parsed));
    require_value(again, "a line that was printed");
    require(format_line(*again) == format_line(*parsed), "another line after printing");
}

void record(const std::string& text) {  // to libvirt's XML, and back by the importer
    const auto json = parse_json(text);
    if (!json) return;
    const auto vm = parse_vm(*json);
    if (!vm) return;
    const auto xml = build_domain_xml(*vm);
    require_refusal(xml, "build_domain_xml");
    if (!xml || xml->size() > 200'000) return;
    const auto back = parse_libvirt_xml(*xml);
    require(back.has_value() || back.error().kind == Kind::kPrecondition || back.error().kind == Kind::kInvalid, "our own XML");
    if (back) require(back->name == vm->name && back->uuid == vm->uuid && back->nics.size() == vm->nics.size(), "our own XML is another VM's");
}

}  // namespace

std::vector<std::string> target::seeds() {
    std::vector<std::string> out;
    storage::IdTable ids;
    (void)ids.allocate("vol-web-1", {.size = 1u << 20, .sha256 = std::string(64, 'a'), .epoch = 3, .mirror = storage::MirrorFacts{1, "10.213.1.1", "10.213.2.1", 7789}});
    (void)ids.allocate("img-" + std::string(24, 'a'), {.kind = storage::ThinKind::kImage, .state = storage::ThinState::kReady, .size = 65536, .sha256 = std::string(64, 'a'), .raw_size = 60000});
    (void)ids.allocate("snap-web-1-7", {.kind = storage::ThinKind::kSnapshot, .state = storage::ThinState::kRemoving, .size = 1u << 20});
    out.push_back("i" + to_json(ids).dump());
    out.push_back(R"(d<superblock uuid="" time="1" transaction="2" data_block_size="128" nr_data_blocks="1024"><diff left="1" right="2"><different begin="0" length="3"/><same begin="3" length="4"/><left_only begin="9" length="1"/><right_only begin="20" length="40"/></diff></superblock>)");
    out.push_back(R"(u<superblock uuid="" time="1" transaction="2" data_block_size="128" nr_data_blocks="1024"><device dev_id="1" mapped_blocks="5" transaction="0" creation_time="0" snap_time="1"><range_mapping origin_begin="0" data_begin="7" length="4" time="0"/><single_mapping origin_block="9" data_block="1" time="0"/></device></superblock>)");
    out.push_back("b 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate A r-----\n    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:1 ua:2 ap:3 ep:1 wo:f oos:4\n 1: cs:Unconfigured\n");
    out.push_back("p0 2048 thin-pool 1 20/1024 5/100 - rw discard_passdown queue_if_no_space - 1024");
    out.push_back("p0 2048 thin-pool Fail");
    out.push_back("m0 2048 linear 253:1 0");
    out.push_back("s" + format_line({.what = SaveLine::What::kProgress, .round = 1, .bytes = 4096, .sending = 3, .forecast_ms = 7}));
    out.push_back("s" + format_line({.what = SaveLine::What::kRound, .round = 1, .bytes = 4096, .ended = {.round = 1, .pages = 2, .ms = 3, .dirty = 4, .begin_ms = 5}}));
    out.push_back("s" + format_line({.what = SaveLine::What::kSuspended, .asked_ms = 1, .suspended_ms = 2}));
    out.push_back("s" + format_line({.what = SaveLine::What::kError, .error = "x", .hint = "y", .cancelled = true}));
    out.push_back("l300,3000,600000,100,5");
    for (const char* file : {"virt-install.xml", "entities.xml", "hostdev.xml"})
        if (const auto xml = read_file(std::string(BLANKET_SOURCE_DIR) + "/tests/golden/hypervisor/" + file); xml && xml->size() < 4096) out.push_back("x" + *xml);
    VmRecord vm;
    vm.uuid = "11111111-2222-4333-8444-555555555555";
    vm.name = "web";
    vm.owner = "east";
    vm.memory_mib = 256;
    vm.nics = {{"lan", "02:00:00:00:00:01", "10.1.0.2"}};
    vm.volumes = {{"web-1", "", 65536, "xvda"}};
    out.push_back("v" + to_json(vm).dump());
    out.push_back("j" + to_json(ImportedVm{"web", vm.uuid, 256, 1, {{"xvda", DiskSource::kBlock, "/dev/vg/web", false}}, {{"02:00:00:00:00:01", "xenbr0"}}, {"note"}}).dump());
    return out;
}

void target::run(Input input) {
    const char way = static_cast<char>(input.byte());
    const std::string text = input.rest_text();
    switch (way) {
        case 'i': return table(text);
        case 'd': return extents(storage::parse_thin_delta(text, kSize));
        case 'u': return extents(storage::parse_thin_dump(text, kSize));
        case 'b': return require_refusal(storage::parse_proc_drbd(text), "parse_proc_drbd");
        case 'p': {
            const auto status = storage::parse_pool_status(text);
            require_refusal(status, "parse_pool_status");
            if (status) {
                (void)storage::facts_of(*status);
                require_refusal(storage::admit_new(*status), "admit_new", Kind::kPrecondition);
            }
            return;
        }
        case 'm': {
            require_refusal(storage::parse_dm_table(text), "parse_dm_table");
            return require_refusal(storage::parse_dm_info(text), "parse_dm_info");
        }
        case 's': return line(text);
        case 'l': {
            const auto limits = parse_limits(text);
            require_refusal(limits, "parse_limits");
            if (limits) require(format_limits(parse_limits(format_limits(*limits)).value()) == format_limits(*limits), "other limits after printing");
            return;
        }
        case 'x': return imported(parse_libvirt_xml(text));
        case 'j':
            if (const auto json = parse_json(text)) imported(imported_from_json(*json));
            return;
        case 'v': return record(text);
        default: return;
    }
}

}  // namespace blanket::fuzz
