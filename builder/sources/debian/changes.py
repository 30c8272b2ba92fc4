"""What changed between two answers of a Debian archive, kernel by kernel. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.sources.change import Change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.sources.debian.lock import LockedDebian, LockedKernel


def describe_changes(previous: LockedDebian | None, new: LockedDebian, lost: Mapping[str, str]) -> list[Change]:
    """Return what a new answer adds, drops, leaves out and changes, kernel by kernel.

    Args:
        previous: the answer before; None at the first look.
        new: the answer now.
        lost: kernels that left, with the stated reason.
    """
    old_kernels: Mapping[str, LockedKernel] = previous.kernels if previous else {}
    old_left_out: Mapping[str, str] = previous.left_out if previous else {}
    changes = [Change(kind="new kernel", subject=raw) for raw in new.kernels.keys() - old_kernels.keys()]
    changes += [
        Change(kind="kernel gone", subject=raw, detail=lost.get(raw, ""))
        for raw in old_kernels.keys() - new.kernels.keys()
    ]
    changes += [
        Change(kind="kernel left out", subject=raw, detail=reason)
        for raw, reason in new.left_out.items()
        if old_left_out.get(raw) != reason
    ]
    for raw in new.kernels.keys() & old_kernels.keys():
        if new.kernels[raw].package_version != old_kernels[raw].package_version:
            detail = f"headers {old_kernels[raw].package_version} -> {new.kernels[raw].package_version}"
            changes.append(Change(kind="kernel changed", subject=raw, detail=detail))
        elif new.kernels[raw].image != old_kernels[raw].image:
            detail = f"boots {new.kernels[raw].image or 'nothing any more'}"
            changes.append(Change(kind="kernel changed", subject=raw, detail=detail))
    if previous:
        for name in sorted(new.package_sets.keys() & previous.package_sets.keys()):
            if packages := sorted({*new.package_sets[name]} - {*previous.package_sets[name]}):
                changes.append(Change(kind="packages changed", subject=name, detail=", ".join(packages)))
    return sorted(changes, key=lambda change: (change.kind, change.subject))
