"""What changed between two answers of a Debian archive, kernel by kernel. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.sources.change import Change
from builder.sources.debian.lock import set_beside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.kernel import KernelVersion
    from builder.sources.debian.lock import LockedDebian, LockedKernel


def describe_changes(previous: LockedDebian | None, new: LockedDebian, lost: Mapping[str, str]) -> list[Change]:
    """Return what a new answer adds, drops, leaves out and changes, kernel by kernel.

    Args:
        previous: the answer before; None at the first look.
        new: the answer now.
        lost: kernels that left, with the stated reason.
    """
    old_kernels: Mapping[KernelVersion, LockedKernel] = previous.kernels if previous else {}
    old_left_out: Mapping[str, str] = previous.left_out if previous else {}
    changes = [Change(kind="new kernel", subject=str(kernel)) for kernel in new.kernels.keys() - old_kernels.keys()]
    changes += [
        Change(kind="kernel gone", subject=str(kernel), detail=lost.get(str(kernel), ""))
        for kernel in old_kernels.keys() - new.kernels.keys()
    ]
    changes += [
        Change(kind="kernel left out", subject=raw, detail=reason)
        for raw, reason in new.left_out.items()
        if old_left_out.get(raw) != reason
    ]
    for kernel in new.kernels.keys() & old_kernels.keys():
        before, after = old_kernels[kernel], new.kernels[kernel]
        if after.package_version != before.package_version:
            detail = f"headers {before.package_version} -> {after.package_version}"
            changes.append(Change(kind="kernel changed", subject=str(kernel), detail=detail))
        elif after.image != before.image:
            detail = f"boots {after.image or 'nothing any more'}"
            changes.append(Change(kind="kernel changed", subject=str(kernel), detail=detail))
    old_sets = previous.package_sets if previous else {}
    changes += [
        Change(
            kind="image packages" if set_beside(name).startswith("runtime-") else "build packages",
            subject=name,
            detail=", ".join(packages) or "they are there already",
        )
        for name, packages in new.package_sets.items()
        if set_beside(name) and name not in old_sets
    ]
    if previous:
        for name in sorted(new.package_sets.keys() & previous.package_sets.keys()):
            if packages := sorted({*new.package_sets[name]} - {*previous.package_sets[name]}):
                changes.append(Change(kind="packages changed", subject=name, detail=", ".join(packages)))
    return sorted(changes, key=lambda change: (change.kind, change.subject))
