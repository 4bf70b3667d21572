// SPDX-License-Identifier: GPL-2.0-or-later
// See machine.hpp.
#include "tests/vm/boot_rig/machine.hpp"

#include <arpa/inet.h>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>

#include "tests/lab/deadline.hpp"
#include "tests/lab/machine_profile.hpp"
#include "tests/lab/ssh.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

namespace fs = std::filesystem;

Result<std::uint16_t> free_port() {
    const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (!fd || ::bind(fd.get(), generic, length) != 0 || ::getsockname(fd.get(), generic, &length) != 0) return fail_errno("bind", "127.0.0.1");
    return ntohs(address.sin_port);
}

// QEMU's name of what a file is: a guess would boot a VHD as a raw disk, whose only fault is its end.
Result<std::string> format_of(const std::string& image) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kFormats{{{".qcow2", "qcow2"}, {".raw", "raw"}, {".vhd", "vpc"}, {".vmdk", "vmdk"}}};
    for (const auto& [ending, name] : kFormats)
        if (image.ends_with(ending)) return std::string(name);
    return fail(Kind::kInvalid, "{} is no image of a known kind: .qcow2, .raw, .vhd or .vmdk", image);
}

std::string keys_of(const std::string& dir) { return fs::path(dir).parent_path().string(); }

Argv disk_arguments(const MachineKind& kind, const std::string& drive, int order) {
    const std::string boot = std::format(",bootindex={}{}{}", order, kind.disk_options.empty() ? "" : ",", kind.disk_options);
    switch (kind.disk) {
        case Disk::kIde: return {"-device", std::format("ide-hd,drive={},bus=ide.0{}", drive, boot)};
        case Disk::kSata: return {"-device", "ich9-ahci,id=sata", "-device", std::format("ide-hd,drive={},bus=sata.0{}", drive, boot)};
        case Disk::kVirtio: return {"-device", std::format("virtio-blk-pci,drive={}{}", drive, boot)};
        case Disk::kScsi: return {"-device", "virtio-scsi-pci,id=scsi", "-device", std::format("scsi-hd,drive={},bus=scsi.0{}", drive, boot)};
        case Disk::kPvscsi: return {"-device", "pvscsi,id=scsi", "-device", std::format("scsi-hd,drive={},bus=scsi.0{}", drive, boot)};
        case Disk::kNvme: return {"-device", std::format("nvme,drive={},serial=boot{}", drive, boot)};
        case Disk::kUsb: return {"-device", std::format("usb-storage,drive={},bus=usb.0{}", drive, boot)};
    }
    return {};
}

// A provider's network, in which the metadata's addresses are neighbours; each connection to them is handed on to `service`.
std::string metadata_network(const std::string& service) {
    const auto colon = service.find(':');
    std::string net = ",net=160.0.0.0/4,host=172.16.0.2,dns=172.16.0.3,dhcpstart=172.16.0.20";
    for (const char* address : {"169.254.169.254", "168.63.129.16"})
        net += std::format(",guestfwd=tcp:{}:80-cmd:bash -c 'exec 3<>/dev/tcp/{}/{}; cat <&3 & cat >&3; kill $!'", address, service.substr(0, colon), service.substr(colon + 1));
    return net;
}

}  // namespace

std::string describe(const MachineKind& kind) {
    static constexpr std::array<std::string_view, 7> kDisks{"IDE", "SATA", "virtio-blk", "virtio-scsi", "PVSCSI", "NVMe", "USB"};
    return std::format("{} {}, disk {}{}, nic {}, {} x {} MiB", kind.chipset, kind.uefi ? "UEFI" : "BIOS", kDisks[static_cast<std::size_t>(kind.disk)], kind.disk_options.empty() ? "" : " (" + kind.disk_options + ")", kind.nic,
                       kind.cpus, kind.memory_mib);
}

Result<std::string> public_key(const std::string& dir) {
    BLANKET_CHECK(make_dirs(keys_of(dir), 0700));
    return lab::make_ssh_key(keys_of(dir));
}

