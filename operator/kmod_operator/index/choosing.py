"""Which index is believed: the newest that the vendor signed, whatever lies there now.

Nothing is remembered here. Which index is the newest must outlive a restart, or an old one could be put in its place
while the operator is away: the caller keeps the bytes of the last good one (``IndexState.digest`` tells when they are
others), gives them to ``restore`` when it begins, and the state that comes of it to ``choose``. Pure where ``now`` is
given.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kmod_operator.index.keys import KeyProblem, read_keys
from kmod_operator.index.reading import IndexProblem, read_signed_index
from kmod_operator.rollout.world import IndexState

if TYPE_CHECKING:
    from collections.abc import Sequence

UNREADABLE, NOT_TRUSTED, OLDER = "Unreadable", "NotTrusted", "OlderIndex"
"""Words of ``rollout/reasons.py``."""
_AHEAD = timedelta(days=1)


def choose(
    before: IndexState,
    offered: bytes | None,
    why_not: str,
    keys: Sequence[str],
    driver: str,
    *,
    now: datetime | None = None,
) -> IndexState:
    """Return what is believed now; what is offered and cannot be believed changes nothing but ``trouble``.

    Args:
        before: what was believed.
        offered: the bytes that lie there now, not packed; None where they cannot be had.
        why_not: why not, as a sentence.
        keys: the vendor's, in PEM form.
        driver: whose index it must be.
        now: time of day; None: of this machine.
    """
    if before.index and before.index.driver != driver:
        before = IndexState()
    if offered is None:
        return replace(before, trouble=why_not or "nothing is there", trouble_reason=UNREADABLE)
    digest = digest_of(offered)
    if before.index and digest == before.digest and _is_known(before.signer, keys):
        return replace(before, trouble="", trouble_reason="")
    try:
        found = _read(offered, keys, driver)
    except IndexProblem as problem:
        return replace(before, trouble=str(problem), trouble_reason=NOT_TRUSTED)
    today = now or datetime.now(UTC)
    if found.index and found.index.made - today > _AHEAD:
        words = (
            f"it says that it was made on {found.index.made:%Y-%m-%d %H:%M} UTC, which is more than a day from now: "
            "the clock of who made it is wrong, or that of this node"
        )
        return replace(before, trouble=words, trouble_reason=NOT_TRUSTED)
    return _newer(before, found)


def restore(content: bytes, keys: Sequence[str], driver: str) -> IndexState:
    """Return what was believed before a restart; nothing, and why, where it is not believed any more.

    A time ahead of this machine's clock is not looked at: it was when these bytes were chosen, and a clock that is slow
    after a restart must not make the operator forget which index is the newest.
    """
    try:
        return _read(content, keys, driver)
    except IndexProblem as problem:
        return IndexState(trouble=f"what was kept of the last index: {problem}", trouble_reason=NOT_TRUSTED)


def digest_of(content: bytes) -> str:
    """Return how bytes of an index are called: ``sha256:`` and so on, as in a registry."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _read(content: bytes, keys: Sequence[str], driver: str) -> IndexState:
    found = read_signed_index(content, keys)
    if found.index.driver != driver:
        raise IndexProblem(f"it is the index of driver {found.index.driver}, and not of {driver}")
    return IndexState(index=found.index, digest=digest_of(content), signer=found.signer)


def _newer(before: IndexState, found: IndexState) -> IndexState:
    """Return the newer of two; of two that are as old as each other and say the same, the one that lies there."""
    known, new = before.index, found.index
    if known is None or new is None:
        return found
    if new.made < known.made:
        words = (
            f"it was made on {new.made:%Y-%m-%d %H:%M:%S} UTC, before the one that is known, of "
            f"{known.made:%Y-%m-%d %H:%M:%S}: an older index never replaces a newer one"
        )
        return replace(before, trouble=words, trouble_reason=OLDER)
    if new.made == known.made and new != known:
        words = (
            "it says something else than the one that is known, and both were made on "
            f"{new.made:%Y-%m-%d %H:%M:%S} UTC: which one is newer, nobody can say"
        )
        return replace(before, trouble=words, trouble_reason=OLDER)
    return found


def _is_known(signer: str, keys: Sequence[str]) -> bool:
    try:
        return any(key.fingerprint == signer for key in read_keys(keys))
    except KeyProblem:
        return False
