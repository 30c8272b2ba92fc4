"""Statements under the tag ``.att``: the form, what strangers put there, and what both forms have to do with each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.lists import never
from fakes.published_image import NAME, OTHER, REPOSITORY, SIGNER, PublishedImage
from fakes.registry import FakeRegistry, digest_of
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import FormatError, SourceError
from builder.evidence.journal import Journal
from builder.image.manifests import OCI_MANIFEST
from builder.publish.airgap import AirgapLoader, AirgapWriter, LoadStatus
from builder.publish.attest.attached import (
    ENVELOPE_TYPE,
    AttachedStatement,
    attach_statement,
    attestation_tag,
    make_attestation_image,
    parse_attestation_image,
)
from builder.publish.attest.bundle import (
    SIGNATURE_PREDICATE,
    envelope_of,
    make_bundle,
    make_statement,
    open_envelope,
    rewrite_envelope,
    sign_envelope,
    sign_statement,
)
from builder.publish.attest.sbom import SBOM_PREDICATE
from builder.publish.attest.statements import CELL_PREDICATES, PROVENANCE_PREDICATE, TEST_PREDICATE
from builder.publish.attester import Attester
from builder.publish.audit import Auditor, TagState, WantedTag
from builder.publish.reading import RegistryReader
from builder.publish.result import PublishStatus
from builder.pullspec import parse_pullspec

if TYPE_CHECKING:
    from pathlib import Path

_DIGEST = f"sha256:{'1' * 64}"
_STATED = (PROVENANCE_PREDICATE, SBOM_PREDICATE, TEST_PREDICATE)
_CHECK = "statements by themselves"


def _tag(image: PublishedImage) -> str:
    return attestation_tag(image.facts.digest)


def _layers(image: PublishedImage) -> list[Any]:
    layers: list[Any] = json.loads(image.server.manifests[REPOSITORY, _tag(image)])["layers"]
    return layers


def _list(image: PublishedImage, layers: list[Any]) -> None:
    image.server.put_manifest(REPOSITORY, {"mediaType": OCI_MANIFEST, "layers": layers}, _tag(image))


def _forget(image: PublishedImage) -> None:
    """Make the image one that was published before there was this form."""
    del image.server.manifests[REPOSITORY, _tag(image)]


def _complete(image: PublishedImage) -> int:
    """Complete an image of which no proof is at hand."""
    attester = Attester(image.attachments, SIGNER)
    return attester.complete(image.image, image.manifest, [str(NAME)], CELL_PREDICATES, never)


def test_the_list_is_as_its_readers_want_it(image: PublishedImage) -> None:
    image.sign()
    manifest = json.loads(image.server.manifests[REPOSITORY, f"sha256-{image.facts.digest[7:]}.att"])
    assert [layer["mediaType"] for layer in manifest["layers"]] == ["application/vnd.dsse.envelope.v1+json"] * 3
    notes = [layer["annotations"] for layer in manifest["layers"]]
    assert notes == [{"dev.cosignproject.cosign/signature": "", "predicateType": kind} for kind in _STATED]
    config = json.loads(image.server.blobs[REPOSITORY, manifest["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    for layer, kind in zip(manifest["layers"], _STATED, strict=True):
        content = image.server.blobs[REPOSITORY, layer["digest"]]
        assert len(content) == layer["size"]
        assert set(json.loads(content)) == {"payload", "payloadType", "signatures"}
        statement = open_envelope(content, [SIGNER.key])
        assert (statement.predicate_type, set(statement.subjects.values())) == (kind, {image.facts.digest})


def test_both_forms_carry_one_signature(image: PublishedImage) -> None:
    image.sign()
    entries = image.attachments.referrers(image.image)
    bundled = {digest_of(envelope_of(image.attachments.blob(image.image, entry))) for entry in entries}
    assert {layer["digest"] for layer in _layers(image)} < bundled
    assert len(bundled) == 4


def test_what_is_there_is_not_written_again(image: PublishedImage) -> None:
    image.sign()
    before = len(image.server.log)
    assert image.sign() == 0
    assert not [line for line in image.server.log[before:] if not line.startswith(("GET", "HEAD"))]


def test_an_image_that_was_published_before_gets_the_other_form_of_what_it_has(image: PublishedImage) -> None:
    image.sign()
    there = _layers(image)
    _forget(image)
    assert image.verify().passed, "it is as good as it was"
    assert _complete(image) == 3, "and nobody states or signs anything for it"
    assert _layers(image) == there
    assert _complete(image) == 0


def test_a_lost_bundle_is_made_again_of_what_is_attached(image: PublishedImage) -> None:
    """It takes no proof, and no other signature."""
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != SBOM_PREDICATE])
    statement = make_statement("n", image.facts.digest, SBOM_PREDICATE, {"a": 1})
    envelope = sign_envelope(statement, SIGNER.sign)
    image.attachments.add_attestations(image.image, [(envelope, attach_statement(SBOM_PREDICATE, envelope))])
    before = _layers(image)
    assert _complete(image) == 1
    assert _layers(image) == before
    assert _complete(image) == 0


def test_an_envelope_that_another_program_wrote_becomes_ours(image: PublishedImage) -> None:
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != SBOM_PREDICATE])
    envelope = sign_envelope(make_statement("n", image.facts.digest, SBOM_PREDICATE, {}), SIGNER.sign)
    odd = json.dumps(json.loads(envelope), indent=4).encode()
    image.attachments.add_attestations(image.image, [(odd, attach_statement(SBOM_PREDICATE, odd))])
    assert _complete(image) == 2
    assert _complete(image) == 0


@pytest.mark.parametrize("lost", range(3))
def test_one_that_is_gone_is_added_again(image: PublishedImage, lost: int) -> None:
    image.sign()
    layers = _layers(image)
    _list(image, [*layers[:lost], *layers[lost + 1 :]])
    assert image.wrong() == {_CHECK: f"no statement {_STATED[lost]} by the key is attached by itself, and others are"}
    assert _complete(image) == 1
    assert sorted(map(str, _layers(image))) == sorted(map(str, layers))
    assert image.wrong() == {}


def test_a_publish_that_was_killed_before_the_list_goes_on_with_its_signatures(image: PublishedImage) -> None:
    class _KilledError(Exception):
        pass

    def kill(request: httpx.Request) -> None:
        if request.method == "PUT" and request.url.path.endswith(".att"):
            raise _KilledError

    image.server.faults.append(kill)
    with pytest.raises(_KilledError):
        image.sign()
    image.server.faults.clear()
    assert _complete(image) == 3
    assert image.wrong() == {}


def test_a_list_that_cannot_be_read_is_unknown(image: PublishedImage) -> None:
    image.sign()
    image.server.faults.append(lambda request: httpx.Response(503) if request.url.path.endswith(".att") else None)
    with pytest.raises(SourceError, match="HTTP 503"):
        image.sign()
    with pytest.raises(SourceError, match="HTTP 503"):
        image.wrong()


_JUNK: list[Any] = [
    5, None, [], "x", {}, {"digest": 5},
    {"mediaType": ENVELOPE_TYPE, "digest": "../x", "size": 1},
    {"mediaType": ENVELOPE_TYPE, "digest": _DIGEST, "size": -1},
    {"mediaType": ENVELOPE_TYPE, "digest": _DIGEST, "size": True},
    {"mediaType": ENVELOPE_TYPE, "digest": _DIGEST, "size": "1"},
    {"mediaType": ENVELOPE_TYPE, "digest": _DIGEST, "size": 1, "annotations": {"a": 5}},
    {"mediaType": 5, "digest": _DIGEST, "size": 1},
]  # fmt: skip
_FOREIGN: list[Any] = [
    {"mediaType": "application/x", "digest": _DIGEST, "size": 7, "more": ["kept"]},
    {"mediaType": ENVELOPE_TYPE, "digest": _DIGEST, "size": 7, "annotations": {"predicateType": SBOM_PREDICATE}},
    {"mediaType": ENVELOPE_TYPE, "digest": _DIGEST, "size": 7},
]


def test_what_strangers_put_there_is_passed_over_and_stays(image: PublishedImage) -> None:
    rubbish = image.server.put_blob(REPOSITORY, b"rubbish")
    foreign = [*_FOREIGN, {**rubbish, "mediaType": ENVELOPE_TYPE, "annotations": {"predicateType": TEST_PREDICATE}}]
    _list(image, [*_JUNK, *foreign])
    assert image.sign() == 8
    assert _layers(image)[: len(foreign)] == foreign, "no engine could read the list with what is no layer at all"
    assert len(_layers(image)) == len(foreign) + 3
    assert image.wrong() == {}
    assert image.sign() == 0


@pytest.mark.parametrize(
    "annotations",
    [
        {},
        {"predicateType": SBOM_PREDICATE},
        {"dev.cosignproject.cosign/signature": "", "predicateType": "https://kind"},
    ],
)
def test_ours_is_listed_as_its_readers_want_it_whatever_strangers_list_it_as(
    image: PublishedImage, annotations: dict[str, str]
) -> None:
    """Who may write can list our own envelope as something else, and engines pass it over then."""
    image.sign()
    ours = _layers(image)
    theirs = [{**layer, "annotations": annotations} for layer in ours]
    _list(image, theirs)
    assert _complete(image) == 3
    assert _layers(image) == [*theirs, *ours]
    assert image.wrong() == {}
    assert _complete(image) == 0


def test_what_another_key_attached_is_nothing(image: PublishedImage) -> None:
    image.sign(signer=OTHER)
    assert image.sign() == 8
    assert len(_layers(image)) == 6
    assert image.wrong() == {}
    _list(image, _layers(image)[:3])
    assert image.wrong() == {}, "as if nothing were attached"
    assert _complete(image) == 3


def test_a_statement_about_another_image_is_nothing(image: PublishedImage) -> None:
    image.sign()
    _forget(image)
    envelope = sign_envelope(make_statement("n", _DIGEST, SBOM_PREDICATE, {}), SIGNER.sign)
    other = sign_envelope(make_statement("n", image.facts.digest, SIGNATURE_PREDICATE, {}), SIGNER.sign)
    for content in (envelope, other):
        image.attachments.add_attestations(image.image, [(content, attach_statement(SBOM_PREDICATE, content))])
    assert image.wrong() == {}
    assert _complete(image) == 3


def test_what_is_attached_must_be_what_the_bundle_says(image: PublishedImage) -> None:
    image.sign()
    lie = sign_envelope(make_statement("n", image.facts.digest, SBOM_PREDICATE, {"components": []}), SIGNER.sign)
    changed = attach_statement(SBOM_PREDICATE, lie)
    layers = [layer for layer in _layers(image) if layer["annotations"]["predicateType"] != SBOM_PREDICATE]
    _list(image, layers)
    image.attachments.add_attestations(image.image, [(lie, changed)])
    assert image.wrong() == {
        _CHECK: f"the statement {SBOM_PREDICATE} that is attached by itself is not that of its bundle"
    }
    assert _complete(image) == 1, "ours goes beside it"
    assert image.wrong() == {}


@pytest.mark.parametrize("kind", range(3))
def test_a_damaged_envelope_is_told(image: PublishedImage, kind: int) -> None:
    image.sign()
    digest = _layers(image)[kind]["digest"]
    content = image.server.blobs[REPOSITORY, digest]
    image.server.blobs[REPOSITORY, digest] = content[:50] + bytes([content[50] ^ 1]) + content[51:]
    assert "is damaged" in image.wrong()[_CHECK]
    del image.server.blobs[REPOSITORY, digest]
    assert "does not exist" in image.wrong()[_CHECK]


def test_a_list_has_bounds(image: PublishedImage) -> None:
    full = [{**_FOREIGN[0], "digest": f"sha256:{number:064x}"} for number in range(998)]
    _list(image, full)
    with pytest.raises(FormatError, match="would have 1001 entries"):
        image.sign()
    _list(image, full[:997])
    assert image.sign() == 3, "signature and bundles are there"
    _list(image, [*full, *full])
    with pytest.raises(FormatError, match="no list of attestations"):
        image.sign()


def test_so_many_of_strangers_are_fetched_and_no_more(image: PublishedImage) -> None:
    rubbish = [
        {**image.server.put_blob(REPOSITORY, b"%d" % number), "mediaType": ENVELOPE_TYPE} for number in range(300)
    ]
    _list(image, [{**item, "annotations": {"predicateType": SBOM_PREDICATE}} for item in rubbish])
    before = len(image.server.log)
    assert image.sign() == 8
    fetched = [line for line in image.server.log[before:] if line.startswith("GET") and "/blobs/" in line]
    assert len(fetched) == 50


def test_audit_tells_what_policy_controllers_do_not_find(image: PublishedImage) -> None:
    image.sign()
    _, uploader, attachments = image.server.open(image.folder / "reader")
    reader = RegistryReader(registry=image.registry, tags=uploader.tags, attachments=attachments, keys=[SIGNER.key])
    auditor = Auditor(journal=Journal(image.folder / "journal.jsonl"), reader=reader)
    tag = WantedTag(name=str(NAME), of=image.item())
    assert auditor.audit(tag).drift is TagState.NONE
    _list(image, _layers(image)[1:])
    found = auditor.audit(tag)
    assert (found.drift, found.why) == (
        TagState.UNSIGNED, f"policy controllers find no statement {PROVENANCE_PREDICATE}: 'nox -s publish' adds it"
    )  # fmt: skip


def test_another_machine_completes_what_was_published_before(image: PublishedImage, tmp_path: Path) -> None:
    """It has no proof of the image, and needs none: the key's own statements are there."""
    image.sign()
    _forget(image)
    publisher = image.publisher(Journal(tmp_path / "journal.jsonl"), Attester(image.attachments, SIGNER))
    for item in (image.item(), image.item(digest=_DIGEST)):
        result = publisher.publish(item)
        assert (result.status, result.attached) == (PublishStatus.COMPLETED, 3)
        assert publisher.publish(item).status is PublishStatus.THERE
        _forget(image)


