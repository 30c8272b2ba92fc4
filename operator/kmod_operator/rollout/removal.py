"""How a driver leaves a cluster: who uses it, what tells of its devices, then the driver; each with a limit. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kmod_operator.rollout.decision import Event
from kmod_operator.rollout.leaving import give_back
from kmod_operator.rollout.objects import is_ours, module_reference
from kmod_operator.rollout.world import Known

if TYPE_CHECKING:
    from kmod_operator.rollout.decision import NodeChange, PoolChange
    from kmod_operator.rollout.names import Names
    from kmod_operator.rollout.spec import DriverSpec
    from kmod_operator.rollout.template import DriverTemplate
    from kmod_operator.rollout.world import Node, Pod, World

_LOOKS_AGAIN_S = 5.0
_TELLS = frozenset({"DaemonSet", "PodMonitor"})
"""Kinds of what tells of devices; access, rules and the rest go after the driver: the driver needs them to leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The next step of a removal; ``words`` say what it waits for, and are empty where nothing is left."""

    words: str = ""
    evict: tuple[Pod, ...] = ()
    pods_of: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    nodes: tuple[NodeChange, ...] = ()
    pools: tuple[PoolChange, ...] = ()
    events: tuple[Event, ...] = ()
    again_after_s: float | None = None


def plan_removal(spec: DriverSpec, template: DriverTemplate, names: Names, world: World) -> Removal:
    """Return the next step: one is taken when the cluster shows that the one before has had its effect, or is late."""
    late_s = _seconds_since(spec.deleted_at, world.now)
    loaded = [node for node in world.nodes.values() if names.ready in node.labels]
    drains = spec.drain and world.rights.get("drain") is Known.YES and bool(template.resource)
    users = _find_users(loaded, template.resource, world) if drains else []
    ours = {name: item for name, item in world.objects.items() if is_ours(item, names)}
    tells = tuple(sorted(name for name, item in ours.items() if item["kind"] in _TELLS))
    if tells and users != [] and late_s < spec.drain_timeout_s:
        return _await_users(users, loaded)
    limit_s = spec.drain_timeout_s + spec.timeout_s
    if tells and late_s < limit_s:
        return Removal(words=f"{', '.join(tells)} to be gone", delete=tells, again_after_s=_LOOKS_AGAIN_S)
    if users != [] and late_s < limit_s:
        # Only now: as long as there are devices to be had, a pod that is evicted comes back, and again, and again.
        evict = tuple(pod for pod in users or () if not pod.is_ending and not pod.is_mirror)
        return replace(_await_users(users, loaded), evict=evict)
    module = module_reference(names)
    if world.module is not None and is_ours(world.module, names) and late_s < limit_s + spec.timeout_s:
        words = f"KMM to unload the driver of {len(loaded)} nodes"
        return Removal(words=words, delete=(*tells, module), again_after_s=_LOOKS_AGAIN_S)
    if changes := clean_nodes(names, world):
        return Removal(words="nodes to lose what was written on them", nodes=changes, again_after_s=1.0)
    rest = tuple(sorted({*ours, *([module] if world.module is not None and is_ours(world.module, names) else [])}))
    events: tuple[Event, ...] = ()
    if world.module is not None and is_ours(world.module, names):
        message = "KMM has not unloaded the driver in time; its Module is left to go by itself"
        events = (Event(reason="BeingRemoved", message=message, is_warning=True),)
    return Removal(delete=rest, events=events)


def _seconds_since(text: str, now: datetime) -> float:
    try:
        began = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return max(0.0, (now - (began if began.tzinfo else began.replace(tzinfo=UTC))).total_seconds())


def _find_users(nodes: list[Node], resource: str, world: World) -> list[Pod] | None:
    if any(node.name not in world.pods for node in nodes):
        return None
    pods = [pod for node in nodes for pod in world.pods[node.name]]
    return [pod for pod in pods if pod.resources.get(resource, 0) > 0 and not pod.is_over]


def _await_users(users: list[Pod] | None, loaded: list[Node]) -> Removal:
    who = "which pods use its devices is not known yet" if users is None else _name(users)
    return Removal(
        words=who,
        pods_of=tuple(node.name for node in loaded),
        # Each look asks for the pods of each of these nodes.
        again_after_s=max(_LOOKS_AGAIN_S, len(loaded) / 10),
    )


def _name(users: list[Pod]) -> str:
    more = f" and {len(users) - 3} more" if len(users) > 3 else ""  # noqa: PLR2004
    return f"{', '.join(f'{pod.namespace}/{pod.name}' for pod in users[:3])}{more} to end: they use its devices"


def clean_nodes(names: Names, world: World, *, keeps_version: bool = False) -> tuple[NodeChange, ...]:
    """Return what takes everything of ours from all nodes that have any of it."""
    return tuple(
        give_back(node, names, "the driver is being removed", keeps_version=keeps_version)
        for _, node in sorted(world.nodes.items())
        if names.progress in node.annotations
    )
