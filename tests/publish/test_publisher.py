"""Tags of several architectures: who is in a list, what it waits for, and that nobody gets our signature by a trick."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.image_keys import make_image_signer
from fakes.lists import make_decision, make_item, make_list, names_of, put_image
from fakes.registry import FakeRegistry

from builder.digest import sha256_of
from builder.evidence.journal import Journal
from builder.evidence.records import PublishEvidence
from builder.image.labels import KEY_LABEL
from builder.image.manifests import OCI_INDEX, OCI_MANIFEST, make_descriptor, make_index
from builder.plan.decide import Action, Decision, Plan, Reason
from builder.plan.matrix import Selector
from builder.plan.planning import BootOptions
from builder.publish import cells, published
from builder.publish.attest.simple_signing import signature_tag
from builder.publish.attester import Attester
from builder.publish.audit import Auditor, TagState, WantedTag
from builder.publish.publisher import Publisher, PublishTools
from builder.publish.reading import RegistryReader
from builder.publish.result import PublishResult, PublishStatus

if TYPE_CHECKING:
    from pathlib import Path

    from builder.publish.publishable import ImageNames, Publishable, PublishableList
    from builder.signing.image_key import OpenImageSigner

_REPOSITORY = "org/drv"
_LIST = f"quay.test/{_REPOSITORY}:1.0.0-6.1.0-9"
_SIGNER, _OTHER = make_image_signer(), make_image_signer()


def _names(arch: str) -> ImageNames:
    return names_of(arch, _LIST)


def _item(arch: str, **changes: Any) -> Publishable:
    return make_item(arch, _LIST, **changes)


def _shared(*items: Publishable) -> PublishableList:
    return make_list(_LIST, *items)


_REFUSED = _item("arm64", why="there is no toolkit", key="")
_BOTH = _shared(_item("amd64"), _item("arm64"))


@dataclass
class _Place:
    """A registry, and one machine that publishes into it."""

    server: FakeRegistry
    folder: Path
    is_signing: bool = True

    def put(self, arch: str, *, key: str = "", signer: OpenImageSigner | None = _SIGNER) -> str:
        """Put an image of an architecture under its own name; returns its digest."""
        _, uploader, attachments = self.server.open(self.folder / "signing")
        return put_image(uploader, attachments, arch, _LIST, signer, key)

    def publisher(self, journal: Journal | None = None) -> Publisher:
        registry, uploader, attachments = self.server.open(self.folder / "cache")
        attester = Attester(attachments, _SIGNER) if self.is_signing else None
        journal = journal or Journal(self.folder / "journal.jsonl")
        return Publisher(
            PublishTools(
                registry=registry, uploader=uploader, journal=journal, attester=attester, scratch=self.folder, run_id="r"
            )
        )  # fmt: skip

    def publish(self, shared: PublishableList = _BOTH, **options: Any) -> PublishResult:
        return self.publisher().publish_list(shared, **options)

    def reader(self) -> RegistryReader:
        registry, uploader, attachments = self.server.open(self.folder / "reader")
        keys = [_SIGNER.key] if self.is_signing else []
        return RegistryReader(registry=registry, tags=uploader.tags, attachments=attachments, keys=keys)

    def audit(self, shared: PublishableList = _BOTH, name: str = _LIST) -> tuple[TagState, str]:
        auditor = Auditor(journal=Journal(self.folder / "journal.jsonl"), reader=self.reader())
        found = auditor.audit(WantedTag(name=name, of=shared))
        return found.drift, found.why

    def list(self) -> bytes | None:
        return self.server.manifests.get((_REPOSITORY, _LIST.rpartition(":")[2]))


@pytest.fixture
def place(tmp_path: Path) -> _Place:
    return _Place(FakeRegistry(lists_referrers=True), tmp_path)


def test_a_list_waits_for_a_member_that_is_refused_here_and_then_completes(place: _Place) -> None:
    place.put("amd64")
    waiting = _shared(_item("amd64"), _REFUSED)
    result = place.publish(waiting)
    assert result.status is PublishStatus.WAITING
    assert result.is_waiting
    assert "drv-1.0.0/6.1.0-9-arm64: there is no toolkit" in result.why
    assert place.list() is None
    assert place.audit(waiting)[0] is TagState.WAITING
    assert place.publish().status is PublishStatus.WAITING
    assert place.audit() == (TagState.WAITING, f"it waits for {_LIST}-arm64")
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


def test_a_strangers_image_gets_no_part_in_what_we_sign(place: _Place) -> None:
    place.put("amd64")
    stranger = place.put("arm64", signer=None)
    result = place.publish()
    assert result.status is PublishStatus.UNSIGNED
    assert f"{stranger} was made from the inputs of drv-1.0.0/6.1.0-9-arm64 by another machine" in result.why
    assert place.list() is None
    assert not any(json.loads(content).get("manifests") for content in place.server.manifests.values())


def test_a_stranger_with_a_key_of_his_own_is_one_too(place: _Place) -> None:
    place.put("amd64")
    place.put("arm64", signer=_OTHER)
    assert place.publish().status is PublishStatus.UNSIGNED
    assert place.list() is None


def test_where_images_are_not_signed_a_moved_member_is_a_conflict(tmp_path: Path) -> None:
    place = _Place(FakeRegistry(), tmp_path, is_signing=False)
    place.put("amd64", signer=None)
    own = _names("arm64").own[0]
    place.put("arm64", signer=None)
    journal = Journal(tmp_path / "journal.jsonl")
    old = f"sha256:{'0' * 64}"
    journal.record_publish(PublishEvidence(cell="c", key="a" * 64, name=own, digest=old, run="r", finished=""))
    result = place.publish()
    assert (result.status, f"{own} was published as {old}" in result.why) == (PublishStatus.CONFLICT, True)
    assert place.list() is None


def test_a_list_in_the_place_of_a_member_is_none(place: _Place) -> None:
    digest = place.put("amd64")
    inner = make_index([make_descriptor(OCI_MANIFEST, digest, 1)], {KEY_LABEL: "a" * 64})
    place.server.put_manifest(_REPOSITORY, json.loads(inner), _names("arm64").own[0].rpartition(":")[2])
    result = place.publish()
    assert (result.status, "stands for a list of images" in result.why) == (PublishStatus.CONFLICT, True)
    found = place.publisher().publish(_item("arm64", digest=digest))
    assert (found.status, "stand for a list of images" in found.why) == (PublishStatus.CONFLICT, True)
    absent = place.publisher().publish(_item("arm64", why="never built"))
    assert absent.status is PublishStatus.NOT_BUILT
    found_tag = WantedTag(name=_names("arm64").own[0], of=_item("arm64"))
    auditor = Auditor(journal=Journal(place.folder / "none.jsonl"), reader=place.reader())
    assert auditor.audit(found_tag).why == "it stands for a list of images"


@pytest.mark.parametrize(
    ("lie", "words"), [("text/html", "which is no image"), (OCI_INDEX, "it is a list and an image at once")]
)
def test_a_media_type_that_lies_is_not_repeated(lie: str, words: str, place: _Place) -> None:
    place.put("amd64")
    tag = _names("arm64").own[0].rpartition(":")[2]
    digest = place.put("arm64")
    data = json.loads(place.server.manifests[_REPOSITORY, digest]) | {"mediaType": lie}
    place.server.put_manifest(_REPOSITORY, data, tag)
    result = place.publish()
    assert (result.status, words in result.why) == (PublishStatus.UNKNOWN, True)
    assert place.list() is None


def test_a_registry_that_serves_another_image_than_its_tag_stood_for(place: _Place) -> None:
    """What is signed is what was looked at, even if each question gets another answer."""
    good, arm = place.put("amd64"), place.put("arm64")
    tag = f"/v2/{_REPOSITORY}/manifests/{_names('arm64').own[0].rpartition(':')[2]}"
    place.put("arm64", key="a" * 64, signer=None)
    data = json.loads(place.server.manifests[_REPOSITORY, arm]) | {"annotations": {"x": "other"}}
    other = json.dumps(data).encode()
    answers = [place.server.manifests[_REPOSITORY, arm]]

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


def test_two_machines_that_complete_a_list_at_once_agree(place: _Place) -> None:
    place.put("amd64")
    place.put("arm64")
    results: list[PublishResult] = []

    def other_machine(request: httpx.Request) -> None:
        if request.method == "PUT" and request.url.path.endswith(_LIST.rpartition(":")[2]) and not results:
            results.append(PublishResult(title="", names=(), status=PublishStatus.UNKNOWN))
            results.append(place.publisher(Journal(place.folder / "other.jsonl")).publish_list(_BOTH))

    place.server.faults.append(other_machine)
    assert place.publish().status is PublishStatus.PUBLISHED
    assert results[1].status is PublishStatus.PUBLISHED
    assert place.publish().status is PublishStatus.THERE


def test_another_list_under_the_tag_stays(place: _Place) -> None:
    place.put("amd64")
    place.put("arm64")
    tag = _LIST.rpartition(":")[2]
    place.server.put_manifest(_REPOSITORY, json.loads(make_index([], {KEY_LABEL: "z" * 64})), tag)
    assert place.publish().status is PublishStatus.CONFLICT
    assert place.publish(force="the first one was wrong").status is PublishStatus.PUBLISHED


def _plan(monkeypatch: pytest.MonkeyPatch, *decisions: Decision) -> None:
    planned = SimpleNamespace(plan=Plan(decisions=decisions))
    for module in (cells, published):
        monkeypatch.setattr(module, "plan_project", lambda *_, **__: planned)


def test_who_belongs_to_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    amd64 = make_decision("amd64", _LIST)
    refused = make_decision("arm64", _LIST, action=Action.REFUSE, reason=Reason.NO_TOOLKIT, key="")
    bad = replace(refused, action=Action.EXCLUDE, reason=Reason.KNOWN_BAD)
    for member, expected in ((refused, 2), (bad, 2), (replace(bad, reason=Reason.EXCLUDED), 1)):
        _plan(monkeypatch, amd64, member)
        names = {item.cell.id: _names(item.cell.kernel.arch.oci) for item in (amd64, member)}
        project: Any = None
        shared = cells.find_lists(project, Selector(), BootOptions(), names, [amd64])
        assert [len(item.members) for item in shared] == [expected]


def test_a_bundle_takes_no_list_that_is_not_ours(place: _Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put("amd64")
    place.put("arm64")
    decisions = [make_decision(arch, _LIST) for arch in ("amd64", "arm64")]
    _plan(monkeypatch, *decisions)
    names = {item.cell.id: _names(item.cell.kernel.arch.oci) for item in decisions}
    monkeypatch.setattr(published, "name_cells", lambda *_: names)

    class Opened:
        def __enter__(self) -> RegistryReader:
            return place.reader()

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(published, "open_reader", lambda _: Opened())
    project: Any = None
    tag = _LIST.rpartition(":")[2]
    place.server.put_manifest(_REPOSITORY, json.loads(make_index([], {KEY_LABEL: _BOTH.key})), tag)
    assert _LIST not in dict(published.read_published(project, Selector()).images)
    del place.server.manifests[_REPOSITORY, tag]
    place.publish()
    assert _LIST in dict(published.read_published(project, Selector()).images)
    assert signature_tag(sha256_of(place.list() or b"")) in {name for _, name in place.server.manifests}