def _bundle(image: PublishedImage, folder: Path) -> Path:
    registry, _, attachments = image.server.open(folder / "bundle-cache")
    (folder / "blobs").mkdir(exist_ok=True)
    writer = AirgapWriter(registry, attachments, folder / "blobs")
    writer.add(NAME, image.facts.digest)
    report = writer.write(folder / "bundle.tar")
    assert [name for name, _ in report.images] == [str(NAME)]
    return folder / "bundle.tar"


def test_a_bundle_carries_it_and_a_load_adds_it_to_what_is_there(image: PublishedImage, tmp_path: Path) -> None:
    image.sign()
    gone = {"mediaType": ENVELOPE_TYPE, "digest": _DIGEST, "size": 7}
    huge = {"mediaType": ENVELOPE_TYPE, "digest": f"sha256:{'2' * 64}", "size": 2**40}
    _list(image, [gone, huge, *_layers(image)])
    file = _bundle(image, tmp_path)
    target = FakeRegistry(lists_referrers=image.server.lists_referrers)
    theirs = {**target.put_blob(f"site/{REPOSITORY}", b"theirs"), "mediaType": ENVELOPE_TYPE}
    target.put_manifest(f"site/{REPOSITORY}", {"mediaType": OCI_MANIFEST, "layers": [theirs]}, _tag(image))
    _, uploader, attachments = target.open(tmp_path / "target-cache")
    for status in (LoadStatus.LOADED, LoadStatus.THERE):
        (tmp_path / status).mkdir()
        before = len(target.log)
        (loaded,) = AirgapLoader(uploader, attachments, tmp_path / status).load(file, "mirror.test/site")
        assert loaded.status is status
    writes = [line for line in target.log[before:] if line.startswith(("PUT", "POST")) and ".att" in line]
    assert not writes, "nothing is written twice"
    place = parse_pullspec(f"mirror.test/site/{REPOSITORY}:x").at(image.facts.digest)
    listed = attachments.attestations(place)
    assert [item.digest for item in listed] == [theirs["digest"], *(layer["digest"] for layer in _layers(image)[2:])]
    for item in listed[1:]:
        assert open_envelope(attachments.envelope(place, item), [SIGNER.key]).predicate_type == item.kind


