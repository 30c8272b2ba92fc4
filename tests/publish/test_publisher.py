"""Tags of several architectures: who is in a list, what it waits for, and that nobody gets our signature by a trick."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.bench import FEW, Bench
from fakes.exported import StoredImage
from fakes.list_place import BOTH, LIST, LIST_OTHER, LIST_REPOSITORY, REFUSED, Place, list_item, list_of, own_names
from fakes.lists import never
from fakes.published_image import (
    NAME,
    REPOSITORY,
    SIGNER,
    make_published_image,
)
from fakes.registry import FakeRegistry

from builder.digest import sha256_of
from builder.evidence.journal import Journal
from builder.evidence.records import PublishEvidence
from builder.image.labels import KEY_LABEL
from builder.image.manifests import OCI_INDEX, OCI_MANIFEST, make_descriptor, make_index
from builder.image.packed import Packing, pack_image
from builder.image.packed_layer import PackedLayer
from builder.publish.attest.attached import attestation_tag
from builder.publish.attest.simple_signing import signature_tag
from builder.publish.attester import Attester
from builder.publish.audit import Auditor, TagState, WantedTag
from builder.publish.cells import Force
from builder.publish.publishable import ImageNames, Publishable
from builder.publish.publisher import Publisher, PublishTools
from builder.publish.reading import RegistryReader
from builder.publish.result import PublishResult, PublishStatus, advise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fakes.tools import FakeTools


def test_a_list_waits_for_a_member_that_is_refused_here_and_then_completes(place: Place) -> None:
    place.put("amd64")
    waiting = list_of(list_item("amd64"), REFUSED)
    result = place.publish(waiting)
    assert result.status is PublishStatus.WAITING
    assert result.is_waiting
    assert "drv-1.0.0/6.1.0-9-arm64: there is no toolkit" in result.why
    assert place.list() is None
    assert place.audit(waiting)[0] is TagState.WAITING
    assert place.publish().status is PublishStatus.WAITING
    assert place.audit() == (TagState.WAITING, f"it waits for {LIST}-arm64")
    place.put("arm64")
    assert place.publish().status is PublishStatus.PUBLISHED
    assert place.list()
    listed = json.loads(place.list() or b"")["manifests"]
    assert [item["platform"]["architecture"] for item in listed] == ["amd64", "arm64"]
    assert place.publish().status is PublishStatus.THERE
    assert place.audit() == (TagState.NONE, "")
    assert place.publish(waiting).status is PublishStatus.WAITING
    assert place.audit(waiting) == (TagState.NONE, "")
    (place.folder / "journal.jsonl").unlink()
    assert "whether it is whole is not known here" in place.audit(waiting)[1]


def test_a_list_that_waits_only_for_what_is_acknowledged_is_no_news(place: Place) -> None:
    known = replace(REFUSED, why="there is no toolkit; known: case 7", is_known=True)
    shared = list_of(list_item("amd64"), known)
    waiting = place.publish(shared)
    assert (waiting.status, waiting.is_known) == (PublishStatus.WAITING, False), "amd64 is not there either"
    place.put("amd64")
    for wanted, is_known in ((shared, True), (list_of(list_item("amd64"), REFUSED), False)):
        result = place.publish(wanted)
        assert (result.status, result.is_waiting) == (PublishStatus.WAITING, not is_known)
        audit = place.audit_of(wanted)
        assert (audit.drift, audit.is_drift) == (TagState.WAITING, not is_known)
    assert place.list() is None


def test_a_strangers_image_gets_no_part_in_what_we_sign(place: Place) -> None:
    place.put("amd64")
    stranger = place.put("arm64", signer=None)
    result = place.publish()
    assert result.status is PublishStatus.UNSIGNED
    assert f"{stranger} was made from the inputs of drv-1.0.0/6.1.0-9-arm64 by another machine" in result.why
    assert place.list() is None
    assert not any(json.loads(content).get("manifests") for content in place.server.manifests.values())


def test_a_stranger_with_a_key_of_his_own_is_one_too(place: Place) -> None:
    place.put("amd64")
    place.put("arm64", signer=LIST_OTHER)
    assert place.publish().status is PublishStatus.UNSIGNED
    assert place.list() is None


def test_where_images_are_not_signed_a_moved_member_is_a_conflict(tmp_path: Path) -> None:
    place = Place(FakeRegistry(), tmp_path, is_signing=False)
    place.put("amd64", signer=None)
    own = own_names("arm64").own[0]
    place.put("arm64", signer=None)
    journal = Journal(tmp_path / "journal.jsonl")
    old = f"sha256:{'0' * 64}"
    journal.record_publish(PublishEvidence(cell="c", key="a" * 64, name=own, digest=old, run="r", finished=""))
    result = place.publish()
    assert (result.status, f"{own} was published as {old}" in result.why) == (PublishStatus.CONFLICT, True)
    assert place.list() is None


def test_a_list_in_the_place_of_a_member_is_none(place: Place) -> None:
    digest = place.put("amd64")
    inner = make_index([make_descriptor(OCI_MANIFEST, digest, 1)], {KEY_LABEL: "a" * 64})
    place.server.put_manifest(LIST_REPOSITORY, json.loads(inner), own_names("arm64").own[0].rpartition(":")[2])
    result = place.publish()
    assert (result.status, "stands for a list of images" in result.why) == (PublishStatus.CONFLICT, True)
    found = place.publisher().publish(list_item("arm64", digest=digest))
    assert (found.status, "stand for a list of images" in found.why) == (PublishStatus.CONFLICT, True)
    absent = place.publisher().publish(list_item("arm64", why="never built"))
    assert absent.status is PublishStatus.NOT_BUILT


@pytest.mark.parametrize(
    ("lie", "words"), [("text/html", "which is no image"), (OCI_INDEX, "it is a list and an image at once")]
)
def test_a_media_type_that_lies_is_not_repeated(lie: str, words: str, place: Place) -> None:
    place.put("amd64")
    tag = own_names("arm64").own[0].rpartition(":")[2]
    digest = place.put("arm64")
    data = json.loads(place.server.manifests[LIST_REPOSITORY, digest]) | {"mediaType": lie}
    place.server.put_manifest(LIST_REPOSITORY, data, tag)
    result = place.publish()
    assert (result.status, words in result.why) == (PublishStatus.UNKNOWN, True)
    assert place.list() is None


def test_a_registry_that_serves_another_image_than_its_tag_stood_for(place: Place) -> None:
    """What is signed is what was looked at, even if each question gets another answer."""
    good, arm = place.put("amd64"), place.put("arm64")
    tag = f"/v2/{LIST_REPOSITORY}/manifests/{own_names('arm64').own[0].rpartition(':')[2]}"
    place.put("arm64", key="a" * 64, signer=None)
    data = json.loads(place.server.manifests[LIST_REPOSITORY, arm]) | {"annotations": {"x": "other"}}
    other = json.dumps(data).encode()
    answers = [place.server.manifests[LIST_REPOSITORY, arm]]

    def lie(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != tag:
            return None
        return httpx.Response(200, content=answers.pop() if answers else other)

    place.server.faults.append(lie)
    assert place.publish().status is PublishStatus.PUBLISHED
    assert place.list()
    assert {item["digest"] for item in json.loads(place.list() or b"")["manifests"]} == {good, arm}
    assert place.publish().status is PublishStatus.UNSIGNED
    assert sha256_of(other) not in (place.list() or b"").decode()


def test_two_machines_that_complete_a_list_at_once_agree(place: Place) -> None:
    place.put("amd64")
    place.put("arm64")
    results: list[PublishResult] = []

    def other_machine(request: httpx.Request) -> None:
        if request.method == "PUT" and request.url.path.endswith(LIST.rpartition(":")[2]) and not results:
            results.append(PublishResult(title="", names=(), status=PublishStatus.UNKNOWN))
            results.append(place.publisher(Journal(place.folder / "other.jsonl")).publish_list(BOTH))

    place.server.faults.append(other_machine)
    assert place.publish().status is PublishStatus.PUBLISHED
    assert results[1].status is PublishStatus.PUBLISHED
    assert place.publish().status is PublishStatus.THERE


def test_another_list_under_the_tag_stays(place: Place) -> None:
    place.put("amd64")
    place.put("arm64")
    tag = LIST.rpartition(":")[2]
    place.server.put_manifest(LIST_REPOSITORY, json.loads(make_index([], {KEY_LABEL: "z" * 64})), tag)
    result = place.publish()
    assert result.status is PublishStatus.CONFLICT
    members = [PublishResult(title=item.title, names=(), status=PublishStatus.THERE) for item in BOTH.members]
    assert "--force drv-1.0.0 --reason" in advise([*members, result]), "the list alone"
    assert Force(cells=("drv-1.0.0",), reason="x").of(result.title, "drv-1.0.0/6.1") == "x"
    assert Force(cells=("drv-1.0.0",), reason="x").of("drv-1.0.0/6.1") == "", "its images stay"
    assert place.publish(force="the first one was wrong").status is PublishStatus.PUBLISHED


def test_what_another_machine_made_of_the_same_inputs_is_adopted(tmp_path: Path, fake_tools: FakeTools) -> None:
    """Its digest differs (ECDSA is not deterministic everywhere); names that it did not write yet get its image."""
    stored = StoredImage(tmp_path / "stored")
    stored.keep_in(fake_tools)
    image = make_published_image(FakeRegistry(), tmp_path)
    alias = f"quay.test/{REPOSITORY}:alias"
    attester = Attester(image.attachments, SIGNER)
    publisher = image.publisher(Journal(tmp_path / "journal.jsonl"), attester)
    ours = image.item(alias, digest=stored.digest)
    unsigned = publisher.publish(ours)
    assert unsigned.status is PublishStatus.UNSIGNED
    assert "lacks a signature for" in unsigned.why
    assert "its configuration differs" in unsigned.why
    assert (REPOSITORY, "alias") not in image.server.manifests
    image.sign()
    attester.complete(image.image, image.manifest, [alias], (), never)
    adopted = publisher.publish(ours)
    assert (adopted.status, adopted.digest) == (PublishStatus.PUBLISHED, image.facts.digest)
    assert image.server.manifests[REPOSITORY, "alias"] == image.server.manifests[REPOSITORY, NAME.reference]
    assert publisher.publish(ours).status is PublishStatus.THERE
    other = publisher.publish(replace(ours, key="x" * 64))
    assert (other.status, ours.digest in other.why, image.facts.digest in other.why) == (
        PublishStatus.CONFLICT,
        True,
        True,
    )


def test_an_image_that_is_not_here_may_be_there(tmp_path: Path) -> None:
    image = make_published_image(FakeRegistry(), tmp_path)
    publisher = image.publisher(Journal(tmp_path / "journal.jsonl"), Attester(image.attachments, SIGNER))
    assert publisher.publish(image.item()).status is PublishStatus.UNSIGNED
    image.sign()
    assert publisher.publish(image.item()).status is PublishStatus.THERE
    other = publisher.publish(image.item(key="x" * 64))
    assert (other.status, other.why) == (PublishStatus.NOT_BUILT, "never built")
    image.server.faults.append(lambda _: httpx.Response(403))
    unknown = publisher.publish(image.item())
    assert unknown.status is PublishStatus.NOT_BUILT
    assert "whether another machine published it is not known" in unknown.why


def test_what_another_machine_published_is_looked_at_once(tmp_path: Path) -> None:
    image = make_published_image(FakeRegistry(lists_referrers=True), tmp_path)
    image.sign()
    publisher = image.publisher(Journal(tmp_path / "journal.jsonl"), Attester(image.attachments, SIGNER))
    before = len(image.server.log)
    assert publisher.publish(image.item()).status is PublishStatus.THERE
    asked = Counter(line.split("/")[-2] for line in image.server.log[before:])
    assert asked == {"manifests": 3, "blobs": 1, "referrers": 1}, (
        "its tag and configuration, two lists, what refers to it"
    )


@pytest.mark.parametrize("tag_of", [signature_tag, attestation_tag])
def test_an_image_whose_list_is_occupied_has_a_result_of_its_own(tmp_path: Path, tag_of: Callable[[str], str]) -> None:
    image = make_published_image(FakeRegistry(), tmp_path)
    publisher = image.publisher(Journal(tmp_path / "journal.jsonl"), Attester(image.attachments, SIGNER))
    tag = tag_of(image.facts.digest)
    image.sign()
    image.server.put_manifest(REPOSITORY, {"layers": 5}, tag)
    before = dict(image.server.manifests)
    result = publisher.publish(image.item())
    assert (result.status, result.is_failure, result.may_be_moved) == (PublishStatus.BLOCKED, True, False)
    assert f"{tag} stands for sha256:" in result.why
    assert image.server.manifests == before
    _, uploader, attachments = image.server.open(tmp_path / "reader")
    reader = RegistryReader(registry=image.registry, tags=uploader.tags, attachments=attachments, keys=[SIGNER.key])
    auditor = Auditor(journal=Journal(tmp_path / "empty.jsonl"), reader=reader)
    audit = auditor.audit(WantedTag(name=str(NAME), of=image.item()))
    assert (audit.drift, audit.why) == (TagState.UNSIGNED, result.why)
    del image.server.manifests[REPOSITORY, tag]
    image.sign()
    assert publisher.publish(image.item()).status is PublishStatus.THERE


class _Growing:
    """An entry of a journal to which another thread adds one while this is being looked at."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @property
    def digest(self) -> str:
        thread = threading.Thread(target=self._journal.record_publish, args=(_PUBLISHED,))
        thread.start()
        thread.join(0.05)
        return "sha256:2"


