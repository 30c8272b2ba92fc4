"""Providers openshift and okd as discovery asks them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from fakes.locks import by_text
from fakes.openshift_world import World
from fakes.registry import pretend_registry

from builder.config.model.openshift import OpenShiftKernels
from builder.errors import SourceError
from builder.kernel import Arch
from builder.plan.project import open_project
from builder.registry.access import RegistryAccess
from builder.registry.credentials import Credentials
from builder.sources.openshift.lock import LockedOpenShift
from builder.sources.openshift.provider import OpenShiftProvider
from builder.sources.openshift.source import OpenShiftSource
from builder.sources.provider import Answer, DiscoverOptions, Opening, Question

if TYPE_CHECKING:
    from pathlib import Path

_K1 = "5.14.0-427.50.1.el9_4.x86_64"


@pytest.fixture
def world(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """One release, in a graph that is a file."""
    world = World()
    tags = {
        "rhel-coreos": world.os_image(_K1), "rhel-coreos-extensions": world.extensions(),
        "driver-toolkit": world.toolkit(_K1),
    }  # fmt: skip
    world.promote(world.release("4.17.1", tags), "4.17.1", "fast-4.17")
    (project_dir / "graph.json").write_bytes(world.graph("fast-4.17", "amd64"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(project_dir / "cache"))

    def open_pretended(_settings: object, _root: Path, cache_dir: Path) -> RegistryAccess:
        return RegistryAccess(pretend_registry(world, cache_dir / "registry"), Credentials(), frozenset())

    monkeypatch.setattr("builder.registry.access.open_registries", open_pretended)
    return world


def _ask(project_dir: Path, previous: LockedOpenShift | None = None, **changes: Any) -> Answer:
    settings = {"provider": "openshift", "channels": ("fast-4.17",), "graph": "graph.json"}
    question = Question(
        name="ocp", settings=OpenShiftKernels.model_validate(settings | changes.pop("settings", {})), previous=previous,
        options=DiscoverOptions(**changes), now=datetime(2026, 3, 1, tzinfo=UTC),
        workplace=open_project(project_dir).workplace, progress=lambda *counts: _told.append(counts),
    )  # fmt: skip
    _told.clear()
    return OpenShiftProvider().discover(question)


_told: list[tuple[int, int]] = []


def _locked(answer: Answer) -> LockedOpenShift:
    assert isinstance(answer.locked, LockedOpenShift)
    return answer.locked


@pytest.mark.parametrize("word", ["openshift", "okd"])
def test_what_graph_and_registry_say_becomes_a_part_of_the_lock_and_changes(
    project_dir: Path, world: World, word: str
) -> None:
    answer = _ask(project_dir, settings={"provider": word})
    assert (_locked(answer).provider, list(by_text(_locked(answer).kernels))) == (word, [_K1])
    assert [str(change) for change in answer.changes] == [
        f"new kernel {_K1}: of 4.17.1",
        "new release 4.17.1-x86_64: in fast-4.17 since before the first look; rhel-coreos complete",
    ]
    assert (answer.doubts, answer.releases_read, answer.bytes_read > 0) == ([], 1, True)
    assert _told[-1] == (1, 1)
    assert world.requests


def test_what_is_known_is_read_again_only_if_that_is_asked_for(project_dir: Path, world: World) -> None:
    known = _locked(_ask(project_dir))
    world.requests.clear()
    again = _ask(project_dir, known)
    assert (again.locked, again.changes, again.releases_read, world.requests) == (known, [], 0, [])
    assert _ask(project_dir, known, refresh=True).releases_read == 1


def test_what_cannot_be_read_is_a_problem_where_something_was_known_and_else_an_error(
    project_dir: Path, world: World
) -> None:
    known = _locked(_ask(project_dir))
    (project_dir / "graph.json").unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        _ask(project_dir)
    kept = _ask(project_dir, known)
    assert (_locked(kept).kernels, len(kept.doubts)) == (known.kernels, 1)
    assert world.requests


def test_a_source_is_opened_as_the_lock_has_it(project_dir: Path, world: World) -> None:
    locked = _locked(_ask(project_dir))
    world.requests.clear()
    opening: Opening[Any] = Opening(name="ocp", locked=locked, build_arch=Arch.X86_64)
    assert OpenShiftProvider().open(opening) == OpenShiftSource(name="ocp", locked=locked, build_arch=Arch.X86_64, runtime=None)  # fmt: skip
    assert world.requests == [], "nobody is asked"
