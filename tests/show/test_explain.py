"""Sentences of one driver stand alone, those of several under its name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes.operator_program import EXPLAINED

from builder.components.explain import ExplainedNode
from builder.show.explain import emit_explanation, emit_explanation_json


def _found(**changes: Any) -> ExplainedNode:
    return ExplainedNode.model_validate({**EXPLAINED, **changes})


def test_people_read_sentences() -> None:
    assert emit_explanation(_found()) == "n0 has p 1.0.0.\nIt is well."
    two = [{**EXPLAINED["drivers"][0], "name": name} for name in ("a", "b")]
    lines = emit_explanation(_found(drivers=two, at="2026-11-20T10:00:00Z")).splitlines()
    assert [lines[0], lines[1], lines[4]] == ["As of 2026-11-20T10:00:00Z:", "a:", "b:"]
    assert emit_explanation(_found(drivers=[])) == "The cluster has no such KernelDriver: nothing asks for a driver."


@pytest.mark.parametrize(("state", "ready"), [("Ready", True), ("Waiting", False), ("NotSelected", False)])
def test_programs_read_json(state: str, ready: bool) -> None:
    data = json.loads(emit_explanation_json(_found(drivers=[{**EXPLAINED["drivers"][0], "state": state}])))
    assert data.pop("ready") is ready
    assert data == {**EXPLAINED, "drivers": [{**EXPLAINED["drivers"][0], "state": state}]}
