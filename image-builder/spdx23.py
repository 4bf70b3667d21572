# SPDX-License-Identifier: GPL-2.0-or-later
# problems(DOCUMENT): what is wrong with an SPDX 2.3 document in JSON, as lines of text; none: it is valid. Each field that 2.3 knows, its form and whether it must be there; licence expressions
# (annex D); and what fields say of each other. Debian has no validator. Where text and JSON schema of 2.3 differ, what both allow is asked for.
import datetime
import hashlib
import re

from license_expression import get_spdx_licensing
from packageurl import PackageURL

ID = r"[A-Za-z0-9.-]+"
ELEMENT = rf"SPDXRef-{ID}"
EXTERNAL = r"DocumentRef-[A-Za-z0-9.+-]+"
URL = r"[a-z][a-z0-9.-]*(\+[a-z0-9]+)?://(?![^/]*:[^/]*@)[^\s]+"  # no password in it
HASHES = {"SHA1": 40, "SHA224": 56, "SHA256": 64, "SHA384": 96, "SHA512": 128, "SHA3-256": 64, "SHA3-384": 96, "SHA3-512": 128, "BLAKE2b-256": 64, "BLAKE2b-384": 96, "BLAKE2b-512": 128,
          "BLAKE3": 64, "MD2": 32, "MD4": 32, "MD5": 32, "MD6": None, "ADLER32": 8}  # hexadecimal digits
PURPOSES = "APPLICATION FRAMEWORK LIBRARY CONTAINER OPERATING_SYSTEM DEVICE FIRMWARE SOURCE ARCHIVE FILE INSTALL OTHER".split()
KINDS = "SOURCE BINARY ARCHIVE APPLICATION AUDIO IMAGE TEXT VIDEO DOCUMENTATION SPDX OTHER".split()
RELATIONS = """AMENDS ANCESTOR_OF BUILD_DEPENDENCY_OF BUILD_TOOL_OF CONTAINED_BY CONTAINS COPY_OF DATA_FILE_OF DEPENDENCY_MANIFEST_OF DEPENDENCY_OF DEPENDS_ON DESCENDANT_OF DESCRIBED_BY DESCRIBES
DEV_DEPENDENCY_OF DEV_TOOL_OF DISTRIBUTION_ARTIFACT DOCUMENTATION_OF DYNAMIC_LINK EXAMPLE_OF EXPANDED_FROM_ARCHIVE FILE_ADDED FILE_DELETED FILE_MODIFIED GENERATED_FROM GENERATES HAS_PREREQUISITE METAFILE_OF
OPTIONAL_COMPONENT_OF OPTIONAL_DEPENDENCY_OF OTHER PACKAGE_OF PATCH_APPLIED PATCH_FOR PREREQUISITE_FOR PROVIDED_DEPENDENCY_OF REQUIREMENT_DESCRIPTION_FOR RUNTIME_DEPENDENCY_OF SPECIFICATION_FOR
STATIC_LINK TEST_CASE_OF TEST_DEPENDENCY_OF TEST_OF TEST_TOOL_OF VARIANT_OF""".split()
REFERENCES = {"SECURITY": {"cpe22Type", "cpe23Type", "advisory", "fix", "url", "swid"}, "PACKAGE-MANAGER": {"maven-central", "npm", "nuget", "bower", "purl"}, "PERSISTENT-ID": {"swh", "gitoid"}}  # OTHER: any
SYMBOLS = get_spdx_licensing().known_symbols
LICENCES = {key.lower() for key, symbol in SYMBOLS.items() if not symbol.is_exception and not key.startswith("LicenseRef-")}
LICENCES |= {alias.lower() for symbol in SYMBOLS.values() for alias in symbol.aliases if re.fullmatch(r"A?L?GPL-[0-9.]+\+?", alias)}  # GPL-2.0+: deprecated, and still on the list
EXCEPTIONS = {key.lower() for key, symbol in SYMBOLS.items() if symbol.is_exception and not key.startswith("LicenseRef-")}


def is_purl(text):
    try:
        return PackageURL.from_string(text).to_string() == text
    except ValueError:
        return False


