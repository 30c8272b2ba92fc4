"""Which key is next, and when: many changes of one key are one pass, and a key that fails comes later and later. Pure.

Times are seconds of whatever clock the caller has.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_MOST_DOUBLINGS = 16


@dataclass(kw_only=True)
class Queue:
    """Keys with the time of their next pass.

    A key is in it once. What is added while the key is worked on makes another pass after it, so that nothing that
    changed meanwhile is missed.

    Attributes:
        settle_s: how long after a change a key is taken: changes come in bursts.
    """

    settle_s: float = 0.5
    _due: dict[str, float] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, now: float) -> None:
        """Have a key taken soon; what waits for the end of a back-off goes on waiting."""
        self._plan(key, max(now + self.settle_s, self._not_before.get(key, now)))

    def add_after(self, key: str, now: float, seconds: float) -> None:
        """Have a key taken after a time, if nothing makes it sooner."""
        self._plan(key, now + max(seconds, self.settle_s))

    def _plan(self, key: str, at: float) -> None:
        self._due[key] = min(self._due.get(key, at), at)

    def take(self, now: float) -> str | None:
        """Return the key that waited longest, and have it out of the queue; None where none is due."""
        key = min(self._due, key=lambda one: self._due[one], default=None)
        if key is None or self._due[key] > now:
            return None
        del self._due[key]
        return key

    def wait_s(self, now: float) -> float | None:
        """Return how long no key is due; None where there is none at all."""
        return max(min(self._due.values()) - now, 0.0) if self._due else None

    def succeeded(self, key: str) -> None:
        self._failures.pop(key, None)
        self._not_before.pop(key, None)

    def failed(self, key: str, now: float, *, share: float = 1.0, wait_s: float = 0.0) -> float:
        """Have a key that failed taken again, and return after how many seconds.

        Args:
            key: the key.
            now: the time.
            share: of the wait, from a half to the whole: so that many do not come at once.
            wait_s: what the server asked for, at least.
        """
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        longest: float = min(_FIRST_WAIT_S * 2 ** min(count, _MOST_DOUBLINGS), _LONGEST_WAIT_S)
        seconds = max(longest * share, wait_s)
        self._not_before[key] = now + seconds
        # What was planned before this failure would be sooner.
        self._due[key] = now + seconds
        return seconds

    def forget(self, key: str) -> None:
        """Drop a key, and all that is known of it."""
        for known in (self._due, self._not_before, self._failures):
            known.pop(key, None)
