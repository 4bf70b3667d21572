// SPDX-License-Identifier: GPL-2.0-or-later
// image-builder/formats on a small disk: what each provider's import tool insists on, and the same bytes back.
#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

constexpr const char* kId = "00112233445566778899aabbccddeeff";

// A disk of 40 MiB with a partition table, mostly empty, with something at its beginning, in its middle and in its last partition's end.
struct Disk {
    FakeRoot root;

    Disk() {
        sh("truncate -s 40M disk.raw; sgdisk --clear --new=1:2048:4095 --new=2:4096:79871 disk.raw >/dev/null; for at in 1 20 38; do head -c 70000 /dev/urandom | dd of=disk.raw bs=1M seek=$at conv=notrunc status=none; done");
    }
    std::string sh(const std::string& text) const {
        const auto ran = run_any({"bash", "-euc", "cd " + root.path() + "; " + text});
        EXPECT_TRUE(ran && ran->status == 0) << text << ": " << (ran ? ran->err + ran->out : ran.error().what);
        return ran ? std::string(trim(ran->out)) : "";
    }
    [[nodiscard]] Output make(const std::string& format, const std::string& from = "disk.raw") const {
        auto ran = run_any({"bash", "-euc", "cd " + root.path() + "; ID=" + kId + " " BLANKET_SOURCE_DIR "/image-builder/formats/" + format + " " + from + " out." + format});
        return ran ? *ran : Output{-1, "", ran.error().what};
    }
    // The same file from the same disk: nothing of the moment is in it.
    void twice_the_same(const std::string& format) const {
        ASSERT_EQ(make(format).status, 0);
        sh("mv out." + format + " first; sleep 1.1");
        ASSERT_EQ(make(format).status, 0);
        sh("cmp first out." + format);
    }
};

