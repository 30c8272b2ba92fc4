"""A run over a project's component images: what it opens, and that one stops no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from builder.components.decide import ComponentSelector
from builder.components.runs import build_project_components
from builder.errors import BusyError
from builder.host.locks import hold_project

if TYPE_CHECKING:
    from fakes.components import Parts


def _ignore(_: str) -> None:
    pass


def test_a_run_tells_each_image_as_it_ends(parts: Parts) -> None:
    parts.declare({"name": "tools"})
    parts.offer()
    said: list[str] = []
    report = build_project_components(parts.project(), ComponentSelector(), said.append)
    assert [result.status for result in report.results] == ["built", "built"]
    assert report.run_id
    assert [" ".join(line.split()[:3]) for line in said] == [
        "[1/2] built plugin-0.1.0/x86_64", "[2/2] built tools-0.1.0/x86_64",
    ]  # fmt: skip


def test_a_run_without_work_waits_for_nobody(parts: Parts) -> None:
    parts.offer()
    build_project_components(parts.project(), ComponentSelector(), _ignore)
    with hold_project(parts.project().work_dir):
        report = build_project_components(parts.project(), ComponentSelector(), _ignore)
        assert ([result.status for result in report.results], report.run_id) == (["skipped"], "")
        with pytest.raises(BusyError):
            build_project_components(parts.project(), ComponentSelector(), _ignore, force=True)
    assert parts.started() == 1


def test_forced_is_built_again_and_is_the_same(parts: Parts) -> None:
    parts.offer()
    first = build_project_components(parts.project(), ComponentSelector(), _ignore)
    again = build_project_components(parts.project(), ComponentSelector(), _ignore, force=True)
    assert [result.status for result in again.results] == ["built"]
    assert again.results[0].digest == first.results[0].digest
    assert parts.started() == 2


def test_one_that_fails_stops_no_other(parts: Parts) -> None:
    parts.declare({"name": "tools"})
    parts.offer(labels={"summary": None})
    first, second = build_project_components(parts.project(), ComponentSelector(), _ignore).results
    assert first.failure is not None
    assert second.failure is not None


def test_what_a_killed_run_left_is_removed(parts: Parts) -> None:
    parts.offer()
    with (parts.store / "names").open("a") as file:
        file.write("localhost/kmodsmith/stage:k-run-unproven 1\n")
    said: list[str] = []
    build_project_components(parts.project(), ComponentSelector(), said.append)
    assert said[0].startswith("removed localhost/kmodsmith/stage:k-run-unproven")
    assert "localhost/kmodsmith/stage:k-run-unproven" not in parts.names()
