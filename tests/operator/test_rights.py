"""What the operator may do is what it says itself, for those who are not the operator."""

from __future__ import annotations

from typing import Any

import pytest
from kmod_operator.rollout.rights import told_rights
from kmod_operator.rollout.world import Known


def _item(status: Any, reason: str) -> dict[str, Any]:
    other = {"type": "Ready", "status": "True", "reason": "MayNotDrain"}
    return {"status": {"conditions": [other, {"type": "PrerequisitesMet", "status": status, "reason": reason}]}}


@pytest.mark.parametrize(
    ("status", "reason", "rights"),
    [
        ("True", "AllThere", {"drain": Known.YES, "hold-pools": Known.YES}),
        ("False", "MayNotDrain", {"drain": Known.NO}),
        ("False", "MayNotHoldPools", {"drain": Known.YES, "hold-pools": Known.NO}),
        ("False", "KmmAbsent", {}),
        ("Unknown", "MayNotDrain", {}),
        (None, "", {}),
    ],
)
def test_rights_are_those_of_the_condition(status: Any, reason: str, rights: dict[str, Known]) -> None:
    assert told_rights(_item(status, reason)) == rights


@pytest.mark.parametrize("item", [{}, {"status": 1}, {"status": {"conditions": "x"}}, {"status": {"conditions": [1]}}])
def test_without_a_condition_nothing_is_known(item: dict[str, Any]) -> None:
    assert told_rights(item) == {}
