// SPDX-License-Identifier: GPL-2.0-or-later
// A whole update into a folder that plays the machine: what is refused changes nothing, what fails half-way leaves the old version the one that starts.
#include "toolstack/update/install.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"
#include "toolstack/base/text.hpp"

namespace blanket::update {
namespace {

class Install : public testing::Test {
protected:
    void SetUp() override {
        sh(R"(mkdir -p disk/slots disk/state/var/lib/blanket disk/state/root etc/blanket/update-keys etc/ssh proc boot/grub run usr/share/blanket var/lib/blanket old dev
ln -s ../disk run/blanket-disk
printf 'root=x blanket.slot=a\n' >proc/cmdline
mkdir -p disk/slots/a/boot; echo args >disk/slots/a/boot/args.cfg; echo '{"version": "0.1.0", "id": "1"}' >disk/slots/a.json
head -c 1024 /dev/zero | tr '\0' '#' >boot/grub/grubenv
echo hostname >etc/hostname; echo motd >etc/motd; printf 'root:x:0:0\nobs:x:105:1\n' >etc/passwd; echo 'root:x:0:' >etc/group
)" "python3 " BLANKET_SOURCE_DIR "/image-builder/tree-list etc | sed '/^blanket/d; /^ssh/d' >usr/share/blanket/etc.tsv"
           R"(
echo mine >etc/hostname; echo secret >etc/ssh/key; chmod 600 etc/ssh/key; rm etc/motd; echo kept >disk/state/var/lib/old; mkdir disk/state/var/lib/both; echo log >disk/state/var/lib/both/log; ln -s nowhere disk/state/var/lib/both/link
openssl genpkey -algorithm ed25519 -out key; openssl pkey -in key -pubout -out etc/blanket/update-keys/mine.pub
openssl genpkey -algorithm ed25519 -out foreign
mkdir -p tree/boot/grub tree/usr/sbin tree/usr/bin tree/usr/share/blanket tree/etc tree/var/lib/dpkg tree/var/lib/new tree/var/lib/both tree/var/empty tree/root; ln -s nowhere tree/var/lib/both/link
for f in boot/xen.gz boot/vmlinuz boot/initrd.img usr/sbin/init usr/bin/blanket etc/motd var/lib/old var/lib/new/x var/lib/dpkg/status; do echo new >tree/$f; done
chmod 755 tree/usr/sbin/init; echo 'set xen_args=""' >tree/usr/share/blanket/boot-args.cfg; : >tree/usr/share/blanket/etc.tsv; cp etc/passwd etc/group tree/etc; echo new >tree/etc/hostname
)");
    }
    void sh(const std::string& text) const {
        const auto ran = run_any({"bash", "-euc", "cd " + root_.path() + "; " + text});
        ASSERT_TRUE(ran && ran->status == 0) << text << ": " << (ran ? ran->err : ran.error().what);
    }
    // An update of tree/, as image-builder/formats/update makes it.
    std::string update(const std::string& version = "0.2.0", const std::string& key = "key", const std::string& min_version = "0.1.0") const {
        sh("rm -rf build out.update; mkdir -p build/image-abc; tar -C tree -cf - . | zstd -q >build/image-abc/tree.tar.zst; echo 100000 >build/image-abc/tree.bytes; mkdir -p b/formats; "
           "cp " BLANKET_SOURCE_DIR "/image-builder/formats/update b/formats/; printf '# why\\n" + min_version + "\\n' >b/update-from; BUILD=build/image-abc VERSION=" + version + " KEY=" + key + " b/formats/update - out.update");
        return path("/out.update");
    }
    [[nodiscard]] std::string path(const std::string& at) const { return root_.path() + at; }
    [[nodiscard]] std::string text(const std::string& at) const { return std::string(trim(read_file(path(at)).value_or("?"))); }
    [[nodiscard]] Place place() const {
        return {.root = root_.path(), .guests = [this]() -> Result<std::vector<std::string>> { return guests_; }, .free_bytes = [this](const std::string&) -> Result<std::uint64_t> { return free_; }};
    }
    Result<Plan> go(const std::string& file, bool any_version = false) const {
        return install(file, {.any_version = any_version}, place(), [](const std::string&) {});
    }
    // Nothing has changed: the machine starts as it did, and the other slot is as it was.
    void refused(const std::string& file, Kind kind, const std::string& says) const {
        sh("find disk boot var -type f -exec sha256sum {} + | sort >before");
        const auto done = go(file);
        ASSERT_FALSE(done) << says;
        EXPECT_EQ(done.error().kind, kind) << done.error().what;
        EXPECT_TRUE(done.error().what.contains(says)) << done.error().what;
        sh("find disk boot var -type f -exec sha256sum {} + | sort | cmp - before");
    }
    void starts_as_before() const {
        const Status status = read_status(root_.path());
        EXPECT_EQ(status.next(), 'a');
        EXPECT_FALSE(status.slot('b').bootable);
        EXPECT_EQ(status.env.trial, 0);
    }

