"""Verification and its counterpart, signing, against a registry in memory: every check is broken by exactly its thing."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.components import LABELS, WHEEL, make_component_evidence
from fakes.driver_indexes import INDEX_PLACE, INDEX_SIGNER, INDEX_STRANGER, IndexSite
from fakes.published_image import (
    KERNEL,
    MODULE,
    NAME,
    OTHER,
    REPOSITORY,
    SIGNER,
    PublishedImage,
    make_published_image,
)
from fakes.registry import FakeRegistry, digest_of

from builder.errors import SourceError
from builder.evidence.records import FileRecord, ModuleRecord, SelfTest
from builder.image.manifests import OCI_MANIFEST, make_descriptor, make_index, referrers_tag
from builder.publish.attest.attached import ENVELOPE_TYPE, attestation_tag
from builder.publish.attest.bundle import (
    BUNDLE_TYPE,
    PREDICATE_ANNOTATION,
    SIGNATURE_PREDICATE,
    make_statement,
)
from builder.publish.attest.component_statements import ComponentFacts, make_component_statements
from builder.publish.attest.listed import SIGNATURE_ANNOTATION
from builder.publish.attest.sbom import SBOM_PREDICATE
from builder.publish.attest.simple_signing import PAYLOAD_TYPE, signature_tag
from builder.publish.attest.statements import (
    BUILD_TYPE,
    CELL_PREDICATES,
    PROVENANCE_PREDICATE,
    TEST_PREDICATE,
    make_provenance,
    make_statements,
)
from builder.publish.attester import Attester
from builder.publish.publishable import Statements
from builder.publish.verifier import Verifier
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from builder.publish.attest.facts import CellFacts
    from builder.signing.public_key import PublicKey


def test_what_was_signed_is_right_and_nothing_is_added_twice(image: PublishedImage) -> None:
    assert image.sign() == 8
    assert image.wrong() == {}
    assert image.wrong(str(image.image)) == {}
    before = dict(image.server.manifests)
    assert image.sign() == 0
    assert image.server.manifests == before


def test_what_nobody_signed_is_not_even_fetched(image: PublishedImage) -> None:
    before = len(image.server.log)
    wrong = image.wrong()
    assert set(wrong) == {"signature", "signature bundle", "image"}
    assert "it is not signed" in wrong["signature"]
    assert "not read, because nobody answers for it" in wrong["image"]
    assert not [line for line in image.server.log[before:] if "/blobs/" in line]


def test_what_refers_to_an_image_is_asked_for_once(image: PublishedImage) -> None:
    """All checks are about one answer, and a registry gets one question for it."""
    image.sign()
    before = len(image.server.log)
    assert image.wrong() == {}
    tag = referrers_tag(image.facts.digest)
    asked = [line for line in image.server.log[before:] if "/referrers/" in line or line.endswith(tag)]
    assert len(asked) == (1 if image.server.lists_referrers else 2)


@pytest.mark.parametrize("missing", CELL_PREDICATES)
def test_each_statement_is_missed(image: PublishedImage, missing: str) -> None:
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != missing])
    assert f"it has no statement {missing}" in (wrong := image.wrong()).values()
    assert len(wrong) == (2 if missing == SIGNATURE_PREDICATE else 1), "without a signature nothing more is looked at"
    assert image.sign() == (1 if missing == SIGNATURE_PREDICATE else 2), "in both forms"
    assert image.wrong() == {}


def test_another_key_is_no_key(image: PublishedImage) -> None:
    image.sign(signer=OTHER)
    wrong = image.wrong()
    assert "none of its 1 signatures is by the key" in wrong["signature"]
    assert "not made with the given key" in wrong["signature bundle"]
    assert wrong.keys() == {"signature", "signature bundle", "image"}
    assert image.sign() == 8, "ours goes beside theirs"
    assert image.wrong() == {}
    assert len(image.attachments.signatures(image.image)) == 2


def test_what_a_stranger_attached_keeps_nobody_from_signing(image: PublishedImage) -> None:
    """Lists that hold other things than descriptors, artefacts that are gone or are none, signatures that are none."""
    digest, server = image.facts.digest, image.server
    gone = {"mediaType": OCI_MANIFEST, "digest": "sha256:" + "9" * 64, "size": 5, "artifactType": BUNDLE_TYPE}
    none = {**gone, "digest": server.put_manifest(REPOSITORY, {"layers": 5})}
    known = {**gone, "annotations": {PREDICATE_ANNOTATION: SIGNATURE_PREDICATE}}
    junk: list[Any] = [
        gone,
        none,
        known,
        5,
        None,
        [],
        {"digest": 5},
        {**gone, "size": -1},
        {**gone, "annotations": [1]},
    ]
    layers = [
        {"mediaType": PAYLOAD_TYPE, "digest": digest, "size": 5, "annotations": {SIGNATURE_ANNOTATION: "%"}},
        5,
        {"size": []},
    ]
    server.put_manifest(REPOSITORY, {"mediaType": OCI_MANIFEST, "layers": layers}, signature_tag(digest))
    if server.lists_referrers:
        server.faults.append(
            lambda request: _with_junk(server, request, junk) if "/referrers/" in request.url.path else None
        )
    else:
        server.put_manifest(REPOSITORY, {"manifests": junk}, referrers_tag(digest))
    assert image.sign() == 8
    assert image.wrong() == {}
    assert image.sign() == 0
    if not server.lists_referrers:
        kept = json.loads(server.manifests[REPOSITORY, referrers_tag(digest)])["manifests"]
        assert [item for item in junk if isinstance(item, dict)] == kept[:6], "what others wrote stays there"


def _with_junk(server: FakeRegistry, request: httpx.Request, junk: list[Any]) -> httpx.Response:
    there = json.loads(server._answer(request).content)["manifests"]
    return httpx.Response(200, json={"schemaVersion": 2, "manifests": [*junk, *there]})


def _sign_list(image: PublishedImage) -> list[Any]:
    content = image.server.manifests[REPOSITORY, signature_tag(image.facts.digest)]
    layers: list[Any] = json.loads(content)["layers"]
    return layers


def _put_list(image: PublishedImage, tag: str, layers: list[Any]) -> None:
    image.server.put_manifest(REPOSITORY, {"mediaType": OCI_MANIFEST, "layers": layers}, tag)


def _claim(image: PublishedImage, payload: bytes, signature: bytes) -> dict[str, Any]:
    annotations = {SIGNATURE_ANNOTATION: base64.b64encode(signature).decode()}
    return {**image.server.put_blob(REPOSITORY, payload), "mediaType": PAYLOAD_TYPE, "annotations": annotations}


@pytest.mark.parametrize("kind", ["gone", "huge", "damaged", "no payload"])
def test_an_entry_of_a_strangers_makes_no_right_signature_wrong(image: PublishedImage, kind: str) -> None:
    """Also one that the key did sign, as something else: an envelope's bytes are no payload."""
    image.sign()
    statement = make_statement("n", image.facts.digest, SIGNATURE_PREDICATE, {})
    theirs = {
        "gone": _claim(image, b"x", b"y") | {"digest": f"sha256:{'9' * 64}"},
        "huge": _claim(image, b"x", b"y") | {"size": 10**15},
        "damaged": _claim(image, b"damaged", b"y"),
        "no payload": _claim(image, statement, SIGNER.sign(statement)),
    }[kind]
    image.server.blobs[REPOSITORY, digest_of(b"damaged")] = b"another"
    ours = _sign_list(image)
    tag = signature_tag(image.facts.digest)
    _put_list(image, tag, [theirs, *ours])
    assert image.wrong() == {}
    _put_list(image, tag, [theirs])
    wrong = image.wrong()
    assert "none of its 1 signatures is by the key and for this name; one cannot be read: " in wrong["signature"]
    assert image.sign() == 1, "ours goes beside it"
    now = _sign_list(image)
    assert (now[0], [item["digest"] for item in now[1:]]) == (theirs, [item["digest"] for item in ours])


