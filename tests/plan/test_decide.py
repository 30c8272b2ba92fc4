from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from builder.digest import content_id
from builder.errors import Failure, FailureClass, UsageError
from builder.evidence.records import BootEvidence, CellEvidence, CellOutcome, ModuleRecord
from builder.kernel import parse_kernel_version
from builder.plan.decide import (
    Action,
    Candidate,
    CellInputs,
    Decision,
    Elsewhere,
    Plan,
    Reason,
    make_plan,
)
from builder.plan.matrix import Cell, LeftOut

_CELL = Cell(driver="demo", driver_version="1.0.0", kernel=parse_kernel_version("6.1.0-9-amd64"), source="debian")
_INPUTS = CellInputs(
    source="s",
    containerfile="c",
    recipe="r",
    toolkit="t",
    base="b",
    driver="demo 1.0.0",
    kernel="6.1.0-9-amd64",
)
_IMAGE = "localhost/demo:1.0.0-6.1.0-9-amd64"
_KEY_IMAGE = f"localhost/kmodsmith/cell:{_INPUTS.key}"


def _candidate(inputs: CellInputs = _INPUTS, **changes: Any) -> Candidate:
    return replace(Candidate(cell=_CELL, image=_IMAGE, inputs=inputs), **changes)


def _evidence(inputs: CellInputs = _INPUTS, outcome: CellOutcome = CellOutcome.BUILT, **more: Any) -> CellEvidence:
    evidence = CellEvidence(
        cell=_CELL.id, driver="demo", kernel=_CELL.kernel.raw, key=inputs.key, outcome=outcome,
        inputs=asdict(inputs), run="r", finished="2026-11-23T00:00:00Z", digest="d", stored="s",
        modules=(ModuleRecord(name="demo.ko", sha256="0" * 64, size=1),),
    )  # fmt: skip
    return replace(evidence, **more)


def _decide(
    candidate: Candidate,
    evidence: CellEvidence | None = None,
    *,
    force: bool = False,
    images: dict[str, str] | None = None,
) -> Decision:
    known = {_CELL.id: evidence} if evidence else {}
    names = {"key": _KEY_IMAGE, "name": _IMAGE}
    present = {names[key]: value for key, value in (images or {}).items()}
    return make_plan(
        [candidate], evidence=known, images=present, digests=dict.fromkeys(present, "s"), force=force
    ).decisions[0]


_BOTH = {"key": "1", "name": "1"}


def test_never_built() -> None:
    decision = _decide(_candidate())
    assert (decision.action, decision.reason, decision.key) == (Action.BUILD, Reason.NEVER_BUILT, _INPUTS.key)


def test_up_to_date_needs_image_and_name() -> None:
    assert _decide(_candidate(), _evidence(), images=_BOTH).reason is Reason.UP_TO_DATE


@pytest.mark.parametrize(
    ("previous", "images"),
    [
        (None, _BOTH),
        (None, {"key": "1"}),
        (_evidence(replace(_INPUTS, source="other")), _BOTH),
        (_evidence(outcome=CellOutcome.FAILED, modules=(), digest=""), _BOTH),
        (_evidence(stored="that of another build"), _BOTH),
    ],
)
def test_an_image_whose_proof_is_not_on_record_is_proven_again_and_not_built(
    previous: CellEvidence | None, images: dict[str, str]
) -> None:
    decision = _decide(_candidate(), previous, images=images)
    assert (decision.action, decision.reason) == (Action.PROVE, Reason.NOT_ON_RECORD)


