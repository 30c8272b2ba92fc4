"""A device that several pods share: kubelet counts each share as a device. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MARK = "::"


def shares(device: str, replicas: int) -> list[str]:
    """Return the names under which kubelet knows a device; its own where it is not shared."""
    return [device] if replicas == 1 else [f"{device}{_MARK}{number}" for number in range(replicas)]


def device_of(share: str) -> str:
    """Return the device that a share is of."""
    return share.partition(_MARK)[0]


def spread(available: Iterable[str], must: Iterable[str]) -> list[str]:
    """Return one share: of the device of which most are free, so that pods are spread over devices.

    A container never gets more than one: two shares of one device are no more than one.
    """
    given = list(must)
    if given:
        return given[:1]
    free: dict[str, list[str]] = {}
    for share in sorted(available):
        free.setdefault(device_of(share), []).append(share)
    return min(free.values(), key=lambda of_one: (-len(of_one), of_one[0]))[:1] if free else []