@pytest.mark.parametrize("status", [503, 403])
def test_a_payload_that_nobody_answers_for_is_no_verdict(image: PublishedImage, status: int) -> None:
    image.sign()
    theirs = _claim(image, b"x", b"y")
    _put_list(image, signature_tag(image.facts.digest), [theirs, *_sign_list(image)])
    image.server.faults.append(lambda request: httpx.Response(status) if theirs["digest"] in request.url.path else None)
    with pytest.raises(SourceError, match=f"HTTP {status}|refuses access"):
        image.wrong()


@pytest.mark.parametrize("tag_of", [signature_tag, attestation_tag, referrers_tag])
def test_what_stands_in_the_place_of_a_list_is_told(image: PublishedImage, tag_of: Callable[[str], str]) -> None:
    """What is attached by itself is one more form: without it an image is as good as it was."""
    image.sign()
    tag = tag_of(image.facts.digest)
    image.server.put_manifest(REPOSITORY, {"layers": 5, "manifests": 5}, tag)
    found = {check.name: check for check in image.verify().checks}
    if tag_of is attestation_tag:
        assert all(check.passed for check in found.values())
        finding = found["statements by themselves"].finding
        assert finding.startswith("none that can be read (")
    elif tag_of is referrers_tag and image.server.lists_referrers:
        assert all(check.passed for check in found.values()), "nobody reads that tag"
        return
    else:
        check = found["signature" if tag_of is signature_tag else "signature bundle"]
        assert not check.passed
        finding = check.finding
    assert f"quay.test/{REPOSITORY}:{tag} stands for sha256:" in finding