def licence_refs(text):
    """The LicenseRefs of an expression of annex D, or None if it is none: operators in capitals, WITH before AND before OR, white space or parentheses around them."""
    if not re.fullmatch(r"(?:[()]|\s+|[A-Za-z0-9.:+-]+)+", text):
        return None
    tokens, refs = re.findall(r"[()]|[A-Za-z0-9.:+-]+", text), []

    def take(*wanted):
        return tokens.pop(0) if tokens and tokens[0] in wanted else None

    def simple():
        if take("("):
            return either() and take(")") is not None
        one = tokens.pop(0) if tokens else ""
        if re.fullmatch(rf"({EXTERNAL}:)?LicenseRef-{ID}", one):
            refs.append(one)
        elif one.lower() not in LICENCES and one.lower().removesuffix("+") not in LICENCES:
            return False
        return not take("WITH") or (bool(tokens) and tokens.pop(0).lower() in EXCEPTIONS)

    def both():
        return simple() and (not take("AND") or both())

    def either():
        return both() and (not take("OR") or either())

    return refs if either() and not tokens else None


# --- the forms of a value: what it must be, and a function that knows; shape() below calls them ---
def form(says, holds):
    return (says, holds)


def match(says, pattern):
    return form(says, lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None)


def among(says, values):
    return form(says, lambda value: isinstance(value, str) and value in values)


def is_time(value):
    try:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value) and datetime.datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ"))
    except (TypeError, ValueError):
        return False


TEXT = form("is no text", lambda value: isinstance(value, str))
LINE = match("is no line of text", r"[^\n\r]+")
FLAG = form("is neither true nor false", lambda value: isinstance(value, bool))
COUNT = form("is no positive number", lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0)
TIME = form("is no time in UTC", is_time)
ELEMENT_ID = match("is not an SPDXID", ELEMENT)
AGENT = match("names nobody: Person, Organization or Tool", r"(Person|Organization|Tool): \S[^\n]*")
SUPPLIER = match("is a supplier that is none", r"(Person|Organization): \S[^\n]*|NOASSERTION")
LICENCE = form("is no licence expression", lambda value: isinstance(value, str) and (value in ("NONE", "NOASSERTION") or licence_refs(value) is not None))
PLACE = match("is a location that is none", rf"NONE|NOASSERTION|{URL}|git\+git@[^\s:]+:\S+")


# --- the objects: field, form, "!" if it must be there. A list of one form is several of it, "+" at least one; a dict is an object ---
ANNOTATION = {"annotationDate!": TIME, "annotationType!": among("is unknown", ("OTHER", "REVIEW")), "annotator!": AGENT, "comment!": TEXT}
CHECKSUM = {"algorithm!": among("is an unknown algorithm", HASHES), "checksumValue!": match("is a checksum that is none", r"[0-9a-f]+")}
COMMON = {"SPDXID!": ELEMENT_ID, "comment": TEXT, "annotations": [ANNOTATION]}
LICENSED = {"attributionTexts": [TEXT], "licenseConcluded": LICENCE, "licenseComments": TEXT, "copyrightText": TEXT}
PACKAGE = COMMON | LICENSED | {
    "name!": LINE, "downloadLocation!": PLACE, "versionInfo": LINE, "packageFileName": LINE, "supplier": SUPPLIER, "originator": SUPPLIER, "filesAnalyzed": FLAG, "checksums": [CHECKSUM], "homepage": PLACE,
    "packageVerificationCode": {"packageVerificationCodeValue!": match("is no SHA1", r"[0-9a-f]{40}"), "packageVerificationCodeExcludedFiles": [LINE]},
    "sourceInfo": TEXT, "licenseInfoFromFiles": [LICENCE], "licenseDeclared": LICENCE, "summary": TEXT, "description": TEXT, "hasFiles": [ELEMENT_ID],
    "externalRefs": [{"referenceCategory!": among("is an unknown category", (*REFERENCES, "OTHER")), "referenceType!": LINE, "referenceLocator!": match("has no locator", r"\S+"), "comment": TEXT}],
    "primaryPackagePurpose": among("is an unknown purpose", PURPOSES), "releaseDate": TIME, "builtDate": TIME, "validUntilDate": TIME}
FILE = COMMON | LICENSED | {
    "fileName!": match("is a fileName that does not begin with ./", r"\./\S.*"), "checksums!+": [CHECKSUM], "fileTypes": [among("is an unknown type", KINDS)], "licenseInfoInFiles": [LICENCE], "noticeText": TEXT,
    "fileContributors": [LINE], "fileDependencies": [TEXT], "artifactOfs": [form("is no object", lambda value: isinstance(value, dict))]}