_PUBLISHED = PublishEvidence(cell="c", key="k", name="n", digest="sha256:3", run="r", finished="f")


def test_a_journal_to_which_others_add_is_looked_through(tmp_path: Path) -> None:
    image = make_published_image(FakeRegistry(), tmp_path)
    journal = Journal(tmp_path / "journal.jsonl")
    growing: Any = _Growing(journal)
    journal.published |= {"quay.test/a:1": growing, "quay.test/b:1": replace(_PUBLISHED, digest="sha256:4")}
    result = image.publisher(journal, None).publish(image.item(digest=image.facts.digest))
    assert (result.status, journal.published[str(NAME)].digest) == (PublishStatus.THERE, image.facts.digest)


_BASE = "registry.test/ubi9/ubi-minimal"


class _Stored:
    """A built image whose only layer is said to be one of a base, and the registries that it goes to and comes from."""

    def __init__(self, bench: Bench, base: str) -> None:
        cell = bench.build("--kernel", FEW[0])[1]["cells"][0]
        exported = bench.store / FEW[0] / "exported"
        plain = json.loads((exported / "manifest.json").read_text())["layers"][0]["digest"]
        self.blob = gzip.compress((exported / plain.removeprefix("sha256:")).read_bytes(), mtime=0)
        kept = {plain: PackedLayer(digest=sha256_of(self.blob), size=len(self.blob))}
        packing = Packing(kept=kept)
        self.server = FakeRegistry()
        self.server.blobs[base.partition("/")[2], sha256_of(self.blob)] = self.blob
        self.item = Publishable(
            title=cell["cell"], key=cell["key"], arch="amd64", names=ImageNames(own=("quay.test/org/drv:1",)), predicates=(),
            state=never, stored_as=f"localhost/kmodsmith/cell:{cell['key']}",
            digest=pack_image(exported, packing).digest, packing=packing, base=f"{base}@sha256:{'1' * 64}",
        )  # fmt: skip
        registry, uploader, _ = self.server.open(bench.folder / "cache")
        journal = Journal(bench.folder / "published.jsonl")
        self.publisher = Publisher(
            PublishTools(
                registry=registry, uploader=uploader, journal=journal, attester=None, scratch=bench.folder, run_id="r"
            )
        )


