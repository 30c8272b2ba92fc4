"""Which step each node takes next: canary first, within the budget, and never one that was not seen to end. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kmod_operator.rollout.decision import NodeChange
from kmod_operator.rollout.leaving import give_back
from kmod_operator.rollout.progress import Phase, Progress
from kmod_operator.rollout.smoking import is_try_of
from kmod_operator.rollout.states import MOVING, NodeState, State, kmm_kernel
from kmod_operator.rollout.world import Known

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from kmod_operator.rollout.names import Names
    from kmod_operator.rollout.spec import DriverSpec
    from kmod_operator.rollout.states import Target
    from kmod_operator.rollout.world import Node, Pod, SmokePod

_LOOKS_AT_PODS_S = 5.0
_CLOCKS_DIFFER_S = 60.0
# Smoke tests that may fail on a node, one after the other, until it has failed.
_TRIES = 3
_BY_NODES = frozenset({"DaemonSet", "Node"})
"""Controllers that put a pod back onto the very node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Why nodes that wait do, one word and a sentence; both empty where none has to.

    ``left_s`` are seconds until that may end by itself.
    """

    reason: str = ""
    words: str = ""
    left_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What nodes do next.

    Attributes:
        waits: by node that waits, why.
        gate: what the first of them waits for.
    """

    changes: tuple[NodeChange, ...] = ()
    evict: tuple[Pod, ...] = ()
    pods_of: tuple[str, ...] = ()
    waits: Mapping[str, Gate] = field(default_factory=dict)
    gate: Gate = field(default_factory=Gate)
    again_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What steps are taken by.

    Attributes:
        is_held: nothing new is begun, and why, one word and a sentence.
        can_drain: whether the account may.
        smokes: pods that try devices, by node.
    """

    spec: DriverSpec
    names: Names
    target: Target
    now: datetime
    pods: Mapping[str, tuple[Pod, ...]]
    can_drain: Known = Known.NO
    is_held: Gate = field(default_factory=Gate)
    smokes: Mapping[str, SmokePod] = field(default_factory=dict)


def take_steps(states: Sequence[NodeState], order: Order) -> Steps:
    """Return what nodes do next. Equal arguments give an equal answer; nothing of it needs the step before."""
    changes: list[NodeChange] = []
    evict: list[Pod] = []
    pods_of = []
    for found in states:
        if found.state is State.DRAINING and order.target.resource:
            pods_of.append(found.node.name)
            evict += _to_evict(found, order)
        if change := _next(found, order):
            changes.append(change)
    begun, waits = _begin(states, order)
    changes += begun
    if order.target.resource:
        pods_of += [change.name for change in begun if _is_draining(change, order.names)]
    gate = next(iter(waits.values()), Gate())
    limits = [found.left_s for found in states if found.left_s is not None]
    limits += [item.left_s for item in waits.values() if item.left_s is not None]
    limits += [_LOOKS_AT_PODS_S] if pods_of else []
    return Steps(
        changes=tuple(changes), evict=tuple(evict), pods_of=tuple(pods_of), waits=waits, gate=gate,
        again_after_s=max(1.0, min(limits)) if limits else None,
    )  # fmt: skip


def _is_draining(change: NodeChange, names: Names) -> bool:
    return f'"{Phase.DRAINING.value}"' in (change.annotations.get(names.progress) or "")


def _next(found: NodeState, order: Order) -> NodeChange | None:
    """Return what a node does that is on its way, or has arrived; None: nothing, or it waits."""
    if note := _mend_note(found, order):
        return _change(found, order, note, "its note is set right: somebody made it schedulable, or a clock was wrong")
    match found.state:
        case State.READY:
            return _arrive(found, order)
        case State.DRAINING:
            return _end_draining(found, order)
        case State.UNLOADING:
            return _end_unloading(found, order)
        case State.LOADING | State.CHECKING:
            return _await_loading(found, order)
        case State.UNCOVERED if found.is_begun:
            return give_back(found.node, order.names, found.words, keeps_version=True)
        case _:
            return None


def _mend_note(found: NodeState, order: Order) -> Progress | None:
    """Return a note of which something is not true any more as it has to be; None where nothing is.

    Where somebody took our cordon away, one that comes now is theirs, and stays. A step that was begun in the future,
    by the clock of who worked before, would never take too long.
    """
    note = found.progress
    # A node that waits has its note written anew when it begins.
    if note is None or found.state in {State.NOT_READY, State.WAITING}:
        return None
    if note.cordoned and not found.node.unschedulable and found.state in MOVING:
        return replace(note, cordoned=False)
    if (note.since - order.now).total_seconds() > _CLOCKS_DIFFER_S:
        return replace(note, since=order.now)
    return None


def _note(found: NodeState, order: Order, phase: Phase, reason: str = "") -> Progress:
    return Progress(to=order.target.version, phase=phase, since=order.now, cordoned=found.is_cordoned, reason=reason)


def _change(
    found: NodeState,
    order: Order,
    note: Progress,
    because: str,
    *,
    labels: Mapping[str, str | None] | None = None,
    unschedulable: bool | None = None,
) -> NodeChange:
    return NodeChange(
        name=found.node.name,
        labels=labels or {},
        annotations={order.names.progress: note.dump()},
        unschedulable=unschedulable,
        version=found.node.version,
        because=because,
    )


def _arrive(found: NodeState, order: Order) -> NodeChange | None:
    done = replace(_note(found, order, Phase.DONE), cordoned=False, kernel=kmm_kernel(found.node.kernel))
    if found.progress and replace(found.progress, since=order.now) == done:
        return None
    devices = ", and its devices are there" if order.target.resource else ""
    because = f"version {order.target.version} is loaded{devices}"
    return _change(found, order, done, because, unschedulable=_uncordon(found))


def _uncordon(found: NodeState) -> bool | None:
    """Return what becomes of its being unschedulable when we are done with it: what others did, stays."""
    return False if found.is_cordoned and found.node.unschedulable else None


def _users(found: NodeState, order: Order) -> tuple[Pod, ...] | None:
    """Return the pods that use its devices; None: not known."""
    if not order.target.resource:
        return ()
    pods = order.pods.get(found.node.name)
    if pods is None:
        return None
    return tuple(pod for pod in pods if pod.resources.get(order.target.resource, 0) > 0 and not pod.is_over)


def _to_evict(found: NodeState, order: Order) -> list[Pod]:
    return [
        pod
        for pod in _users(found, order) or ()
        if not pod.is_ending and not pod.is_mirror and pod.owner not in _BY_NODES
    ]


def _end_draining(found: NodeState, order: Order) -> NodeChange | None:
    users = _users(found, order)
    if users == ():
        return _unload(found, order, "no pod uses its devices")
    if found.left_s is not None and found.left_s <= 0:
        who = _name_pods(users)
        reason = f"after {order.spec.drain_timeout_s} s {who}; version {found.loaded or 'it had'} stays loaded"
        return _fail(found, order, reason, keeps_cordon=False)
    return None


def _name_pods(users: Sequence[Pod] | None) -> str:
    if users is None:
        return "which pods use its devices is not known"
    names = [
        f"{pod.namespace}/{pod.name}" + (f" (of a {pod.owner})" if pod.owner in _BY_NODES else "") for pod in users
    ]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004
    return f"{', '.join(names[:3])}{more} still use{'s' if len(names) == 1 else ''} its devices"


def _unload(found: NodeState, order: Order, why: str) -> NodeChange:
    because = f"{why}: version {found.loaded or 'it had'} is unloaded"
    return _change(found, order, _note(found, order, Phase.UNLOADING), because, labels=_label(order, None))


def _label(order: Order, version: str | None) -> Mapping[str, str | None]:
    return {order.names.wanted_version: version}


def _end_unloading(found: NodeState, order: Order) -> NodeChange | None:
    if not found.is_loaded:
        return _load(found, order)
    if found.left_s is not None and found.left_s <= 0:
        return _fail(found, order, f"KMM did not unload version {found.loaded} within {order.spec.timeout_s} s")
    if found.is_told and found.progress is not None:  # somebody gave it back
        because = "its version label is taken away again"
        return _change(found, order, found.progress, because, labels=_label(order, None))
    return None


def _load(found: NodeState, order: Order) -> NodeChange:
    because = f"version {order.target.version} is loaded"
    labels = _label(order, order.target.version)
    return _change(found, order, _note(found, order, Phase.LOADING), because, labels=labels)


def _await_loading(found: NodeState, order: Order) -> NodeChange | None:
    if found.awaits_smoke:
        return _end_smoke(found, order)
    if found.left_s is None:
        return _change(found, order, _note(found, order, Phase.LOADING), found.words)
    if found.left_s > 0:
        return None
    what = f"it has no allocatable {order.target.resource}" if found.state is State.CHECKING else "KMM did not load it"
    return _fail(found, order, f"version {order.target.version}: {what} within {order.spec.timeout_s} s")


def _end_smoke(found: NodeState, order: Order) -> NodeChange | None:
    """Return what becomes of a node whose device was tried; None: it was not yet."""
    pod, version = order.smokes.get(found.node.name), order.target.version
    if pod is None or not is_try_of(pod, found, version):
        return None
    if pod.phase == "Succeeded":
        return _arrive(found, order)
    if pod.phase != "Failed":
        return None
    why = pod.words or "its pod says nothing"
    if pod.attempt >= _TRIES:
        return _fail(found, order, f"version {version}: its smoke test failed {_TRIES} times, the last time: {why}")
    note = replace(_note(found, order, Phase.LOADING, why), tries=pod.attempt)
    return _change(found, order, note, f"its smoke test failed, and is tried again: {why}")


def _fail(found: NodeState, order: Order, reason: str, *, keeps_cordon: bool = True) -> NodeChange:
    note = _note(found, order, Phase.FAILED, reason)
    if keeps_cordon:
        return _change(found, order, note, reason)
    return _change(found, order, replace(note, cordoned=False), reason, unschedulable=_uncordon(found))


def _begin(states: Sequence[NodeState], order: Order) -> tuple[list[NodeChange], dict[str, Gate]]:
    """Return what nodes begin that wait, and why the others go on waiting."""
    room = order.spec.budget(len(states)) - sum(found.is_unavailable for found in states)
    gate = find_gate(states, order)
    changes: list[NodeChange] = []
    waits: dict[str, Gate] = {}
    for found in sorted((one for one in states if one.state is State.WAITING), key=lambda one: _rank(one, order)):
        why = order.is_held
        # Who was told to have a version, and has none that works, has nothing to lose: it would take of the budget for
        # ever, and with a budget of one the canary could never begin.
        is_lost = found.is_unavailable and not found.serves
        if not why.reason and gate.reason and not is_canary(found.node, order.spec) and not is_lost:
            why = gate
        change: NodeChange | None = None
        if not why.reason:
            change, why = _start(found, order)
        if change is not None and not found.is_unavailable and room <= 0:
            change, why = None, Gate(reason="BudgetUsed", words=_explain_budget(states, order))
        if change is None:
            waits[found.node.name] = why
            if found.is_begun and found.serves:
                because = f"it goes on with version {found.loaded}: {why.words}"
                changes.append(give_back(found.node, order.names, because, keeps_version=True))
            continue
        room -= 0 if found.is_unavailable else 1
        changes.append(change)
    return changes, waits


def _rank(found: NodeState, order: Order) -> tuple[bool, bool, bool, str]:
    """First who is on the way, or has lost what it had, then the canary, then who has no driver anyhow."""
    return (not found.is_unavailable, not is_canary(found.node, order.spec), found.is_loaded, found.node.name)


def _start(found: NodeState, order: Order) -> tuple[NodeChange | None, Gate]:
    if found.node.is_updating and not found.is_begun:
        words = "the cluster is bringing another configuration to it, and reboots it: its turn comes after that"
        return None, Gate(reason="MachineUpdating", words=words)
    if not found.is_loaded:
        return _load(found, order), Gate()
    if not order.spec.drain:
        if found.node.unschedulable:
            return _unload(found, order, "an administrator cordoned it"), Gate()
        words = "nodes are not drained (spec.rollout.drain): one is upgraded when an administrator cordons it"
        return None, Gate(reason="WaitsForCordon", words=words)
    if order.can_drain is not Known.YES:
        return None, Gate(
            reason="MayNotDrain", words="the operator has no right to drain nodes: apply the role 'drain'"
        )
    cordons = not found.node.unschedulable
    note = replace(_note(found, order, Phase.DRAINING), cordoned=cordons or found.is_cordoned)
    because = f"it gets version {order.target.version}: pods that use its devices leave it first"
    return _change(found, order, note, because, unschedulable=True if cordons else None), Gate()


def _explain_budget(states: Sequence[NodeState], order: Order) -> str:
    taken = [found.node.name for found in states if found.is_unavailable]
    limit = order.spec.budget(len(states))
    words = f"{len(taken)} nodes are on their way or not well, and spec.rollout.maxUnavailable allows {limit}"
    return f"{words}: {list_some(taken)}"


def list_some(names: Sequence[str], most: int = 5) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def is_canary(node: Node, spec: DriverSpec) -> bool:
    return spec.canary is not None and spec.canary.selector.items() <= node.labels.items()


def find_gate(states: Sequence[NodeState], order: Order) -> Gate:
    """Return why nodes outside of the canary may not begin; an empty one where they may."""
    canary = order.spec.canary
    if canary is None:
        return Gate()
    nodes = [found for found in states if is_canary(found.node, order.spec)]
    if not nodes:
        return Gate(reason="NoCanary", words="no selected node has the labels of spec.rollout.canary.nodeSelector")
    if failed := [found for found in nodes if found.state is State.FAILED]:
        return Gate(reason="CanaryFailed", words=f"canary {failed[0].node.name} failed: {failed[0].words}")
    if late := [found.node.name for found in nodes if not _has_arrived(found, order)]:
        moving = any(found.state in MOVING or found.state is State.WAITING for found in nodes)
        reason = "CanaryOnItsWay" if moving else "CanaryNotWell"
        return Gate(reason=reason, words=f"the canary is not ready yet: {list_some(late)}")
    left_s = max(canary.soak_s - found.progress.seconds(order.now) for found in nodes if found.progress)
    if left_s > 0:
        words = f"the canary has {canary.soak_s} s to show that it is well"
        return Gate(reason="CanarySoaks", words=words, left_s=left_s)
    return Gate()


def _has_arrived(found: NodeState, order: Order) -> bool:
    begun = found.progress
    return (
        found.state is State.READY
        and begun is not None
        and begun.phase is Phase.DONE
        and begun.to == order.target.version
        and begun.kernel == kmm_kernel(found.node.kernel)
    )