    FakeRoot root_;
    std::vector<std::string> guests_;
    std::uint64_t free_ = 1ull << 40;
};

TEST_F(Install, FillsTheOtherSlotAndStartsItOnce) {
    const auto plan = go(update());
    ASSERT_TRUE(plan) << plan.error().what;
    EXPECT_EQ(plan->slot, 'b');
    const Status status = read_status(root_.path());
    EXPECT_EQ(status.next(), 'b');
    EXPECT_TRUE(status.env.armed);
    EXPECT_EQ(status.env.slot, 'a');
    EXPECT_EQ(status.slot('b').version, "0.2.0");
    EXPECT_EQ(text("/disk/slots/b/etc/hostname"), "mine");
    EXPECT_EQ(text("/disk/slots/b/etc/ssh/key"), "secret");
    EXPECT_EQ(text("/disk/slots/b/etc/motd"), "?") << "it was removed here";
    struct stat info{};
    ASSERT_EQ(::stat(path("/disk/slots/b/etc/ssh/key").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
    ASSERT_EQ(::stat(path("/disk/slots/b/usr/sbin/init").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0755u);
    // /var is shared: nothing there is changed, what is new is added, and the slot keeps its list of packages only.
    EXPECT_EQ(text("/disk/state/var/lib/old"), "kept");
    EXPECT_EQ(text("/disk/state/var/lib/new/x"), "new");
    EXPECT_EQ(text("/disk/state/var/lib/both/log"), "log");
    EXPECT_TRUE(std::filesystem::is_directory(path("/disk/state/var/empty")));
    EXPECT_EQ(text("/disk/slots/b/var/lib/dpkg/status"), "new");
    EXPECT_EQ(text("/disk/slots/b/var/lib/new/x"), "?");
    EXPECT_EQ(text("/disk/slots/b/boot/args.cfg"), "set xen_args=\"\"");
}

// The start that is confirmed while the other slot is filled stays confirmed.
TEST_F(Install, TriesAreThoseOfTheMoment) {
    const std::string file = update(), env = path("/boot/grub/grubenv");
    ASSERT_TRUE(write_boot_env(env, {.tries = 2}));
    const auto done = install(file, {}, place(), [&](const std::string& step) {
        if (step.starts_with("unpack")) {
            EXPECT_EQ(read_status(root_.path()).env.tries, 2u) << "emptying the slot leaves them";
            EXPECT_TRUE(write_boot_env(env, {.tries = 0}));
        }
    });
    ASSERT_TRUE(done) << done.error().what;
    const Status status = read_status(root_.path());
    EXPECT_EQ(status.env.tries, 0u);
    EXPECT_TRUE(status.env.armed);
    // And the other way round: one that was started meanwhile is not forgotten.
    ASSERT_TRUE(write_boot_env(env, {.tries = 0}));
    const auto again = install(update("0.3.0"), {}, place(), [&](const std::string& step) {
        if (step.starts_with("unpack")) EXPECT_TRUE(write_boot_env(env, {.tries = 1}));
    });
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_EQ(read_status(root_.path()).env.tries, 1u);
}

TEST_F(Install, AnotherOneTakesThePlaceOfTheFirst) {
    ASSERT_TRUE(go(update()));
    sh("echo stray >disk/slots/b/stray");
    const auto again = go(update("0.3.0"));
    ASSERT_TRUE(again) << again.error().what;
    EXPECT_EQ(text("/disk/slots/b/stray"), "?");
    EXPECT_EQ(read_status(root_.path()).slot('b').version, "0.3.0");
}

TEST_F(Install, RefusesWhatIsNotSignedByAKeyOfThisMachine) {
    refused(update("0.2.0", "foreign"), Kind::kDenied, "signed by none");
    const std::string good = update();
    sh("python3 -c \"d=bytearray(open('out.update','rb').read()); d[520]^=1; open('out.update','wb').write(d)\"");
    refused(good, Kind::kDenied, "was altered");
    (void)update();
    sh("rm etc/blanket/update-keys/mine.pub");
    refused(good, Kind::kDenied, "trusts no key");
    sh("echo nonsense >etc/blanket/update-keys/mine.pub");
    refused(good, Kind::kInvalid, "no Ed25519 public key");
}

TEST_F(Install, RefusesWhatIsTruncatedAlteredOrNoUpdate) {
    const std::string file = update();
    for (const auto size : {2700u, 2100u, 2000u, 1100u, 600u}) {
        std::filesystem::resize_file(file, size);
        refused(file, Kind::kInvalid, "truncated");
    }
    std::filesystem::resize_file(file, 100);
    refused(file, Kind::kInvalid, "no update");
    (void)update();
    sh("python3 -c \"d=bytearray(open('out.update','rb').read()); d[2600]^=1; open('out.update','wb').write(d)\"");
    refused(file, Kind::kInvalid, "not what was signed");
    refused(path("/etc/passwd"), Kind::kInvalid, "no update");
    refused(path("/etc"), Kind::kInvalid, "not a file");
    refused(path("/nothing"), Kind::kNotFound, "nothing");
}

TEST_F(Install, RefusesOtherVersions) {
    refused(update("0.1.0"), Kind::kConflict, "this machine runs 0.1.0");
    refused(update("0.0.9"), Kind::kConflict, "0.0.9");
    refused(update("0.9.0", "key", "0.5.0"), Kind::kPrecondition, "0.5.0 or newer");
    EXPECT_TRUE(go(update("0.0.9", "key", "0.0.1"), true));
}

TEST_F(Install, RefusesWhileVmsRunAndOnAFullDisk) {
    const std::string file = update();
    guests_ = {"web", "db"};
    refused(file, Kind::kConflict, "2 VMs run here: web, db");
    EXPECT_TRUE(check_no_guests(place()).error().hint.contains("blanket host drain"));
    guests_ = {};
    free_ = 50'000;
    refused(file, Kind::kPrecondition, "on the root file system");
}

TEST_F(Install, TwoAtATimeAreOneTooMany) {
    const std::string file = update();
    const UniqueFd other(::open(path("/disk/slots").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_EQ(::flock(other.get(), LOCK_EX | LOCK_NB), 0);
    refused(file, Kind::kConflict, "another update");
}

// Signed by a trusted key, and yet none of it leads out of its slot or becomes a version.
TEST_F(Install, WhatUnpacksBadlyLeavesTheOldVersion) {
    sh("mkdir out; ln -s /proc/none tree/link; mv tree/usr/bin/blanket x; : >victim");
    auto done = go(update());
    ASSERT_FALSE(done);
    EXPECT_TRUE(done.error().what.contains("no /usr/bin/blanket")) << done.error().what;
    starts_as_before();
    sh("mv x tree/usr/bin/blanket; mknod tree/usr/null c 1 3");
    done = go(update());
    ASSERT_FALSE(done);
    EXPECT_TRUE(done.error().what.contains("device in it: /usr/null")) << done.error().what;
    starts_as_before();
    sh("rm tree/usr/null; sed -i 's/105/106/' tree/etc/passwd");
    done = go(update());
    ASSERT_FALSE(done);
    EXPECT_TRUE(done.error().what.contains("'obs' of /etc/passwd has another number")) << done.error().what;
    starts_as_before();
    EXPECT_EQ(text("/disk/slots/b/boot/vmlinuz"), "?") << "half a version takes no space";
}

// A tar that names ../../victim and a link that leads out, with a file behind it.
TEST_F(Install, APathThatLeadsOutStaysIn) {
    sh("sed -i 's/105/105/' tree/etc/passwd; python3 - <<'E'\nimport tarfile, io\nt = tarfile.open('bad.tar', 'w')\nt.add('tree', '.')\n"
       "def put(name, kind=tarfile.REGTYPE, link=''):\n    i = tarfile.TarInfo(name); i.type = kind; i.linkname = link; d = b'bad' if kind == tarfile.REGTYPE else b''; i.size = len(d); t.addfile(i, io.BytesIO(d))\n"
       "put('../../victim'); put('/victim-absolute'); put('out', tarfile.SYMTYPE, '../../..'); put('out/victim')\nt.close()\nE\n"
       "rm -rf build out.update; mkdir -p build/image-abc b/formats; zstd -q bad.tar -o build/image-abc/tree.tar.zst; echo 100000 >build/image-abc/tree.bytes; cp " BLANKET_SOURCE_DIR
       "/image-builder/formats/update b/formats/; echo 0.1.0 >b/update-from; BUILD=build/image-abc VERSION=0.2.0 KEY=key b/formats/update - out.update");
    (void)go(path("/out.update"));  // refused by tar or stripped: what counts is where nothing came to be
    for (const char* at : {"/victim", "/disk/victim", "/disk/slots/victim", "/victim-absolute"}) EXPECT_FALSE(std::filesystem::exists(path(at))) << at;
    EXPECT_FALSE(std::filesystem::exists("/victim-absolute"));
}

TEST_F(Install, ARefusalIsRememberedUntilOneWasInstalled) {
    remember_refusal("/x.update", Error{Kind::kDenied, "signed by none", {}}, place());
    EXPECT_EQ(read_status(root_.path()).refused, "signed by none");
    ASSERT_TRUE(go(update()));
    EXPECT_TRUE(read_status(root_.path()).refused.empty());
}

}  // namespace
}  // namespace blanket::update
