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
        root.file("/build/image-0123456789abcdef/programs.tsv", std::string(64, 'a') + "\t/usr/sbin/blanketd\t" + std::string(40, 'b') + "\n");
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
    [[nodiscard]] Output check_without(const std::string& name, const std::string& at) const {
        Json document = read(name);
        const Json::json_pointer gone(at);
        document[gone.parent_pointer()].erase(gone.back());
        root.file("/out/" + name, document.dump());
        return check();
    }
};

TEST(Sbom, WhatDescribeWritesPasses) {
    const Described described;
    const auto said = described.check();
    EXPECT_EQ(said.status, 0) << said.err;
    const Json spdx = described.read("sbom.spdx.json"), cdx = described.read("sbom.cdx.json");
    EXPECT_EQ(spdx["packages"].size(), 5u);  // the image, three of Debian, our programs
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
             Case{"sbom.spdx.json", "/creationInfo/creators", Json::array({"me"}), "creators[0] names nobody"},
             Case{"sbom.spdx.json", "/creationInfo/created", "2026-02-30T00:00:00Z", "no time in UTC"},
             Case{"sbom.spdx.json", "/creationInfo/creators", Json::array(), "creators: none of them"},
             Case{"sbom.spdx.json", "/packages", "none", "packages is no list"},
             Case{"sbom.spdx.json", "/packages/0", "none", "packages[0] is no object"},
             Case{"sbom.spdx.json", "/packages/0/colour", "blue", "no such field"},
             Case{"sbom.spdx.json", "/packages/0/versionInfo", 3, "versionInfo is no line of text"},
             Case{"sbom.spdx.json", "/packages/0/primaryPackagePurpose", "OPERATING-SYSTEM", "unknown purpose"},  // the text's word; the JSON schema has another
             Case{"sbom.spdx.json", "/packages/0/filesAnalyzed", true, "without a packageVerificationCode"},
             Case{"sbom.spdx.json", "/packages/4/filesAnalyzed", false, "its files were not analysed"},
             Case{"sbom.spdx.json", "/packages/4/packageVerificationCode/packageVerificationCodeValue", std::string(40, '0'), "is not that of its 1 files"},
             Case{"sbom.spdx.json", "/packages/1/supplier", "Debian", "a supplier that is none"},
             Case{"sbom.spdx.json", "/packages/1/downloadLocation", "https://me:secret@example.org/x", "a location that is none"},
             Case{"sbom.spdx.json", "/packages/1/licenseDeclared", "MIT and ISC", "no licence expression"},
             Case{"sbom.spdx.json", "/packages/1/licenseDeclared", "MIT OR", "no licence expression"},
             Case{"sbom.spdx.json", "/packages/1/licenseDeclared", "(MIT", "no licence expression"},
             Case{"sbom.spdx.json", "/packages/1/licenseDeclared", "MIT WITH ISC", "no licence expression"},
             Case{"sbom.spdx.json", "/packages/1/licenseDeclared", "MIT, ISC", "no licence expression"},
             Case{"sbom.spdx.json", "/packages/1/licenseDeclared", "LicenseRef-Own OR MIT", "LicenseRef-Own: a licence whose text is nowhere"},
             Case{"sbom.spdx.json", "/packages/1/externalRefs/0/referenceType", "cpe23Type", "no references of type"},
             Case{"sbom.spdx.json", "/packages/1/externalRefs/0/referenceCategory", "PACKAGES", "unknown category"},
             Case{"sbom.spdx.json", "/files/0/checksums/0/algorithm", "SHA512", "no checksum of SHA1"},
             Case{"sbom.spdx.json", "/files/0/checksums/0/algorithm", "SHA256", "two checksums of one algorithm"},
             Case{"sbom.spdx.json", "/relationships/1/relationshipType", "LIKES", "a relationship of no kind"},
             Case{"sbom.spdx.json", "/relationships/1/relationshipType", "DESCRIBES", "only the document describes"},
             Case{"sbom.spdx.json", "/documentDescribes", Json::array({"SPDXRef-None"}), "which is nothing"},
             Case{"sbom.spdx.json", "/packages/1/externalRefs", Json::array(), "do not name the same packages"},
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

TEST(Sbom, WhatMustBeThere) {
    for (const char* at : {"/spdxVersion", "/dataLicense", "/SPDXID", "/name", "/documentNamespace", "/creationInfo", "/creationInfo/created", "/creationInfo/creators", "/packages/0/SPDXID", "/packages/0/name",
                           "/packages/0/downloadLocation", "/packages/0/checksums/0/algorithm", "/packages/0/checksums/0/checksumValue", "/packages/1/externalRefs/0/referenceLocator", "/files/0/SPDXID",
                           "/files/0/fileName", "/files/0/checksums", "/relationships/0/spdxElementId", "/relationships/0/relationshipType", "/relationships/0/relatedSpdxElement"}) {
        const auto said = Described().check_without("sbom.spdx.json", at);
        EXPECT_EQ(said.status, 1) << at;
        EXPECT_TRUE(said.err.contains(": no " + Json::json_pointer(at).back())) << at << ": " << said.err;
    }
}

TEST(Sbom, WhatSpdxAllowsPasses) {
    const Json own = Json::array({{{"licenseId", "LicenseRef-Own"}, {"extractedText", "do what you like"}}});
    for (const char* licence : {"MIT", "mit", "GPL-2.0+", "NOASSERTION", "MIT AND ISC OR GPL-2.0-only WITH Classpath-exception-2.0", "((MIT) OR (ISC AND BSD-3-Clause))", "LicenseRef-Own AND MIT"}) {
        const Described described;
        (void)described.check_with("sbom.spdx.json", "/hasExtractedLicensingInfos", own);
        const auto said = described.check_with("sbom.spdx.json", "/packages/1/licenseDeclared", licence);
        EXPECT_EQ(said.status, 0) << licence << ": " << said.err;
    }
    const Json more{{"annotationDate", "2026-01-02T03:04:05Z"}, {"annotationType", "REVIEW"}, {"annotator", "Person: somebody (a@example.org)"}, {"comment", "seen"}};
    const auto noted = Described().check_with("sbom.spdx.json", "/packages/0/annotations", Json::array({more}));
    EXPECT_EQ(noted.status, 0) << noted.err;
    const auto none = Described().check_with("sbom.spdx.json", "/relationships/1", {{"spdxElementId", "SPDXRef-Image"}, {"relationshipType", "DEPENDS_ON"}, {"relatedSpdxElement", "NONE"}});
    EXPECT_EQ(none.status, 0) << none.err;
}

}  // namespace
}  // namespace blanket
