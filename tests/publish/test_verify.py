"""Verification and its counterpart, signing, against a registry in memory: every check is broken by exactly its thing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.registry import FakeRegistry, digest_of
from fakes.shop import (
    KERNEL,
    MODULE,
    NAME,
    OTHER,
    REPOSITORY,
    SIGNER,
    Shop,
    make_cell,
    make_publisher,
    make_shop,
    never,
)

from builder.errors import FormatError, SignerError, SourceError, UsageError
from builder.evidence.journal import Journal
from builder.evidence.records import FileRecord, ModuleRecord
from builder.image.manifests import OCI_INDEX, OCI_MANIFEST, make_descriptor, make_index, referrers_tag
from builder.publish import cells
from builder.publish.attachments import Artifact
from builder.publish.attest.bundle import (
    BUNDLE_TYPE,
    PREDICATE_ANNOTATION,
    SIGNATURE_PREDICATE,
    make_statement,
)
from builder.publish.attest.sbom import SBOM_PREDICATE
from builder.publish.attest.simple_signing import _SIGNATURE, PAYLOAD_TYPE, signature_tag
from builder.publish.attest.statements import CELL_PREDICATES, PROVENANCE_PREDICATE, TEST_PREDICATE, make_statements
from builder.publish.result import CellNames, PublishStatus
from builder.publish.signatory import Signatory
from builder.publish.verifying import verify_image
from builder.pullspec import parse_pullspec
from builder.signing.image_key import OpenImageSigner

if TYPE_CHECKING:
    from pathlib import Path

    from builder.publish.attest.facts import CellFacts


@pytest.fixture(params=[False, True], ids=["tags", "referrers"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    return make_shop(FakeRegistry(lists_referrers=request.param), tmp_path)


def test_what_was_signed_is_right_and_nothing_is_added_twice(shop: Shop) -> None:
    assert shop.sign() == 5
    assert shop.wrong() == {}
    assert shop.wrong(str(shop.image)) == {}
    before = dict(shop.server.manifests)
    assert shop.sign() == 0
    assert shop.server.manifests == before


def test_what_nobody_signed_is_not_even_fetched(shop: Shop) -> None:
    before = len(shop.server.log)
    wrong = shop.wrong()
    assert set(wrong) == {"signature", "signature bundle", "image"}
    assert "it is not signed" in wrong["signature"]
    assert "not read, because nobody answers for it" in wrong["image"]
    assert not [line for line in shop.server.log[before:] if "/blobs/" in line]


@pytest.mark.parametrize("missing", CELL_PREDICATES)
def test_each_statement_is_missed(shop: Shop, missing: str) -> None:
    shop.sign(predicates=[kind for kind in CELL_PREDICATES if kind != missing])
    assert f"it has no statement {missing}" in (wrong := shop.wrong()).values()
    assert len(wrong) == (2 if missing == SIGNATURE_PREDICATE else 1), "without a signature nothing more is looked at"
    assert shop.sign() == 1
    assert shop.wrong() == {}


def test_another_key_is_no_key(shop: Shop) -> None:
    shop.sign(signer=OTHER)
    wrong = shop.wrong()
    assert "none of its 1 signatures is by the key" in wrong["signature"]
    assert "not made with the given key" in wrong["signature bundle"]
    assert wrong.keys() == {"signature", "signature bundle", "image"}
    assert shop.sign() == 5, "ours goes beside theirs"
    assert shop.wrong() == {}
    assert len(shop.attachments.signatures(shop.image)) == 2


def test_what_a_stranger_attached_keeps_nobody_from_signing(shop: Shop) -> None:
    """Lists that hold other things than descriptors, artefacts that are gone or are none, signatures that are none."""
    digest, server = shop.facts.digest, shop.server
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
        {"mediaType": PAYLOAD_TYPE, "digest": digest, "size": 5, "annotations": {_SIGNATURE: "%"}},
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
    assert shop.sign() == 5
    assert shop.wrong() == {}
    assert shop.sign() == 0
    if not server.lists_referrers:
        kept = json.loads(server.manifests[REPOSITORY, referrers_tag(digest)])["manifests"]
        assert [item for item in junk if isinstance(item, dict)] == kept[:6], "what others wrote stays there"


def _with_junk(server: FakeRegistry, request: httpx.Request, junk: list[Any]) -> httpx.Response:
    there = json.loads(server._answer(request).content)["manifests"]
    return httpx.Response(200, json={"schemaVersion": 2, "manifests": [*junk, *there]})


def test_another_name_is_not_signed(shop: Shop) -> None:
    shop.sign()
    shop.server.manifests[REPOSITORY, "latest"] = shop.server.manifests[REPOSITORY, NAME.reference]
    assert set(shop.wrong(f"quay.test/{REPOSITORY}:latest")) == {"signature", "image"}
    assert shop.wrong(signed_as="quay.test/another/repository").keys() == {"signature", "image"}
    assert shop.wrong(signed_as=f"quay.test/{REPOSITORY}") == {}


def _evidence(shop: Shop, **changes: Any) -> CellFacts:
    return replace(shop.facts, evidence=replace(shop.facts.evidence, **changes))


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
def test_a_signed_lie_is_found(shop: Shop, changes: dict[str, Any], check: str, sentence: str) -> None:
    shop.sign(_evidence(shop, **changes))
    assert sentence in shop.wrong()[check]


def test_an_architecture_that_differs_is_found(shop: Shop) -> None:
    shop.sign(replace(shop.facts, arch="arm64"))
    assert "provenance says architecture 'arm64'" in shop.wrong()["provenance"]


def test_tests_may_be_waived_by_name_only(shop: Shop) -> None:
    shop.sign(replace(_evidence(shop, signers=()), boot=None))
    assert shop.wrong() == {"tests": "it did not pass module-signature, boot; it passed fit"}
    assert shop.wrong(without=("boot",)) == {"tests": "it did not pass module-signature; it passed fit"}
    assert shop.wrong(without=("boot", "module-signature")) == {}


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
def test_tests_that_failed_or_ran_elsewhere_are_found(shop: Shop, predicate: dict[str, Any], sentence: str) -> None:
    shop.sign(predicates=[kind for kind in CELL_PREDICATES if kind != TEST_PREDICATE])
    shop.attach(TEST_PREDICATE, make_statement("n", shop.facts.digest, TEST_PREDICATE, predicate))
    assert sentence in shop.wrong()["tests"]


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
    shop: Shop, kind: str, predicate: dict[str, Any], check: str
) -> None:
    shop.sign(predicates=[item for item in CELL_PREDICATES if item != kind])
    shop.attach(kind, make_statement("n", shop.facts.digest, kind, predicate))
    assert shop.wrong()[check].startswith("it is no ")


def test_a_statement_about_another_image_does_not_count(shop: Shop) -> None:
    shop.sign(predicates=[kind for kind in CELL_PREDICATES if kind != SBOM_PREDICATE])
    statement = make_statements(replace(shop.facts, digest=f"sha256:{'9' * 64}"))[SBOM_PREDICATE]
    shop.attach(SBOM_PREDICATE, statement)
    assert "is about another image" in shop.wrong()["bill of materials"]


def test_a_statement_is_what_it_is_listed_as(shop: Shop) -> None:
    shop.sign(predicates=[kind for kind in CELL_PREDICATES if kind != SBOM_PREDICATE])
    statement = make_statement("n", shop.facts.digest, SIGNATURE_PREDICATE, {})
    shop.attach(SIGNATURE_PREDICATE, statement, listed_as=SBOM_PREDICATE)
    assert "is listed as" in shop.wrong()["bill of materials"]


def test_incomplete_provenance_is_found(shop: Shop) -> None:
    shop.sign(predicates=[kind for kind in CELL_PREDICATES if kind != PROVENANCE_PREDICATE])
    shop.attach(
        PROVENANCE_PREDICATE, make_statement("n", shop.facts.digest, PROVENANCE_PREDICATE, {"buildDefinition": 1})
    )
    assert shop.wrong() == {"provenance": "its buildDefinition is missing"}


def test_an_image_without_modules_is_none(tmp_path: Path) -> None:
    shop = make_shop(FakeRegistry(), tmp_path, {"etc/x": b"x"})
    shop.sign(_evidence(shop, modules=()))
    assert shop.wrong() == {"bill of materials": "the image holds no module"}


def test_firmware_counts_as_modules_do(tmp_path: Path) -> None:
    files = {f"opt/lib/modules/{KERNEL}/extra/a.ko": MODULE, "firmware/drv/fw.bin": b"firmware"}
    shop = make_shop(FakeRegistry(), tmp_path, files)
    shop.sign(_evidence(shop, firmware=(FileRecord(path="firmware/drv/fw.bin", sha256="0" * 64, size=8),)))
    assert "of firmware/drv/fw.bin it lists 000" in shop.wrong()["bill of materials"]
    other = make_shop(FakeRegistry(), tmp_path / "right", files)
    sha256 = hashlib.sha256(b"firmware").hexdigest()
    other.sign(_evidence(other, firmware=(FileRecord(path="firmware/drv/fw.bin", sha256=sha256, size=8),)))
    assert other.wrong() == {}


def test_a_changed_layer_is_found(shop: Shop) -> None:
    shop.sign()
    layer = json.loads(shop.server.manifests[REPOSITORY, shop.facts.digest])["layers"][0]["digest"]
    content = bytearray(shop.server.blobs[REPOSITORY, layer])
    content[600] ^= 1
    shop.server.blobs[REPOSITORY, layer] = bytes(content)
    assert "is damaged" in shop.wrong()["image"]
    del shop.server.blobs[REPOSITORY, layer]
    assert "does not exist" in shop.wrong()["image"]


def test_no_answer_is_no_verdict(shop: Shop) -> None:
    shop.sign()
    shop.server.faults.append(lambda request: httpx.Response(503) if request.url.path.endswith(".sig") else None)
    with pytest.raises(SourceError, match="HTTP 503"):
        shop.wrong()


def test_a_list_and_each_of_its_images_is_checked(shop: Shop) -> None:
    shop.sign()
    manifest = shop.server.manifests[REPOSITORY, shop.facts.digest]
    entry = make_descriptor(OCI_MANIFEST, shop.facts.digest, len(manifest)) | {"platform": {"os": "linux", "architecture": "amd64"}}  # fmt: skip
    index = make_index([entry])
    shop.server.manifests |= {(REPOSITORY, "1.0.0"): index, (REPOSITORY, digest_of(index)): index}
    name = parse_pullspec(f"quay.test/{REPOSITORY}:1.0.0")

    def make() -> tuple[dict[str, Any], dict[str, bytes], str]:
        subject = make_descriptor("application/vnd.oci.image.index.v1+json", digest_of(index), len(index))
        return subject, {SIGNATURE_PREDICATE: make_statement("n", digest_of(index), SIGNATURE_PREDICATE, {})}, "2026-11-23T00:00:00Z"  # fmt: skip

    signatory = Signatory(shop.attachments, SIGNER)
    signatory.complete(name.at(digest_of(index)), [str(name)], [SIGNATURE_PREDICATE], make)
    assert set(shop.wrong(str(name))) == {"signature", "image"}, "each image must be signed for the list's name, too"
    signatory.complete(shop.image, [str(name)], (), make)
    assert shop.wrong(str(name)) == {}
    other = make_index([entry | {"platform": {"os": "linux", "architecture": "arm64"}}])
    shop.server.manifests |= {(REPOSITORY, "1.0.0"): other, (REPOSITORY, digest_of(other)): other}
    assert set(shop.wrong(str(name))) == {"signature", "signature bundle", "image"}, "nor are members of such a list"
    index = other
    signatory.complete(name.at(digest_of(index)), [str(name)], [SIGNATURE_PREDICATE], make)
    assert "provenance says platform 'amd64', the image says 'arm64'" in shop.wrong(str(name))["provenance"]


def test_every_entry_of_a_list_is_looked_at(shop: Shop) -> None:
    """Two entries of one platform, or one of none, would hide each other."""
    shop.sign()
    digest = shop.facts.digest
    entry = make_descriptor(OCI_MANIFEST, digest, len(shop.server.manifests[REPOSITORY, digest]))
    amd64 = {"platform": {"os": "linux", "architecture": "amd64"}}
    name = parse_pullspec(f"quay.test/{REPOSITORY}:1.0.0")
    for entries in ([entry | amd64, entry | amd64], [entry | amd64, entry], []):
        index = make_index(entries)
        shop.server.manifests |= {(REPOSITORY, "1.0.0"): index, (REPOSITORY, digest_of(index)): index}
        statement = make_statement("n", digest_of(index), SIGNATURE_PREDICATE, {})
        made = (make_descriptor(OCI_INDEX, digest_of(index), len(index)), {SIGNATURE_PREDICATE: statement}, "2026")
        signatory = Signatory(shop.attachments, SIGNER)

        def make(made: Any = made) -> Any:
            return made

        signatory.complete(name.at(digest_of(index)), [str(name)], [SIGNATURE_PREDICATE], make)
        assert f"it lists {len(entries)} images for" in shop.wrong(str(name))["list"]


_BOOTS = {"plain": ("plain", "nobody"), "secure": ("secure", "throwaway"), "signed": ("secure", "signers")}


@pytest.mark.parametrize(("made", "wanted", "is_enough"), [
    ("plain", "any", True), ("plain", "secure", False), ("plain", "signed", False),
    ("secure", "any", True), ("secure", "secure", True), ("secure", "signed", False),
    ("signed", "signed", True),
])  # fmt: skip
def test_a_boot_test_is_shown_as_what_it_is(made: str, wanted: str, is_enough: bool, tmp_path: Path) -> None:
    shop = make_shop(FakeRegistry(), tmp_path)
    assert shop.facts.boot is not None
    mode, signed_by = _BOOTS[made]
    shop.sign(replace(shop.facts, boot=replace(shop.facts.boot, mode=mode, signed_by=signed_by)))
    found = {check.name: check for check in shop.verify(boot=wanted).checks}["tests"]
    assert found.passed is is_enough
    words = {"plain": "plain: no signature", "secure": "throwaway signature", "signed": "with its own signatures"}
    assert words[made] in found.finding
    if not is_enough:
        assert "; wanted is one under Secure Boot" in found.finding
    assert shop.verify(boot=wanted, without=("boot",)).passed


def test_a_boot_test_that_says_nothing_of_its_kind_proves_no_more_than_a_boot(shop: Shop) -> None:
    shop.sign(predicates=[kind for kind in CELL_PREDICATES if kind != TEST_PREDICATE])
    predicate = {"result": "PASSED", "passedTests": ["fit", "module-signature", "boot"]}
    shop.attach(TEST_PREDICATE, make_statement("n", shop.facts.digest, TEST_PREDICATE, predicate))
    assert shop.verify().passed
    assert not shop.verify(boot="secure").passed


def test_a_weaker_boot_test_than_is_wanted_is_not_published(tmp_path: Path) -> None:
    shop = make_shop(FakeRegistry(), tmp_path)
    journal = Journal(tmp_path / "journal.jsonl")
    boot = shop.facts.boot
    assert boot is not None
    digest = shop.facts.digest

    def why(wanted: str) -> str:
        project: Any = SimpleNamespace(
            config=SimpleNamespace(publish=SimpleNamespace(require_boot=wanted)), journal=journal
        )
        return cells._why_too_weak(project, make_cell(), digest)

    assert why("any") == ""
    assert why("secure") == "publish.require_boot wants secure, and no boot test is on record of this image"
    for mode, signed_by, strength in (("plain", "nobody", 0), ("secure", "throwaway", 1), ("secure", "signers", 2)):
        journal.record_boot(replace(boot, mode=mode, signed_by=signed_by))
        assert [not why(wanted) for wanted in ("any", "secure", "signed")] == [
            number <= strength for number in range(3)
        ]
    journal.record_boot(replace(boot, digest=f"sha256:{'0' * 64}"))
    assert why("secure")
    journal.record_boot(replace(boot, passed=False))
    assert why("secure")


def test_a_boot_test_is_not_waived_and_demanded(tmp_path: Path) -> None:
    key = tmp_path / "images.pub"
    key.write_text(SIGNER.key.pem)
    project: Any = SimpleNamespace(file=tmp_path / "versions.yaml", cache_dir=tmp_path, untrusted=False)
    with pytest.raises(UsageError, match="cannot be waived"):
        verify_image(
            project, str(NAME), [key], without=("boot",), require_boot="secure", signed_as=None, plain_http=False
        )


def test_signatures_of_others_that_come_in_between_are_kept(tmp_path: Path) -> None:
    """Two machines add to the same list at once: what got lost is added again."""
    shop = make_shop(FakeRegistry(), tmp_path)
    other = make_shop(FakeRegistry(), tmp_path / "other")
    other.sign(signer=OTHER)
    raced: list[str] = []

    def race(request: httpx.Request) -> None:
        tags = {signature_tag(shop.facts.digest), referrers_tag(shop.facts.digest)}
        tag = request.url.path.rpartition("/")[2]
        if request.method == "PUT" and tag in tags and raced.count(tag) < 2:
            raced.append(tag)
            if raced.count(tag) == 1:  # theirs comes right after ours, and overwrites it
                shop.server._answer(request)
                shop.server.blobs |= other.server.blobs
                shop.server.manifests |= {
                    key: value for key, value in other.server.manifests.items() if key[1] not in tags
                }
                shop.server.manifests[REPOSITORY, tag] = other.server.manifests[REPOSITORY, tag]
                raise _LostError

    class _LostError(httpx.ReadError):
        def __init__(self) -> None:
            super().__init__("the connection broke off")

    shop.server.faults.append(race)
    assert shop.sign() == 5
    assert len(raced) >= 2
    assert shop.wrong() == {}
    assert len(shop.attachments.signatures(shop.image)) == 2, "theirs is still there"
    assert len(shop.attachments.referrers(shop.image)) == 8


def test_a_list_that_says_nothing_of_its_entries_is_completed(tmp_path: Path) -> None:
    """Some registries leave annotations and types out."""
    server = FakeRegistry(lists_referrers=True)
    shop = make_shop(server, tmp_path)
    shop.sign()

    def bare(request: httpx.Request) -> httpx.Response | None:
        if "/referrers/" not in request.url.path:
            return None
        data = json.loads(server._answer(request).content)
        for entry in data["manifests"]:
            del entry["annotations"], entry["artifactType"]
        return httpx.Response(200, json=data)

    server.faults.append(bare)
    assert shop.wrong() == {}


def test_a_foreign_artefact_in_the_list_is_passed_over(shop: Shop) -> None:
    manifest = shop.server.manifests[REPOSITORY, shop.facts.digest]
    subject = make_descriptor(OCI_MANIFEST, shop.facts.digest, len(manifest))
    shop.attachments.add(
        shop.image, subject, [Artifact(kind="application/spdx", content=b"{}", annotations={"a": "b"})]
    )
    shop.attachments.add(shop.image, subject, [Artifact(kind=BUNDLE_TYPE, content=b"rubbish", annotations={"a": "b"})])
    assert shop.sign() == 5
    assert shop.wrong() == {}


def test_an_artefact_about_something_else_is_refused(shop: Shop) -> None:
    shop.sign()
    entry = shop.attachments.referrers(shop.image)[0]
    with pytest.raises(FormatError, match="is about something else"):
        shop.attachments.blob(NAME.at(f"sha256:{'3' * 64}"), entry)


def test_a_key_of_another_public_key_signs_nothing(shop: Shop) -> None:
    broken = OpenImageSigner(SIGNER.key, OTHER._private)
    with pytest.raises(SignerError, match="does not belong to the public key"):
        shop.sign(signer=broken)
    assert signature_tag(shop.facts.digest) not in {name for _, name in shop.server.manifests}


def test_what_another_machine_made_of_the_same_inputs_is_adopted(tmp_path: Path) -> None:
    """Its digest differs (ECDSA is not deterministic everywhere); names that it did not write yet get its image."""
    shop = make_shop(FakeRegistry(), tmp_path)
    alias = f"quay.test/{REPOSITORY}:alias"
    journal = Journal(tmp_path / "journal.jsonl")
    names = CellNames(own=(str(NAME), alias))
    signatory = Signatory(shop.attachments, SIGNER)
    publisher = make_publisher(shop, journal, signatory)
    ours = f"sha256:{'7' * 64}"
    unsigned = publisher.publish(make_cell(), names, ours, never)
    assert unsigned.status is PublishStatus.UNSIGNED
    assert "lacks a signature for" in unsigned.why
    assert (REPOSITORY, "alias") not in shop.server.manifests
    shop.sign()
    signatory.complete(shop.image, [alias], (), lambda: ({}, {}, ""))
    adopted = publisher.publish(make_cell(), names, ours, never)
    assert (adopted.status, adopted.digest) == (PublishStatus.PUBLISHED, shop.facts.digest)
    assert shop.server.manifests[REPOSITORY, "alias"] == shop.server.manifests[REPOSITORY, NAME.reference]
    assert publisher.publish(make_cell(), names, ours, never).status is PublishStatus.THERE
    other = publisher.publish(make_cell("x" * 64), names, ours, never)
    assert (other.status, ours in other.why, shop.facts.digest in other.why) == (PublishStatus.CONFLICT, True, True)


def test_a_cell_that_is_not_built_here_may_be_there(tmp_path: Path) -> None:
    shop = make_shop(FakeRegistry(), tmp_path)
    publisher = make_publisher(shop, Journal(tmp_path / "journal.jsonl"), Signatory(shop.attachments, SIGNER))
    names = CellNames(own=(str(NAME),))
    assert publisher.find(make_cell(), names, "never built").status is PublishStatus.UNSIGNED
    shop.sign()
    assert publisher.find(make_cell(), names, "never built").status is PublishStatus.THERE
    other = publisher.find(make_cell("x" * 64), names, "never built")
    assert (other.status, other.why) == (PublishStatus.NOT_BUILT, "never built")
    shop.server.faults.append(lambda _: httpx.Response(403))
    unknown = publisher.find(make_cell(), names, "never built")
    assert unknown.status is PublishStatus.NOT_BUILT
    assert "whether another machine published it is not known" in unknown.why


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_every_way_to_say_that_there_is_no_list_of_referrers(tmp_path: Path, status: int) -> None:
    server = FakeRegistry()
    server.faults.append(lambda request: httpx.Response(status) if "/referrers/" in request.url.path else None)
    shop = make_shop(server, tmp_path)
    assert shop.sign() == 5
    assert shop.wrong() == {}
    assert referrers_tag(shop.facts.digest) in {name for _, name in server.manifests}


def test_a_list_of_referrers_that_is_refused_is_not_an_empty_one(tmp_path: Path) -> None:
    server = FakeRegistry(lists_referrers=True)
    shop = make_shop(server, tmp_path)
    shop.sign()
    server.faults.append(lambda request: httpx.Response(403) if "/referrers/" in request.url.path else None)
    with pytest.raises(SourceError, match="refuses access"):
        shop.wrong()