@pytest.mark.parametrize("images", [{"key": "1"}, {"key": "1", "name": "2"}])
def test_only_the_name_is_missing_or_wrong(images: dict[str, str]) -> None:
    assert _decide(_candidate(), _evidence(), images=images).action is Action.TAG


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("source", Reason.SOURCE_CHANGED),
        ("containerfile", Reason.CONTAINERFILE_CHANGED),
        ("recipe", Reason.RECIPE_CHANGED),
        ("toolkit", Reason.TOOLKIT_CHANGED),
        ("base", Reason.BASE_CHANGED),
        ("format", Reason.FORMAT_CHANGED),
    ],
)
def test_each_changed_input_is_a_reason(field: str, reason: Reason) -> None:
    decision = _decide(_candidate(replace(_INPUTS, **{field: "new"})), _evidence(), images=_BOTH)
    assert (decision.action, decision.reason) == (Action.BUILD, reason)


def test_several_changes_are_all_told() -> None:
    decision = _decide(_candidate(replace(_INPUTS, source="new", toolkit="new")), _evidence())
    assert decision.explanation == "the driver's source changed and the kernel's toolkit changed"


@pytest.mark.parametrize("field", list(asdict(_INPUTS)))
def test_every_input_is_in_the_key(field: str) -> None:
    assert replace(_INPUTS, **{field: "new"}).key != _INPUTS.key


def test_image_gone_failed_before_and_forced() -> None:
    failure = Failure(failure_class=FailureClass.COMPILE, code="compiler-error", detail="x")
    failed = _evidence(outcome=CellOutcome.FAILED, failure=failure)
    assert _decide(_candidate(), _evidence()).reason is Reason.IMAGE_GONE
    assert _decide(_candidate(), failed).reason is Reason.FAILED_BEFORE
    assert _decide(_candidate(), _evidence(), images=_BOTH, force=True).reason is Reason.FORCED


def test_refusals_and_left_out_cells_stay_in_the_plan() -> None:
    refused = Candidate(cell=_CELL, image=_IMAGE, inputs=None, refusal=(Reason.NO_TOOLKIT, "no toolchain"))
    excluded = Candidate(cell=_CELL, image=_IMAGE, inputs=None, refusal=(Reason.DRIVER_EXCLUDES, "says so"))
    left_out = LeftOut(cell=_CELL, code="known-bad", reason="bug")
    decisions = make_plan([refused, excluded], [left_out], evidence={}, images={}).decisions
    assert [decision.action for decision in decisions] == [Action.REFUSE, Action.EXCLUDE, Action.EXCLUDE]
    assert [decision.explanation for decision in decisions] == ["no toolchain", "says so", "bug"]


def test_two_cells_with_one_name_are_refused() -> None:
    other = replace(_CELL, driver="other")
    with pytest.raises(UsageError, match="would both be named"):
        make_plan([_candidate(), _candidate(cell=other)], evidence={}, images={})


def _boot_evidence(**changes: Any) -> BootEvidence:
    evidence = BootEvidence(
        cell=_CELL.id, key="boot-1", digest="d", passed=True, run="r", finished="2026-11-23T00:00:00Z", mode="secure",
        acceleration="tcg", enrolled="db", signed_by="signers", seconds=8.0,
    )  # fmt: skip
    return replace(evidence, **changes)


