"""Who says which kernel a release has: its toolkit or its nodes; and what follows where they differ. Pure.

Witnesses of a kernel are words: ``toolkit`` (its release file), ``derived`` (64k, from the toolkit's), ``node:`` and a
place in the operating system image or its extensions, or a data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from builder.kernel import KernelVersion, Variant
from builder.sources.release import ReleaseState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Witnesses = Mapping[KernelVersion, Sequence[str]]
    """Kernels of an operating system of a release, each with who says so."""

TOOLKIT = "toolkit"
DERIVED = "derived"
NODE = "node:"


def state_of(kernels: Witnesses, toolkit: str) -> ReleaseState:
    """Compare what is said of the node's kernels with what is said of the toolkit's (design, rule 7)."""
    if not toolkit:
        return ReleaseState.NO_TOOLKIT
    node, built = _by_variant(kernels, of_node=True), _by_variant(kernels, of_node=False)
    if any(node[variant] != built[variant] for variant in node.keys() & built.keys()):
        return ReleaseState.TOOLKIT_DIFFERS
    if Variant.STANDARD in node and Variant.STANDARD in built:
        return ReleaseState.COMPLETE
    return ReleaseState.UNCONFIRMED if node or built else ReleaseState.KERNEL_UNKNOWN


def run_by(kernels: Witnesses) -> Iterator[KernelVersion]:
    """Yield the kernels that nodes run: what the node says, and where it says nothing, what the toolkit is for.

    A toolkit that is not for the node's standard kernel says nothing of its rt or 64k kernel either.
    """
    node, built = _by_variant(kernels, of_node=True), _by_variant(kernels, of_node=False)
    if node.get(Variant.STANDARD, set()) and node[Variant.STANDARD] != built.get(Variant.STANDARD):
        built = {}
    for variant in Variant:
        yield from sorted(node.get(variant) or built.get(variant, set()), key=lambda kernel: kernel.sort_key)


def served_by(kernels: Witnesses, toolkit: str) -> set[KernelVersion]:
    """Return the kernels that a toolkit is for; while nobody has read it, the node's."""
    if not toolkit:
        return set()
    built = {kernel for found in _by_variant(kernels, of_node=False).values() for kernel in found}
    return built or set(kernels)


def _by_variant(kernels: Witnesses, *, of_node: bool) -> dict[Variant, set[KernelVersion]]:
    found: dict[Variant, set[KernelVersion]] = {}
    for kernel, witnesses in kernels.items():
        if any(word.startswith(NODE) is of_node for word in witnesses):
            found.setdefault(kernel.variant, set()).add(kernel)
    return found