def test_strangers_cannot_push_ours_out_of_what_is_read(image: PublishedImage) -> None:
    image.sign()
    tag = attestation_tag(image.facts.digest)
    ours = json.loads(image.server.manifests[REPOSITORY, tag])["layers"]
    theirs = [{**image.server.put_blob(REPOSITORY, b"%d" % number), **_OF_STRANGERS} for number in range(60)]
    _put_list(image, tag, [*theirs, *ours])
    assert image.wrong() == {}


_OF_STRANGERS = {"mediaType": ENVELOPE_TYPE, "annotations": {"predicateType": SBOM_PREDICATE}}


def test_a_strangers_statement_that_is_gone_leaves_an_image_as_good_as_it_was(image: PublishedImage) -> None:
    image.sign()
    gone = {"digest": f"sha256:{'9' * 64}", "size": 7, **_OF_STRANGERS}
    _put_list(image, attestation_tag(image.facts.digest), [gone])
    found = {check.name: check for check in image.verify().checks}["statements by themselves"]
    assert (found.passed, "none that can be read (" in found.finding) == (True, True)


def test_another_name_is_not_signed(image: PublishedImage) -> None:
    image.sign()
    image.server.manifests[REPOSITORY, "latest"] = image.server.manifests[REPOSITORY, NAME.reference]
    assert set(image.wrong(f"quay.test/{REPOSITORY}:latest")) == {"signature", "image"}
    assert image.wrong(signed_as="quay.test/another/repository").keys() == {"signature", "image"}
    assert image.wrong(signed_as=f"quay.test/{REPOSITORY}") == {}


def _evidence(image: PublishedImage, **changes: Any) -> CellFacts:
    return replace(image.facts, evidence=replace(image.facts.evidence, **changes))


@pytest.mark.parametrize(
    ("changes", "check", "sentence"),
    [
        ({"kernel": "6.1.0-8-amd64"}, "provenance", "provenance says kernel '6.1.0-8-amd64', the image says"),
        ({"key": "x" * 64}, "provenance", "provenance says key"),
        ({"inputs": {"toolkit": "x"}}, "provenance", "provenance says toolkit"),
        ({"modules": ()}, "bill of materials", "of a.ko it lists nothing"),
        ({"modules": (ModuleRecord(name="a.ko", sha256="0" * 64, size=1),)}, "bill of materials", "of a.ko it lists 000"),
        ({"modules": (ModuleRecord(name="b.ko", sha256="0" * 64, size=1),)}, "bill of materials", "of a.ko it lists nothing"),
        ({"signers": ()}, "tests", "it did not pass module-signature"),
    ],
)  # fmt: skip
def test_a_signed_lie_is_found(image: PublishedImage, changes: dict[str, Any], check: str, sentence: str) -> None:
    image.sign(_evidence(image, **changes))
    assert sentence in image.wrong()[check]


