"""How a run's component images end, as an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fakes.components import make_component_evidence, make_inputs, make_item

from builder.components.decide import ComponentDecision
from builder.components.result import ComponentResult, exit_code_of, result_without_work
from builder.errors import Failure, FailureClass
from builder.plan.decide import Action, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence


def _result(status: str, failure_class: FailureClass | None = None) -> ComponentResult:
    decision = ComponentDecision(
        item=make_item(), action=Action.BUILD, reason=Reason.NEVER_BUILT, explanation="e", inputs=make_inputs()
    )
    failure = Failure(failure_class=failure_class, code="c", detail="d") if failure_class else None
    return ComponentResult(decision=decision, status=status, failure=failure)


_GOOD, _REFUSED = _result("built"), _result("refused")
_FIT, _COMPILE = _result("failed", FailureClass.FIT), _result("failed", FailureClass.COMPILE)


@pytest.mark.parametrize(
    ("results", "others", "code"),
    [
        ([], (), 0),
        ([_GOOD], (0,), 0),
        ([_GOOD, _FIT, _FIT], (), 13),
        ([_REFUSED], (), 10),
        ([_FIT, _COMPILE], (), 20),
        ([_FIT], (13,), 13),
        ([_FIT], (11,), 20),
        ([_FIT], (20,), 20),
        ([], (11,), 11),
    ],
)
def test_exit_codes(results: Sequence[ComponentResult], others: tuple[int, ...], code: int) -> None:
    assert exit_code_of(results, *others) == code


def test_what_needed_no_work_has_a_result_of_what_is_on_record() -> None:
    known = make_component_evidence()
    up_to_date = ComponentDecision(
        item=make_item(),
        action=Action.SKIP,
        reason=Reason.UP_TO_DATE,
        explanation="e",
        known=known,
    )
    result = result_without_work(up_to_date)
    assert (result.status, result.digest, result.evidence) == ("skipped", known.digest, known)
    refused = ComponentDecision(item=make_item(), action=Action.REFUSE, reason=Reason.NO_BASE_IMAGE, explanation="e")
    assert result_without_work(refused).status == "refused"
