"""Where each selected node is: derived from what the cluster shows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kmod_operator.rollout.progress import Phase, Progress, read_progress
from kmod_operator.rollout.world import Known

if TYPE_CHECKING:
    from datetime import datetime

    from kmod_operator.rollout.names import Names
    from kmod_operator.rollout.world import Node


class State(StrEnum):
    """Where a node is, on its way to the wanted version.

    The order is that of a table: from what is well to what is not.
    """

    READY = "Ready"
    WAITING = "Waiting"
    DRAINING = "Draining"
    UNLOADING = "Unloading"
    LOADING = "Loading"
    CHECKING = "Checking"
    UNCOVERED = "Uncovered"
    NOT_READY = "NotReady"
    FAILED = "Failed"


MOVING = frozenset({State.DRAINING, State.UNLOADING, State.LOADING, State.CHECKING})
"""In the middle of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What every selected node is to have.

    Attributes:
        version: of the driver.
        kernels: that have an image of this version, in KMM's spelling.
        resource: of which a node must have some; empty: no devices are awaited.
        timeout_s: how long a step may take.
        drain_timeout_s: how long draining may take.
        has_smoke: whether a device is tried on each node where the version arrives.
    """

    version: str
    kernels: frozenset[str]
    resource: str
    timeout_s: int
    drain_timeout_s: int
    has_smoke: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """A node, and where it is.

    Attributes:
        progress: what the annotation says; None where it says nothing of use.
        loaded: version that KMM says is loaded; empty: none is, or one without a version.
        is_loaded: whether KMM says that the module is loaded.
        is_told: whether it was told to have a version, any one.
        serves: whether it has that version, and devices.
        reason: why it is not well, one word; empty where it is, or on its way.
        words: the same as a sentence.
        left_s: seconds until the step has taken too long; None: nothing is awaited.
        awaits_smoke: whether all is there, and a smoke test is what it waits for.
    """

    node: Node
    state: State
    progress: Progress | None
    loaded: str
    is_loaded: bool
    is_told: bool
    serves: bool
    reason: str = ""
    words: str = ""
    left_s: float | None = None
    awaits_smoke: bool = False

    @property
    def is_cordoned(self) -> bool:
        """Whether it is us who made it unschedulable."""
        return self.progress is not None and self.progress.cordoned

    @property
    def is_begun(self) -> bool:
        """Whether a step was begun on it, if only to another version than is wanted now."""
        return self.progress is not None and self.progress.phase is not Phase.DONE

    @property
    def is_unavailable(self) -> bool:
        """Whether it takes of what may be unavailable: on its way, about to be rebooted, or not well."""
        if self.is_begun or self.state in MOVING or self.state in {State.NOT_READY, State.FAILED}:
            return True
        if self.node.is_updating:
            return True
        return self.state is State.WAITING and self.is_told and not self.serves


@dataclass(frozen=True, slots=True)
class _Where:
    state: State
    reason: str = ""
    words: str = ""
    left_s: float | None = None
    awaits_smoke: bool = False


def find_state(node: Node, names: Names, target: Target, now: datetime) -> NodeState:
    """Return where a node is."""
    progress = read_progress(node.annotations.get(names.progress))
    is_loaded, loaded = names.ready in node.labels, loaded_version(node, names)
    begun = progress if progress and progress.to == target.version else None
    label = node.labels.get(names.wanted_version)
    has_devices = not target.resource or node.allocatable.get(target.resource, 0) > 0
    if node.ready is not Known.YES:
        where = _Where(State.NOT_READY, "NodeNotReady", "its condition Ready is not True")
    elif kmm_kernel(node.kernel) not in target.kernels:
        kept = f"; it keeps {loaded}" if loaded else ""
        words = f"kernel {node.kernel} has no image of version {target.version}{kept}"
        where = _Where(State.UNCOVERED, "KernelNotCovered", words)
    elif label == target.version:
        where = _with_label(
            begun, node, is_loaded=loaded == target.version, has_devices=has_devices, target=target, now=now
        )
    else:
        where = _without_label(begun, target, now)
    return NodeState(
        node=node, progress=progress, loaded=loaded, is_loaded=is_loaded,
        is_told=label is not None, serves=bool(label) and loaded == label and has_devices,
        state=where.state, reason=where.reason, words=where.words, left_s=where.left_s, awaits_smoke=where.awaits_smoke,
    )  # fmt: skip


def loaded_version(node: Node, names: Names) -> str:
    """Return the version that KMM says is loaded on a node; empty where none is, or where it does not say which.

    KMM has a label for it since November 2025. The older ones say it by what their worker was told: that is changed
    only while nothing is loaded.
    """
    if names.ready not in node.labels:
        return ""
    return node.labels.get(names.ready_version) or node.labels.get(names.worker_version, "")


def _with_label(
    begun: Progress | None, node: Node, *, is_loaded: bool, has_devices: bool, target: Target, now: datetime
) -> _Where:
    """Say where a node is that was told to have the version."""
    if is_loaded and has_devices and (not target.has_smoke or _is_tried(begun, node)):
        return _Where(State.READY)
    if begun and begun.phase is Phase.FAILED:
        return _Where(State.FAILED, "StepFailed", begun.reason)
    if is_loaded and has_devices:
        is_begun = begun is not None and begun.phase is Phase.LOADING
        last = f"; try {begun.tries} failed: {begun.reason}" if begun and begun.tries else ""
        return _Where(State.CHECKING, words=f"{_AWAITS_SMOKE}{last}", awaits_smoke=is_begun)
    state = State.CHECKING if is_loaded else State.LOADING
    if begun and begun.phase is Phase.LOADING:
        return _awaited(state, begun, target.timeout_s, now)
    # It was well before, somebody else gave it the label, or our note of it is gone: from now on it is awaited.
    return _Where(state, words=_AWAITS[state])


def _is_tried(begun: Progress | None, node: Node) -> bool:
    """Tell whether a device of a node was tried with this version and kernel: the note that it arrived comes after."""
    return begun is not None and begun.phase is Phase.DONE and begun.kernel == kmm_kernel(node.kernel)


def _without_label(begun: Progress | None, target: Target, now: datetime) -> _Where:
    if begun and begun.phase is Phase.FAILED:
        return _Where(State.FAILED, "StepFailed", begun.reason)
    if begun and begun.phase is Phase.DRAINING:
        return _awaited(State.DRAINING, begun, target.drain_timeout_s, now)
    if begun and begun.phase in {Phase.UNLOADING, Phase.LOADING}:
        # A label that was given and is gone again is given again once nothing is loaded.
        return _awaited(State.UNLOADING, begun, target.timeout_s, now)
    return _Where(State.WAITING)


def _awaited(state: State, begun: Progress, limit_s: int, now: datetime) -> _Where:
    return _Where(state, words=_AWAITS[state], left_s=limit_s - begun.seconds(now))


_AWAITS_SMOKE = "the driver is loaded, its devices are there, and one of them is to be tried by a pod"
_AWAITS = {
    State.DRAINING: "pods that use its devices are leaving it",
    State.UNLOADING: "KMM is unloading the driver that it had",
    State.LOADING: "KMM is loading the driver",
    State.CHECKING: "the driver is loaded, and its devices are awaited",
}


def kmm_kernel(kernel: str) -> str:
    """Return a kernel as KMM compares it: it takes a ``+`` at the end away."""
    return kernel.removesuffix("+")