def test_an_architecture_that_differs_is_found(image: PublishedImage) -> None:
    image.sign(replace(image.facts, arch="arm64"))
    assert "provenance says architecture 'arm64'" in image.wrong()["provenance"]


def test_tests_may_be_waived_by_name_only(image: PublishedImage) -> None:
    image.sign(replace(_evidence(image, signers=()), boot=None))
    assert image.wrong() == {"tests": "it did not pass module-signature, boot; it passed fit"}
    assert image.wrong(without=("boot",)) == {"tests": "it did not pass module-signature; it passed fit"}
    assert image.wrong(without=("boot", "module-signature")) == {}


@pytest.mark.parametrize(
    ("predicate", "sentence"),
    [
        ({"result": "FAILED", "passedTests": ["fit"]}, "its tests ended with 'FAILED'"),
        ({"result": "PASSED", "passedTests": ["fit"], "failedTests": ["boot"]}, "its tests ended with"),
        (
            {"result": "PASSED", "passedTests": ["fit", "module-signature", "boot"], "configuration": [{"name": "fit", "annotations": {"kernel": "6.6"}}]},
            "test fit ran on 6.6, and the image is for 6.1.0-9-amd64",
        ),
        ({}, "its tests ended with None"),
    ],
)  # fmt: skip
def test_tests_that_failed_or_ran_elsewhere_are_found(
    image: PublishedImage, predicate: dict[str, Any], sentence: str
) -> None:
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != TEST_PREDICATE])
    image.attach(TEST_PREDICATE, make_statement("n", image.facts.digest, TEST_PREDICATE, predicate))
    assert sentence in image.wrong()["tests"]


@pytest.mark.parametrize(
    ("kind", "predicate", "check"),
    [
        (SBOM_PREDICATE, {"components": ["text"]}, "bill of materials"),
        (SBOM_PREDICATE, {"components": 5}, "bill of materials"),
        (TEST_PREDICATE, {"result": "PASSED", "passedTests": [[]]}, "tests"),
        (TEST_PREDICATE, {"result": "PASSED", "configuration": ["fit"]}, "tests"),
    ],
)
def test_a_signed_statement_of_another_form_is_told(
    image: PublishedImage, kind: str, predicate: dict[str, Any], check: str
) -> None:
    image.sign(predicates=[item for item in CELL_PREDICATES if item != kind])
    image.attach(kind, make_statement("n", image.facts.digest, kind, predicate))
    assert image.wrong()[check].startswith("it is no ")


def test_a_statement_about_another_image_does_not_count(image: PublishedImage) -> None:
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != SBOM_PREDICATE])
    statement = make_statements(replace(image.facts, digest=f"sha256:{'9' * 64}"))[SBOM_PREDICATE]
    image.attach(SBOM_PREDICATE, statement)
    assert "is about another image" in image.wrong()["bill of materials"]


def test_a_statement_is_what_it_is_listed_as(image: PublishedImage) -> None:
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != SBOM_PREDICATE])
    statement = make_statement("n", image.facts.digest, SIGNATURE_PREDICATE, {})
    image.attach(SIGNATURE_PREDICATE, statement, listed_as=SBOM_PREDICATE)
    assert "is listed as" in image.wrong()["bill of materials"]


def test_incomplete_provenance_is_found(image: PublishedImage) -> None:
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != PROVENANCE_PREDICATE])
    image.attach(
        PROVENANCE_PREDICATE, make_statement("n", image.facts.digest, PROVENANCE_PREDICATE, {"buildDefinition": 1})
    )
    assert image.wrong() == {"provenance": "its buildDefinition is missing"}


def test_an_image_without_modules_is_none(tmp_path: Path) -> None:
    image = make_published_image(FakeRegistry(), tmp_path, {"etc/x": b"x"})
    image.sign(_evidence(image, modules=()))
    assert image.wrong() == {"bill of materials": "the image holds no module"}


