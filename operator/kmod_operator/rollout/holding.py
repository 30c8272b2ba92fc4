"""Which MachineConfigPools are held, so that no node boots a kernel before its time. Pure.

The operator reboots nothing: what it can do about a kernel is to pause the pool whose nodes would boot it. A pool waits
while the release on its way is not known to have an image for each kernel; then until the canary has run the new kernel
and soaked; then until the budget has room. Nodes of a pool that is not paused are updated as the pool itself says
(``maxUnavailable``), so pools are let go one after the other where all at once would take more than the budget.

Sources: the machine-config operator's docs and pkg/helpers (which pool a node is of: master, else the one custom pool,
else worker) and pkg/controller/node (``desiredConfig``; ClusterVersion is completed while worker pools are behind).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kmod_operator.rollout.decision import PoolChange
from kmod_operator.rollout.states import State, kmm_kernel
from kmod_operator.rollout.steps import find_gate, is_canary, list_some
from kmod_operator.rollout.updates import Safety
from kmod_operator.rollout.world import Known

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kmod_operator.rollout.names import Names
    from kmod_operator.rollout.states import NodeState
    from kmod_operator.rollout.steps import Order
    from kmod_operator.rollout.updates import ReleaseState
    from kmod_operator.rollout.world import Node, Pool

_BUILT_IN = ("master", "arbiter")
_REST = "worker"
_STAYS_SO = frozenset({State.FAILED, State.NOT_READY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """The release that pools are on their way to.

    Attributes:
        kernels: of it, for the nodes' architectures, in KMM's spelling; None: not known.
        is_moving: whether the cluster is on its way to it; pools may be behind also where it is not any more.
    """

    release: ReleaseState
    kernels: frozenset[str] | None
    is_moving: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """Pools that wait.

    Attributes:
        because: by pool, a sentence.
        left_s: seconds until that may end by itself; None: not by time.
        shared: the pool in which canaries are together with other nodes, so that kernels reach them in no order;
            empty where there is none.
        pool_of: the pool of each node that is of one.
    """

    because: Mapping[str, str] = field(default_factory=dict)
    left_s: float | None = None
    shared: str = ""
    pool_of: Mapping[str, str] = field(default_factory=dict)


def find_holds(pools: Iterable[Pool], states: Sequence[NodeState], order: Order, coming: Coming | None) -> Holds:
    """Return which pools have to wait for the release that is on its way."""
    known = list(pools)
    members = _members(known, states)
    shared = _find_shared(members, order)
    pool_of = {found.node.name: name for name, nodes in members.items() for found in nodes}
    if coming is None:
        return Holds(shared=shared, pool_of=pool_of)
    coming_to = [pool for pool in known if pool.name in members and (coming.is_moving or pool.behind is Known.YES)]
    if coming.release.safety is not Safety.SAFE:
        return Holds(because=_hold_unsafe(coming_to, members, order, coming), shared=shared, pool_of=pool_of)
    because, left_s = _take_turns(coming_to, members, states, order, coming)
    return Holds(because=because, left_s=left_s, shared=shared, pool_of=pool_of)


def _hold_unsafe(
    pools: Sequence[Pool], members: Mapping[str, list[NodeState]], order: Order, coming: Coming
) -> dict[str, str]:
    """Return why pools wait for a release that is not known to have all images."""
    release = coming.release
    words = f"release {release.release} is on its way: {release.words}"
    # What an unknown release brings to a cluster that has arrived is not known: only who waits goes on waiting.
    is_new = coming.is_moving or release.safety is Safety.UNSAFE
    return {
        pool.name: words
        for pool in pools
        if _late(members[pool.name], coming) and (is_new or _held_for(pool, order.names) == release.release)
    }


def _take_turns(
    pools: Sequence[Pool],
    members: Mapping[str, list[NodeState]],
    states: Sequence[NodeState],
    order: Order,
    coming: Coming,
) -> tuple[dict[str, str], float | None]:
    """Return why pools wait for a release that has all images: the canary comes first, then as the budget allows.

    The cluster goes on to the next node when one is Ready again, with its driver or without: so a pool waits while the
    nodes that came back without use up the budget, and one of them that gets none stops it.
    """
    release, budget = coming.release.release, order.spec.budget(len(states))
    away = [found.node.name for found in states if found.is_unavailable]
    is_moving = any(found.is_unavailable and found.state not in _STAYS_SO for found in states)
    gate, left_s = _find_canary_gate(states, order, coming)
    because: dict[str, str] = {}
    taken, is_first = len(away), True
    for pool in sorted(pools, key=lambda one: (not _has_canary(members[one.name], order), one.name)):
        late = _late(members[pool.name], coming)
        if not late:
            continue
        there = sum(found.state is State.NOT_READY or found.node.is_updating for found in late)
        more = max(0, min(_at_once(pool, len(members[pool.name])), len(late)) - there)
        # Where a pool takes more at once than there is room for, it goes when nothing else is on its way.
        fits = taken + more <= budget or (is_first and not is_moving and taken < budget)
        if gate and not _has_canary(members[pool.name], order):
            because[pool.name] = f"release {release} comes to the canary first: {gate}"
        elif fits:
            taken, is_first = taken + more, False
        else:
            names = f" ({list_some(away)})" if away else ""
            words = f"{len(away)} nodes are on their way or not well{names}, and spec.rollout.maxUnavailable allows"
            because[pool.name] = f"release {release} waits for its turn: {words} {budget}"
    return because, left_s


def _find_canary_gate(states: Sequence[NodeState], order: Order, coming: Coming) -> tuple[str, float | None]:
    """Return why nodes outside of the canary may not have the kernel yet; empty where they may."""
    canary = [found for found in states if is_canary(found.node, order.spec)]
    if canary and not any(found.state is State.FAILED for found in canary):
        late = [found.node.name for found in _late(canary, coming)]
        if late:
            return f"{list_some(late)} has it not yet" if len(late) == 1 else f"{list_some(late)} have it not yet", None
    gate = find_gate(states, order)
    return gate.words, gate.left_s


def _late(nodes: Iterable[NodeState], coming: Coming) -> list[NodeState]:
    """Return nodes that do not run a kernel of the release; all of them, where its kernels are not known."""
    return [found for found in nodes if coming.kernels is None or kmm_kernel(found.node.kernel) not in coming.kernels]


def _at_once(pool: Pool, nodes: int) -> int:
    """Return how many of its nodes a pool updates at once, at least one."""
    share = pool.max_unavailable.removesuffix("%")
    if not share.isdecimal() or len(share) > 6:  # noqa: PLR2004
        return 1
    return max(1, nodes * int(share) // 100 if pool.max_unavailable.endswith("%") else int(share))


def _members(pools: Sequence[Pool], states: Sequence[NodeState]) -> dict[str, list[NodeState]]:
    """Return the nodes of each pool; a node is of one pool, whatever further ones it has the labels of."""
    found: dict[str, list[NodeState]] = {}
    for state in states:
        chosen = sorted((pool for pool in pools if _selects(pool.selector, state.node)), key=_precedence)
        if chosen:
            found.setdefault(chosen[0].name, []).append(state)
    return found


def _precedence(pool: Pool) -> tuple[int, str]:
    if pool.name in _BUILT_IN:
        return 0, pool.name
    return (2 if pool.name == _REST else 1), pool.name


def _has_canary(nodes: Iterable[NodeState], order: Order) -> bool:
    return any(is_canary(found.node, order.spec) for found in nodes)


def _find_shared(members: Mapping[str, list[NodeState]], order: Order) -> str:
    mixed = (
        name
        for name, nodes in sorted(members.items())
        if _has_canary(nodes, order) and not all(is_canary(found.node, order.spec) for found in nodes)
    )
    return next(mixed, "")


def change_pools(
    pools: Iterable[Pool], names: Names, holds: Holds, coming: Coming | None = None
) -> tuple[PoolChange, ...]:
    """Return which pools are paused, and which of those that we paused are let go.

    A pool that somebody else paused is left alone, and so is one that somebody let go in spite of us: our annotation
    says for the sake of which release it was held, and it is not held for that one again.
    """
    changes = []
    for pool in pools:
        release = _held_for(pool, names)
        because = holds.because.get(pool.name)
        if because and coming:
            if not pool.paused and release != coming.release.release:
                changes.append(_change(pool, names, because, held_for=coming.release.release))
        elif release is not None:
            changes.append(_change(pool, names, "what it waited for is there now, or nobody waits any more"))
    return tuple(changes)


def _held_for(pool: Pool, names: Names) -> str | None:
    """Return the release for the sake of which we hold, or held, a pool; None: we do not."""
    item, _, release = pool.annotations.get(names.held_by, "").partition(" ")
    return release if item == names.item else None


def _change(pool: Pool, names: Names, because: str, *, held_for: str = "") -> PoolChange:
    return PoolChange(
        name=pool.name,
        paused=bool(held_for),
        annotations={names.held_by: f"{names.item} {held_for}" if held_for else None},
        version=pool.version,
        because=because,
    )


def _selects(selector: Mapping[str, object], node: Node) -> bool:
    """Tell whether a label selector of Kubernetes takes a node; one that cannot be read takes none."""
    wanted, rules = selector.get("matchLabels") or {}, selector.get("matchExpressions") or []
    if not isinstance(wanted, dict) or not isinstance(rules, list) or not (wanted or rules):
        return False
    return wanted.items() <= node.labels.items() and all(_fits(rule, node.labels) for rule in rules)


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
