// SPDX-License-Identifier: GPL-2.0-or-later
// Profiles and argv; see machine_profile.hpp.
#include "tests/lab/machine_profile.hpp"

namespace blanket::lab {

MachineProfile east_profile() {
    MachineProfile profile;
    profile.name = "east";
    profile.mac = "52:54:00:77:00:0b";
    profile.address = "192.168.77.11";
    return profile;
}

MachineProfile west_profile() {
    MachineProfile profile;
    profile.name = "west";
    profile.chipset = "q35";
    profile.firmware = Firmware::kOvmf;
    profile.disk = DiskModel::kNvme;
    profile.nic = NicModel::kE1000e;
    profile.mac = "52:54:00:77:00:0c";
    profile.address = "192.168.77.12";
    return profile;
}

MachineProfile south_profile() {
    MachineProfile profile;
    profile.name = "south";
    profile.chipset = "q35";
    profile.cpu = "max,-avx,-avx2,-f16c,-fma,-bmi1,-bmi2,-adx,-movbe,-rdseed,-sha-ni";
    profile.memory_mib = 1024;
    profile.mac = "52:54:00:77:00:0d";
    profile.address = "192.168.77.13";
    return profile;
}

MachineProfile provider_of(const MachineProfile& inside) {
    MachineProfile provider = inside;
    // One CPU: two hang in QEMU's SVM now and then. Without rdtscp, which would trap into the provider at each call of the guest.
    provider.cpu = "EPYC,-monitor,-rdtscp,+svm,+npt";
    provider.cpus = 1;
    // Its own disk is named by device (make_provider.sh), so it is of one kind whatever it rents out.
    provider.chipset = "pc";
    provider.firmware = Firmware::kSeaBios;
    provider.disk = DiskModel::kVirtio;
    provider.nic = NicModel::kVirtio;
    provider.memory_mib += 1024;
    provider.mac.replace(provider.mac.size() - 5, 2, "01");  // ...:00:0b -> ...:01:0b
    provider.address.insert(provider.address.rfind('.') + 1, "1");  // 192.168.77.11 -> 192.168.77.111
    return provider;
}

Argv plan_qemu(const MachineProfile& profile, const MachinePaths& paths, Accelerator accelerator) {
    // setpriv: the machine dies with the thread that started it, however that ends.
    Argv argv{"setpriv", "--pdeathsig", "KILL", "--", "qemu-system-x86_64", "-name", profile.name, "-nodefaults", "-no-user-config", "-display", "none", "-vga", "std",
              "-machine", profile.chipset + ",hpet=off", "-accel", accelerator == Accelerator::kKvm ? "kvm" : "tcg,thread=multi",
              "-cpu", accelerator == Accelerator::kKvm ? "host" : profile.cpu, "-smp", std::format("{}", profile.cpus), "-m", std::format("{}", profile.memory_mib),
              "-rtc", "base=utc,clock=host"};
    const auto add = [&](std::initializer_list<std::string> more) { argv.insert(argv.end(), more); };
    if (profile.firmware == Firmware::kOvmf) {
        add({"-drive", std::format("if=pflash,unit=0,format=raw,readonly=on,file={}", kOvmfCode)});
        add({"-drive", std::format("if=pflash,unit=1,format=raw,file={}", paths.vars())});
    }
    // The overlay lives as long as the lab: no reason to wait for the host's disk at each flush of a guest, but where power is cut.
    const std::string_view cache = profile.durable_disk ? "directsync" : "unsafe";
    add({"-drive", std::format("if=none,id=disk,format=qcow2,cache={},discard=unmap,detect-zeroes=unmap,file={}", cache, paths.disk())});
    add({"-drive", std::format("if=none,id=seed,format=raw,readonly=on,file={}", paths.seed())});
    if (profile.inside_xen()) add({"-drive", std::format("if=none,id=inside,format=qcow2,cache={},discard=unmap,detect-zeroes=unmap,file={}", cache, paths.inside_disk())});
    if (profile.disk == DiskModel::kNvme) {
        add({"-device", "nvme,drive=disk,serial=disk,bootindex=0", "-device", "nvme,drive=seed,serial=seed"});
    } else {
        add({"-device", "virtio-blk-pci,drive=disk,serial=disk,bootindex=0", "-device", "virtio-blk-pci,drive=seed,serial=seed"});
    }
    if (profile.inside_xen()) add({"-device", "virtio-blk-pci,drive=inside,serial=inside"});
    if (!profile.device_model.empty()) {
        add({"-drive", std::format("if=none,id=model,format=raw,readonly=on,file={}", profile.device_model)});
        add({"-device", "virtio-blk-pci,drive=model,serial=model"});
    }
    add({"-netdev", std::format("dgram,id=uplink,local.type=unix,local.path={},remote.type=unix,remote.path={}", paths.nic(), paths.shaper())});
    add({"-device", std::format("{},netdev=uplink,mac={},romfile=", profile.nic == NicModel::kE1000e ? "e1000e" : "virtio-net-pci", profile.mac)});
    add({"-chardev", std::format("socket,id=console,path={},server=on,wait=off,logfile={}", paths.console_socket(), paths.console()), "-serial", "chardev:console"});
    add({"-qmp", std::format("unix:{},server=on,wait=off", paths.qmp())});
    return argv;
}

}  // namespace blanket::lab
