from __future__ import annotations

from dataclasses import replace

import pytest

from builder.publish.result import PublishResult, PublishStatus

_FAILURES = {
    PublishStatus.BLOCKED,
    PublishStatus.CONFLICT,
    PublishStatus.UNSIGNED,
    PublishStatus.UNKNOWN,
    PublishStatus.NOT_BUILT,
}


@pytest.mark.parametrize("status", PublishStatus)
def test_what_waits_or_is_left_out_is_no_failure(status: PublishStatus) -> None:
    result = PublishResult(title="drv", names=(), status=status)
    assert result.is_failure is (status in _FAILURES)
    assert result.is_waiting is (status is PublishStatus.WAITING)
    assert not replace(result, is_known=True).is_waiting