@pytest.mark.parametrize(
    ("previous", "images", "always", "action", "reason"),
    [
        (None, _BOTH, False, Action.BOOT, Reason.NOT_BOOTED),
        (None, {"key": "1"}, False, Action.BOOT, Reason.NOT_BOOTED),
        (_boot_evidence(), _BOTH, False, Action.SKIP, Reason.UP_TO_DATE),
        (_boot_evidence(), {"key": "1"}, False, Action.TAG, Reason.NAME_MISSING),
        (_boot_evidence(), _BOTH, True, Action.BOOT, Reason.BOOT_ALWAYS),
        (_boot_evidence(mode="plain", wish="plain"), _BOTH, False, Action.BOOT, Reason.BOOT_CHANGED),
        (_boot_evidence(mode="plain", wish="auto"), _BOTH, False, Action.SKIP, Reason.UP_TO_DATE),
        (_boot_evidence(key="boot-0"), _BOTH, False, Action.BOOT, Reason.BOOT_CHANGED),
        (_boot_evidence(passed=False, code="kernel-oops"), _BOTH, False, Action.BOOT, Reason.BOOT_FAILED_BEFORE),
        (_boot_evidence(digest="another"), _BOTH, False, Action.BOOT, Reason.NOT_BOOTED),
        (_boot_evidence(), {}, False, Action.BUILD, Reason.IMAGE_GONE),
    ],
)
def test_what_is_booted_and_why(
    previous: BootEvidence | None, images: dict[str, str], always: bool, action: Action, reason: Reason
) -> None:
    names = {"key": _KEY_IMAGE, "name": _IMAGE}
    decision = make_plan(
        [_candidate(boot_key="boot-1")],
        evidence={_CELL.id: _evidence()},
        images={names[key]: value for key, value in images.items()},
        digests={names[key]: "s" for key in images},
        boots={_CELL.id: previous} if previous else {},
        boot_always=always,
    ).decisions[0]
    assert (decision.action, decision.reason) == (action, reason)
    assert decision.boot_key == ("boot-1" if action in {Action.BOOT, Action.BUILD} else "")
    assert decision.boot_key or decision.action in {Action.SKIP, Action.TAG}


def test_what_another_machine_published_is_left_alone() -> None:
    def decide(said: Elsewhere, **more: Any) -> Decision:
        candidate = _candidate(boot_key="b")
        return make_plan([candidate], evidence={}, images={}, elsewhere={candidate.cell.id: said}, **more).decisions[0]

    there = decide(Elsewhere(digest="sha256:1"))
    assert (there.action, there.reason, there.boot_key) == (Action.SKIP, Reason.PUBLISHED, "")
    assert "made from the same inputs: sha256:1" in there.explanation
    unknown = decide(Elsewhere(problem="no answer"))
    assert (unknown.action, unknown.reason) == (Action.REFUSE, Reason.REGISTRY_UNKNOWN)
    assert "is not known: no answer" in unknown.explanation


def test_what_is_built_here_counts_more_than_a_registry() -> None:
    candidate = _candidate()
    assert candidate.inputs is not None
    images = {f"localhost/kmodsmith/cell:{candidate.inputs.key}": "id", candidate.image: "id"}
    said = {candidate.cell.id: Elsewhere(problem="no answer")}
    known = {candidate.cell.id: _evidence()}
    decision = make_plan([candidate], evidence=known, images=images, elsewhere=said).decisions[0]
    assert decision.reason is Reason.UP_TO_DATE


_FAILED = _evidence(
    outcome=CellOutcome.FAILED, modules=(), digest="", timings={"toolkit": 0.1, "compile": 2.0},
    failure=Failure(failure_class=FailureClass.COMPILE, code="api-arity", detail="a.c:1: error: x", location="a.c:1"),
)  # fmt: skip


def _plan_again(evidence: CellEvidence = _FAILED, candidate: Candidate | None = None, **more: Any) -> Decision:
    return make_plan([candidate or _candidate()], evidence={evidence.cell: evidence}, images={}, **more).decisions[0]


def test_what_failed_to_compile_is_not_compiled_again_and_says_when_it_failed() -> None:
    decision = _plan_again()
    assert (decision.action, decision.reason, decision.failed) == (Action.FAIL, Reason.FAILED_BEFORE, _FAILED)
    assert decision.key, "its registry may have it: another machine made it"
    assert decision.explanation == (
        "its compile failed on 2026-11-23T00:00:00Z (api-arity), and nothing that goes into it changed since; "
        "--retry-failed compiles it again"
    )
    assert Plan(decisions=(decision,)).work == ()


