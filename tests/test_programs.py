"""Programs that tests start come with the doctor, and CI skips nothing."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from integration import engines
from programs import BROUGHT, need, refuse_unlisted, started_by

from builder.verbs.root import VERBS


def test_tests_and_benchmarks_start_nothing_that_the_doctor_does_not_bring() -> None:
    started = {
        name: f"{file.name}:{line}"
        for folder in ("integration", "bench", "vendors")
        for file in (Path(__file__).parent / folder).rglob("*.py")
        for line, name in started_by(file)
    }
    assert started.keys() >= {"buildah", "openssl", "skopeo", "podman", "modinfo"}, "it sees what there is to see"
    assert {name: place for name, place in started.items() if name not in BROUGHT | VERBS.keys()} == {}


@pytest.mark.parametrize(
    ("program", "refused"),
    [("perl", True), ("/usr/bin/perl", True), ("openssl", False), ("no-such-program", False), (sys.executable, False)],
)
def test_a_program_that_nothing_brings_is_not_started(
    monkeypatch: pytest.MonkeyPatch, program: str, *, refused: bool
) -> None:
    monkeypatch.setattr(
        "shutil.which", lambda name: None if name == "no-such-program" else f"/usr/bin/{Path(name).name}"
    )
    with pytest.raises(AssertionError, match="perl") if refused else nullcontext():
        refuse_unlisted("subprocess.Popen", (program, [program], None, None))


@pytest.mark.parametrize(("environment", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_ci_skips_nothing(monkeypatch: pytest.MonkeyPatch, environment: str, outcome: type[BaseException]) -> None:
    monkeypatch.setenv("CI", environment)
    with pytest.raises(outcome, match="--install --tests"):
        need("no-such-program")


def test_engines_begin_to_be_built_where_they_are_needed_and_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command))
    monkeypatch.setattr(engines, "_building", [])

    def begin(*fixtures: str, worker: str = "gw0", is_listed: bool = False) -> int:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        config = SimpleNamespace(option=SimpleNamespace(collectonly=is_listed))
        session: Any = SimpleNamespace(items=[SimpleNamespace(fixturenames=fixtures), object()], config=config)
        engines.pytest_collection_finish(session)
        return len(started)

    assert (begin("machine"), begin("engines", worker="gw1"), begin("engines", is_listed=True)) == (0, 0, 0)
    assert begin("machine", "engines") == 1
    assert started[0][0] == "nice"
    engines._folder().mkdir(parents=True)
    assert begin("engines") == 1, "they are there"
