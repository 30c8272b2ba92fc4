"""What is said of a cell: a state that nothing on record contradicts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.site_facts import COMPILE_ERROR, make_boot, make_build, make_publish

from builder.errors import Failure, FailureClass
from builder.kernel import parse_kernel_version
from builder.plan.decide import Action, Decision, Reason
from builder.plan.matrix import Cell
from builder.site.cells import OnRecord, describe_decided, describe_earlier, describe_undecided, names_of
from builder.site.facts import CellState, CellStep

_KERNEL = "5.14.0-427.50.1.el9_4.x86_64"
_CELL = Cell(driver="gpu", driver_version="1.4.0", kernel=parse_kernel_version(_KERNEL), source="ocp")
_BUILT = make_build(_CELL.id, _KERNEL)
_SIGNED = replace(_BUILT, signers=("f" * 64,))
_BOOT = make_boot(_CELL.id)
_NAME = make_publish(_CELL.id, _KERNEL)
_DISK = Failure(failure_class=FailureClass.INFRASTRUCTURE, code="disk-full", detail="No space left on device")


def _decide(action: Action, reason: Reason, *, key: str = _BUILT.key, **more: object) -> Decision:
    said = {"cell": _CELL, "action": action, "reason": reason, "explanation": "because", "key": key, **more}
    return Decision(**said)  # type: ignore[arg-type]


_UP_TO_DATE = _decide(Action.SKIP, Reason.UP_TO_DATE)
_CASES = [
    (_UP_TO_DATE, OnRecord(evidence=_BUILT), CellState.PROVEN, "proven"),
    (_UP_TO_DATE, OnRecord(evidence=_SIGNED), CellState.SIGNED, "proven signed"),
    (_UP_TO_DATE, OnRecord(evidence=_SIGNED, boot=_BOOT), CellState.BOOTED, "proven signed booted"),
    (_UP_TO_DATE, OnRecord(evidence=_SIGNED, boot=_BOOT, published=(_NAME,)), CellState.PUBLISHED, "proven signed booted published"),
    (_UP_TO_DATE, OnRecord(evidence=_BUILT, published=(_NAME,)), CellState.PUBLISHED, "proven published"),
    # another image of the cell was booted, or this one failed at it
    (_UP_TO_DATE, OnRecord(evidence=_BUILT, boot=replace(_BOOT, digest="sha256:other")), CellState.PROVEN, "proven"),
    (_UP_TO_DATE, OnRecord(evidence=_BUILT, boot=replace(_BOOT, passed=False)), CellState.PROVEN, "proven"),
    # names of older inputs, and of this machine's store, are not what is wanted
    (_UP_TO_DATE, OnRecord(evidence=_BUILT, published=(replace(_NAME, key="old"),)), CellState.PROVEN, "proven"),
    (_UP_TO_DATE, OnRecord(evidence=_BUILT, published=(replace(_NAME, name="localhost/gpu:1"),)), CellState.PROVEN, "proven"),
    # evidence of other inputs proves nothing
    (_UP_TO_DATE, OnRecord(evidence=replace(_BUILT, key="old")), CellState.UNPROVEN, ""),
    (_UP_TO_DATE, OnRecord(evidence=replace(_BUILT, modules=())), CellState.UNPROVEN, ""),
    (_UP_TO_DATE, OnRecord(), CellState.UNPROVEN, ""),
    (_decide(Action.BOOT, Reason.NOT_BOOTED), OnRecord(evidence=_BUILT), CellState.PROVEN, "proven"),
    (_decide(Action.BOOT, Reason.BOOT_CHANGED), OnRecord(evidence=_BUILT, boot=_BOOT), CellState.PROVEN, "proven"),
    (_decide(Action.BOOT, Reason.BOOT_ALWAYS), OnRecord(evidence=_BUILT, boot=_BOOT), CellState.BOOTED, "proven booted"),
    (_decide(Action.PROVE, Reason.NOT_ON_RECORD), OnRecord(), CellState.UNPROVEN, ""),
    (_decide(Action.BUILD, Reason.NEVER_BUILT), OnRecord(), CellState.NOT_BUILT, ""),
    (_decide(Action.BUILD, Reason.SOURCE_CHANGED, key="new"), OnRecord(evidence=_BUILT), CellState.STALE, ""),
    (_decide(Action.BUILD, Reason.IMAGE_GONE), OnRecord(evidence=_BUILT), CellState.STALE, "proven"),
    (_decide(Action.BUILD, Reason.IMAGE_GONE), OnRecord(evidence=_BUILT, published=(_NAME,)), CellState.PUBLISHED, "proven published"),
    (_decide(Action.ASSEMBLE, Reason.SIGNER_CHANGED, key="new"), OnRecord(evidence=_BUILT), CellState.STALE, ""),
    (_decide(Action.BUILD, Reason.FAILED_BEFORE), OnRecord(evidence=replace(_BUILT, failure=_DISK, modules=())), CellState.UNKNOWN, ""),
    (_decide(Action.BUILD, Reason.FAILED_BEFORE), OnRecord(evidence=replace(_BUILT, failure=COMPILE_ERROR, modules=())), CellState.FAILED, ""),
    (_decide(Action.FAIL, Reason.FAILED_BEFORE), OnRecord(evidence=replace(_BUILT, failure=COMPILE_ERROR, modules=())), CellState.FAILED, ""),
    (_decide(Action.REFUSE, Reason.NO_TOOLKIT, key=""), OnRecord(), CellState.REFUSED, ""),
    (_decide(Action.REFUSE, Reason.TOOLKIT_UNKNOWN, key=""), OnRecord(), CellState.UNKNOWN, ""),
    (_decide(Action.REFUSE, Reason.REGISTRY_UNKNOWN), OnRecord(), CellState.UNKNOWN, ""),
    (_decide(Action.EXCLUDE, Reason.KNOWN_BAD, key=""), OnRecord(evidence=_BUILT), CellState.KNOWN_BAD, ""),
    (_decide(Action.EXCLUDE, Reason.EXCLUDED, key=""), OnRecord(), CellState.NOT_WANTED, ""),
    (_decide(Action.EXCLUDE, Reason.RELEASE_KIND, key=""), OnRecord(), CellState.NOT_WANTED, ""),
    (_decide(Action.EXCLUDE, Reason.KERNEL_INCOMPLETE, key=""), OnRecord(), CellState.REFUSED, ""),
    (_decide(Action.EXCLUDE, Reason.NO_TOOLKIT, key=""), OnRecord(), CellState.ACKNOWLEDGED, ""),
]  # fmt: skip


@pytest.mark.parametrize(("decision", "record", "state", "steps"), _CASES)
def test_state_and_steps(decision: Decision, record: OnRecord, state: CellState, steps: str) -> None:
    cell = describe_decided(decision, record)
    assert (cell.state, " ".join(cell.steps)) == (state, steps)
    assert cell.reason == decision.reason


def test_every_state_has_a_case() -> None:
    assert {case[2] for case in _CASES} == set(CellState)


def test_what_failed_says_why_it_failed_and_not_what_was_decided() -> None:
    record = OnRecord(evidence=replace(_BUILT, failure=COMPILE_ERROR))
    assert describe_decided(_decide(Action.FAIL, Reason.FAILED_BEFORE), record).why == COMPILE_ERROR.detail
    assert describe_decided(_UP_TO_DATE, OnRecord(evidence=_BUILT)).why == "because"


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (OnRecord(), CellState.UNKNOWN),
        (OnRecord(evidence=_SIGNED, boot=_BOOT), CellState.BOOTED),
        (OnRecord(evidence=replace(_BUILT, failure=COMPILE_ERROR)), CellState.FAILED),
        (OnRecord(evidence=replace(_BUILT, failure=_DISK)), CellState.UNKNOWN),
    ],
)
def test_without_a_plan_the_record_counts_and_absence_is_unknown(record: OnRecord, state: CellState) -> None:
    assert describe_undecided(_CELL, record, "no store").state is state
    earlier = describe_earlier(record, "no store")
    assert (earlier.state if earlier else CellState.UNKNOWN) is state


def test_a_journal_can_name_what_is_no_kernel() -> None:
    assert describe_earlier(OnRecord(evidence=replace(_BUILT, kernel="<script>")), "") is None
    found = describe_earlier(OnRecord(evidence=_BUILT), "why")
    assert found is not None
    assert (found.version, found.arch, found.steps) == ("1.4.0", "x86_64", (CellStep.PROVEN,))


def test_nothing_is_published_of_no_key() -> None:
    assert names_of([replace(_NAME, key="")], "") == []
