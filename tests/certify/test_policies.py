from __future__ import annotations

import pytest

from builder.certify.policies import CHECKS, Certification, CheckState, CheckVerdict, Policy, PolicyCheck


def _certified(*verdicts: CheckVerdict) -> Certification:
    return Certification(subject="x", digest="", arch="amd64", policy=Policy.ROOT, because="b", checks=verdicts)


def _verdict(state: CheckState, check: PolicyCheck = PolicyCheck.HAS_LICENSE) -> CheckVerdict:
    return CheckVerdict(check=check, state=state, sentence="s")


def test_every_policy_has_what_preflight_gives_it() -> None:
    assert len(CHECKS[Policy.CONTAINER]) == 10
    left_out = {policy: set(CHECKS[Policy.CONTAINER]) - set(CHECKS[policy]) for policy in Policy}
    rpms = {PolicyCheck.NO_PROHIBITED_PACKAGES, PolicyCheck.MODIFIED_FILES, PolicyCheck.BASED_ON_UBI}
    assert left_out[Policy.ROOT] == {PolicyCheck.RUN_AS_NON_ROOT}
    assert left_out[Policy.SCRATCH_NONROOT] == rpms
    assert left_out[Policy.SCRATCH_ROOT] == rpms | {PolicyCheck.RUN_AS_NON_ROOT}
    assert len(CHECKS[Policy.OPERATOR]) == 7


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        (CheckState.PASSED, False),
        (CheckState.NOT_JUDGED, False),
        (CheckState.FAILED, True),
        (CheckState.ERROR, True),
    ],
)
def test_what_fails_and_what_ends_with_an_error_is_refused(state: CheckState, refused: bool) -> None:
    found = _certified(_verdict(CheckState.PASSED), _verdict(state))
    assert found.is_refused is refused
    assert bool(found.unjudged) is (state is CheckState.NOT_JUDGED)


def test_what_is_not_enforced_refuses_nothing() -> None:
    assert not _certified(_verdict(CheckState.FAILED, PolicyCheck.RESTRICTED_NETWORK)).is_refused
    assert _certified(_verdict(CheckState.FAILED, PolicyCheck.REQUIRED_ANNOTATIONS)).is_refused
