"""What a tag should stand for, and every way in which it does not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fakes.list_place import BOTH, LIST, LIST_OTHER, LIST_REPOSITORY, REFUSED, Place, list_item, list_of, own_names
from fakes.published_image import SIGNER, make_published_image
from fakes.registry import FakeRegistry

from builder.evidence.journal import Journal
from builder.evidence.records import PublishEvidence
from builder.image.labels import KEY_LABEL
from builder.image.manifests import make_index
from builder.plan.matrix import Selector
from builder.plan.project import open_project
from builder.publish.attest.statements import CELL_PREDICATES
from builder.publish.audit import Audit, Auditor, TagState, WantedTag, audit_project, list_tags

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench

_AMD64 = list_item("amd64")
_NAME = _AMD64.names.own[0]
_TAG = _NAME.rpartition(":")[2]


def _auditor(place: Place) -> Auditor:
    return Auditor(journal=Journal(place.folder / "journal.jsonl"), reader=place.reader())


def _audit(place: Place, **changes: Any) -> Audit:
    return _auditor(place).audit(WantedTag(name=_NAME, of=replace(_AMD64, **changes)))


def _record(place: Place, digest: str, name: str = _NAME) -> None:
    journal = Journal(place.folder / "journal.jsonl")
    journal.record_publish(PublishEvidence(cell="c", key="a" * 64, name=name, digest=digest, run="r", finished=""))


def test_a_tag_as_it_should_be_is_told_with_what_it_stands_for(place: Place) -> None:
    digest = place.put("amd64")
    found = _audit(place)
    assert (found.drift, found.found, found.recorded, found.why) == (TagState.NONE, digest, "", "")
    assert (found.name, found.cell) == (_NAME, _AMD64.title)
    _record(place, digest)
    assert _audit(place).recorded == digest


def test_a_tag_that_is_missing_was_published_or_never(place: Place) -> None:
    assert (_audit(place).drift, _audit(place).why) == (TagState.MISSING, "it was never published from here")
    _record(place, f"sha256:{'0' * 64}")
    assert (_audit(place).drift, _audit(place).why) == (TagState.MISSING, "it was published")


def test_a_tag_that_was_moved_is_different_also_where_the_inputs_are_the_same(place: Place) -> None:
    digest = place.put("amd64")
    _record(place, f"sha256:{'0' * 64}")
    found = _audit(place)
    assert (found.drift, found.found, found.why) == (TagState.DIFFERENT, digest, "it was published with another digest")


def test_an_image_of_other_inputs_is_different_and_where_they_are_not_known_nothing_is_said(place: Place) -> None:
    place.put("amd64", key="x" * 64)
    assert _audit(place).drift is TagState.DIFFERENT
    assert "made from other inputs" in _audit(place).why
    assert _audit(place, key="").drift is TagState.NONE


def test_a_list_is_no_image_and_an_image_no_list(place: Place) -> None:
    place.server.put_manifest(LIST_REPOSITORY, json.loads(make_index([], {KEY_LABEL: _AMD64.key})), _TAG)
    assert (_audit(place).drift, _audit(place).why) == (TagState.DIFFERENT, "it stands for a list of images")
    place.put("arm64")
    own = own_names("arm64").own[0]
    found = _auditor(place).audit(WantedTag(name=own, of=list_of(list_item("arm64"))))
    assert (found.drift, found.why) == (TagState.DIFFERENT, "it stands for one image")


@pytest.mark.parametrize("signer", [None, LIST_OTHER])
def test_an_image_without_a_signature_of_ours_is_unsigned(place: Place, signer: Any) -> None:
    place.put("amd64", signer=signer)
    assert (_audit(place).drift, "no signature of the key" in _audit(place).why) == (TagState.UNSIGNED, True)


@pytest.mark.parametrize("missing", CELL_PREDICATES)
def test_an_image_that_lacks_a_statement_is_unsigned(tmp_path: Path, missing: str) -> None:
    image = make_published_image(FakeRegistry(), tmp_path)
    image.sign(predicates=[kind for kind in CELL_PREDICATES if kind != missing])
    place = Place(image.server, tmp_path)
    auditor = replace(_auditor(place), reader=replace(place.reader(), keys=[SIGNER.key]))
    item = image.item()
    found = auditor.audit(WantedTag(name=item.names.own[0], of=item))
    assert (found.drift, found.why) == (TagState.UNSIGNED, f"it has no statement {missing}")
    image.sign()
    assert auditor.audit(WantedTag(name=item.names.own[0], of=item)).drift is TagState.NONE


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_no_answer_is_unknown(place: Place, status: int) -> None:
    place.put("amd64")
    place.server.faults.append(lambda _: httpx.Response(status))
    found = _audit(place)
    assert (found.drift, found.found, bool(found.why)) == (TagState.UNKNOWN, "", True)


def test_what_is_no_image_is_unknown(place: Place) -> None:
    place.server.put_manifest(LIST_REPOSITORY, {"layers": 5}, _TAG)
    assert (_audit(place).drift, "is no manifest" in _audit(place).why) == (TagState.UNKNOWN, True)


def test_a_list_waits_for_members_that_are_not_there_of_these_inputs(place: Place) -> None:
    place.put("amd64", key="x" * 64)
    place.put("arm64")
    assert place.audit() == (TagState.WAITING, f"it waits for {_NAME}")
    place.put("amd64")
    assert place.audit() == (TagState.MISSING, "it was never published from here")


def test_a_list_with_a_member_that_is_refused_here_waits_unless_we_wrote_it(place: Place) -> None:
    refused = list_of(_AMD64, REFUSED)
    assert place.audit(refused) == (TagState.WAITING, f"it waits: {REFUSED.title}: there is no toolkit")
    place.put("amd64")
    place.put("arm64")
    place.publish()
    assert place.audit(refused) == (TagState.NONE, "")
    (place.folder / "journal.jsonl").unlink()
    drift, why = place.audit(refused)
    assert (drift, "whether it is whole is not known here" in why) == (TagState.WAITING, True)


def test_a_tag_that_nobody_here_knows_is_extra(place: Place) -> None:
    place.put("amd64")
    for tag in ("ours", "theirs", f"sha256-{'1' * 64}.sig"):
        place.server.put_manifest(LIST_REPOSITORY, {"layers": []}, tag)
    _record(place, f"sha256:{'0' * 64}", f"quay.test/{LIST_REPOSITORY}:ours")
    (extra,) = _auditor(place).find_extra({_NAME})
    assert (extra.name, extra.drift) == (f"quay.test/{LIST_REPOSITORY}:theirs", TagState.EXTRA)


def test_tags_that_cannot_be_listed_are_unknown(place: Place) -> None:
    place.server.faults.append(lambda _: httpx.Response(403))
    (found,) = _auditor(place).find_extra({_NAME, LIST})
    assert (found.name, found.drift, bool(found.why)) == (f"quay.test/{LIST_REPOSITORY}", TagState.UNKNOWN, True)


def test_every_own_name_and_every_list_is_looked_at() -> None:
    aliased = replace(_AMD64, names=replace(_AMD64.names, own=(_NAME, f"{_NAME}-alias")))
    tags = list_tags([aliased], [BOTH])
    assert [(tag.name, tag.of) for tag in tags] == [(_NAME, aliased), (f"{_NAME}-alias", aliased), (LIST, BOTH)]


def test_a_project_is_audited_tag_by_tag_and_nothing_is_written(bench: Bench, registry: FakeRegistry) -> None:
    registry.put_manifest("demo", {"layers": []}, "theirs")
    before = dict(registry.manifests)
    done: list[tuple[int, int]] = []
    found = audit_project(open_project(bench.folder), Selector(), progress=lambda *counts: done.append(counts))
    assert [audit.drift for audit in found] == [*[TagState.MISSING] * 4, TagState.EXTRA]
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert registry.manifests == before
    assert not [line for line in registry.log if not line.startswith(("GET", "HEAD"))]


def test_images_of_no_registry_are_not_looked_for(bench: Bench) -> None:
    assert audit_project(open_project(bench.folder), Selector()) == []
