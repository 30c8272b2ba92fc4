"""What a claim says of devices of ours. Pure.

Source of the form: k8s.io/api v0.34.4, resource/v1, ResourceClaim.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class ClaimError(Exception):
    """A claim cannot be prepared; the message goes to kubelet, and from there into the events of the pod."""


@dataclass(frozen=True, kw_only=True)
class ClaimName:
    """A claim as kubelet names it."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class Allocated:
    """A device that the scheduler gave to a claim."""

    request: str
    pool: str
    device: str


def read_allocation(claim: Any, wanted: ClaimName, driver: str) -> list[Allocated]:
    """Return the devices of a driver that a claim of the API has; those of other drivers are theirs to prepare.

    Raises:
        ClaimError: it is another claim, has no devices of the driver, or is not understood.
    """
    try:
        uid = claim["metadata"]["uid"]
        allocation = (claim.get("status") or {}).get("allocation")
        if uid != wanted.uid:
            raise ClaimError(f"the claim of this name has the UID {uid!r:.100}, and is not the one that was asked for")
        if allocation is None:
            raise ClaimError("no device is allocated to it")
        results = (allocation.get("devices") or {}).get("results") or []
        ours = [_allocated(result) for result in results if result["driver"] == driver]
    except (KeyError, TypeError, AttributeError) as error:
        raise ClaimError(
            f"what the API server says of it is not understood: {type(error).__name__}: {error}"
        ) from error
    if not ours:
        raise ClaimError(f"no device of {driver} is allocated to it")
    return ours


def _allocated(result: Any) -> Allocated:
    words = [result[name] for name in ("request", "pool", "device")]
    if not all(isinstance(word, str) for word in words):
        raise TypeError("names are text")
    request, pool, device = words
    # One of several alternatives is written "request/alternative"; kubelet knows the request.
    return Allocated(request=request.partition("/")[0], pool=pool, device=device)
