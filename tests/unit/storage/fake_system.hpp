// SPDX-License-Identifier: GPL-2.0-or-later
// A small kernel in memory: device mapper with dm-linear and dm-thin, thin_delta, and DRBD 8.4, as far as storage/ uses them. Keeps every command, can fail
// at a chosen one. Contents are memory files, so what is written through one device is read through another.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "toolstack/storage/dm_ioctl.hpp"
#include "toolstack/storage/system.hpp"

namespace blanket::storage {

class FakeSystem final : public System {
public:
    struct Device {
        std::string uuid, table, inactive;
        bool suspended = false;
        std::uint32_t opens = 0, minor = 0;
    };
    struct Drbd {
        std::string resource, connection = "StandAlone", role = "Secondary", disk = "Diskless", peer_disk = "DUnknown", lower;
        std::string local, peer;  // addresses of its connection, "ipv4:10.213.1.1:7800"
        char protocol = 'A';
        bool peer_knows = false;  // that both ends are equal; what this end shows of it is peer_disk
        std::uint64_t out_of_sync_kib = 0;
    };

    using System::run;
    Result<std::string> run(const Argv& argv, std::chrono::milliseconds deadline) override;
    Result<std::string> read_text(const std::string& path) override;
    Result<void> write_text(const std::string&, const std::string&) override { return {}; }
    Result<UniqueFd> open_device(const std::string& name, bool writable) override;
    bool exists(const std::string& path) override;
    void sleep(std::chrono::milliseconds) override {}

    // The pool's LVs; `used` is what the pool reports.
    std::uint64_t pool_bytes = 1u << 30;
    std::uint64_t used_data_blocks = 0, used_metadata_blocks = 100;
    std::set<std::string> volumes{"blanket-pool--data", "blanket-pool--meta"};  // in /dev/mapper
    std::string vgs = "  10737418240;10737418240\n", lvs;
    std::string pool_mode = "rw";

    std::map<std::string, Device> devices;
    std::map<std::uint32_t, int> thin;   // id -> memory file
    std::map<std::uint32_t, Drbd> drbd;  // by minor
    std::string appears;                 // a device that somebody else makes just before it is made here
    bool drbd_loaded = false, metadata_snapshot = false;
    bool peer_answers = true;            // a connect becomes Connected at once
    bool stale_state = false;            // the state that a peer sent before comes after both were declared equal, and is its last until a new handshake
    int late_states = 0;                 // looks at DRBD after both were declared equal that show a state which the peer sent before

    std::vector<std::string> commands;   // every command that ran or failed, info/table/status left out
    std::function<void(const Argv&)> on_command;  // before each, in its thread
    int fail_at = -1;                    // index into `commands` of the one that fails (before it does anything)

    ~FakeSystem() override;
    // Reads or writes a device's content as its user would; kUnavailable when it is suspended (there it would wait).
    Result<void> user_write(const std::string& device, std::uint64_t offset, const std::string& text);
    Result<std::string> user_read(const std::string& device, std::uint64_t offset, std::size_t length);
    void reboot();  // every device is gone, the pool's content stays

private:
    Result<std::string> dmsetup(const Argv& argv);
    Result<std::string> message(const std::string& text);
    Result<std::string> drbdsetup(const Argv& argv);
    Result<int> content_of(const std::string& device);
    std::string delta(std::uint32_t from, std::uint32_t to);
    std::string dump(std::uint32_t id);
    std::uint32_t next_minor_ = 1;
};

}  // namespace blanket::storage
