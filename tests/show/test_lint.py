"""Findings in YAML for KMM, as compilers write them and for programs."""

from __future__ import annotations

import json
from pathlib import Path

from fakes.outcomes import shown

from builder.emit.kmm.lint import ImageChoice, LintFinding, LintResult
from builder.emit.kmm.problem import Severity
from builder.errors import Mistake
from builder.show.lint import emit_choices, emit_lint, emit_lint_json


def _finding(line: int, severity: Severity) -> LintFinding:
    mistake = Mistake(file=Path("kmm.yaml"), line=line, column=3, path="spec.x", message="is odd")
    return LintFinding(severity=severity, code="kind", subject="Module drv", field="x", mistake=mistake)


_RESULT = LintResult(objects=2, findings=(_finding(9, Severity.WARNING), _finding(2, Severity.ERROR)))


def test_findings_stand_in_the_order_of_the_file_and_are_counted() -> None:
    assert emit_lint(_RESULT).splitlines() == [
        "kmm.yaml:2:3: error: x: is odd [kind]",
        "kmm.yaml:9:3: warning: x: is odd [kind]",
        "2 objects of KMM: 1 error, 1 warning",
    ]
    assert emit_lint(LintResult(objects=1, findings=())) == "1 object of KMM: nothing wrong"


def test_nothing_to_judge_is_not_nothing_wrong() -> None:
    result = LintResult(objects=0, findings=(), others={"Pod": 2, "ConfigMap": 1})
    assert emit_lint(result) == "0 objects of KMM: nothing to judge; there is 1 ConfigMap, 2 Pod"


_CHOICES = [
    ImageChoice(module="drv", kernel="6.1", mapping=0, image="quay.test/a:1"),
    ImageChoice(module="drv", kernel="6.2", mapping=None, image=""),
]


def test_nodes_without_an_image_are_told() -> None:
    rows = [" ".join(line.split()) for line in shown(emit_choices(_CHOICES)).splitlines()]
    assert "drv 6.1 kernelMappings[0] quay.test/a:1" in rows
    assert "drv 6.2 none its nodes are left alone" in rows


def test_programs_get_the_place_of_everything() -> None:
    data = json.loads(emit_lint_json(_RESULT, _CHOICES))
    assert data["objects"] == 2
    assert (data["findings"][0]["line"], data["findings"][0]["object"]) == (9, "Module drv")
    assert [choice["mapping"] for choice in data["choices"]] == [0, None]
