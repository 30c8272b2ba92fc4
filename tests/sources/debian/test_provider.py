"""Provider debian as discovery asks it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from fakes.debian_archive import AMD64, serve_archive
from fakes.locks import by_text

from builder.config.model.debian import DebianArchive, DebianKernels
from builder.config.problem_codes import ProblemCode
from builder.host.progress import no_progress
from builder.kernel import Arch
from builder.plan.project import open_project
from builder.sources.debian.lock import LockedDebian
from builder.sources.debian.provider import DebianProvider
from builder.sources.debian.source import DebianSource
from builder.sources.provider import Answer, DiscoverOptions, Opening, Question

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tools import FakeTools

_SETTINGS = DebianKernels(
    provider="debian",
    archives=(DebianArchive(url="http://deb.test/debian", suites=("stable",)),),
    flavours=("amd64", "rt-amd64"),
    keyring="/keys.gpg",
)


def _ask(project_dir: Path, previous: LockedDebian | None = None, **options: bool) -> Answer:
    question = Question(
        name="deb", settings=_SETTINGS, previous=previous, options=DiscoverOptions(**options),
        now=datetime(2026, 11, 23, tzinfo=UTC), workplace=open_project(project_dir).workplace, progress=no_progress,
    )  # fmt: skip
    return DebianProvider().discover(question)


@pytest.fixture(autouse=True)
def _cache(project_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(project_dir / "cache"))


def _locked(answer: Answer) -> LockedDebian:
    assert isinstance(answer.locked, LockedDebian)
    return answer.locked


def test_what_the_archive_says_becomes_a_part_of_the_lock_and_changes(project_dir: Path, fake_tools: FakeTools) -> None:
    serve_archive(fake_tools, project_dir, AMD64)
    answer = _ask(project_dir)
    assert sorted(by_text(_locked(answer).kernels)) == ["6.1.0-9-amd64", "6.1.0-9-rt-amd64"]
    assert [str(change) for change in answer.changes] == ["new kernel 6.1.0-9-amd64", "new kernel 6.1.0-9-rt-amd64"]
    assert answer.doubts == []
    assert (project_dir / "cache" / "kmodsmith" / "apt" / "deb" / "x86_64" / "apt.conf").is_file(), "by name: two sources never share lists"  # fmt: skip
    again = _ask(project_dir, _locked(answer))
    assert (again.locked, again.changes) == (answer.locked, [])


def test_a_doubt_says_what_it_is_about_and_a_loss_may_be_accepted(project_dir: Path, fake_tools: FakeTools) -> None:
    serve_archive(fake_tools, project_dir, AMD64)
    known = _locked(_ask(project_dir))
    serve_archive(fake_tools, project_dir, AMD64[:-1])
    (doubt,) = _ask(project_dir, known).doubts
    assert (doubt.code, doubt.subject) == (ProblemCode.MANY_LOST, "rt-amd64")
    accepted = _ask(project_dir, known, accept_loss=True)
    assert (accepted.doubts, [change.kind for change in accepted.changes]) == ([], ["kernel gone"])
    assert accepted.changes[0].detail == "the archive serves no headers for it any more"


def test_a_source_is_opened_as_the_lock_has_it(project_dir: Path, fake_tools: FakeTools) -> None:
    serve_archive(fake_tools, project_dir, AMD64)
    locked = _locked(_ask(project_dir))
    calls = len(fake_tools.calls("apt-get"))
    opening: Opening[Any] = Opening(name="deb", locked=locked, build_arch=Arch.AARCH64)
    assert DebianProvider().open(opening) == DebianSource(locked=locked, build_arch=Arch.AARCH64)
    assert len(fake_tools.calls("apt-get")) == calls, "nobody is asked"
