"""What every verb that builds prints, keeps and ends with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from fakes.outcomes import RESULTS
from rich.console import Console

from builder.build.runs import BuildReport
from builder.plan.project import open_project
from builder.verbs.results import tell_results
from builder.verbs.session import Session

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def session(project_dir: Path) -> Session:
    (project_dir / ".kmodsmith").mkdir()
    console = Console(width=150)
    return Session(project=open_project(project_dir), out=console, err=Console(stderr=True))


def test_results_are_kept_and_end_in_the_code_of_their_class(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    report = BuildReport(results=RESULTS[:2], wall_s=1.0, run_id="run")
    assert tell_results(session, report, as_json=False) == 11
    assert "1 built, 1 failed" in capsys.readouterr().out
    kept = session.project.work_dir
    assert json.loads((kept / "results.json").read_text())["run"] == "run"
    assert "<testsuites" in (kept / "junit.xml").read_text()


@pytest.mark.parametrize(("as_json", "beginning"), [(True, "{"), (None, "")])
def test_programs_get_json_and_who_tells_more_prints_it(
    session: Session, capsys: pytest.CaptureFixture[str], as_json: bool | None, beginning: str
) -> None:
    report = BuildReport(results=RESULTS[:1], wall_s=1.0, run_id="")
    assert tell_results(session, report, as_json=as_json) == 0
    assert capsys.readouterr().out[:1] == beginning
    assert list(session.project.work_dir.iterdir()) == [], "what was no run replaces no results"