def test_firmware_counts_as_modules_do(tmp_path: Path) -> None:
    files = {f"opt/lib/modules/{KERNEL}/extra/a.ko": MODULE, "firmware/drv/fw.bin": b"firmware"}
    image = make_published_image(FakeRegistry(), tmp_path, files)
    image.sign(_evidence(image, firmware=(FileRecord(path="firmware/drv/fw.bin", sha256="0" * 64, size=8),)))
    assert "of firmware/drv/fw.bin it lists 000" in image.wrong()["bill of materials"]
    other = make_published_image(FakeRegistry(), tmp_path / "right", files)
    sha256 = hashlib.sha256(b"firmware").hexdigest()
    other.sign(_evidence(other, firmware=(FileRecord(path="firmware/drv/fw.bin", sha256=sha256, size=8),)))
    assert other.wrong() == {}


def test_a_changed_layer_is_found(image: PublishedImage) -> None:
    image.sign()
    layer = json.loads(image.server.manifests[REPOSITORY, image.facts.digest])["layers"][0]["digest"]
    content = bytearray(image.server.blobs[REPOSITORY, layer])
    content[600] ^= 1
    image.server.blobs[REPOSITORY, layer] = bytes(content)
    assert "is damaged" in image.wrong()["image"]
    del image.server.blobs[REPOSITORY, layer]
    assert "does not exist" in image.wrong()["image"]


def test_no_answer_is_no_verdict(image: PublishedImage) -> None:
    image.sign()
    image.server.faults.append(lambda request: httpx.Response(503) if request.url.path.endswith(".sig") else None)
    with pytest.raises(SourceError, match="HTTP 503"):
        image.wrong()


def test_a_list_and_each_of_its_images_is_checked(image: PublishedImage) -> None:
    image.sign()
    manifest = image.server.manifests[REPOSITORY, image.facts.digest]
    entry = make_descriptor(OCI_MANIFEST, image.facts.digest, len(manifest)) | {"platform": {"os": "linux", "architecture": "amd64"}}  # fmt: skip
    index = make_index([entry])
    image.server.manifests |= {(REPOSITORY, "1.0.0"): index, (REPOSITORY, digest_of(index)): index}
    name = parse_pullspec(f"quay.test/{REPOSITORY}:1.0.0")

    def state() -> Statements:
        statement = make_statement("n", digest_of(index), SIGNATURE_PREDICATE, {})
        return Statements(by_kind={SIGNATURE_PREDICATE: statement}, made="2026-11-23T00:00:00Z")

    attester = Attester(image.attachments, SIGNER)
    attester.complete(name.at(digest_of(index)), index, [str(name)], [SIGNATURE_PREDICATE], state)
    assert set(image.wrong(str(name))) == {"signature", "image"}, "each image must be signed for the list's name, too"
    attester.complete(image.image, image.manifest, [str(name)], (), state)
    assert image.wrong(str(name)) == {}
    other = make_index([entry | {"platform": {"os": "linux", "architecture": "arm64"}}])
    image.server.manifests |= {(REPOSITORY, "1.0.0"): other, (REPOSITORY, digest_of(other)): other}
    assert set(image.wrong(str(name))) == {"signature", "signature bundle", "image"}, "nor are members of such a list"
    index = other
    attester.complete(name.at(digest_of(index)), index, [str(name)], [SIGNATURE_PREDICATE], state)
    assert "provenance says platform 'amd64', the image says 'arm64'" in image.wrong(str(name))["provenance"]


