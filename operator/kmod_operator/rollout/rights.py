"""What the operator may do, by what it said itself: for those who are not the operator. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_operator.rollout.reasons import Condition
from kmod_operator.rollout.world import Known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmod_operator.rollout.world import Object

_LACKS = {"MayNotDrain": "drain", "MayNotHoldPools": "hold-pools"}


def told_rights(item: Object) -> Mapping[str, Known]:
    """Return ``World.rights`` as the condition PrerequisitesMet of the vendor's object tells them.

    Whoever asks an API server learns of their own rights, and an administrator has all. What the object does not want
    is not told, and plays no part.
    """
    found = next((one for one in _conditions(item) if one.get("type") == Condition.PREREQUISITES_MET), {})
    if found.get("status") == "True":
        return dict.fromkeys(_LACKS.values(), Known.YES)
    right = _LACKS.get(str(found.get("reason")))
    if right is None or found.get("status") != "False":
        return {}
    # One is told at a time, and draining comes first: that pools are told of says that draining is allowed.
    return {right: Known.NO} | ({"drain": Known.YES} if right == "hold-pools" else {})


def _conditions(item: Object) -> list[dict[str, Any]]:
    status = item.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return [one for one in conditions if isinstance(one, dict)] if isinstance(conditions, list) else []
