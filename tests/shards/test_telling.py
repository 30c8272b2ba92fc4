"""Results to evidence and back: what is green, and which class a failure has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.outcomes import COMPILE_FAILURE, RESULTS, make_cell_result
from fakes.plans import make_evidence

from builder.build.result import Status, exit_code_of
from builder.errors import FailureClass
from builder.plan.decide import Action, Reason
from builder.publish.result import PublishResult, PublishStatus
from builder.shards.evidence import EvidenceRow
from builder.shards.telling import cell_result, cell_rows, explain_silence, find_lack, no_evidence, summarize

_DIGEST = f"sha256:{'c' * 64}"


def _published(status: PublishStatus, why: str = "") -> PublishResult:
    return PublishResult(title="demo", names=("quay.test/demo:1",), status=status, digest=_DIGEST, why=why)


_BUILT = EvidenceRow(id="demo", status="built", digest=_DIGEST)
_FAILED = EvidenceRow.model_validate(
    {"id": "demo", "status": "failed", "failure": {"failure_class": "compile", "code": "compiler-error", "detail": "d"}}
)


def test_results_come_back_as_they_were() -> None:
    rows = {row.id: row for row in cell_rows(RESULTS, [])}
    for result in RESULTS:
        decision = result.decision
        back = cell_result(decision, rows[decision.cell.id], None, None, is_published=False, may_exclude=True)
        assert (back.status, back.failure, back.duration_s) == (result.status, result.failure, (
            0.0 if result.status in {Status.REFUSED, Status.EXCLUDED} else result.duration_s
        ))  # fmt: skip
    assert exit_code_of(
        [
            cell_result(item.decision, rows[item.decision.cell.id], None, None, is_published=False, may_exclude=True)
            for item in RESULTS
        ]
    ) == exit_code_of(RESULTS)


@pytest.mark.parametrize(
    ("row", "published", "absent", "is_published", "code"),
    [
        (_BUILT, PublishStatus.THERE, "", True, None),
        (_FAILED, PublishStatus.THERE, "", True, None),  # somebody else made it: what is there counts
        (None, PublishStatus.COMPLETED, "gone", True, None),
        (_BUILT, None, "", False, None),
        (None, None, "", False, None),  # nothing was to be done
        (_BUILT, PublishStatus.NOT_BUILT, "", True, "not-published"),
        (_BUILT, PublishStatus.CONFLICT, "", True, "not-published"),
        (_BUILT, PublishStatus.UNSIGNED, "", True, "not-published"),
        (_BUILT, None, "", True, "not-published"),
        (None, PublishStatus.NOT_BUILT, "", True, "not-published"),
        (_BUILT, PublishStatus.UNKNOWN, "", True, "registry-unknown"),
        (_FAILED, PublishStatus.NOT_BUILT, "", True, "compiler-error"),
        (_FAILED, None, "", False, "compiler-error"),
        (None, PublishStatus.NOT_BUILT, "shard 1 left no evidence", True, "no-evidence"),
        (None, None, "shard 1 left no evidence", False, "no-evidence"),
        (EvidenceRow(id="demo", status="unproven"), None, "", False, "not-made"),
        (EvidenceRow(id="demo", status="anything"), None, "", False, "not-made"),
    ],
)
def test_what_is_there_counts_and_not_what_is_said(
    row: EvidenceRow | None, published: PublishStatus | None, absent: str, *, is_published: bool, code: str | None
) -> None:
    found = find_lack(
        row,
        _published(published) if published else None,
        no_evidence(absent) if absent else None,
        is_published=is_published,
    )
    assert (found.code if found else None) == code


def test_what_the_driver_left_out_there_is_left_out_here() -> None:
    decision = make_cell_result("6.1.0-9-amd64", Status.BUILT).decision
    row = EvidenceRow(id=decision.cell.id, status="excluded", why="dkms.conf does not want it")
    absent = _published(PublishStatus.NOT_BUILT)
    found = cell_result(decision, row, absent, None, is_published=True, may_exclude=True)
    assert (found.status, found.decision.action, found.failure) == (Status.EXCLUDED, Action.EXCLUDE, None)
    assert found.decision.explanation == "dkms.conf does not want it"


@pytest.mark.parametrize(("is_published", "code"), [(True, "not-published"), (False, "not-made")])
def test_who_is_not_asked_leaves_nothing_out(*, is_published: bool, code: str) -> None:
    """Else whoever may write evidence would make a plan green without an image."""
    decision = make_cell_result("6.1.0-9-amd64", Status.BUILT).decision
    row = EvidenceRow(id=decision.cell.id, status="excluded", why="dkms.conf does not want it")
    absent = _published(PublishStatus.NOT_BUILT) if is_published else None
    found = cell_result(decision, row, absent, None, is_published=is_published, may_exclude=False)
    assert (found.status, found.failure.code if found.failure else "") == (Status.FAILED, code)


def test_what_nobody_answered_is_no_toolkit_s_fault() -> None:
    decision = make_cell_result("6.1.0-9-amd64", Status.BUILT).decision
    refused = replace(decision, action=Action.REFUSE, reason=Reason.REGISTRY_UNKNOWN)
    found = cell_result(refused, None, None, None, is_published=True, may_exclude=True)
    assert exit_code_of([found]) == FailureClass.INFRASTRUCTURE.exit_code


def test_a_summary_is_short_and_names_the_first_cause() -> None:
    failed = make_cell_result("6.1.0-10-amd64", Status.FAILED, COMPILE_FAILURE)
    evidence = make_evidence(_DIGEST, cells=cell_rows([RESULTS[0], failed], []), exit_code=11)
    assert summarize(evidence) == "1 built, 1 failed; demo-1.0.0/6.1.0-10-amd64: compiler-error; exit 11"
    assert summarize(make_evidence(_DIGEST, cells=())) == "nothing to do; exit 0"


@pytest.mark.parametrize(
    ("code", "error", "failure_class", "said"),
    [
        (9, "the key cannot be read", FailureClass.SIGN, "shard-failed"),
        (17, "no disk", FailureClass.INFRASTRUCTURE, "shard-failed"),
        (2, "another kmodsmith", FailureClass.INFRASTRUCTURE, "shard-failed"),
        (0, "", FailureClass.INFRASTRUCTURE, "no-evidence"),
    ],
)
def test_a_shard_that_could_not_begin_has_its_own_class(
    code: int, error: str, failure_class: FailureClass, said: str
) -> None:
    found = explain_silence("shard 3", make_evidence(_DIGEST, cells=(), exit_code=code, error=error))
    assert (found.failure_class, found.code) == (failure_class, said)
    assert error in found.detail
