"""Plans and results of component images as people and programs see them."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

from fakes.components import make_component_evidence, make_inputs, make_item
from fakes.outcomes import COMPILE_FAILURE, DISK_FAILURE, shown

from builder.components.decide import ComponentDecision, ComponentPlan
from builder.components.result import ComponentResult, result_without_work
from builder.evidence.records import SelfTest
from builder.plan.decide import Action, Reason
from builder.show.components import (
    emit_component_causes,
    emit_component_plan,
    emit_component_plan_summary,
    emit_component_results,
)
from builder.show.junit import emit_junit
from builder.show.report import emit_results_json

_BUILD = ComponentDecision(
    item=make_item(), action=Action.BUILD, reason=Reason.NEVER_BUILT, explanation="no build of it is known here",
    inputs=make_inputs(),
)  # fmt: skip
_SKIP = replace(_BUILD, action=Action.SKIP, reason=Reason.UP_TO_DATE, item=make_item(name="tools"))
_REFUSE = ComponentDecision(
    item=make_item(name="x"),
    action=Action.REFUSE,
    reason=Reason.NO_BASE_IMAGE,
    explanation="the lock has no [b]curl[/b]",
)
_EVIDENCE = make_component_evidence()
_NOT_RUN = SelfTest(outcome="not-run", why="this machine has no qemu-aarch64-static")
RESULTS = [
    ComponentResult(decision=_BUILD, status="built", digest=f"sha256:{'1' * 64}", duration_s=2.5, evidence=_EVIDENCE),
    ComponentResult(decision=_BUILD, status="failed", duration_s=1.0, failure=COMPILE_FAILURE, evidence=_EVIDENCE),
    ComponentResult(decision=_BUILD, status="failed", failure=DISK_FAILURE),
    result_without_work(_SKIP),
    result_without_work(_REFUSE),
    ComponentResult(decision=_BUILD, status="proven", evidence=replace(_EVIDENCE, self_test=_NOT_RUN)),
]


def test_a_plan_has_a_row_for_each_image() -> None:
    plan = ComponentPlan(decisions=(_BUILD, _SKIP, _REFUSE))
    narrow, wide = (shown(emit_component_plan(plan, wide=wide)) for wide in (False, True))
    assert "plugin-0.1.0/x86_64" in narrow
    assert "never-built: no build of it is known here" in narrow
    assert "[b]curl[/b]" in narrow, "what a file says steers no terminal"
    assert _BUILD.key[:12] in wide
    assert _BUILD.key[:12] not in narrow
    assert emit_component_plan_summary(plan) == "3 component images: 1 to build, 1 to skip, 1 to refuse"


def test_results_tell_status_reason_and_self_test() -> None:
    text = shown(emit_component_results(RESULTS, wide=True), 240)
    for words in (
        "passed, native, 0.5 s", "not run: this machine has no qemu-aarch64-static", "compile: compiler-error",
        "infrastructure: disk-full", "refused", "3 MiB", "1" * 12,
    ):  # fmt: skip
        assert words in text
    assert "3 MiB" not in shown(emit_component_results(RESULTS, wide=False), 240)


def test_causes_are_told_with_hint_and_log() -> None:
    text = emit_component_causes(RESULTS).plain
    assert text.count("plugin-0.1.0/x86_64: ") == 2
    assert "compile, compiler-error: a.c:1: error" in text
    assert "\n  mend it" in text
    assert "\n  log: components/plugin-0.1.0/x86_64/build.log" in text
    assert "x-0.1.0/x86_64: the lock has no [b]curl[/b]" in text
    assert not emit_component_causes(RESULTS[:1])


def test_json_has_all_of_it() -> None:
    data = json.loads(emit_results_json([], run_id="r", wall_s=1.0, components=RESULTS))
    built, failed, _, skipped, refused, _ = data["components"]
    assert built == built | {
        "component": "plugin-0.1.0/x86_64", "arch": "x86_64", "action": "build", "status": "built", "duration_s": 2.5,
        "image": "localhost/plugin:0.1.0-amd64", "size": 3 * 1024**2, "digest": f"sha256:{'1' * 64}", "failure": None,
    }  # fmt: skip
    assert built["self_test"]["by"] == "native"
    assert failed["failure"]["code"] == "compiler-error"
    assert (skipped["status"], skipped["self_test"], skipped["digest"], skipped["log"]) == ("skipped", None, None, None)
    assert (refused["key"], refused["inputs"], refused["reason"]) == (None, None, "no-base-image")


def test_junit_has_a_suite_of_them() -> None:
    (suite,) = ET.fromstring(emit_junit([], RESULTS))
    assert (suite.get("name"), suite.get("tests"), suite.get("time")) == ("components", "6", "3.500")
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("2", "1", "1")
    failure = suite[1].find("failure")
    assert failure is not None
    assert failure.get("type") == "compiler-error"
    assert "log: components/plugin-0.1.0/x86_64/build.log" in (failure.text or "")
    assert [case.get("classname") for case in suite] == ["components"] * 6
