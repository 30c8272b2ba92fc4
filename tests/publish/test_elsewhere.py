"""What other machines published already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from fakes.list_place import BOTH, LIST, LIST_OTHER, LIST_REPOSITORY, LIST_SIGNER, Place, own_names
from fakes.lists import make_decision
from fakes.registry import pretend_registry

from builder.plan.decide import Elsewhere
from builder.plan.matrix import Selector
from builder.plan.project import Project, open_project
from builder.publish.elsewhere import ask_registries, find_elsewhere
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials

if TYPE_CHECKING:
    from pathlib import Path

    from builder.plan.decide import Decision

_AMD64, _ARM64 = (make_decision(arch, LIST) for arch in ("amd64", "arm64"))


def _find(project: Project, *decisions: Decision) -> dict[str, Elsewhere]:
    return ask_registries(project, {item.cell.id: (item.key, (item.image,)) for item in decisions})


@pytest.fixture
def project(project_dir: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose images are signed, and whose registry is the one of ``place``."""

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        return RegistryAccess(pretend_registry(place.server, cache_dir), Credentials(), frozenset())

    monkeypatch.setattr("builder.publish.reading.open_registries", open_pretended)
    monkeypatch.setenv("XDG_CACHE_HOME", str(project_dir / "cache"))
    (project_dir / "images.pub").write_text(LIST_SIGNER.key.pem)
    with (project_dir / "versions.yaml").open("a") as file:
        file.write("publish: {signer: {public_key: images.pub, key_file: ~/images.key}}\n")
    return open_project(project_dir)


def test_an_image_of_the_same_inputs_that_we_signed_is_found(project: Project, place: Place) -> None:
    digest = place.put("amd64")
    assert _find(project, _AMD64, _ARM64) == {_AMD64.cell.id: Elsewhere(digest=digest)}


def test_an_image_of_other_inputs_is_none(project: Project, place: Place) -> None:
    place.put("amd64", key="x" * 64)
    assert _find(project, _AMD64) == {}


def test_an_image_that_others_signed_or_nobody_is_none(project: Project, place: Place) -> None:
    place.put("amd64", signer=LIST_OTHER)
    place.put("arm64", signer=None)
    assert _find(project, _AMD64, _ARM64) == {}


def test_a_list_of_images_is_none(project: Project, place: Place) -> None:
    place.put("amd64")
    place.put("arm64")
    assert place.publish().digest, "signed as the image would be"
    assert _find(project, make_decision("amd64", LIST, image=LIST, key=BOTH.key)) == {}


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_no_answer_is_a_problem_of_its_cell_only(project: Project, place: Place, status: int) -> None:
    digest = place.put("arm64")
    tag = own_names("amd64").own[0].rpartition(":")[2]
    place.server.faults.append(lambda request: httpx.Response(status) if request.url.path.endswith(tag) else None)
    found = _find(project, _AMD64, _ARM64)
    assert found[_ARM64.cell.id] == Elsewhere(digest=digest)
    assert (found[_AMD64.cell.id].digest, bool(found[_AMD64.cell.id].problem)) == ("", True)


def test_what_is_no_image_is_a_problem_too(project: Project, place: Place) -> None:
    place.server.put_manifest(LIST_REPOSITORY, {"layers": 5}, own_names("amd64").own[0].rpartition(":")[2])
    assert "is no manifest" in _find(project, _AMD64)[_AMD64.cell.id].problem


def test_nobody_is_asked_for_what_has_no_key_or_no_registry(project: Project, place: Place) -> None:
    local = make_decision("amd64", "localhost/drv:1")
    assert find_elsewhere(project, Selector(), [local, make_decision("amd64", LIST, key="")]) == {}
    assert place.server.log == []


def test_an_image_without_one_of_its_names_is_none(project: Project, place: Place) -> None:
    digest = place.put("amd64")
    (name,) = own_names("amd64").own
    wish = {"a": (_AMD64.key, (name, LIST))}
    assert ask_registries(project, wish) == {}
    manifests = place.server.manifests
    manifests[LIST_REPOSITORY, LIST.rpartition(":")[2]] = manifests[LIST_REPOSITORY, digest]
    assert ask_registries(project, wish) == {"a": Elsewhere(digest=digest)}, "it is signed for both of its names"


def test_names_of_two_images_are_none(project: Project, place: Place) -> None:
    """Both of the same inputs and signed: whoever publishes says which of them it is, and moves the other."""
    place.put("amd64")
    place.put("arm64", key=_AMD64.key)
    names = (*own_names("amd64").own, *own_names("arm64").own)
    assert ask_registries(project, {"a": (_AMD64.key, names)}) == {}
