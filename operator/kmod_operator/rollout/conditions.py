"""Conditions of the vendor's kind, by Kubernetes' conventions. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kmod_operator.rollout.decision import Event
from kmod_operator.rollout.progress import stamp
from kmod_operator.rollout.reasons import REASONS, Condition
from kmod_operator.rollout.world import Known

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from kmod_operator.rollout.world import Object

_LONGEST_MESSAGE = 1024
_STATUS = {Known.YES: "True", Known.NO: "False", Known.UNKNOWN: "Unknown"}
_GOOD = {item: "False" if item in {Condition.PROGRESSING, Condition.DEGRADED} else "True" for item in Condition}
"""What each condition is where all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A condition: whether it holds, why, and further words."""

    type: Condition
    holds: Known
    reason: str
    words: str = ""

    @property
    def message(self) -> str:
        """A sentence for people, of a length that an object can hold."""
        text = self.words or REASONS[self.reason]
        return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 3]}..."


def make_conditions(item: Object, verdicts: Sequence[Verdict], now: datetime) -> list[dict[str, Any]]:
    """Return conditions for the status; the time of one that holds as before stays."""
    before = {one.get("type"): one for one in _conditions(item)}
    generation = item["metadata"].get("generation", 0)
    found = []
    for verdict in sorted(verdicts, key=lambda one: list(Condition).index(one.type)):
        old = before.get(verdict.type.value, {})
        status = _STATUS[verdict.holds]
        is_same = old.get("status") == status and isinstance(old.get("lastTransitionTime"), str)
        found.append({
            "type": verdict.type.value,
            "status": status,
            "reason": verdict.reason,
            "message": verdict.message,
            "observedGeneration": generation,
            "lastTransitionTime": old["lastTransitionTime"] if is_same else stamp(now),
        })  # fmt: skip
    return found


def tell_changes(item: Object, verdicts: Sequence[Verdict]) -> list[Event]:
    """Return an event for each condition that holds otherwise, or for another reason, than the object's status says."""
    before = {one.get("type"): (one.get("status"), one.get("reason")) for one in _conditions(item)}
    return [
        Event(
            reason=verdict.reason,
            message=f"{verdict.type.value} is {_STATUS[verdict.holds]}: {verdict.message}",
            is_warning=_STATUS[verdict.holds] != _GOOD[verdict.type] and verdict.type is not Condition.PROGRESSING,
        )
        for verdict in verdicts
        if before.get(verdict.type.value) != (_STATUS[verdict.holds], verdict.reason)
    ]


def _conditions(item: Object) -> list[dict[str, Any]]:
    status = item.get("status")
    found = status.get("conditions") if isinstance(status, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