def test_every_entry_of_a_list_is_looked_at(image: PublishedImage) -> None:
    """Two entries of one platform, or one of none, would hide each other."""
    image.sign()
    digest = image.facts.digest
    entry = make_descriptor(OCI_MANIFEST, digest, len(image.server.manifests[REPOSITORY, digest]))
    amd64 = {"platform": {"os": "linux", "architecture": "amd64"}}
    name = parse_pullspec(f"quay.test/{REPOSITORY}:1.0.0")
    for entries in ([entry | amd64, entry | amd64], [entry | amd64, entry], []):
        index = make_index(entries)
        image.server.manifests |= {(REPOSITORY, "1.0.0"): index, (REPOSITORY, digest_of(index)): index}
        statement = make_statement("n", digest_of(index), SIGNATURE_PREDICATE, {})
        made = Statements(by_kind={SIGNATURE_PREDICATE: statement}, made="2026")

        def state(made: Statements = made) -> Statements:
            return made

        attester = Attester(image.attachments, SIGNER)
        attester.complete(name.at(digest_of(index)), index, [str(name)], [SIGNATURE_PREDICATE], state)
        assert f"it lists {len(entries)} images for" in image.wrong(str(name))["list"]


_BOOTS = {"plain": ("plain", "nobody"), "secure": ("secure", "throwaway"), "signed": ("secure", "signers")}


@pytest.mark.parametrize(("made", "wanted", "is_enough"), [
    ("plain", "any", True), ("plain", "secure", False), ("plain", "signed", False),
    ("secure", "any", True), ("secure", "secure", True), ("secure", "signed", False),
    ("signed", "signed", True),
])  # fmt: skip
def test_a_boot_test_is_shown_as_what_it_is(made: str, wanted: str, is_enough: bool, tmp_path: Path) -> None:
    image = make_published_image(FakeRegistry(), tmp_path)
    assert image.facts.boot is not None
    mode, signed_by = _BOOTS[made]
    image.sign(replace(image.facts, boot=replace(image.facts.boot, mode=mode, signed_by=signed_by)))
    found = {check.name: check for check in image.verify(boot=wanted).checks}["tests"]
    assert found.passed is is_enough
    words = {"plain": "plain: no signature", "secure": "throwaway signature", "signed": "with its own signatures"}
    assert words[made] in found.finding
    if not is_enough:
        assert "; wanted is one under Secure Boot" in found.finding
    assert image.verify(boot=wanted, without=("boot",)).passed


def test_a_boot_test_that_says_nothing_of_its_kind_proves_no_more_than_a_boot(image: PublishedImage) -> None:
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != TEST_PREDICATE])
    predicate = {"result": "PASSED", "passedTests": ["fit", "module-signature", "boot"]}
    image.attach(TEST_PREDICATE, make_statement("n", image.facts.digest, TEST_PREDICATE, predicate))
    assert image.verify().passed
    assert not image.verify(boot="secure").passed


def test_an_image_of_an_earlier_version_is_as_good_as_it_was(image: PublishedImage) -> None:
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != PROVENANCE_PREDICATE])
    provenance = make_provenance(image.facts)
    earlier = {**provenance["buildDefinition"], "buildType": "urn:kmodsmith:build:cell:1"}
    statement = make_statement(
        "n", image.facts.digest, PROVENANCE_PREDICATE, {**provenance, "buildDefinition": earlier}
    )
    image.attach(PROVENANCE_PREDICATE, statement)
    assert image.wrong() == {}


def test_provenance_of_another_type_is_none(image: PublishedImage) -> None:
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != PROVENANCE_PREDICATE])
    provenance = make_provenance(image.facts)
    other = {**provenance["buildDefinition"], "buildType": "urn:other"}
    statement = make_statement("n", image.facts.digest, PROVENANCE_PREDICATE, {**provenance, "buildDefinition": other})
    image.attach(PROVENANCE_PREDICATE, statement)
    assert image.wrong() == {"provenance": f"provenance says build type 'urn:other', the image says '{BUILD_TYPE}'"}