def test_an_image_without_it_gives_a_bundle_without_it(image: PublishedImage, tmp_path: Path) -> None:
    image.sign()
    _forget(image)
    assert b".att" not in _bundle(image, tmp_path).read_bytes()


def test_forms_can_be_told_apart_and_made_of_each_other() -> None:
    statement = make_statement("n", _DIGEST, "https://kind", {"a": 1})
    bundle = sign_statement(statement, SIGNER.key, SIGNER.sign)
    envelope = envelope_of(bundle)
    assert make_bundle(envelope, SIGNER.key) == bundle
    assert rewrite_envelope(json.dumps(json.loads(envelope), indent=1).encode()) == envelope
    for wrong in (b"", b"[]", b"{}", bundle, b'{"payload": 5}'):
        with pytest.raises(FormatError, match="it is no envelope of a statement"):
            rewrite_envelope(wrong)
        with pytest.raises(FormatError, match="it is no envelope of a statement"):
            open_envelope(wrong, [SIGNER.key])
    with pytest.raises(FormatError, match="not made with the given key"):
        open_envelope(envelope, [OTHER.key])
    with pytest.raises(FormatError, match="it is no sigstore bundle"):
        envelope_of(envelope)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_hostile_list_is_read_or_refused(data: st.DataObject) -> None:
    good, _ = make_attestation_image([attach_statement("https://kind", b"x"), AttachedStatement(_DIGEST, 3)])
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        listed = parse_attestation_image(bytes(content))
        made, _ = make_attestation_image([], bytes(content))
    except FormatError as error:
        assert len(error.message) < 500
    else:
        assert parse_attestation_image(made) == listed