POINTER = {"reference!": ELEMENT_ID, "offset": COUNT, "lineNumber": COUNT}
SNIPPET = COMMON | LICENSED | {"name!": LINE, "snippetFromFile!": ELEMENT_ID, "ranges!+": [{"startPointer!": POINTER, "endPointer!": POINTER}], "licenseInfoInSnippets": [LICENCE]}
DOCUMENT = {
    "spdxVersion!": match("is not SPDX-2.3", r"SPDX-2\.3"), "dataLicense!": match("is not CC0-1.0", r"CC0-1\.0"), "SPDXID!": match("is not SPDXRef-DOCUMENT", "SPDXRef-DOCUMENT"), "name!": LINE,
    "documentNamespace!": match("is no absolute URI without a fragment", r"[a-z][a-z0-9+.-]*:[^#\s]+"), "comment": TEXT, "annotations": [ANNOTATION], "documentDescribes": [ELEMENT_ID],
    "creationInfo!": {"created!": TIME, "creators!+": [AGENT], "licenseListVersion": match("is no version", r"\d+\.\d+"), "comment": TEXT},
    "externalDocumentRefs": [{"externalDocumentId!": match("is no DocumentRef", EXTERNAL), "spdxDocument!": match("is no URI", r"[a-z][a-z0-9+.-]*:[^#\s]+"), "checksum!": CHECKSUM}],
    "hasExtractedLicensingInfos": [{"licenseId!": match("is no LicenseRef", rf"LicenseRef-{ID}"), "extractedText!": TEXT, "name": LINE, "comment": TEXT, "seeAlsos": [PLACE],
                                    "crossRefs": [{"url!": LINE, "isLive": FLAG, "isValid": FLAG, "isWayBackLink": FLAG, "match": TEXT, "order": form("is no number", lambda value: isinstance(value, int)),
                                                   "timestamp": TIME}]}],
    "packages": [PACKAGE], "files": [FILE], "snippets": [SNIPPET], "revieweds": [{"reviewDate!": TIME, "reviewer": AGENT, "comment": TEXT}],
    "relationships": [{"spdxElementId!": match("is no element", rf"({EXTERNAL}:)?{ELEMENT}"), "relationshipType!": among("is a relationship of no kind", RELATIONS),
                       "relatedSpdxElement!": match("is no element", rf"({EXTERNAL}:)?{ELEMENT}|NONE|NOASSERTION"), "comment": TEXT}],
}


def shape(value, wanted, where, found):
    if isinstance(wanted, tuple):
        if not wanted[1](value):
            found.append(f"{where} {wanted[0]}: {str(value)[:120]!r}")
    elif isinstance(wanted, list):
        if not isinstance(value, list):
            found.append(f"{where} is no list")
        else:
            for index, one in enumerate(value):
                shape(one, wanted[0], f"{where}[{index}]", found)
    elif not isinstance(value, dict):
        found.append(f"{where} is no object")
    else:
        prefix = f"{where}." if where else ""
        fields = {key.rstrip("!+"): key for key in wanted}
        for name, key in fields.items():
            if name not in value and "!" in key:
                found.append(f"{where or 'the document'}: no {name}")
            elif name in value and key.endswith("+") and value[name] == []:
                found.append(f"{prefix}{name}: none of them")
        for name, part in value.items():
            if name in fields:
                shape(part, wanted[fields[name]], prefix + name, found)
            else:
                found.append(f"{prefix}{name}: SPDX 2.3 has no such field")


# --- what fields say of each other; only for a document whose shape is right ---
def analysed(package):
    return package.get("filesAnalyzed", True)


def checksums(item, where, found):
    seen = [one["algorithm"] for one in item.get("checksums", [])]
    if len(seen) != len(set(seen)):
        found.append(f"{where}: two checksums of one algorithm")
    for one in item.get("checksums", []):
        digits = HASHES[one["algorithm"]]
        if digits is not None and len(one["checksumValue"]) != digits:
            found.append(f"{where}: a checksum that is none: {one}")


def package_rules(package, files, found):
    where = package["SPDXID"]
    if not analysed(package):
        for key in ("packageVerificationCode", "licenseInfoFromFiles", "hasFiles"):
            if key in package:
                found.append(f"{where}: its files were not analysed, and yet it has {key}")
        if files:
            found.append(f"{where}: its files were not analysed, and yet it contains {files[0]['SPDXID']}")
    elif "packageVerificationCode" not in package:
        found.append(f"{where}: analysed, without a packageVerificationCode")
    else:  # 7.9: of the files' SHA1s, sorted
        left_out = package["packageVerificationCode"].get("packageVerificationCodeExcludedFiles", [])
        sums = sorted(one["checksumValue"] for file in files if file["fileName"] not in left_out for one in file["checksums"] if one["algorithm"] == "SHA1")
        if hashlib.sha1("".join(sums).encode()).hexdigest() != package["packageVerificationCode"]["packageVerificationCodeValue"]:
            found.append(f"{where}: its packageVerificationCode is not that of its {len(sums)} files")
    for one in package.get("externalRefs", []):
        kinds = REFERENCES.get(one["referenceCategory"])
        if kinds is not None and one["referenceType"] not in kinds:
            found.append(f"{where}: {one['referenceCategory']} has no references of type {one['referenceType']}")
        if one["referenceType"] == "purl" and not is_purl(one["referenceLocator"]):
            found.append(f"{where}: not a package URL in its canonical form: {one['referenceLocator']}")


