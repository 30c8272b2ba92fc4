"""What is told of devices from one look at them to the next. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kmod_operator.devices.model import Description, Device, Health

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_GONE = Health(well=False, reason="it is gone, and a pod has it still")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One look at a device: what it is, how well it is, what a container gets; nothing where that was not answered."""

    device: Device
    description: Description | None
    health: Health


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A device as kubelet is told of it.

    Attributes:
        health: what is told; it is well again only after several good looks in a row.
        good_looks: how many there were in a row.
        present: whether the last look found it.
    """

    device: Device
    description: Description
    health: Health
    good_looks: int
    present: bool = True


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of a device: ``found``, ``well``, ``unwell``, ``gone`` (a pod has it still) or ``forgotten``."""

    id: str
    what: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """All devices of a node that kubelet is told of, by name."""

    entries: Mapping[str, Entry] = field(default_factory=dict)

    def is_well(self, name: str) -> bool:
        return name in self.entries and self.entries[name].health.well


def look(before: Inventory, seen: Collection[Seen], *, in_use: Collection[str], good_looks: int) -> Inventory:
    """Return what is told after a look that found these.

    A device is unwell at the first bad look: a pod that gets a sick device is worse than one that waits. It is well
    again after ``good_looks`` good ones in a row; one that is new, after the first. One that is gone stays, unwell, as
    long as a pod has it, so that the pod's status can say so.

    Args:
        before: what was told so far.
        seen: what this look found.
        in_use: names of devices that pods have, as far as that is known.
        good_looks: how many good looks in a row make an unwell device well, at least 1.
    """
    entries = {one.device.id: _after(before.entries.get(one.device.id), one, good_looks) for one in seen}
    for name, entry in before.entries.items():
        if name not in entries and name in in_use:
            entries[name] = replace(entry, health=_GONE, good_looks=0, present=False)
    return Inventory(entries=dict(sorted(entries.items())))


def fail(before: Inventory, reason: str) -> Inventory:
    """Return what is told where nobody could look: the same devices, none of them well."""
    health = Health(well=False, reason=reason)
    entries = {
        name: replace(entry, health=health if entry.present else entry.health, good_looks=0)
        for name, entry in before.entries.items()
    }
    return Inventory(entries=entries)


def unwell(before: Inventory, names: Collection[str], reason: str) -> Inventory:
    """Return the same devices, with some of them unwell for another reason than what a look at them found."""
    health = Health(well=False, reason=reason)
    entries = {
        name: replace(entry, health=health) if name in names and entry.health.well else entry
        for name, entry in before.entries.items()
    }
    return Inventory(entries=entries)


def changes(before: Inventory, after: Inventory) -> list[Change]:
    """Return what differs between two looks, by name."""
    found = []
    for name in sorted(before.entries.keys() | after.entries.keys()):
        old, new = before.entries.get(name), after.entries.get(name)
        if new is None:
            found.append(Change(id=name, what="forgotten"))
        elif old is None:
            found.append(Change(id=name, what="found", reason=new.health.reason))
        elif old.present and not new.present:
            found.append(Change(id=name, what="gone", reason=new.health.reason))
        elif old.health != new.health:
            found.append(Change(id=name, what="well" if new.health.well else "unwell", reason=new.health.reason))
    return found


def _after(old: Entry | None, one: Seen, good_looks: int) -> Entry:
    known = old.description if old else Description()
    entry = Entry(device=one.device, description=one.description or known, health=one.health, good_looks=0)
    if not one.health.well:
        return entry
    count = old.good_looks + 1 if old else good_looks
    if count >= good_looks:
        return replace(entry, good_looks=count)
    return replace(entry, health=Health(well=False, reason=_waiting(count, good_looks)), good_looks=count)


def _waiting(count: int, good_looks: int) -> str:
    return f"it answers again, {count} of {good_looks} times in a row"
