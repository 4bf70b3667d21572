// SPDX-License-Identifier: GPL-2.0-or-later
// Updates of one machine, from the tree of the image under test (tree.tar.zst beside it) under other version numbers. Each test goes on with the disk that the one before leaves.
#include <filesystem>
#include <print>

#include "tests/lab/deadline.hpp"
#include "tests/vm/boot_rig/fixture.hpp"
#include "toolstack/base/file.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::boot_rig {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr const char* kShow = "blanket update show -o json";
constexpr const char* kIdentity = "cat /etc/ssh/ssh_host_ed25519_key.pub /etc/machine-id;";

class Update : public Boot {
protected:
    void SetUp() override {
        Boot::SetUp();
        // One key of the machine's, one that is nobody's; a version with an init that does not run; files that are no good. The disk with them is made once.
        const auto made = run({"bash", "-euc", script()}, {.deadline = lab::scaled(minutes(15)), .env = {"DIR=" + folder(), "IMAGE=" + image_}});
        ASSERT_TRUE(made) << made.error().what;
        pub_ = read_file(folder() + "/mine.pub").value_or("");
        ASSERT_FALSE(pub_.empty());
    }
    static std::string folder() { return std::string(kDir) + "/updates"; }
    static std::string script() {
        return R"sh(
tree=$(dirname "$IMAGE")/tree.tar.zst
[ ! -e "$DIR/of" ] || [ "$(cat "$DIR/of")" != "$tree" ] || exit 0
rm -rf "$DIR"; mkdir -p "$DIR/files" "$DIR/work/b/formats"; cd "$DIR/work"
cp )sh" BLANKET_SOURCE_DIR R"sh(/image-builder/formats/update b/formats/
for key in mine foreign; do openssl genpkey -algorithm ed25519 -out $key; openssl pkey -in $key -pubout -out ../$key.pub; done
make() { # NAME VERSION MIN KEY TREE
    rm -rf image-abc; mkdir image-abc; ln "$5" image-abc/tree.tar.zst; cp "$(dirname "$tree")/tree.bytes" image-abc/; echo "$3" >b/update-from
    BUILD=image-abc VERSION=$2 KEY=$4 b/formats/update - "../files/$1.update"
}
cp "$tree" whole.zst; head -c 4096 "$tree" >small.zst
make good 0.9.0 0.1.0 mine whole.zst
make foreign 0.9.0 0.1.0 foreign small.zst
make later 0.9.9 0.9.5 mine small.zst
make altered 0.9.0 0.1.0 mine small.zst; printf x | dd of=../files/altered.update bs=1 seek=4000 conv=notrunc status=none
head -c 1000000 ../files/good.update >../files/truncated.update
mkdir -p add/usr/lib/systemd; printf '#!/bin/sh\nexit 1\n' >add/usr/lib/systemd/systemd; chmod 755 add/usr/lib/systemd/systemd
zstd -q -dc "$tree" >broken.tar; tar -rf broken.tar --owner=0 --group=0 -C add ./usr/lib/systemd/systemd; zstd -q -1 -T2 broken.tar -o broken.zst; rm broken.tar
make broken 0.9.1 0.1.0 mine broken.zst
mke2fs -q -t ext4 -L updates -d ../files "$DIR/disk.img" 1g
echo "$tree" >"$DIR/of"; rm -rf "$DIR/work" "$DIR/files"
)sh";
    }
    static MachineKind kind() {
        return {.disk_bytes = 12ull << 30, .more = {"-drive", "if=none,id=updates,format=raw,readonly=on,file=" + folder() + "/disk.img", "-device", "virtio-blk-pci,drive=updates"}};
    }
    [[nodiscard]] std::unique_ptr<Machine> start(bool keep_disk) const {
        const std::string user_data = "#cloud-config\nwrite_files:\n  - {path: /etc/blanket/update-keys/mine.pub, content: \"" + escaped(pub_) + "\"}\n";
        auto machine = Machine::start(kind(), {.image = image_, .seed = seed(user_data, "up1")}, machine_dir(), keep_disk);
        EXPECT_TRUE(machine) << machine.error().what;
        return machine ? std::move(*machine) : nullptr;
    }
    static std::string escaped(std::string text) {
        for (auto at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 2)) text.replace(at, 1, "\\n");
        return text;
    }
    static testing::AssertionResult goes_on() {
        if (std::filesystem::exists(machine_dir() + "/disk.qcow2") && std::filesystem::exists(folder() + "/identity")) return testing::AssertionSuccess();
        return testing::AssertionFailure() << "run the tests before this one first";
    }
    // What the command says, on both of its outputs, whatever becomes of it.
    static std::string said(Machine& machine, const std::string& command) {
        const auto text = machine.ssh(command + " 2>&1; echo status $?", minutes(15));
        return text ? *text : text.error().what;
    }
    static std::string state(Machine& machine, int slot) {
        const auto text = machine.ssh(kShow);
        const auto json = parse_json(text ? *text : "");
        return json ? (*json)["slots"].at(static_cast<std::size_t>(slot)).value("state", "?") : "?";
    }
    static void installs(Machine& machine, const std::string& name) {
        const auto started = std::chrono::steady_clock::now();
        const std::string text = said(machine, "blanket update install /mnt/" + name + ".update");
        EXPECT_TRUE(text.contains("status 0")) << text;
        std::println("    {} is installed after {} s", name, std::chrono::duration_cast<seconds>(std::chrono::steady_clock::now() - started).count());
    }
    static void restarts(Machine& machine) {
        (void)machine.ssh("systemctl reboot");  // the connection may end before its answer
        EXPECT_TRUE(machine.wait_end(minutes(4)));
    }

    std::string pub_;
};

