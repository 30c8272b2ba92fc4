"""Whether what a cluster may update to has a driver. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kmod_operator.rollout.mappings import release_names
from kmod_operator.rollout.states import kmm_kernel
from kmod_operator.rollout.steps import list_some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_operator.index.index import Index
    from kmod_operator.rollout.world import Node


class Safety(StrEnum):
    """Whether all nodes would have their driver with a release."""

    SAFE = "Safe"
    UNSAFE = "Unsafe"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseState:
    """A release, and whether it is safe; ``words`` say why it is not known to be."""

    release: str
    safety: Safety
    words: str = ""


def judge_release(release: str, index: Index | None, version: str, nodes: Sequence[Node]) -> ReleaseState:
    """Tell whether a version of a driver has an image for each kernel that nodes would run with a release.

    Kernels of a variant that no node runs (``+rt``, ``+64k``) are passed over.
    """
    if index is None:
        return ReleaseState(release=release, safety=Safety.UNKNOWN, words="there is no index to ask")
    if not nodes:
        words = "no node is selected, so which kernels matter is not known"
        return ReleaseState(release=release, safety=Safety.UNKNOWN, words=words)
    indexed = {kmm_kernel(kernel) for kernel in index.images.get(version, {})}
    variants = {_variant(node.kernel) for node in nodes}
    lacking: list[str] = []
    for name in release_names([release], {node.arch for node in nodes}):
        kernels = index.releases.get(name)
        if kernels is None:
            words = f"the index does not know release {name}"
            return ReleaseState(release=release, safety=Safety.UNKNOWN, words=words)
        own = [kernel for kernel in kernels if _variant(kernel) in variants]
        if not own:
            words = f"the index knows no kernel of release {name} of the variants that nodes run"
            return ReleaseState(release=release, safety=Safety.UNKNOWN, words=words)
        lacking += [kernel for kernel in own if kmm_kernel(kernel) not in indexed]
    if lacking:
        words = f"version {version} has no image for {list_some(lacking)}"
        return ReleaseState(release=release, safety=Safety.UNSAFE, words=words)
    return ReleaseState(release=release, safety=Safety.SAFE)


def _variant(kernel: str) -> str:
    return kernel.partition("+")[2]
