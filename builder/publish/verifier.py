"""Verb verify: an image of a registry with everything that is said of it, checked with public keys alone.

Every byte counts: manifests and blobs against their digests, signatures against the keys, statements against the image
and against each other, and the bill of materials against the modules that are really in the layers.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from builder.digest import sha256_of
from builder.errors import FormatError
from builder.evidence.records import boot_strength, is_strong_enough
from builder.foreign import Parsed, parse_data, pick_object, read_json
from builder.image.contents import LayerCache, list_modules, read_exported
from builder.image.labels import KERNEL_LABEL, KEY_LABEL, TOOLKIT_LABEL
from builder.publish.attachments import WRONG, OccupiedError
from builder.publish.attest.attached import attached_kinds
from builder.publish.attest.bundle import SIGNATURE_PREDICATE, open_bundle
from builder.publish.attest.component_statements import SELF_TEST
from builder.publish.attest.sbom import SBOM_PREDICATE
from builder.publish.attest.simple_signing import parse_payload
from builder.publish.attest.statements import (
    BOOT_TEST,
    BUILD_TYPES,
    CELL_PREDICATES,
    FIT_TEST,
    PROVENANCE_PREDICATE,
    SIGNATURE_TEST,
    TEST_PREDICATE,
)
from builder.publish.attester import bundles_of, read_attached, read_bundled
from builder.publish.component_claims import check_provenance, check_sbom, check_tests, is_component
from builder.publish.index_document import find_envelope, is_manifest_of_index, open_index
from builder.registry.manifest import Descriptor
from builder.writing import count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from builder.image.contents import ImageContents
    from builder.image.manifests import Entry
    from builder.publish.attachments import Attachments
    from builder.publish.attest.attached import AttachedStatement
    from builder.publish.attest.bundle import Statement
    from builder.pullspec import Pullspec
    from builder.registry.manifest import Manifest
    from builder.registry.reader import Registry
    from builder.signing.public_key import PublicKey

TESTS = (FIT_TEST, SIGNATURE_TEST, BOOT_TEST, SELF_TEST)
_OF_CELLS = (FIT_TEST, SIGNATURE_TEST, BOOT_TEST)
LARGEST_BLOB = 8 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedClaim:
    """One thing that was looked at: ``subject`` says of which image, ``finding`` is what was seen or what is wrong."""

    subject: str
    name: str
    passed: bool
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaivedTest:
    """A test that was not demanded: ``by`` says what waived it, ``demanded`` what versions.yaml wants of it."""

    test: str
    by: str
    demanded: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """All checks of an image. ``digest`` is what the name stood for; ``waived`` is what was not demanded of it."""

    image: str
    digest: str
    checks: tuple[VerifiedClaim, ...]
    waived: tuple[WaivedTest, ...] = ()

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)


class Verifier:
    """Verifies images with public keys; one of them must have made each signature.

    Args:
        registry: reads, and checks digests.
        attachments: reads what is attached.
        keys: at least one.
        without: tests that need not have been passed.
        boot: what a boot test must have proved: one of ``BOOT_STRENGTHS``.
        signed_as: repository that signatures name; empty: the image's own.
    """

    def __init__(
        self,
        registry: Registry,
        attachments: Attachments,
        keys: Sequence[PublicKey],
        *,
        without: Collection[str] = (),
        boot: str = "any",
        signed_as: str = "",
    ) -> None:
        self._registry = registry
        self._attachments = attachments
        self._keys = keys
        self._without = tuple(without)
        self._tests = [test for test in _OF_CELLS if test not in without]
        self._boot = boot
        self._signed_as = signed_as
        self._checks: list[VerifiedClaim] = []
        self._referrers: dict[str, list[Entry]] = {}

    def verify(self, name: Pullspec) -> Verification:
        """Check an image, a list of images and each of them, or the index of a driver.

        Raises:
            SourceError: the registry refuses, or gives no answer: then nothing is known.
            FormatError: the name stands for nothing that can be read.
        """
        manifest = self._registry.manifest(name)
        image = name.at(manifest.digest)
        self._checks = []
        self._referrers = {}
        content = self._registry.manifest_bytes(image)
        if is_manifest_of_index(content):
            self._check_index(image, content)
        elif manifest.is_index:
            if self._check_signatures(image, name) and self._check_list(image, manifest):
                for platform, descriptor in manifest.images.items():
                    member = name.at(descriptor.digest)
                    self._check_cell(member, name, self._registry.manifest(member), platform)
        else:
            self._check_cell(image, name, manifest, "")
        return Verification(image=str(name), digest=manifest.digest, checks=tuple(self._checks))

    def _check_index(self, image: Pullspec, content: bytes) -> None:
        """Check the index of a driver: its signature is in it, and not attached."""

        def read() -> str:
            entry = find_envelope(content)
            index = open_index(self._registry.blob(image, Descriptor(entry.digest, entry.size)), self._keys)
            versions = {version for version, _ in index.images}
            return (
                f"signed by the key: of driver {index.driver}, made {index.made:%Y-%m-%d %H:%M:%S} UTC, with "
                f"{count(len(index.images), 'image')} of {count(len(versions), 'version')}, and "
                f"{count(len(index.releases), 'release')}"
            )

        self._look(image, "index", read)

    def _check_signatures(self, image: Pullspec, name: Pullspec) -> bool:
        """Check both forms; where one is wrong, nothing that a stranger may have made is fetched or unpacked."""
        is_signed = self._look(image, "signature", lambda: self._verify_signature(image, name))
        is_signed &= self._look(image, "signature bundle", lambda: self._verify_bundle(image))
        if not is_signed:
            finding = "not read, because nobody answers for it: its signature is not right"
            self._checks.append(VerifiedClaim(subject=image.reference, name="image", passed=False, finding=finding))
        return is_signed

    def _check_list(self, image: Pullspec, manifest: Manifest) -> bool:
        """Check that each entry of a list is one of the images that are looked at."""

        def count() -> str:
            listed = _count_listed(self._registry.manifest_bytes(image))
            if not manifest.images or listed != len(manifest.images):
                raise FormatError(f"it lists {listed} images for {len(manifest.images)} platforms")
            return f"images for {', '.join(manifest.images)}"

        return self._look(image, "list", count)

    def _check_cell(self, image: Pullspec, name: Pullspec, manifest: Manifest, platform: str) -> None:
        if not self._check_signatures(image, name):
            return
        contents: list[ImageContents] = []
        with tempfile.TemporaryDirectory(prefix="verify-") as scratch:

            def read() -> str:
                contents.append(self._read_image(image, manifest, Path(scratch)))
                size = sum(layer.size for layer in manifest.layers)
                return f"{len(manifest.layers)} layers with {size} bytes are what the manifest says"

            self._look(image, "image", read)
            if not contents:
                return
            self._look(image, "provenance", lambda: self._verify_provenance(image, contents[0], platform))
            self._look(image, "bill of materials", lambda: self._verify_sbom(image, contents[0]))
            self._look(image, "tests", lambda: self._verify_tests(image, contents[0]))
            self._look(image, "statements by themselves", lambda: self._verify_attached(image))

    def _look(self, image: Pullspec, name: str, work: Callable[[], str]) -> bool:
        """Record what a check saw, and return whether it is right; only a registry without an answer ends the whole."""
        try:
            finding, passed = work(), True
        except WRONG as error:
            finding, passed = error.message, False
        self._checks.append(VerifiedClaim(subject=image.reference, name=name, passed=passed, finding=finding))
        return passed

    def _verify_signature(self, image: Pullspec, name: Pullspec) -> str:
        found = self._attachments.signatures(image)
        identities = set()
        problem = ""
        for item in found:
            # Anybody who may write adds to the list, also what is gone, or signed by the key as something else.
            try:
                payload = self._attachments.payload(image, item)
                if any(key.accepts(item.signature, payload) for key in self._keys):
                    identity, digest = parse_payload(payload)
                    if digest == image.reference:
                        identities.add(identity)
            except WRONG as error:
                problem = error.message
        repository = self._signed_as or f"{image.host}/{image.repository}"
        wanted = {item for item in identities if item.rpartition(":")[0] == repository}
        good = sorted(wanted if name.is_pinned else wanted & {f"{repository}:{name.reference}"})
        if good:
            return f"signed as {', '.join(good)}"
        if not found:
            raise FormatError("it is not signed: there are no signatures in the form that podman and CRI-O read")
        others = f"; signed by the key are {', '.join(sorted(identities))}" if identities else ""
        others += f"; one cannot be read: {problem}" if problem else ""
        raise FormatError(f"none of its {len(found)} signatures is by the key and for this name{others}")

    def _verify_bundle(self, image: Pullspec) -> str:
        self._open(image, SIGNATURE_PREDICATE)
        return "signed by the key"

    def _open(self, image: Pullspec, predicate: str) -> Statement:
        """Return a statement of a kind that one of the keys signed about an image; others may stand beside it."""
        entries = bundles_of(self._list_referrers(image), predicate)
        if not entries:
            raise FormatError(f"it has no statement {predicate}")
        problems = []
        for entry in entries:
            try:
                return self._open_one(image, entry, predicate)
            except WRONG as error:
                problems.append(error.message)
        raise FormatError(problems[0])

    def _open_one(self, image: Pullspec, entry: Entry, predicate: str) -> Statement:
        statement = open_bundle(self._attachments.blob(image, entry), self._keys)
        if statement.predicate_type != predicate:
            raise FormatError(f"{entry.digest} is listed as {predicate}, and is {statement.predicate_type}")
        if image.reference not in statement.subjects.values():
            raise FormatError(f"{entry.digest} is about another image")
        return statement

    def _verify_attached(self, image: Pullspec) -> str:
        """Check that what is attached for those who read no bundles says the same as the bundles.

        An image that has none of it was published before there was this form, and is as good as it was.
        """
        listed, problem = self._list_attached(image)
        bundled = read_bundled(self._attachments, image, self._list_referrers(image), self._keys)
        # So many of strangers are read and no more: what a bundle holds, too, comes first.
        envelopes = {sha256_of(item.envelope) for items in bundled.values() for item in items}
        listed.sort(key=lambda item: item.digest not in envelopes)
        wanted = attached_kinds(CELL_PREDICATES)
        found = {kind: read_attached(self._attachments, image, listed, kind, self._keys) for kind in wanted}
        if not any(finding.signed for finding in found.values()):
            problems = [problem, *(finding.problem.message for finding in found.values() if finding.problem)]
            why = next((f" that can be read ({why})" for why in problems if why), "")
            return f"none{why}: policy controllers that want statements find them only when it is published again"
        for kind in [kind for kind in wanted if kind in bundled]:
            finding, stated = found[kind], [item.statement for item in bundled[kind]]
            if not finding.signed:
                why = f": {finding.problem.message}" if finding.problem else ""
                raise FormatError(f"no statement {kind} by the key is attached by itself, and others are{why}")
            if not any(item.statement in stated for item in finding.signed):
                raise FormatError(f"the statement {kind} that is attached by itself is not that of its bundle")
        return "policy controllers find the same statements"

    def _list_attached(self, image: Pullspec) -> tuple[list[AttachedStatement], str]:
        """Return what is attached by itself; where that is no list, nothing, as if it were not there, and why."""
        try:
            return self._attachments.attestations(image), ""
        except OccupiedError as error:
            return [], error.message

    def _list_referrers(self, image: Pullspec) -> list[Entry]:
        """Return what refers to an image; asked for once, so that all checks are about the same."""
        if image.reference not in self._referrers:
            self._referrers[image.reference] = self._attachments.referrers(image)
        return self._referrers[image.reference]

    def _read_image(self, image: Pullspec, manifest: Manifest, folder: Path) -> ImageContents:
        """Read the whole image; every blob is compared with its digest."""
        (folder / "manifest.json").write_bytes(self._registry.manifest_bytes(image))
        for descriptor in [manifest.config, *manifest.layers]:
            if descriptor is None:
                raise FormatError("its manifest names no configuration")
            self._registry.save_blob(
                image, descriptor, folder / descriptor.digest.removeprefix("sha256:"), largest=LARGEST_BLOB
            )
        return read_exported(folder, str(image), LayerCache())

    def _verify_provenance(self, image: Pullspec, contents: ImageContents, platform: str) -> str:
        statement = self._open(image, PROVENANCE_PREDICATE)
        if is_component(contents):
            return check_provenance(statement.predicate, contents, platform)
        definition = pick_object(statement.predicate, "buildDefinition")
        external, internal = (
            pick_object(definition, "externalParameters"),
            pick_object(definition, "internalParameters"),
        )
        labels = contents.labels
        stated = str(definition.get("buildType"))
        said = {
            "build type": (stated, stated if stated in BUILD_TYPES else BUILD_TYPES[0]),
            "kernel": (str(external.get("kernel")), labels.get(KERNEL_LABEL, "")),
            "key": (str(internal.get("cellKey")), labels.get(KEY_LABEL, "")),
            "toolkit": (str(internal.get("toolkitId")), labels.get(TOOLKIT_LABEL, "")),
            "architecture": (str(external.get("arch")), str(contents.config.get("architecture"))),
        }
        if platform:
            said["platform"] = (str(external.get("arch")), platform.split("/")[1])
        for what, (stated, found) in said.items():
            if stated != found:
                raise FormatError(f"provenance says {what} {stated!r}, the image says {found!r}")
        builder = pick_object(pick_object(statement.predicate, "runDetails"), "builder").get("id")
        return f"built for {external['kernel']} by {builder}"

    def _verify_sbom(self, image: Pullspec, contents: ImageContents) -> str:
        predicate = self._open(image, SBOM_PREDICATE).predicate
        if is_component(contents):
            return check_sbom(predicate, replace(contents, digest=image.reference))
        bom = parse_data(_Bom, predicate, "bill of materials")
        listed = {item.name: item.sha256 for item in bom.components if item.type in {"device-driver", "firmware"}}
        there = {module.path.rpartition("/")[2]: module.content or b"" for module in list_modules(contents)}
        there |= {file.path: file.content or b"" for file in contents.below("firmware") if file.is_file}
        found = {name: hashlib.sha256(content).hexdigest() for name, content in there.items()}
        if not found:
            raise FormatError("the image holds no module")
        for name in sorted({*listed, *found}):
            if listed.get(name) != found.get(name):
                stated, seen = listed.get(name, "nothing"), found.get(name, "nothing")
                raise FormatError(f"of {name} it lists {stated}, and the image has {seen}")
        return f"{len(found)} modules and firmware files are what it lists"

    def _verify_tests(self, image: Pullspec, contents: ImageContents) -> str:
        result = parse_data(_TestResult, self._open(image, TEST_PREDICATE).predicate, "test result")
        if is_component(contents):
            return check_tests(result.result, result.passed, result.failed, without=self._without)
        if result.result != "PASSED" or result.failed:
            raise FormatError(f"its tests ended with {result.result!r}")
        missing = [test for test in self._tests if test not in result.passed]
        if missing:
            passed = ", ".join(result.passed) or "nothing"
            raise FormatError(f"it did not pass {', '.join(missing)}; it passed {passed}")
        kernel = contents.labels.get(KERNEL_LABEL)
        for item in result.configuration:
            if (tested := item.annotations.get("kernel", kernel)) != kernel:
                raise FormatError(f"test {item.name} ran on {tested}, and the image is for {kernel}")
        boots = [item.annotations for item in result.configuration if item.name == BOOT_TEST]
        if BOOT_TEST in self._tests:
            self._require_boot(boots)
        shown = (f"boot ({_describe_boot(boots)})" if test == BOOT_TEST else test for test in result.passed)
        return f"passed {', '.join(shown)}"

    def _require_boot(self, boots: Sequence[Mapping[str, Any]]) -> None:
        """Check that every boot test proved as much as is wanted."""
        proved = [boot_strength(boot.get("mode"), boot.get("signedBy")) for boot in boots] or ["any"]
        if not all(is_strong_enough(strength, self._boot) for strength in proved):
            wanted = {"secure": "under Secure Boot", "signed": "under Secure Boot with its own signatures"}[self._boot]
            raise FormatError(f"its boot test was {_describe_boot(boots)}; wanted is one {wanted}")


class _Hash(Parsed):
    alg: str
    content: str


class _Component(Parsed):
    type: str
    name: str
    hashes: tuple[_Hash, ...] = ()

    @property
    def sha256(self) -> str:
        return next((item.content for item in self.hashes if item.alg == "SHA-256"), "")


class _Bom(Parsed):
    components: tuple[_Component, ...] = ()


class _Configuration(Parsed):
    name: str = ""
    annotations: dict[str, Any] = Field(default_factory=dict)


class _TestResult(Parsed):
    result: str | None = None
    passed: tuple[str, ...] = Field(default=(), alias="passedTests")
    failed: tuple[str, ...] = Field(default=(), alias="failedTests")
    configuration: tuple[_Configuration, ...] = ()


def _describe_boot(boots: Sequence[Mapping[str, Any]]) -> str:
    """Return what boot tests proved, in words."""
    words = {
        "any": "plain: no signature was enforced",
        "secure": "under Secure Boot, of copies with a throwaway signature: its own signatures were not tested",
        "signed": "under Secure Boot, with its own signatures",
    }
    known = [boot for boot in boots if boot.get("mode")]
    proved = (words[boot_strength(boot.get("mode"), boot.get("signedBy"))] for boot in known)
    return " and ".join(dict.fromkeys(proved)) or "of a kind that is not told"


def _count_listed(content: bytes) -> int:
    """Return how many images a list has, those without a platform included."""
    listed = read_json(content, "the list").get("manifests")
    return len(listed) if isinstance(listed, list) else 0
