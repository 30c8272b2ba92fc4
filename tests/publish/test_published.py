"""What registries have of cells."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fakes.list_place import BOTH, LIST, LIST_REPOSITORY, Place, own_names
from fakes.lists import make_decision

from builder.digest import sha256_of
from builder.image.labels import KEY_LABEL
from builder.image.manifests import make_index
from builder.plan.decide import Action, Decision, Plan, Reason
from builder.plan.matrix import Selector
from builder.publish import cells, published
from builder.publish.attest.simple_signing import signature_tag

if TYPE_CHECKING:
    import pytest

    from builder.publish.reading import RegistryReader


def _plan(monkeypatch: pytest.MonkeyPatch, *decisions: Decision) -> None:
    planned = SimpleNamespace(plan=Plan(decisions=decisions))
    for module in (cells, published):
        monkeypatch.setattr(module, "plan_project", lambda *_, **__: planned)


def _offer(monkeypatch: pytest.MonkeyPatch, place: Place, *decisions: Decision) -> None:
    """Have a project of these cells look into the registry of a place."""
    _plan(monkeypatch, *decisions)
    names = {item.cell.id: own_names(item.cell.kernel.arch.oci) for item in decisions}
    monkeypatch.setattr(published, "name_cells", lambda *_: names)

    class Opened:
        def __enter__(self) -> RegistryReader:
            return place.reader()

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(published, "open_reader", lambda _: Opened())


def test_a_cell_that_is_refused_is_told_whether_it_is_acknowledged_or_not(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put("amd64")
    refused = make_decision("arm64", LIST, action=Action.REFUSE, reason=Reason.NO_TOOLKIT, key="", explanation="none")
    project: Any = None
    for member, is_told in (
        (refused, True),
        (replace(refused, action=Action.EXCLUDE), True),
        (replace(refused, action=Action.EXCLUDE, reason=Reason.KNOWN_BAD), True),
        (replace(refused, action=Action.EXCLUDE, reason=Reason.EXCLUDED), False),
        (replace(refused, action=Action.EXCLUDE, reason=Reason.RELEASE_KIND), False),
    ):
        _offer(monkeypatch, place, make_decision("amd64", LIST), member)
        found = published.read_published(project, Selector())
        assert len(found.cells) == 1
        assert found.left_out == ((published.LeftOutCell(cell=member.cell.id, why="none"),) if is_told else ())
    _offer(monkeypatch, place, refused)
    assert published.read_published(project, Selector()).left_out, "and nobody is told to name a registry"


def test_a_bundle_takes_no_list_that_is_not_ours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put("amd64")
    place.put("arm64")
    _offer(monkeypatch, place, *(make_decision(arch, LIST) for arch in ("amd64", "arm64")))
    project: Any = None
    tag = LIST.rpartition(":")[2]
    place.server.put_manifest(LIST_REPOSITORY, json.loads(make_index([], {KEY_LABEL: BOTH.key})), tag)
    assert LIST not in dict(published.read_published(project, Selector()).images)
    del place.server.manifests[LIST_REPOSITORY, tag]
    place.publish()
    assert LIST in dict(published.read_published(project, Selector()).images)
    assert signature_tag(sha256_of(place.list() or b"")) in {name for _, name in place.server.manifests}
