"""The command itself: every verb of the table is there, loaded only when it is called, and trust is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from builder.__main__ import run_cli
from builder.verbs.root import VERBS, root

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.bench import Bench


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"{name} [OPTIONS]" in printed
    assert "--untrusted" in printed
    assert "--help" in printed


def test_help_lists_every_verb_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert [name for name, verb in VERBS.items() if f"{name} {' '.join(verb.summary.split())}" not in printed] == []


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if verb.needs_trust])
def test_what_needs_trust_says_so_before_anything_else(
    name: str, project_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["--project", str(project_dir), name, "--untrusted"]) == 2
    assert "cannot be done with --untrusted" in capsys.readouterr().err


def test_an_unknown_verb_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["biuld"]) == 2
    assert "No such command 'biuld'" in capsys.readouterr().err


def test_a_verb_is_a_command_of_its_own_module() -> None:
    context = click.Context(root)
    commands = {name: root.get_command(context, name) for name in VERBS}
    assert {name for name, command in commands.items() if command is None or command.name != name} == set()


@pytest.mark.parametrize(
    "words",
    [
        ["publish"], ["nightly"], ["prune"], ["bundle"], ["bundle", "load", "versions.yaml", "--to", "x"],
        ["sign", "--signer", "vendor", "x.ko"], ["keys", "create"], ["keys", "show", "vendor"], ["keys", "log"],
    ],
)  # fmt: skip
def test_what_needs_trust_is_refused(bench: Bench, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bench.folder)
    code, _, err = bench.run(*words, "--untrusted")
    assert (code, "cannot be done with --untrusted" in err) == (2, True)
    monkeypatch.setenv("KMODSMITH_UNTRUSTED", "1")
    assert bench.run(*words)[0] == 2
