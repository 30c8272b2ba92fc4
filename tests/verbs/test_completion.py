"""What a shell completes, asked as a shell asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from builder.__main__ import run_cli

if TYPE_CHECKING:
    from pathlib import Path


def _complete(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setenv("_KMODSMITH_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", f"kmodsmith {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" "))))
    with pytest.raises(SystemExit) as ended:
        run_cli([])
    assert ended.value.code == 0
    return [line.partition(",")[2] for line in capsys.readouterr().out.splitlines() if line]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("pl", ["plan"]),
        ("keys c", ["create"]),
        ("emit k", ["kmm"]),
        ("plan --ret", ["--retry-failed"]),
        ("plan --variant 6", ["64k"]),
        ("build --boot a", ["always"]),
        ("nothing-like-this", []),
    ],
)
def test_verbs_options_and_choices(
    words: str, found: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _complete(words, monkeypatch, capsys) == found


@pytest.mark.parametrize(("words", "found"), [("plan --group f", ["few"]), ("build --driver d", ["demo"])])
def test_names_of_versions_yaml(
    words: str, found: list[str], project_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _complete(f"--project {project_dir} {words}", monkeypatch, capsys) == found


@pytest.mark.parametrize("text", ["", "drivers: {\n", "groups: 1\ndrivers: [x, {a: 1}]\n", "- a\n"])
def test_a_file_that_is_none_completes_nothing(
    text: str, project_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project_dir / "versions.yaml").write_text(text)
    monkeypatch.chdir(project_dir)
    assert _complete("plan --group f", monkeypatch, capsys) == []
    assert _complete("plan --driver d", monkeypatch, capsys) == []


def test_the_script_is_for_a_program_that_shells_can_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_KMODSMITH_COMPLETE", "zsh_source")
    with pytest.raises(SystemExit):
        run_cli([])
    assert "#compdef kmodsmith" in capsys.readouterr().out
