"""What the operator's program is asked, and what becomes of whatever it answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.operator_program import EXPLAINED, OperatorProgram

from builder.components.explain import ExplainedNode, explain_node
from builder.components.program import ComponentProgram
from builder.errors import CommandError, KmodsmithError, SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROGRAM = ComponentProgram(source=Path("/source"), packages=Path("/cache/packages"))


def _explain(**more: Any) -> ExplainedNode:
    return explain_node(_PROGRAM, "n0", namespace="ours", **more)


def test_it_is_asked_in_words_that_no_name_can_bend(
    operator_program: OperatorProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/me/config")
    found = explain_node(_PROGRAM, "--help", namespace="ours", driver="--json", saved=Path("-x"))
    assert operator_program.calls == [["explain", "--json", "--driver=--json", "--from=-x", "--", "--help"]]
    said = operator_program.environment
    assert (said["KMOD_NAMESPACE"], said["KUBECONFIG"]) == ("ours", "/home/me/config")
    assert (found.is_concerned, found.is_ready, found.drivers[0].sentences[0]) == (True, True, "n0 has p 1.0.0.")


@pytest.mark.parametrize(
    ("states", "concerned", "ready"),
    [
        ([], False, True),
        (["NotSelected"], False, True),
        (["NoNode", "NotSelected"], False, True),
        (["Ready", "NotSelected"], True, True),
        (["Ready", "Waiting"], True, False),
        (["InvalidSpec"], True, False),
        (["SomethingNew"], True, False),
    ],
)
def test_a_node_is_ready_when_it_has_all_that_is_asked_for(
    states: list[str],
    concerned: bool,
    ready: bool,
    operator_program: OperatorProgram,
) -> None:
    drivers = [{"name": state, "state": state, "sentences": []} for state in states]
    operator_program.says({**EXPLAINED, "drivers": drivers}, code=0 if states else 1)
    found = _explain()
    assert (found.is_concerned, found.is_ready) == (concerned, ready)


@pytest.mark.parametrize(
    ("code", "kind", "hint"), [(2, UsageError, "KUBECONFIG says which cluster"), (1, SourceError, "")]
)
def test_its_refusal_is_ours(
    code: int,
    kind: type[KmodsmithError],
    hint: str,
    operator_program: OperatorProgram,
) -> None:
    operator_program.refuses("it is not there", code)
    with pytest.raises(kind, match="^it is not there$") as refused:
        _explain()
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize(
    "answer",
    ["[]", "{", "x", {**EXPLAINED, "format": 2}, {**EXPLAINED, "drivers": [{"name": 5}]}, {**EXPLAINED, "at": 7}],
)
def test_nonsense_is_no_explanation(
    answer: Mapping[str, Any] | str,
    operator_program: OperatorProgram,
) -> None:
    operator_program.says(answer)
    with pytest.raises(CommandError, match="answers nonsense: it is no explanation of a node"):
        _explain()


def test_a_program_that_breaks_is_shown_whole(operator_program: OperatorProgram) -> None:
    operator_program.says("", "Traceback: oh\n", 1)
    with pytest.raises(CommandError, match="Traceback: oh"):
        _explain()
    operator_program.says("", "", 0)
    with pytest.raises(CommandError, match="answers nothing"):
        _explain()
