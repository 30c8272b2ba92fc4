"""What a driver's object means in a cluster at one moment: its nodes, images and steps, seen together. Pure.

What is decided, told and explained is made of the same view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kmod_operator.rollout.holding import Coming, Holds, find_holds
from kmod_operator.rollout.mappings import (
    Mappings,
    make_mappings,
    read_mappings,
    read_version,
    release_names,
    wanted_kernels,
)
from kmod_operator.rollout.names import MODULE_KIND, Names
from kmod_operator.rollout.objects import is_ours, keep_loader
from kmod_operator.rollout.smoking import Smokes, by_node, plan_smokes
from kmod_operator.rollout.states import NodeState, Target, find_state, kmm_kernel, loaded_version
from kmod_operator.rollout.steps import Gate, Order, Steps, take_steps
from kmod_operator.rollout.updates import ReleaseState, Safety, judge_release
from kmod_operator.rollout.world import Known

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmod_operator.index.index import Index
    from kmod_operator.rollout.spec import DriverSpec
    from kmod_operator.rollout.template import DriverTemplate, Templates
    from kmod_operator.rollout.world import Node, Object, World


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A driver in a cluster.

    Attributes:
        version: that nodes are brought to: the wanted one, or the one that they have while that cannot be.
        mappings: as the Module is to have them.
        is_settled: whether the Module may be written: the index has the version.
        lacks: why nothing can be done at all, one word and a sentence; empty where it can.
        is_lack_known: whether that is so, or could not be found out.
        states: of selected nodes, by name.
        releases: that are offered, or on their way.
        coming: what pools are on their way to; None: nothing, or people want no pool to be held.
        holds: which pools wait for it.
        smokes: pods that try devices, to begin and to end.
        kept_loader: how the Module loads until there is another version; None: as the template has it.
    """

    spec: DriverSpec
    names: Names
    template: DriverTemplate
    templates: Templates
    world: World
    version: str
    mappings: Mappings
    is_settled: bool
    lacks: Gate
    is_lack_known: bool
    states: tuple[NodeState, ...]
    steps: Steps
    releases: tuple[ReleaseState, ...]
    coming: Coming | None
    holds: Holds
    smokes: Smokes
    kept_loader: Mapping[str, Any] | None

    @property
    def nodes(self) -> list[Node]:
        return [found.node for found in self.states]


def make_names(spec: DriverSpec, template: DriverTemplate, templates: Templates) -> Names:
    return Names(
        group=templates.group, item=spec.name, namespace=template.namespace, module=template.module["metadata"]["name"]
    )


def look(spec: DriverSpec, template: DriverTemplate, templates: Templates, world: World) -> View:
    """Return what a driver's object means in a cluster."""
    names = make_names(spec, template, templates)
    nodes = select_nodes(spec, template, world.nodes)
    lacks, is_lack_known = find_lack(names, world)
    version, hold = _choose_version(spec, world)
    releases, coming = _judge_releases(spec, world, nodes)
    mappings, is_settled = _map_kernels(version, world, nodes, names, [found.release for found in releases])
    target = _make_target(spec, template, version, mappings, nodes, is_settled=is_settled)
    states = tuple(find_state(node, names, target, world.now) for node in nodes)
    order = Order(
        spec=spec, names=names, target=target, now=world.now, pods=world.pods,
        can_drain=world.rights.get("drain", Known.UNKNOWN), is_held=lacks if lacks.reason else hold,
        smokes=by_node(world.smokes),
    )  # fmt: skip
    holds = find_holds(world.pools.values(), states, order, coming)
    return View(
        spec=spec, names=names, template=template, templates=templates, world=world,
        version=version, mappings=mappings, is_settled=is_settled and not lacks.reason,
        lacks=lacks, is_lack_known=is_lack_known,
        states=states, steps=Steps() if lacks.reason else take_steps(states, order),
        releases=releases, coming=coming, holds=holds,
        smokes=plan_smokes(states, world.smokes, _smoke_of(spec, template), names, version),
        kept_loader=keep_loader(template, world.module) if _is_in_use(version, world, nodes, names) else None,
    )  # fmt: skip


def _is_in_use(version: str, world: World, nodes: list[Node], names: Names) -> bool:
    """Tell whether the Module has a version already, and nodes have it from there."""
    has_it = any(loaded_version(node, names) == version for node in nodes)
    return has_it and read_version(world.module) == version


def select_nodes(spec: DriverSpec, template: DriverTemplate, nodes: Mapping[str, Node]) -> list[Node]:
    """Return the nodes that are to have the driver, by name."""
    wanted = spec.selector or template.module["spec"]["selector"]
    return [nodes[name] for name in sorted(nodes) if wanted.items() <= nodes[name].labels.items()]


