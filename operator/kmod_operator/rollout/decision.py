"""What is to be done in a cluster, as data: whoever carries it out decides nothing. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmod_operator.rollout.world import Object, Pod, SmokePod


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChange:
    """A change of one node, in one write that is refused where the node is no longer as it was seen.

    Attributes:
        labels: by key; None removes one.
        annotations: likewise.
        unschedulable: what it becomes; None leaves it.
        version: the ``resourceVersion`` that was seen.
        because: a sentence, for the log and the event.
    """

    name: str
    labels: Mapping[str, str | None] = field(default_factory=dict)
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    unschedulable: bool | None = None
    version: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChange:
    """A MachineConfigPool is paused or let go, with an annotation that says who did it."""

    name: str
    paused: bool
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    version: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What is told once, when it changes.

    Attributes:
        about: name of the node that it is about; empty: the driver's own object.
        is_warning: else it is normal.
    """

    reason: str
    message: str
    about: str = ""
    is_warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """All that is to be done now: objects, nodes, evictions, smoke tests, pools, deletions, status, the finalizer.

    In this order.

    Attributes:
        apply: whole objects as we want them (server-side apply, our field manager), in this order; those that are so
            already are not written.
        delete: references (``world.reference``) of objects of ours that are not wanted any more.
        nodes: changes of nodes.
        evict: pods that have to go from nodes that are drained.
        end: pods of smoke tests that are not needed any more.
        start: pods of smoke tests that begin; they are made once, and never changed.
        pools: changes of pools.
        status: of the driver's object, whole; written where it differs.
        events: written where the same was not told before.
        pods_of: nodes whose pods must be known the next time.
        again_after_s: when to look again though nothing has changed; None: not before something does.
        finalizer: whether the driver's object has ours: it is added first of all, and removed last of all.
        metrics: numbers by name and labels, for /metrics: (name, ((label, value), ...)) -> number.
    """

    apply: tuple[Object, ...] = ()
    delete: tuple[str, ...] = ()
    nodes: tuple[NodeChange, ...] = ()
    evict: tuple[Pod, ...] = ()
    end: tuple[SmokePod, ...] = ()
    start: tuple[Object, ...] = ()
    pools: tuple[PoolChange, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    pods_of: tuple[str, ...] = ()
    again_after_s: float | None = None
    finalizer: bool = True
    metrics: Mapping[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
