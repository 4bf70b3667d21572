// SPDX-License-Identifier: GPL-2.0-or-later
// The rented machines of the lab as values, and QEMU's command line for one of them. Pure. Used by Machine, Lab and the unit tests.
#pragma once

#include <string>
#include <vector>

#include "toolstack/base/process.hpp"

namespace blanket::lab {

enum class Firmware : std::uint8_t { kSeaBios, kOvmf };
enum class DiskModel : std::uint8_t { kVirtio, kNvme };
enum class NicModel : std::uint8_t { kVirtio, kE1000e };
enum class Accelerator : std::uint8_t { kTcg, kKvm };
// Whose machine is rented: QEMU's itself, or one of a provider's Xen inside it, without firmware and device model (PVH) or with a PC's emulated devices (HVM).
enum class Provider : std::uint8_t { kQemu, kXenPvh, kXenHvm };

struct MachineProfile {
    std::string name;             // of the site and of the shaper's node
    std::string chipset = "pc";   // QEMU's -machine: pc (i440fx) or q35
    Firmware firmware = Firmware::kSeaBios;
    DiskModel disk = DiskModel::kVirtio;
    NicModel nic = NicModel::kVirtio;
    std::string cpu = "max";      // QEMU's -cpu
    unsigned cpus = 2, memory_mib = 2048;
    std::uint64_t disk_bytes = 12ull << 30;
    std::string mac, address;     // address without the prefix length, which is 24
    bool durable_disk = false;    // what the machine has written is on the host's disk (cache=directsync): a power cut loses nothing that was promised, and keeps nothing that was not
    Provider provider = Provider::kQemu;  // else QEMU's machine is that provider (provider_of), and the rented machine its guest
    std::string device_model;     // of make_device_model.sh: what an HVM guest's provider needs besides
    [[nodiscard]] bool inside_xen() const { return provider != Provider::kQemu; }
    bool operator==(const MachineProfile&) const = default;
};

MachineProfile east_profile();   // i440fx, SeaBIOS, virtio-blk, virtio-net
MachineProfile west_profile();   // q35, OVMF, NVMe, e1000e
MachineProfile south_profile();  // q35, SeaBIOS, virtio; half the memory and a CPU that lacks AVX, AVX2, BMI, FMA and more
// The provider of a machine that is inside a Xen: one processor with SVM, more memory, and an address of its own, by which the lab tells it what to rent out.
MachineProfile provider_of(const MachineProfile& inside);
constexpr const char* kLabAddress = "192.168.77.1";

struct MachinePaths {  // all in the machine's own folder
    std::string dir;
    [[nodiscard]] std::string disk() const { return dir + "/disk.qcow2"; }
    [[nodiscard]] std::string seed() const { return dir + "/seed.img"; }
    [[nodiscard]] std::string inside_disk() const { return dir + "/inside.qcow2"; }  // of the guest inside a Xen
    [[nodiscard]] std::string inside_seed() const { return dir + "/inside-seed.img"; }
    [[nodiscard]] std::string vars() const { return dir + "/vars.fd"; }
    [[nodiscard]] std::string console() const { return dir + "/console.log"; }
    [[nodiscard]] std::string console_socket() const { return dir + "/console.sock"; }
    [[nodiscard]] std::string qmp() const { return dir + "/qmp.sock"; }
    [[nodiscard]] std::string log() const { return dir + "/qemu.log"; }
    [[nodiscard]] std::string nic() const { return dir + "/nic.vm"; }     // bound by QEMU
    [[nodiscard]] std::string shaper() const { return dir + "/nic.sw"; }  // bound by the shaper
};

Argv plan_qemu(const MachineProfile& profile, const MachinePaths& paths, Accelerator accelerator);
constexpr const char* kOvmfCode = "/usr/share/OVMF/OVMF_CODE_4M.fd";
constexpr const char* kOvmfVars = "/usr/share/OVMF/OVMF_VARS_4M.fd";

}  // namespace blanket::lab