def test_layers_of_a_base_are_brought_from_its_own_registry(bench: Bench) -> None:
    stored = _Stored(bench, _BASE)
    result = stored.publisher.publish(stored.item)
    assert (result.status, result.blobs_sent) == (PublishStatus.PUBLISHED, 2)
    assert stored.server.blobs["org/drv", sha256_of(stored.blob)] == stored.blob
    manifest = json.loads(stored.server.manifests["org/drv", "1"])
    assert manifest["layers"][0] | {"digest": sha256_of(stored.blob), "size": len(stored.blob)} == manifest["layers"][0]
    assert manifest["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"


def test_layers_of_a_base_in_the_same_registry_are_mounted(bench: Bench) -> None:
    stored = _Stored(bench, "quay.test/ubi/base")

    def mount(request: httpx.Request) -> httpx.Response | None:
        if "mount" not in request.url.params:
            return None
        assert request.url.params["from"] == "ubi/base"
        stored.server.blobs["org/drv", request.url.params["mount"]] = stored.blob
        return httpx.Response(201)

    stored.server.faults.append(mount)
    result = stored.publisher.publish(stored.item)
    assert (result.status, result.blobs_sent) == (PublishStatus.PUBLISHED, 1), "only the configuration is sent"


def test_a_registry_is_asked_for_a_blob_once_before_it_is_sent(bench: Bench) -> None:
    stored = _Stored(bench, _BASE)
    assert stored.publisher.publish(stored.item).status is PublishStatus.PUBLISHED
    asked = Counter(line for line in stored.server.log if line.startswith("HEAD"))
    assert set(asked.values()) == {2}, "and once more when all is there"


def test_layers_that_the_repository_has_are_not_asked_of_the_base(bench: Bench) -> None:
    stored = _Stored(bench, _BASE)
    stored.server.blobs["org/drv", sha256_of(stored.blob)] = stored.blob
    stored.server.blobs.pop((_BASE.partition("/")[2], sha256_of(stored.blob)))
    assert stored.publisher.publish(stored.item).status is PublishStatus.PUBLISHED


@pytest.mark.parametrize("damage", [b"", b"another", None])
def test_a_base_that_does_not_give_its_layers_publishes_nothing(bench: Bench, damage: bytes | None) -> None:
    stored = _Stored(bench, _BASE)
    place = (_BASE.partition("/")[2], sha256_of(stored.blob))
    if damage is None:
        del stored.server.blobs[place]
    else:
        stored.server.blobs[place] = damage
    result = stored.publisher.publish(stored.item)
    assert (result.status, stored.server.final_tags) == (PublishStatus.UNKNOWN, set())
    assert sha256_of(stored.blob) in result.why
