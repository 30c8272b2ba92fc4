"""When an answer that lacks much of what was known is not believed: one rule for all kernel sources. Pure.

Nothing leaves the lock because an archive was caught in the middle of an update, or a graph was empty for an hour.
"""

from __future__ import annotations

from builder.writing import count

# One or two releases of a channel were withdrawn at a time in the years on record, and Debian drops one kernel of a
# flavour with a new one; many at once are a broken answer.
_FEW = 3
_SHARE = 0.1


def distrust(missing: int, known: int, thing: str, *, is_empty: bool = False, accept: bool) -> str:
    """Return why an answer is not believed; empty if it is.

    Args:
        missing: how many of the known things it lacks.
        known: how many were known of what was asked about.
        thing: what one of them is called.
        is_empty: it has nothing at all of what was asked about.
        accept: somebody looked, and says that it is right.
    """
    if accept or not missing or (missing <= max(_FEW, _SHARE * known) and not is_empty):
        return ""
    had = f"{count(known, thing)} that it had"
    lacks = f"its answer has none of the {had}" if is_empty else f"{missing} of the {had} are not in its answer"
    return f"{lacks}, which nobody withdraws at once: what it had is kept; if it is right, say --accept-loss"
