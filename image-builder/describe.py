#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# describe.py FOLDER VERSION BUILD: writes manifest.json and the SBOMs (SPDX 2.3, CycloneDX 1.5) of the artefacts in FOLDER. BUILD is the folder of image-builder/build.
# Nothing in them depends on the time or the machine.
import hashlib
import json
import pathlib
import sys
import urllib.parse
import uuid

folder, version, build = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
NAME = "blanket"
USES = {
    "raw.zst": "a disk or USB stick (zstd -dc | dd), EC2 by EBS snapshot",
    "qcow2": "OpenStack, Proxmox, libvirt, QEMU 5.1 and newer",
    "vhd": "Azure",
    "vmdk": "vSphere; EC2 by aws ec2 import-snapshot",
    "tar.gz": "Google Compute Engine",
    "iso": "bare metal: a CD, or a stick made of it; live, or installs itself to an empty disk",
    "pxe.tar": "bare metal by iPXE; live",
    "update": "a machine that runs Blanket: blanket update install",
}


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def table(name, *fields):
    return [dict(zip(fields, line.split("\t"))) for line in (build / name).read_text().splitlines()]


def write(name, value):
    (folder / name).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


packages = table("packages.tsv", "name", "version", "architecture", "source", "source_version", "installed_kib")
programs = table("programs.tsv", "sha256", "path", "sha1")
differs = (build / "differs").read_text().splitlines()
raw = {"size": (build / "appliance.raw").stat().st_size, "sha256": sha256(build / "appliance.raw")}
stem = f"{NAME}-{version}-amd64."
artefacts = []
for kind, use in USES.items():
    path = folder / (stem + kind)
    if path.exists():
        artefacts.append({"format": kind, "file": path.name, "size": path.stat().st_size, "sha256": sha256(path), "use": use})

write("manifest.json", {
    "name": NAME, "version": version, "architecture": "amd64", "id": build.name.removeprefix("image-"), "disk": raw,
    "boot": ["BIOS", "UEFI"], "locked": not differs, "differs": differs, "secure_boot": False, "artefacts": artefacts, "packages": packages, "programs": programs,
})

# The document's id follows from what it is about.
document = uuid.uuid5(uuid.NAMESPACE_URL, f"{NAME}:{raw['sha256']}")
EPOCH = "1970-01-01T00:00:00Z"  # a field that SPDX demands; the same image has the same document


def purl(package):
    name, version = (urllib.parse.quote(package[key], safe=":") for key in ("name", "version"))
    return f"pkg:deb/debian/{name}@{version}?arch={package['architecture']}&distro=debian-13"


def spdx_id(kind, text):
    return f"SPDXRef-{kind}-" + "".join(c if c.isalnum() or c in ".-" else "-" for c in text)


image = {"SPDXID": "SPDXRef-Image", "name": NAME, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "primaryPackagePurpose": "OPERATING_SYSTEM",
         "licenseConcluded": "NOASSERTION", "licenseDeclared": "GPL-2.0-or-later", "copyrightText": "NOASSERTION", "checksums": [{"algorithm": "SHA256", "checksumValue": raw["sha256"]}]}
spdx_packages = [image] + [{
    "SPDXID": spdx_id("Deb", f"{p['name']}-{p['architecture']}"), "name": p["name"], "versionInfo": p["version"], "supplier": "Organization: Debian", "downloadLocation": "NOASSERTION",
    "filesAnalyzed": False, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
    "sourceInfo": f"built from {p['source']} {p['source_version']}",
    "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl(p)}],
} for p in packages]
# What Debian did not build. A package of its own, as SPDX lets only such a package contain files as has them all listed.
own = {"SPDXID": "SPDXRef-Programs", "name": f"{NAME}-programs", "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": True, "licenseConcluded": "NOASSERTION",
       "licenseDeclared": "GPL-2.0-or-later", "copyrightText": "NOASSERTION",
       "packageVerificationCode": {"packageVerificationCodeValue": hashlib.sha1("".join(sorted(p["sha1"] for p in programs)).encode()).hexdigest()}}
spdx_files = [{
    "SPDXID": spdx_id("File", p["path"].lstrip("/")), "fileName": "." + p["path"],
    "checksums": [{"algorithm": "SHA1", "checksumValue": p["sha1"]}, {"algorithm": "SHA256", "checksumValue": p["sha256"]}],
    "licenseConcluded": "GPL-2.0-or-later", "licenseInfoInFiles": ["GPL-2.0-or-later"], "copyrightText": "NOASSERTION",
} for p in programs]
write("sbom.spdx.json", {
    "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"{NAME}-{version}", "documentNamespace": f"https://spdx.org/spdxdocs/{NAME}-{version}-{document}",
    "creationInfo": {"created": EPOCH, "creators": [f"Tool: {NAME}-image-builder-{version}"]}, "packages": spdx_packages + [own], "files": spdx_files,
    "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-Image"}] +
                     [{"spdxElementId": "SPDXRef-Image", "relationshipType": "CONTAINS", "relatedSpdxElement": item["SPDXID"]} for item in spdx_packages[1:] + [own]] +
                     [{"spdxElementId": own["SPDXID"], "relationshipType": "CONTAINS", "relatedSpdxElement": item["SPDXID"]} for item in spdx_files],
})

write("sbom.cdx.json", {
    "bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{document}", "version": 1,
    "metadata": {"component": {"type": "operating-system", "bom-ref": NAME, "name": NAME, "version": version, "hashes": [{"alg": "SHA-256", "content": raw["sha256"]}]}},
    "components": [{"type": "library", "bom-ref": purl(p), "name": p["name"], "version": p["version"], "purl": purl(p),
                    "properties": [{"name": "debian:source", "value": f"{p['source']} {p['source_version']}"}]} for p in packages] +
                  [{"type": "file", "bom-ref": p["path"], "name": p["path"], "hashes": [{"alg": "SHA-256", "content": p["sha256"]}],
                    "licenses": [{"license": {"id": "GPL-2.0-or-later"}}]} for p in programs],
    "dependencies": [{"ref": NAME, "dependsOn": [purl(p) for p in packages] + [p["path"] for p in programs]}],
})