def find_lack(names: Names, world: World) -> tuple[Gate, bool]:
    """Return why nothing can be done in a cluster, and whether that is known for sure."""
    has_kmm = world.apis.get(MODULE_KIND, Known.UNKNOWN)
    if has_kmm is Known.NO:
        return Gate(reason="KmmAbsent", words="the cluster has no Kernel Module Management, which loads drivers"), True
    if has_kmm is Known.UNKNOWN:
        return Gate(reason="ApiUnknown", words="whether the cluster has Kernel Module Management is not known"), False
    if world.module is not None and not is_ours(world.module, names):
        words = f"Module {names.namespace}/{names.module} is there, and was not made for this object"
        return Gate(reason="ModuleIsAnothers", words=words), True
    return Gate(), True


def _choose_version(spec: DriverSpec, world: World) -> tuple[str, Gate]:
    """Return the version that nodes are brought to, and why nothing new may be begun."""
    index, there = world.index.index, read_version(world.module)
    paused = Gate(reason="Paused", words="spec.rollout.paused is true") if spec.paused else Gate()
    if index is None:
        words = world.index.trouble or "no index has been read yet"
        return there or spec.version, Gate(reason=world.index.trouble_reason or "NoIndex", words=words)
    if spec.paused and there in index.images:
        return there, paused
    if index.images.get(spec.version):
        return spec.version, paused
    if there in index.images:
        return there, paused
    words = f"the index has no image of version {spec.version}"
    return there or spec.version, Gate(reason="VersionNotInIndex", words=words)


def _judge_releases(
    spec: DriverSpec, world: World, nodes: list[Node]
) -> tuple[tuple[ReleaseState, ...], Coming | None]:
    """Return releases that are offered or on their way, and what pools are on their way to.

    The cluster calls an update completed while pools of workers are behind, and those that are paused may be for long.
    """
    updates, index = world.updates, world.index.index
    if updates is None:
        return (), None
    is_moving = bool(updates.desired) and updates.desired != updates.current
    is_behind = any(pool.behind is Known.YES for pool in world.pools.values())
    wanted = [updates.desired] if updates.desired and (is_moving or is_behind) else []
    found = {
        name: judge_release(name, index, spec.version, nodes) for name in dict.fromkeys([*wanted, *updates.offered])
    }
    coming = None
    if wanted and spec.cluster_updates == "HoldPools":
        kernels = _kernels_of(wanted[0], index, nodes)
        coming = Coming(release=found[wanted[0]], kernels=kernels, is_moving=is_moving)
    told = [one for name, one in found.items() if is_moving or name != updates.desired or one.safety is not Safety.SAFE]
    return tuple(told), coming


def _kernels_of(release: str, index: Index | None, nodes: list[Node]) -> frozenset[str] | None:
    """Return the kernels that nodes may run with a release; None where those of an architecture are not known."""
    lists = [index.releases.get(name) if index else None for name in release_names([release], {n.arch for n in nodes})]
    known = [kernels for kernels in lists if kernels is not None]
    return (
        frozenset(kmm_kernel(kernel) for kernels in known for kernel in kernels) if len(known) == len(lists) else None
    )


def _map_kernels(
    version: str, world: World, nodes: list[Node], names: Names, releases: list[str]
) -> tuple[Mappings, bool]:
    """Return the Module's mappings, and whether they come of the index."""
    index, there = world.index.index, read_mappings(world.module)
    if index is None or not index.images.get(version):
        return Mappings(images=there), False
    current = [world.updates.current] if world.updates and world.updates.current else []
    mappings = make_mappings(
        index,
        version,
        wanted=wanted_kernels(index, version, nodes, [*releases, *current]),
        there=there,
        running=[node.kernel for node in nodes if names.ready in node.labels],
        loaded=[node.kernel for node in nodes if loaded_version(node, names) == version]
        if _is_in_use(version, world, nodes, names)
        else (),
    )
    return mappings, bool(mappings.all)


def _make_target(
    spec: DriverSpec, template: DriverTemplate, version: str, mappings: Mappings, nodes: list[Node], *, is_settled: bool
) -> Target:
    # Where nothing is known of kernels, none is said to lack an image.
    kernels = mappings.images if is_settled or mappings.images else [kmm_kernel(node.kernel) for node in nodes]
    return Target(
        version=version,
        kernels=frozenset(kernels),
        resource="" if spec.devices == "None" else template.resource,
        timeout_s=spec.timeout_s,
        drain_timeout_s=spec.drain_timeout_s,
        has_smoke=_smoke_of(spec, template) is not None,
    )


def _smoke_of(spec: DriverSpec, template: DriverTemplate) -> Object | None:
    return template.smoke if spec.smoke and spec.devices != "None" else None
