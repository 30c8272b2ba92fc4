"""How far a node is, as the one annotation on it says. Pure.

It is a help and no proof: a step is taken when the cluster shows that the step before has had its effect. What cannot
be read is as good as none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

_LONGEST = 4096
_MOST_TRIES = 1000
# Nobody wrote a note at another time, and times at the ends of the calendar can be neither counted with nor written.
_YEARS = range(2020, 2200)


class Phase(StrEnum):
    """What was begun last on a node."""

    DRAINING = "Draining"
    UNLOADING = "Unloading"
    LOADING = "Loading"
    DONE = "Done"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a node is.

    Attributes:
        to: the version that it is on the way to, or has.
        since: when the phase began.
        cordoned: whether it is us who made the node unschedulable.
        reason: why it failed.
        kernel: that it arrived with: with another one it arrives anew.
        tries: smoke tests that failed.
    """

    to: str
    phase: Phase
    since: datetime
    cordoned: bool = False
    reason: str = ""
    kernel: str = ""
    tries: int = 0

    def seconds(self, now: datetime) -> float:
        """Return for how long the phase has lasted; nothing where another machine's clock is ahead of ours."""
        return max(0.0, (now - self.since).total_seconds())

    def dump(self) -> str:
        """Return the annotation's value."""
        said = {"to": self.to, "phase": self.phase.value, "since": stamp(self.since)}
        said |= {"cordoned": "true"} if self.cordoned else {}
        said |= {"reason": self.reason} if self.reason else {}
        said |= {"kernel": self.kernel} if self.kernel else {}
        said |= {"tries": str(self.tries)} if self.tries else {}
        return json.dumps(said, sort_keys=True)


def read_progress(text: str | None) -> Progress | None:
    """Return what an annotation says; None where there is none, or nonsense."""
    if not text or len(text) > _LONGEST:
        return None
    try:
        said = json.loads(text)
        found = {name: str(value) for name, value in said.items()}
        since = datetime.fromisoformat(found["since"])
        if since.year not in _YEARS:
            return None
        return Progress(
            to=found["to"],
            phase=Phase(found["phase"]),
            since=since if since.tzinfo else since.replace(tzinfo=UTC),
            cordoned=found.get("cordoned") == "true",
            reason=found.get("reason", ""),
            kernel=found.get("kernel", ""),
            tries=int(found.get("tries", "0")) % _MOST_TRIES,
        )
    except (ValueError, AttributeError, KeyError, RecursionError):
        return None


def stamp(moment: datetime) -> str:
    """Return a time as Kubernetes writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