TEST(Formats, AVhdIsFixedInWholeMebibytesWithItsFooterAtTheEnd) {
    const Disk disk;
    disk.twice_the_same("vhd");
    EXPECT_EQ(disk.sh("stat -c %s out.vhd"), std::to_string((40u << 20) + 512));
    EXPECT_EQ(disk.sh("qemu-img info -f vpc --output=json out.vhd | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"virtual-size\"])'"), std::to_string(40u << 20));
    disk.sh("qemu-img compare -q -f raw -F vpc disk.raw out.vhd; cmp -n $((40 << 20)) disk.raw out.vhd");
    // As Microsoft's format says it (Virtual Hard Disk Image Format Specification 1.0): what Azure reads before it takes the file.
    EXPECT_EQ(disk.sh(R"py(python3 - <<'END'
import struct
foot = open("out.vhd", "rb").read()[-512:]
cookie, features, version, where, time, app, appversion, os, original, current, cylinders, heads, sectors, kind, check, uuid, saved = struct.unpack_from(">8sIIQI4sIIQQHBBII16sB", foot)
assert cookie == b"conectix" and version == 0x10000 and where == 0xFFFFFFFFFFFFFFFF, "no fixed disk"
assert kind == 2 and original == current == 40 << 20 and current % (1 << 20) == 0, "another size"
assert check == ~sum(foot[:64] + foot[68:]) & 0xFFFFFFFF, "a wrong checksum"
assert time == 0 and uuid.hex() == "00112233445566778899aabbccddeeff" and saved == 0 and not any(foot[85:]), "something of the moment"
print("good")
END)py"), "good");
}

TEST(Formats, ADiskThatIsNoWholeMebibytesMakesNoVhd) {
    const Disk disk;
    disk.sh("cp disk.raw odd.raw; truncate -s +512 odd.raw");
    const auto said = disk.make("vhd", "odd.raw");
    EXPECT_NE(said.status, 0);
    EXPECT_TRUE(said.err.contains("whole number of MiB")) << said.err;
}

TEST(Formats, AVmdkIsStreamOptimizedAndHasTheSameBytes) {
    const Disk disk;
    disk.twice_the_same("vmdk");
    disk.sh("qemu-img check -q -f vmdk out.vmdk; qemu-img compare -q -f raw -F vmdk disk.raw out.vmdk");
    EXPECT_EQ(disk.sh("qemu-img info -f vmdk --output=json out.vmdk | python3 -c 'import json, sys; i = json.load(sys.stdin); d = i[\"format-specific\"][\"data\"]; print(i[\"virtual-size\"], d[\"create-type\"], d[\"cid\"])'"),
              std::format("{} streamOptimized {}", 40u << 20, 0x00112233u));
    EXPECT_LT(std::stoull(disk.sh("stat -c %s out.vmdk")), 2u << 20) << "what is empty takes room";
}

// qemu-img draws its id at random and writes it without leading zeros: one in sixteen is shorter, and where the text shrank, its old end stays behind.
TEST(Formats, AVmdkWhoseFirstIdIsShortBecomesTheSame) {
    const Disk disk;
    ASSERT_EQ(disk.make("vmdk").status, 0);
    disk.sh(R"sh(mv out.vmdk first; mkdir bin; cat > bin/qemu-img <<'END'
#!/bin/sh
/usr/bin/qemu-img "$@" && python3 - "$7" <<'PY'
import re, sys
with open(sys.argv[1], "r+b") as disk:
    head = disk.read(64 << 10)
    at = head.index(b"# Disk DescriptorFile")
    end = head.index(b"\0", at)
    text = re.sub(rb"\nCID=[0-9a-f]+\n", b"\nCID=2a\n", head[at:end])
    disk.seek(at)
    disk.write(text + b"\0")
PY
END
chmod +x bin/qemu-img)sh");
    const auto made = run_any({"bash", "-euc", "cd " + disk.root.path() + "; PATH=$PWD/bin:$PATH ID=" + kId + " " BLANKET_SOURCE_DIR "/image-builder/formats/vmdk disk.raw out.vmdk"});
    ASSERT_TRUE(made && made->status == 0) << (made ? made->err : made.error().what);
    disk.sh("cmp first out.vmdk");
}

TEST(Formats, TheTarHasOneSparseMemberOfWholeGibibytesInOldGnuFormat) {
    const Disk disk;
    disk.twice_the_same("tar.gz");
    EXPECT_EQ(disk.sh("tar -tzf out.tar.gz"), "disk.raw");
    EXPECT_EQ(disk.sh(R"py(python3 - <<'END'
import gzip
head = gzip.open("out.tar.gz").read(512)
assert head[257:265] == b"ustar  \0", "not the old GNU format"
assert head[156:157] == b"S", "not sparse"
size = int(head[483:495].rstrip(b"\0 "), 8)
assert size == 1 << 30, f"a disk of {size} bytes"
assert head[108:124].strip(b"\0 0") == b"" and int(head[136:148].rstrip(b"\0 "), 8) == 0, "somebody's ids, or the moment"
print("good")
END)py"), "good");
    EXPECT_LT(std::stoull(disk.sh("stat -c %s out.tar.gz")), 2u << 20);
    // The table's copy is at the new end; all else is as it was.
    disk.sh("mkdir out; tar -C out -xzSf out.tar.gz; sgdisk --verify out/disk.raw | grep -q 'No problems found'; cmp -i $((1 << 20)) -n $((38 << 20)) disk.raw out/disk.raw");
    EXPECT_LT(std::stoull(disk.sh("du -m out/disk.raw | cut -f1")), 4u);
}

TEST(Formats, AQcow2IsCompressedAndWhole) {
    const Disk disk;
    ASSERT_EQ(disk.make("qcow2").status, 0);
    disk.sh("qemu-img check -q -f qcow2 out.qcow2; qemu-img compare -q -f raw -F qcow2 disk.raw out.qcow2");
    EXPECT_EQ(disk.sh("qemu-img info -f qcow2 --output=json out.qcow2 | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"format-specific\"][\"data\"][\"compression-type\"])'"), "zstd");
}

}  // namespace
}  // namespace blanket
