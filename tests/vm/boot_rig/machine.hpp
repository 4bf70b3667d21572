// SPDX-License-Identifier: GPL-2.0-or-later
// One machine of a kind that a provider may rent out, with QEMU's own network (DHCP, ssh through a port of the loopback): what the lab's machines are not.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tests/lab/seed.hpp"
#include "toolstack/base/process.hpp"

namespace blanket::boot_rig {

enum class Disk : std::uint8_t { kIde, kSata, kVirtio, kScsi, kPvscsi, kNvme, kUsb };

struct MachineKind {
    std::string chipset = "pc";
    bool uefi = false;
    Disk disk = Disk::kVirtio;
    std::string nic = "virtio-net-pci";
    std::uint64_t disk_bytes = 6ull << 30;  // 0: as large as the image
    std::string disk_options = {};  // of QEMU's device, such as "logical_block_size=4096"
    bool media_first = false;       // boots the CD, the stick or the network, not the disk
    unsigned cpus = 2, memory_mib = 2048;
    bool serial = true;
    std::string clock = "utc";  // what the machine's clock says at the start, as in QEMU's -rtc base=
    Argv more = {};             // arguments for QEMU
};
std::string describe(const MachineKind& kind);

struct Media {
    std::string image;  // below an overlay: a .qcow2, .raw, .vhd or .vmdk; empty: an empty disk
    std::string cd = {};        // an ISO
    std::string stick = {};     // an ISO, written to a USB stick
    std::string seed = {};      // a small disk image
    std::string metadata = {};  // "127.0.0.1:PORT" of what answers at 169.254.169.254:80 and at Azure's 168.63.129.16:80; empty: nothing does
    std::string tftp = {};      // a folder on a TFTP server; by BIOS the network card's iPXE loads its blanket.ipxe, by UEFI the firmware its grubx64.efi
};

class Machine final {
public:
    // Must be called on a thread that outlives it. `dir` is emptied; a disk that is there is kept with `keep_disk`.
    static Result<std::unique_ptr<Machine>> start(const MachineKind& kind, const Media& media, const std::string& dir, bool keep_disk = false);
    Result<void> wait_console(const std::string& text, std::chrono::milliseconds deadline);  // kUnavailable when QEMU has ended
    Result<void> wait_ssh(std::chrono::milliseconds deadline);
    Result<void> wait_sshd(std::chrono::milliseconds deadline);  // its banner, whether a key lets in or not
    Result<std::string> ssh(const std::string& command, std::chrono::milliseconds deadline = std::chrono::seconds(60));
    // Types at the serial console; only for a machine that has one.
    Result<void> type(const std::string& keys);
    Result<int> wait_end(std::chrono::milliseconds deadline) { return child_->wait(deadline); }
    void kill();
    [[nodiscard]] std::string console() const;
    [[nodiscard]] std::string disk() const { return dir_ + "/disk.qcow2"; }

private:
    std::string dir_;
    std::uint16_t port_ = 0;
    std::optional<Child> child_;
};

// The key with which ssh() comes in; made once in `dir`'s parent.
Result<std::string> public_key(const std::string& dir);

}  // namespace blanket::boot_rig
