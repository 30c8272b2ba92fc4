"""Whether what a cluster may update to has a driver, and which pools are held until it does. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kmod_operator.rollout.decision import PoolChange
from kmod_operator.rollout.mappings import release_names
from kmod_operator.rollout.states import kmm_kernel
from kmod_operator.rollout.steps import list_some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kmod_operator.index.index import Index
    from kmod_operator.rollout.names import Names
    from kmod_operator.rollout.world import Node, Pool


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


def hold_pools(
    pools: Iterable[Pool], names: Names, nodes: Collection[Node], next_release: ReleaseState | None, *, wanted: bool
) -> tuple[PoolChange, ...]:
    """Return which pools are paused, and which of those that we paused are let go.

    A pool that somebody else paused is left alone, and so is one that somebody let go in spite of us: our annotation
    says for the sake of which release it was held, and it is not held for that one again.

    Args:
        pools: of the cluster.
        names: of the driver.
        nodes: the selected ones: only pools with such a node are held.
        next_release: the release that the cluster is on its way to; None: it is on its way to none.
        wanted: whether the driver's object wants pools to be held.
    """
    unsafe = next_release if wanted and next_release and next_release.safety is not Safety.SAFE else None
    changes = []
    for pool in pools:
        item, _, release = pool.annotations.get(names.held_by, "").partition(" ")
        is_ours = item == names.item
        if unsafe and any(_selects(pool.selector, node.labels) for node in nodes):
            if not pool.paused and not (is_ours and release == unsafe.release):
                because = f"release {unsafe.release} is on its way: {unsafe.words}"
                changes.append(_change(pool, names, because, held_for=unsafe.release))
        elif is_ours:
            changes.append(_change(pool, names, "what it waited for has an image now, or nobody waits any more"))
    return tuple(changes)


def _change(pool: Pool, names: Names, because: str, *, held_for: str = "") -> PoolChange:
    return PoolChange(
        name=pool.name,
        paused=bool(held_for),
        annotations={names.held_by: f"{names.item} {held_for}" if held_for else None},
        version=pool.version,
        because=because,
    )


def _selects(selector: Mapping[str, object], labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector of Kubernetes takes a node; one that cannot be read takes none."""
    wanted, rules = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    if not isinstance(wanted, dict) or not isinstance(rules, list) or not (wanted or rules):
        return False
    return wanted.items() <= labels.items() and all(_fits(rule, labels) for rule in rules)


def _fits(rule: object, labels: Mapping[str, str]) -> bool:
    if not isinstance(rule, dict):
        return False
    key, values = str(rule.get("key")), rule.get("values") or []
    match rule.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return False