def expressions(value):
    """Every licence expression of a document, wherever it stands."""
    for key, part in value.items() if isinstance(value, dict) else []:
        for one in part if isinstance(part, list) else [part]:
            if isinstance(one, dict):
                yield from expressions(one)
            elif key in ("licenseConcluded", "licenseDeclared", "licenseInfoFromFiles", "licenseInfoInFiles", "licenseInfoInSnippets") and one not in ("NONE", "NOASSERTION"):
                yield one


def cross_rules(document, found):
    packages, files, snippets = (document.get(key, []) for key in ("packages", "files", "snippets"))
    elements = packages + files + snippets
    ids = ["SPDXRef-DOCUMENT"] + [item["SPDXID"] for item in elements]
    known, documents = set(ids), [one["externalDocumentId"] for one in document.get("externalDocumentRefs", [])]
    twice = sorted({one for one in ids + documents if (ids + documents).count(one) > 1}) if len(known) + len(set(documents)) < len(ids) + len(documents) else []
    if twice:
        found.append(f"an SPDXID twice: {', '.join(twice[:3])}")

    def is_there(one):
        other, _, element = one.rpartition(":")
        return other in documents if other else element in known

    by_id, contained = {file["SPDXID"]: file for file in files}, {}
    relations = document.get("relationships", [])
    for one in relations:
        left, right, kind = one["spdxElementId"], one["relatedSpdxElement"], one["relationshipType"]
        if not is_there(left) or not (right in ("NONE", "NOASSERTION") or is_there(right)):
            found.append(f"a relationship with nothing: {left} {kind} {right}")
        elif kind in ("DESCRIBES", "DESCRIBED_BY") and (left if kind == "DESCRIBES" else right) != "SPDXRef-DOCUMENT":
            found.append(f"only the document describes: {left} {kind} {right}")
        holder, held = (right, left) if kind == "CONTAINED_BY" else (left, right)
        if kind in ("CONTAINS", "CONTAINED_BY") and held in by_id:
            contained.setdefault(holder, {})[held] = by_id[held]
    for package in packages:
        for one in package.get("hasFiles", []):
            if one not in by_id:
                found.append(f"{package['SPDXID']}: has the file {one}, which is none")
            else:
                contained.setdefault(package["SPDXID"], {})[one] = by_id[one]
    described = document.get("documentDescribes", []) + [one["relatedSpdxElement"] for one in relations if one["relationshipType"] == "DESCRIBES"] + \
        [one["spdxElementId"] for one in relations if one["relationshipType"] == "DESCRIBED_BY"]
    for one in document.get("documentDescribes", []):
        if one not in known:
            found.append(f"the document describes {one}, which is nothing")
    if not described:
        found.append("the document describes nothing")
    for package in packages:
        checksums(package, package["SPDXID"], found)
        package_rules(package, list(contained.get(package["SPDXID"], {}).values()), found)
    for file in files:
        checksums(file, file["SPDXID"], found)
        if "SHA1" not in [one["algorithm"] for one in file["checksums"]]:
            found.append(f"{file['SPDXID']}: no checksum of SHA1, which each file must have")
    for snippet in snippets:
        if snippet["snippetFromFile"] not in by_id:
            found.append(f"{snippet['SPDXID']}: a snippet of {snippet['snippetFromFile']}, which is no file")
    texts = {one["licenseId"] for one in document.get("hasExtractedLicensingInfos", [])}
    for ref in sorted({ref for one in expressions(document) for ref in licence_refs(one)}):
        other, _, licence = ref.rpartition(":")
        if (other not in documents) if other else (licence not in texts):
            found.append(f"{ref}: a licence whose text is nowhere")


def problems(document):
    found = []
    shape(document, DOCUMENT, "", found)
    if not found:
        cross_rules(document, found)
    return found
