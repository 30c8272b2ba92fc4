"""What the committed pipelines ask of this program is what it takes, and what they read is what it writes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from fakes.plans import make_plan
from fakes.tekton_facts import tekton_facts

from builder.emit.tekton.pods import make_signers
from builder.shards.outputs import evidence_outputs, plan_outputs
from builder.verbs.root import root

if TYPE_CHECKING:
    from collections.abc import Iterator

_TASKS = Path(__file__).parent.parent / "pipelines" / "tasks"
_SAID = {
    "selection[*]": ["--group", "laptop"], "plan": [f"oci:registry.example.com/plans@sha256:{'1' * 64}"],
    "shard": ["3"], "project": ["."], "run": ["run-1"],
}  # fmt: skip
_OF_THE_TASKS = {"CHAINS-GIT_URL", "CHAINS-GIT_COMMIT", "discovered"}  # steps of theirs write these, and no verb


def _task(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = yaml.safe_load((_TASKS / f"{name}.yaml").read_text())["spec"]
    return spec


def _commands() -> Iterator[tuple[str, list[str]]]:
    """Each command of this program in each task, as Tekton would fill it in."""
    for file in sorted(_TASKS.glob("*.yaml")):
        for step in _task(file.stem)["steps"]:
            if step.get("command") == ["kmodsmith"]:
                yield f"{file.stem}-{step['name']}", [word for text in step["args"] for word in _fill(text)]


def _fill(text: str) -> list[str]:
    if whole := re.fullmatch(r"\$\(params\.(.+)\)", text):
        return _SAID[whole[1]]
    return [re.sub(r"\$\(params\.(.+?)\)", lambda found: _SAID[found[1]][0], text)]


def _parse(words: list[str]) -> None:
    """Have the command line read, to the last verb; nothing is done.

    Raises:
        click.UsageError: it is not taken.
    """
    context = root.make_context("kmodsmith", list(words))
    context.obj = SimpleNamespace(project=SimpleNamespace(untrusted=True))  # what the group itself would open
    while isinstance(context.command, click.Group):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        assert command is not None
        context = command.make_context(name, rest, parent=context)


_FOUND = dict(_commands())


def test_there_are_commands_of_all_verbs_that_pods_run() -> None:
    assert {name.split("-")[-1] for name in _FOUND} >= {"discover", "plan", "shard", "gate", "lint", "build"}


@pytest.mark.parametrize("name", _FOUND)
def test_each_command_is_taken(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work/source").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    words = [word.replace("/work/source", "work/source").replace("/tekton", "tekton") for word in _FOUND[name]]
    _parse(words)
    with pytest.raises(click.NoSuchOption):
        _parse([*words, "--no-such-option"])


def test_the_command_of_whoever_has_the_keys_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample signs with nothing, so its Tasks have no such container."""
    monkeypatch.chdir(tmp_path)
    ((script,),) = ([one["script"]] for one in make_signers(tekton_facts(signers=("2024", "new"), signs_images=True)))
    (line,) = (line for line in script.splitlines() if "keys serve" in line)
    words = shlex.split(line.replace('"$HOME"', str(tmp_path)))
    for key in ("2024.pem", "new.pem", "images.pem"):
        (tmp_path / key).touch()
    begin = words.index("keys")
    assert words[begin - 1].endswith("kmodsmith")
    _parse(words[begin:])
    with pytest.raises(click.NoSuchOption):
        _parse([*words[begin:], "--no-such-option"])


@pytest.mark.parametrize("name", ["plan", "discover", "shard", "gate"])
def test_each_result_is_written(name: str) -> None:
    written = evidence_outputs(
        "x", summary="x", code=0, good=1, bad=0, warnings=0, finished="2026-01-01T00:00:00Z"
    ) if name in {"shard", "gate"} else plan_outputs("x", make_plan())  # fmt: skip
    declared = {result["name"]: result.get("type", "string") for result in _task(name)["results"]}
    assert declared.keys() - _OF_THE_TASKS <= written.keys()
    lists = {result for result, kind in declared.items() if kind == "array"}
    assert lists == {result for result in declared if result.startswith("shards")}
    assert all(written[result].startswith("[") for result in lists)