def _publish_component(
    image: PublishedImage,
    *,
    listed: str = "1.0",
    change: Callable[[ComponentFacts], ComponentFacts] = lambda facts: facts,
) -> str:
    """Publish an image that is a component's, beside the other; returns its name."""
    labels = {
        **LABELS, "io.kmodsmith.component": "plugin-0.1.0/x86_64", "io.kmodsmith.cell.key": "k" * 64,
        "io.kmodsmith.source.digest": "s" * 64,
    }  # fmt: skip
    config = {"architecture": "amd64", "os": "linux", "config": {"Labels": labels}}
    described = image.server.put_blob(REPOSITORY, json.dumps(config).encode())
    manifest = {**json.loads(image.manifest), "config": described}
    name = parse_pullspec(f"quay.test/{REPOSITORY}:0.1.0-amd64")
    digest = image.server.put_manifest(REPOSITORY, manifest, name.reference)
    facts = change(
        ComponentFacts(
            evidence=make_component_evidence(wheels=(replace(WHEEL, version=listed),)),
            repository=f"quay.test/{REPOSITORY}", digest=digest, name="plugin", version="0.1.0", arch="amd64",
            vendor="V", description="D", containerfile="c", target="", base=(), build=(), builder="urn:b",
            builder_version="0",
        )
    )  # fmt: skip

    def state() -> Statements:
        return Statements(by_kind=make_component_statements(facts), made=facts.evidence.finished)

    Attester(image.attachments, SIGNER).complete(
        name.at(digest), image.server.manifests[REPOSITORY, digest], [str(name)], CELL_PREDICATES, state
    )
    return str(name)


@pytest.fixture
def component(tmp_path: Path) -> PublishedImage:
    files = {"opt/x/demo-1.0.dist-info/METADATA": b"x"}
    return make_published_image(FakeRegistry(lists_referrers=True), tmp_path, files)


def test_a_component_image_needs_no_module_and_no_boot_test(component: PublishedImage) -> None:
    assert component.wrong(_publish_component(component)) == {}


def _with_evidence(**changes: Any) -> Callable[[ComponentFacts], ComponentFacts]:
    return lambda facts: replace(facts, evidence=replace(facts.evidence, **changes))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_with_evidence(key="other"), "provenance says key 'other'"),
        (_with_evidence(inputs={"source": "t" * 64}), "provenance says source"),
        (lambda facts: replace(facts, version="9"), "provenance says version '9'"),
        (lambda facts: replace(facts, arch="arm64"), "provenance says architecture 'arm64'"),
        (_with_evidence(self_test=None), "it did not pass self-test"),
        (_with_evidence(self_test=SelfTest(outcome="not-run", why="x")), "it did not pass self-test"),
        (_with_evidence(wheels=(replace(WHEEL, version="2.0"),)), "of demo it lists 2.0, and the image has 1.0"),
    ],
)
def test_a_component_image_of_which_something_else_is_said_is_wrong(
    component: PublishedImage, change: Callable[[ComponentFacts], ComponentFacts], words: str
) -> None:
    (finding,) = component.wrong(_publish_component(component, change=change)).values()
    assert words in finding


def test_the_self_test_of_a_component_image_may_be_waived(component: PublishedImage) -> None:
    name = _publish_component(component, change=_with_evidence(self_test=SelfTest(outcome="not-run", why="x")))
    assert component.wrong(name)
    assert component.wrong(name, without=["self-test"]) == {}


def _verify_index(site: IndexSite, key: PublicKey, tag: str = "index") -> tuple[bool, str]:
    registry, _, attachments = site.server.open(site.folder / f"verify-{len(site.server.log)}")
    (check,) = Verifier(registry, attachments, [key]).verify(INDEX_PLACE.at(tag)).checks
    assert check.name == "index"
    return check.passed, check.finding


def test_an_index_is_verified_by_its_own_signature(tmp_path: Path) -> None:
    site = IndexSite(FakeRegistry(), tmp_path)
    digest = site.write("k1", "k2").digest
    words = "signed by the key: of driver drv, made 2026-11-27 12:00:00 UTC, with 2 images of 1 version, and 1 release"
    for tag in ("index", "index-20261127T120000Z", digest):
        assert _verify_index(site, INDEX_SIGNER.key, tag) == (True, words)
    passed, finding = _verify_index(site, INDEX_STRANGER.key)
    assert (passed, "was not made with the given key" in finding) == (False, True)
    manifest = json.loads(site.server.manifests[INDEX_PLACE.repository, "index"])
    site.server.put_manifest(INDEX_PLACE.repository, manifest | {"layers": []}, "index")
    assert _verify_index(site, INDEX_SIGNER.key)[0] is False
