// SPDX-License-Identifier: GPL-2.0-or-later
// describe.py and sbom-check: what is written of a build passes and names each package and program; documents that their readers could not take are refused.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/cli/fake_root.hpp"
#include "toolstack/base/process.hpp"

namespace blanket {
namespace {

using Json = nlohmann::json;

struct Described {
    FakeRoot root;

    explicit Described(const std::string& differs = "") {
        root.file("/build/image-0123456789abcdef/appliance.raw", "a disk");
        root.file("/build/image-0123456789abcdef/packages.tsv",
                  "libstdc++6\t14.2.0-19\tamd64\tgcc-14\t14.2.0-19\t2000\nmount\t1:2.41~rc1+deb13u1\tamd64\tutil-linux\t2.41\t300\nadduser\t3.152\tall\tadduser\t3.152\t500\n");
        root.file("/build/image-0123456789abcdef/programs.tsv", std::string(64, 'a') + "\t/usr/sbin/blanketd\n");
        root.file("/build/image-0123456789abcdef/differs", differs);
        root.file("/out/blanket-1.2.3-amd64.qcow2", "an image");
        const auto ran = run_any({"python3", BLANKET_SOURCE_DIR "/image-builder/describe.py", root.path() + "/out", "1.2.3", root.path() + "/build/image-0123456789abcdef"});
        EXPECT_TRUE(ran && ran->status == 0) << (ran ? ran->err : ran.error().what);
    }
    [[nodiscard]] Json read(const std::string& name) const {
        const auto text = read_file(root.path() + "/out/" + name, 1u << 20);
        return text ? Json::parse(*text) : Json();
    }
    [[nodiscard]] Output check() const {
        auto ran = run_any({BLANKET_SOURCE_DIR "/image-builder/sbom-check", root.path() + "/out"});
        return ran ? *ran : Output{-1, "", ran.error().what};
    }
    // One value of a document changed, by its JSON pointer.
    [[nodiscard]] Output check_with(const std::string& name, const std::string& at, const Json& value) const {
        Json document = read(name);
        document[Json::json_pointer(at)] = value;
        root.file("/out/" + name, document.dump());
        return check();
    }
};

TEST(Sbom, WhatDescribeWritesPasses) {
    const Described described;
    const auto said = described.check();
    EXPECT_EQ(said.status, 0) << said.err;
    const Json spdx = described.read("sbom.spdx.json"), cdx = described.read("sbom.cdx.json");
    EXPECT_EQ(spdx["packages"].size(), 4u);  // the image and three packages
    EXPECT_EQ(spdx["files"].size(), 1u);
    EXPECT_EQ(cdx["components"].size(), 4u);
    EXPECT_EQ(cdx["components"][0]["purl"], "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64&distro=debian-13");
    EXPECT_EQ(cdx["components"][1]["purl"], "pkg:deb/debian/mount@1:2.41~rc1%2Bdeb13u1?arch=amd64&distro=debian-13");
}

TEST(Sbom, TheManifestTellsWhatIsNotAsLocked) {
    const Json locked = Described().read("manifest.json"), other = Described("mount: the lock has 1, the mirror 2\n").read("manifest.json");
    EXPECT_EQ(locked["locked"], true);
    EXPECT_EQ(locked["differs"], Json::array());
    EXPECT_EQ(other["locked"], false);
    EXPECT_EQ(other["differs"], Json::array({"mount: the lock has 1, the mirror 2"}));
}

TEST(Sbom, DocumentsThatNobodyCouldRead) {
    struct Case {
        const char *name, *at;
        Json value;
        const char* said;
    };
    for (const Case& one : {
             Case{"sbom.spdx.json", "/spdxVersion", "SPDX-3", "spdxVersion"},
             Case{"sbom.spdx.json", "/documentNamespace", "blanket#1", "documentNamespace"},
             Case{"sbom.spdx.json", "/creationInfo/created", "yesterday", "no time in UTC"},
             Case{"sbom.spdx.json", "/creationInfo/creators", Json::array({"me"}), "creators names nobody"},
             Case{"sbom.spdx.json", "/packages/1/SPDXID", "SPDXRef-lib+", "not an SPDXID"},
             Case{"sbom.spdx.json", "/packages/1/SPDXID", "SPDXRef-Image", "an SPDXID twice"},
             Case{"sbom.spdx.json", "/packages/1/downloadLocation", "", "downloadLocation"},
             Case{"sbom.spdx.json", "/packages/1/licenseDeclared", "GPL-9.9-whatever", "no licence expression"},
             Case{"sbom.spdx.json", "/packages/1/externalRefs/0/referenceLocator", "pkg:deb/debian/libstdc++6@1", "package URL"},
             Case{"sbom.spdx.json", "/packages/0/checksums/0/checksumValue", "abc", "a checksum that is none"},
             Case{"sbom.spdx.json", "/files/0/fileName", "/usr/sbin/blanketd", "fileName"},
             Case{"sbom.spdx.json", "/relationships/0/relatedSpdxElement", "SPDXRef-Nothing", "a relationship with nothing"},
             Case{"sbom.spdx.json", "/relationships/0/relationshipType", "CONTAINS", "describes nothing"},
             Case{"sbom.cdx.json", "/serialNumber", "1", "sbom.cdx.json"},
             Case{"sbom.cdx.json", "/specVersion", "1.9", "sbom.cdx.json"},
             Case{"sbom.cdx.json", "/components/0/type", "thing", "sbom.cdx.json"},
             Case{"sbom.cdx.json", "/components/0/unknown", 1, "sbom.cdx.json"},
             Case{"sbom.cdx.json", "/dependencies/0/dependsOn/0", "pkg:deb/debian/none@1", "is no component"},
         }) {
        const auto said = Described().check_with(one.name, one.at, one.value);
        EXPECT_EQ(said.status, 1) << one.at;
        EXPECT_TRUE(said.err.contains(one.said)) << one.at << ": " << said.err;
    }
}

}  // namespace
}  // namespace blanket