Result<std::unique_ptr<Machine>> Machine::start(const MachineKind& kind, const Media& media, const std::string& dir, bool keep_disk) {
    auto machine = std::make_unique<Machine>();
    machine->dir_ = dir;
    std::error_code error;
    if (!keep_disk) fs::remove_all(dir, error);
    BLANKET_CHECK(make_dirs(dir, 0700));
    BLANKET_CHECK(public_key(dir));
    if (!keep_disk) {
        Argv create{"qemu-img", "create", "-q", "-f", "qcow2"};
        if (!media.image.empty()) {
            BLANKET_TRY(const std::string format, format_of(media.image));
            create.insert(create.end(), {"-b", media.image, "-F", format});
        }
        create.push_back(machine->disk());
        if (kind.disk_bytes != 0) create.push_back(std::format("{}", kind.disk_bytes));
        BLANKET_CHECK(run(create));
        if (kind.uefi) fs::copy_file(lab::kOvmfVars, dir + "/vars.fd", error);
    }
    BLANKET_CHECK(remove_file(dir + "/console.log"));  // what the last start said is not this one's
    BLANKET_TRY(machine->port_, free_port());
    const auto [media_order, disk_order] = kind.media_first ? std::pair(1, 2) : std::pair(2, 1);
    std::string net = std::format("user,id=net,hostfwd=tcp:127.0.0.1:{}-:22", machine->port_);
    if (!media.metadata.empty()) net += metadata_network(media.metadata);
    if (!media.tftp.empty()) net += std::format(",tftp={},bootfile={}", media.tftp, kind.uefi ? "grubx64.efi" : "blanket.ipxe");
    Argv argv{"setpriv", "--pdeathsig", "KILL", "--", "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-vga", "std", "-machine", kind.chipset + ",hpet=off",
              "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", std::format("{}", kind.cpus), "-m", std::format("{}", kind.memory_mib), "-rtc", std::format("base={},clock=host", kind.clock), "-no-reboot",
              "-netdev", net, "-device", kind.nic + ",netdev=net" + (media.tftp.empty() || kind.uefi ? ",romfile=" : "") + (media.tftp.empty() ? "" : std::format(",bootindex={}", media_order)),
              "-drive", std::format("if=none,id=disk,format=qcow2,cache=directsync,discard=unmap,file={}", machine->disk())};
    const auto add = [&](const Argv& more) { argv.insert(argv.end(), more.begin(), more.end()); };
    if (kind.serial) add({"-chardev", std::format("socket,id=console,path={0}/console.sock,server=on,wait=off,logfile={0}/console.log", dir), "-serial", "chardev:console"});
    if (kind.uefi) add({"-drive", std::format("if=pflash,unit=0,format=raw,readonly=on,file={}", lab::kOvmfCode), "-drive", std::format("if=pflash,unit=1,format=raw,file={}/vars.fd", dir)});
    if (kind.disk == Disk::kUsb || !media.stick.empty()) add({"-device", "qemu-xhci,id=usb"});
    add(disk_arguments(kind, "disk", disk_order));
    if (!media.cd.empty()) add({"-drive", "if=none,id=cd,format=raw,readonly=on,media=cdrom,file=" + media.cd, "-device", "virtio-scsi-pci,id=cds", "-device", std::format("scsi-cd,drive=cd,bus=cds.0,bootindex={}", media_order)});
    if (!media.stick.empty()) add({"-drive", "if=none,id=stick,format=raw,readonly=on,file=" + media.stick, "-device", std::format("usb-storage,drive=stick,bus=usb.0,removable=on,bootindex={}", media_order)});
    if (!media.seed.empty()) add({"-drive", "if=none,id=seed,format=raw,readonly=on,file=" + media.seed, "-device", "virtio-blk-pci,drive=seed"});
    add(kind.more);
    const UniqueFd log(::open((dir + "/qemu.log").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!log) return fail_errno("open", dir + "/qemu.log");
    BLANKET_TRY(machine->child_, Child::spawn(argv, {.in = -1, .out = log.get(), .err = log.get(), .pass = {}}));
    return machine;
}

std::string Machine::console() const {
    const auto text = read_file(dir_ + "/console.log", 16u << 20);
    return text ? *text : "";
}

Result<void> Machine::wait_console(const std::string& text, std::chrono::milliseconds deadline) {
    return lab::wait_until(std::format("'{}' on the console", text), deadline, std::chrono::milliseconds(300), [&]() -> Result<bool> {
        if (console().contains(text)) return true;
        if (child_->wait(std::chrono::milliseconds(0))) return fail(Kind::kUnavailable, "QEMU has ended");
        return false;
    });
}

Result<void> Machine::type(const std::string& keys) {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = dir_ + "/console.sock";
    if (path.size() >= sizeof address.sun_path) return fail(Kind::kInvalid, "{} is too long for a socket", path);
    path.copy(address.sun_path, path.size());
    if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return fail_errno("connect", path);
    for (const char key : keys) {  // at the pace of a person: a UART keeps 16 characters
        if (::send(fd.get(), &key, 1, MSG_NOSIGNAL) != 1) return fail_errno("send", path);
        // GRUB reads on after an escape, for 100 ms of its own time, should it be the beginning of an arrow key.
        std::this_thread::sleep_for(lab::scaled(std::chrono::milliseconds(key == '\x1b' ? 1500 : 60)));
    }
    return {};
}

Result<void> Machine::wait_ssh(std::chrono::milliseconds deadline) {
    return lab::wait_until("ssh answers", deadline, std::chrono::seconds(2), [&]() -> Result<bool> { return ssh("true", std::chrono::seconds(20)).has_value(); });
}

Result<void> Machine::wait_sshd(std::chrono::milliseconds deadline) {
    return lab::wait_until("sshd answers", deadline, std::chrono::seconds(2), [&]() -> Result<bool> {
        const auto banner = run_any({"bash", "-c", std::format("exec 3<>/dev/tcp/127.0.0.1/{} && timeout 10 head -c 4 <&3", port_)}, {.deadline = std::chrono::seconds(20)});
        return banner && banner->out == "SSH-";
    });
}

Result<std::string> Machine::ssh(const std::string& command, std::chrono::milliseconds deadline) {
    return run({"ssh", "-i", keys_of(dir_) + "/key", "-p", std::format("{}", port_), "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                "-o", "LogLevel=ERROR", "root@127.0.0.1", command},
               {.deadline = lab::scaled(deadline)});
}

void Machine::kill() {
    child_->kill(SIGKILL);
    (void)child_->wait(std::chrono::seconds(10));
}

}  // namespace blanket::boot_rig