TEST_F(Update, IsInstalledOrRefusedWithAReason) {
    const auto machine = start(false);
    ASSERT_TRUE(machine);
    healthy(*machine, "up1");
    ASSERT_TRUE(machine->ssh("mount -o ro LABEL=updates /mnt"));
    EXPECT_EQ(state(*machine, 0), "running");
    // What is wrong with each, on the console and in doctor too, and nothing has changed.
    for (const auto& [file, status, why] : {std::tuple{"foreign", 7, "signed by none"}, {"truncated", 2, "is truncated"}, {"later", 5, "for machines that run 0.9.5 or newer"}, {"altered", 2, "not what was signed"}}) {
        const std::string text = said(*machine, std::format("blanket update install /mnt/{}.update", file));
        EXPECT_TRUE(text.contains(why) && text.contains(std::format("status {}", status))) << text;
        EXPECT_TRUE(machine->wait_console(why, seconds(20))) << tail(machine->console());
        EXPECT_TRUE(said(*machine, "blanket doctor").contains(why)) << file;
        EXPECT_EQ(state(*machine, 1), "empty");
    }
    ASSERT_TRUE(machine->ssh("fallocate -l $(($(stat -f -c '%a * %S' /) - (300 << 20))) /var/tmp/full"));
    EXPECT_TRUE(said(*machine, "blanket update install /mnt/good.update").contains("on the root file system, and"));
    ASSERT_TRUE(machine->ssh("rm /var/tmp/full"));
    ASSERT_TRUE(write_file(folder() + "/identity", machine->ssh(std::string(kIdentity) + " touch /var/lib/blanket/mark").value_or("?")));
    installs(*machine, "good");
    EXPECT_EQ(state(*machine, 1), "next, on trial");
    restarts(*machine);
}

