// SPDX-License-Identifier: GPL-2.0-or-later
// See status.hpp.
#include "toolstack/update/status.hpp"

#include <filesystem>

#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::update {
namespace {

constexpr std::string_view kConfirm = "to keep this version: blanket update confirm; to leave it: restart this machine";

std::string state_of(const Status& status, char name) {
    const BootEnv& env = status.env;
    if (name == status.running) return status.on_trial ? "running, on trial" : name == status.next() ? "running" : "running, this once";
    if (!status.slot(name).bootable) return "empty";
    if (name == status.next()) return env.armed ? "next, on trial" : "next";
    if (name == env.trial) return "did not come up";
    return "previous";
}

std::unexpected<Error> no_slots() { return fail_hint(Kind::kPrecondition, "this system was not started from a disk with two slots: a live system, or one that an older image made, takes no updates", "install the new version's image anew"); }

}  // namespace

char Status::next() const {
    if (running == 0) return 0;
    if (env.armed && env.trial != 0 && slot(env.trial).bootable) return env.trial;
    return slot(env.slot).bootable ? env.slot : other_slot(env.slot);
}

bool Status::failed() const { return running != 0 && env.trial != 0 && !env.armed && env.trial != running; }

Status read_status(const std::string& root) {
    Status status;
    bool trial = false;
    const std::string cmdline = read_file(root + "/proc/cmdline", 64u << 10).value_or("");
    for (const auto& word : split(trim(cmdline), ' ')) {
        if (word == "blanket.slot=a" || word == "blanket.slot=b") status.running = word.back();
        if (word == "blanket.trial") trial = true;
    }
    status.env = parse_boot_env(read_file(root + std::string(kEnvFile), kBootEnvSize).value_or(""));
    for (const char name : {'a', 'b'}) {
        Slot& slot = status.slots[name == 'b' ? 1 : 0];
        const std::string at = std::format("{}{}/slots/{}", root, kDisk, name);
        std::error_code code;
        slot.bootable = std::filesystem::exists(at + "/boot/args.cfg", code);
        const auto json = parse_json(read_file(at + ".json", 64u << 10).value_or(""));
        if (!json || !json->is_object()) continue;
        slot.version = json_string_or(*json, "version", "");
        slot.id = json_string_or(*json, "id", "");
        slot.time = json_string_or(*json, "installed", "");
    }
    status.on_trial = trial && status.running != 0 && status.env.trial == status.running;
    if (const auto json = parse_json(read_file(root + std::string(kRefusedFile), 64u << 10).value_or("")); json && json->is_object()) {
        status.refused = json_string_or(*json, "what", "");
        status.refused_file = json_string_or(*json, "file", "");
        status.refused_time = json_string_or(*json, "time", "");
    }
    return status;
}

Json to_json(const Status& status) {
    Json slots = Json::array();
    for (const char name : {'a', 'b'}) {
        const Slot& slot = status.slot(name);
        Json one{{"slot", std::string(1, name)}, {"state", status.running == 0 ? "-" : state_of(status, name)}};
        if (slot.bootable) {
            one["version"] = slot.version;
            one["id"] = slot.id;
            one["installed"] = slot.time;
        }
        slots.push_back(std::move(one));
    }
    const auto word = [](char name) { return name == 0 ? std::string() : std::string(1, name); };
    Json json{{"running", word(status.running)}, {"next", word(status.next())}, {"slots", std::move(slots)}};
    if (!status.refused.empty()) json["refused"] = {{"what", status.refused}, {"file", status.refused_file}, {"time", status.refused_time}};
    return json;
}

Result<char> slot_for_update(const Status& status) {
    if (status.running == 0) return no_slots();
    if (status.on_trial) return fail_hint(Kind::kConflict, "the version that runs is on trial; the other one is the way back", std::string(kConfirm));
    if (status.running != status.env.slot) return fail_hint(Kind::kConflict, "the version that runs was chosen in the boot menu; the other one is what is started otherwise", std::string(kConfirm));
    return other_slot(status.running);
}

Result<BootEnv> confirmed(const Status& status) {
    if (status.running == 0) return no_slots();
    if (status.env.slot == status.running && !(status.on_trial)) return fail_hint(Kind::kConflict, std::format("version {} is the one that is started already", status.slot(status.running).version), "blanket update show");
    return BootEnv{.slot = status.running};
}

Result<BootEnv> rolled_back(const Status& status) {
    if (status.running == 0) return no_slots();
    const char other = other_slot(status.running);
    if (status.on_trial || status.running != status.env.slot) return BootEnv{.slot = status.env.slot};
    if (status.env.trial == other && status.env.armed) return BootEnv{.slot = status.running};
    if (!status.slot(other).bootable) return fail_hint(Kind::kConflict, "there is no other version on this machine", "blanket update show");
    if (status.env.trial == other) return fail_hint(Kind::kConflict, std::format("the other version, {}, was started and did not come up", status.slot(other).version), "blanket update show");
    return BootEnv{.slot = other};
}

}  // namespace blanket::update
