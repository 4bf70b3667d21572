// SPDX-License-Identifier: GPL-2.0-or-later
// image-builder/gpt-4k: the same partitions by a second table, for sectors of 4096 bytes; the first one stays as it was.
#include <gtest/gtest.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket {
namespace {

struct DiskFile {
    FakeRoot root;
    std::string path = root.path() + "/disk";

    explicit DiskFile(const std::string& main_table) {
        sh("truncate -s 64M disk; sgdisk --clear " + main_table + " --new=1:2048:4095 --typecode=1:ef02 --new=2:4096:69631 --typecode=2:ef00 --change-name=2:esp --new=3:69632:122879 disk >/dev/null");
    }
    std::string sh(const std::string& text) const {
        const auto ran = run_any({"bash", "-euc", "cd " + root.path() + "; " + text});
        EXPECT_TRUE(ran && ran->status == 0) << text << ": " << (ran ? ran->err + ran->out : ran.error().what);
        return ran ? ran->out : "";
    }
    [[nodiscard]] Output convert() const {
        auto ran = run_any({BLANKET_SOURCE_DIR "/image-builder/gpt-4k", path});
        return ran ? *ran : Output{-1, "", ran.error().what};
    }
    // Both copies of the table as a firmware reads it: sums, place, and each partition's bytes from and to.
    [[nodiscard]] std::string table(int sector) const {
        return sh("python3 - " + std::to_string(sector) + R"py( <<'END'
import struct, sys, zlib
s = int(sys.argv[1]); d = open("disk", "rb").read()
def read(at):
    h = bytearray(d[at * s:at * s + 92]); sum = struct.unpack_from("<I", h, 16)[0]; h[16:20] = bytes(4)
    f = struct.unpack("<8sIIIIQQQQ16sQIII", h)
    e = d[f[10] * s:f[10] * s + f[11] * f[12]]
    assert f[0] == b"EFI PART" and sum == zlib.crc32(h) and f[13] == zlib.crc32(e) and f[5] == at
    ends = [struct.unpack_from("<QQ", e, i) for i in range(32, len(e), 128)]
    assert all(f[7] <= a and b <= f[8] for a, b in ends if b)
    return f[6], e, " ".join(f"{a * s}-{(b + 1) * s}" for a, b in ends if b)
other, entries, text = read(1)
back, copy, _ = read(other)
assert back == 1 and copy == entries
print(text)
END)py");
    }
};

TEST(Gpt4k, BothTablesHaveTheSamePartitions) {
    const DiskFile disk("--move-main-table=64");
    const std::string before = disk.table(512);
    const auto said = disk.convert();
    ASSERT_EQ(said.status, 0) << said.err;
    EXPECT_EQ(disk.table(512), before);
    EXPECT_EQ(disk.table(4096), before);
    EXPECT_EQ(trim(before), "1048576-2097152 2097152-35651584 35651584-62914560");
    EXPECT_TRUE(disk.sh("sgdisk --verify disk").contains("No problems found"));
}

TEST(Gpt4k, ATableInTheWayIsNotOverwritten) {
    const DiskFile disk("");
    const std::string before = disk.table(512);
    const auto said = disk.convert();
    EXPECT_NE(said.status, 0);
    EXPECT_TRUE(said.err.contains("is in the way")) << said.err;
    EXPECT_EQ(disk.table(512), before);
}

}  // namespace
}  // namespace blanket