TEST_F(Update, IsStartedOnceAndConfirmed) {
    ASSERT_TRUE(goes_on());
    const auto machine = start(true);
    ASSERT_TRUE(machine);
    healthy(*machine, "up1");
    const auto confirmed = lab::wait_until("the new version is confirmed", minutes(5), seconds(3), [&]() -> Result<bool> { return state(*machine, 1) == "running"; });
    EXPECT_TRUE(confirmed) << said(*machine, "blanket update show; systemctl status blanket-trial; cat /proc/cmdline");
    EXPECT_EQ(state(*machine, 0), "previous");
    EXPECT_TRUE(said(*machine, "findmnt -no SOURCE /").contains("[/slots/b]"));
    EXPECT_EQ(machine->ssh(std::string(kIdentity) + " ls /var/lib/blanket/mark >/dev/null").value_or("lost"), read_file(folder() + "/identity").value_or("?"));
    EXPECT_TRUE(green_findings(*machine)["update"].contains("version 0.9.0 in slot b"));
    EXPECT_TRUE(said(*machine, "mount -o ro LABEL=updates /mnt; blanket update install /mnt/good.update").contains("this machine runs 0.9.0"));
    ASSERT_TRUE(machine->ssh("sync"));
}

TEST_F(Update, OneThatDoesNotComeUpGivesWayToTheOldOne) {
    ASSERT_TRUE(goes_on());
    {
        const auto machine = start(true);
        ASSERT_TRUE(machine);
        healthy(*machine, "up1");
        ASSERT_TRUE(machine->ssh("mount -o ro LABEL=updates /mnt"));
        installs(*machine, "broken");
        restarts(*machine);
    }
    {
        const auto machine = start(true);
        ASSERT_TRUE(machine);
        EXPECT_TRUE(machine->wait_end(minutes(6))) << "its init does not run, so it starts again by itself\n" << tail(machine->console());
    }
    const auto machine = start(true);
    ASSERT_TRUE(machine);
    healthy(*machine, "up1");
    EXPECT_TRUE(machine->console().contains("started and not confirmed, so this is the old one again")) << tail(machine->console());
    EXPECT_EQ(state(*machine, 0), "did not come up");
    EXPECT_EQ(state(*machine, 1), "running");
    EXPECT_TRUE(green_findings(*machine)["update"].contains("0.9.1 was started and did not come up; this is 0.9.0 again"));
}

// The power goes while the other slot is half full: the version that ran starts again, nothing points at the half, and the same update is installed and started after all.
TEST_F(Update, APowerCutWhileItIsInstalledCostsTheUpdateOnly) {
    {
        const auto machine = start(false);
        ASSERT_TRUE(machine);
        healthy(*machine, "up1");
        ASSERT_TRUE(machine->ssh("mount -o ro LABEL=updates /mnt && systemd-run --quiet --collect blanket update install /mnt/good.update"));
        const auto begun = lab::wait_until("half of it is there", minutes(10), std::chrono::milliseconds(500), [&]() -> Result<bool> {
            return trim(machine->ssh("ls -d /run/blanket-disk/slots/b/usr/lib/x86_64-linux-gnu 2>/dev/null | wc -l").value_or("0")) == "1";
        });
        ASSERT_TRUE(begun) << said(*machine, "blanket update show; ls /run/blanket-disk/slots/b");
        EXPECT_EQ(state(*machine, 1), "empty");
        machine->kill();
    }
    {
        const auto machine = start(true);
        ASSERT_TRUE(machine);
        healthy(*machine, "up1");
        EXPECT_EQ(state(*machine, 0), "running");
        EXPECT_EQ(state(*machine, 1), "empty");
        EXPECT_EQ(trim(machine->ssh("systemctl --failed --no-legend | wc -l").value_or("?")), "0") << said(*machine, "systemctl --failed");
        ASSERT_TRUE(machine->ssh("mount -o ro LABEL=updates /mnt"));
        installs(*machine, "good");
        restarts(*machine);
    }
    const auto machine = start(true);
    ASSERT_TRUE(machine);
    healthy(*machine, "up1");
    const auto confirmed = lab::wait_until("the new version is confirmed", minutes(5), seconds(3), [&]() -> Result<bool> { return state(*machine, 1) == "running"; });
    EXPECT_TRUE(confirmed) << said(*machine, "blanket update show");
}

}  // namespace
}  // namespace blanket::boot_rig
