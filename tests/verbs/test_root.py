"""The command itself: every verb of the table is there, loaded only when it is called, and trust is asked for."""

from __future__ import annotations

import inspect
import re
import shlex
from typing import TYPE_CHECKING

import click
import pytest

from builder import errors
from builder.__main__ import run_cli
from builder.verbs.exit_codes import COMMON
from builder.verbs.root import VERBS, root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fakes.bench import Bench


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"{name} [OPTIONS]" in printed
    assert "--untrusted" in printed
    assert "--help" in printed


def _all_commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every verb, and every verb below one, by the words that call it."""
    context = click.Context(root)
    for name in VERBS:
        verb = root.get_command(context, name)
        assert verb is not None
        yield name, verb
        if isinstance(verb, click.Group):
            for inner in verb.list_commands(context):
                command = verb.get_command(context, inner)
                assert command is not None
                yield f"{name} {inner}", command


_COMMANDS = dict(_all_commands())


def _examples(command: click.Command) -> list[list[str]]:
    """Return the examples of a help: blocks that are not wrapped, each line a command and perhaps, far behind, what it does."""
    blocks = re.findall(r"\x08\n(.*?)(?:\n\n|\Z)", inspect.cleandoc(command.help or "") + "\n\n", re.DOTALL)
    return [shlex.split(line.partition("   ")[0]) for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("name", _COMMANDS)
def test_help_teaches_by_examples_that_exist(name: str) -> None:
    examples = _examples(_COMMANDS[name])
    assert examples, "it has none"
    for words in examples:
        path = next((place for place in (" ".join(words[:2]), words[0]) if place in _COMMANDS), "")
        assert path == name or path.startswith(f"{name} ") or isinstance(_COMMANDS[name], click.Group), words
        known = {option for item in _COMMANDS[path].params for option in (*item.opts, *item.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= known | {"--help"}, words


@pytest.mark.parametrize("name", _COMMANDS)
def test_help_names_exit_codes_that_exist(name: str) -> None:
    text = " ".join((_COMMANDS[name].help or "").split())
    (told,) = re.findall(r"Exit codes: (.*?)(?:\.(?: |$))", text)
    assert told.startswith(("0 ", "as build", "those of the verb below"))
    ends = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    codes = {failure.exit_code for failure in errors.FailureClass} | ends | COMMON.keys()
    assert {int(code) for code in re.findall(r"(?:^|[;,] |class )(\d+) ", told)} <= codes
    assert "130 interrupted" in (_COMMANDS[name].epilog or "")


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