@pytest.mark.parametrize("asked", [{"force": True}, {"retry_failed": True}])
def test_what_failed_is_compiled_again_where_that_is_asked_for(asked: dict[str, Any]) -> None:
    decision = _plan_again(**asked)
    assert (decision.action, decision.failed) == (Action.BUILD, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"failure": Failure(failure_class=FailureClass.INFRASTRUCTURE, code="disk-full", detail="x")},
        {"failure": Failure(failure_class=FailureClass.COMPILE, code="timeout", detail="x")},
        {"failure": Failure(failure_class=FailureClass.COMPILE, code="expected-module-missing", detail="x"),
         "timings": {"compile": 2.0, "fit": 0.1}},
        {"timings": {}},
        {"inputs": asdict(replace(_INPUTS, source="other"))},
        {"inputs": asdict(replace(_INPUTS, toolkit="other"))},
        {"inputs": asdict(replace(_INPUTS, kernel="other"))},
        {"inputs": asdict(replace(_INPUTS, format="2"))},
        {"inputs": {}},
    ],
)  # fmt: skip
def test_what_may_come_out_otherwise_is_compiled_again(changes: dict[str, Any]) -> None:
    assert _plan_again(replace(_FAILED, **changes)).action is Action.BUILD


@pytest.mark.parametrize("changes", [{"signers": "s2"}, {"base": "b2"}, {"compress": "xz"}])
def test_what_a_compile_does_not_see_makes_no_failed_one_worth_another_try(changes: dict[str, str]) -> None:
    assert _plan_again(candidate=_candidate(replace(_INPUTS, **changes))).action is Action.FAIL


def test_cells_that_share_a_compile_share_its_failure_and_its_result() -> None:
    other = replace(_FAILED, cell="demo-1.0.0-other")
    decision = _plan_again(other)
    assert decision.action is Action.FAIL
    assert decision.explanation.startswith("the compile that it shares with demo-1.0.0-other failed on ")
    assert _plan_again(other, compiled={_INPUTS.compile_key}).action is Action.ASSEMBLE


def test_what_failed_here_and_is_published_is_left_alone_and_stays_a_failure_where_nobody_knows() -> None:
    there = _plan_again(elsewhere={_CELL.id: Elsewhere(digest="sha256:1")})
    assert (there.action, there.reason) == (Action.SKIP, Reason.PUBLISHED)
    unknown = _plan_again(elsewhere={_CELL.id: Elsewhere(problem="no answer")})
    assert (unknown.action, unknown.reason) == (Action.FAIL, Reason.FAILED_BEFORE)


def test_a_driver_without_build_packages_keeps_the_keys_that_it_had() -> None:
    """They came later than other inputs: who has none need not build everything again."""
    former = {name: value for name, value in asdict(_INPUTS).items() if name != "packages"}
    assert _INPUTS.key == content_id(former)
    assert replace(_INPUTS, packages="a=1@0").key != _INPUTS.key
    assert replace(_INPUTS, packages="a=1@0").compile_key != _INPUTS.compile_key
    decision = _decide(_candidate(), replace(_evidence(), inputs=former))
    assert decision.reason is Reason.IMAGE_GONE


@pytest.mark.parametrize(
    ("before", "now", "sentence"),
    [
        ("", "a=1@0 b=2@0", "a 1 came, b 2 came"),
        ("a=1@0 b=2@0", "", "a left, b left"),
        ("a=1@0 b=2@0", "a=1@0 b=3@1", "b 2 became 3"),
        ("a=1@0", "a=1@1", "a 1 has another content"),
        (
            "",
            " ".join(f"p{number}=1@0" for number in range(9)),
            "p0 1 came, p1 1 came, p2 1 came, p3 1 came and 5 more",
        ),
    ],
)
def test_packages_that_changed_are_named(before: str, now: str, sentence: str) -> None:
    decision = _decide(_candidate(replace(_INPUTS, packages=now)), _evidence(replace(_INPUTS, packages=before)))
    assert (decision.reason, decision.explanation) == (
        Reason.PACKAGES_CHANGED,
        f"build packages changed: {sentence}",
    )


def test_inputs_by_name_are_all_of_them() -> None:
    assert _INPUTS.by_name() == asdict(_INPUTS)
