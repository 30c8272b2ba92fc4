"""From what people want and what there is to what is to be done. Pure: equal arguments give an equal decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kmod_operator.rollout.conditions import Verdict, make_conditions, tell_changes
from kmod_operator.rollout.decision import Decision, Event
from kmod_operator.rollout.holding import Holds, change_pools
from kmod_operator.rollout.leaving import give_back
from kmod_operator.rollout.names import Names
from kmod_operator.rollout.objects import find_unwanted, make_module, make_plugin, make_rules, own
from kmod_operator.rollout.reasons import Condition
from kmod_operator.rollout.removal import clean_nodes, plan_removal
from kmod_operator.rollout.smoking import own_pods
from kmod_operator.rollout.spec import SpecError, read_spec
from kmod_operator.rollout.verdicts import (
    describe_index,
    judge,
    list_kernels,
    list_releases,
    make_counts,
    measure,
)
from kmod_operator.rollout.view import View, look, make_names
from kmod_operator.rollout.world import Known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_operator.rollout.decision import NodeChange, PoolChange
    from kmod_operator.rollout.spec import DriverSpec
    from kmod_operator.rollout.template import DriverTemplate, Templates
    from kmod_operator.rollout.world import Object, World


def decide(item: Object, templates: Templates, world: World) -> Decision:
    """Return what is to be done for an object of the vendor's kind.

    Args:
        item: the object, as the API server has it.
        templates: what the operator was made for.
        world: what there is.
    """
    try:
        spec = read_spec(item, templates.group)
    except SpecError as error:
        return _refuse(item, templates.group, world, "InvalidSpec", str(error))
    template = templates.drivers.get(spec.driver)
    if template is None:
        known = ", ".join(sorted(templates.drivers)) or "none"
        words = f"driver {spec.driver} is not one of this operator's: {known}"
        return _refuse(item, templates.group, world, "UnknownDriver", words)
    if spec.is_deleted:
        return _remove(item, spec, template, templates, world)
    view = look(spec, template, templates, world)
    return _carry_on(item, view)


def _refuse(item: Object, group: str, world: World, reason: str, words: str) -> Decision:
    """Change nothing, and say why; an object that is deleted is not held back."""
    verdicts = [
        Verdict(type=Condition.READY, holds=Known.NO, reason=reason, words=words),
        Verdict(type=Condition.PREREQUISITES_MET, holds=Known.NO, reason=reason, words=words),
    ]
    status, events = _status(item, world, verdicts), tuple(tell_changes(item, verdicts))
    if not item["metadata"].get("deletionTimestamp"):
        return Decision(status=status, events=events)
    # Which driver it was is not known, and so not which labels are its: but nodes and pools are given back.
    names = Names(group=group, item=str(item["metadata"]["name"]), namespace="", module="")
    nodes, pools = clean_nodes(names, world, keeps_version=True), _let_pools_go(names, world)
    return Decision(status=status, events=events, nodes=nodes, pools=pools, finalizer=bool(nodes or pools))


def _remove(item: Object, spec: DriverSpec, template: DriverTemplate, templates: Templates, world: World) -> Decision:
    names = make_names(spec, template, templates)
    found = plan_removal(spec, template, names, world)
    pools = _let_pools_go(names, world)
    words = f"waits for {found.words}" if found.words else "nothing of it is left"
    verdicts = [Verdict(type=Condition.READY, holds=Known.NO, reason="BeingRemoved", words=words)]
    return Decision(
        delete=found.delete,
        nodes=found.nodes,
        evict=found.evict,
        pods_of=found.pods_of,
        end=tuple(pod for pod in world.smokes or () if not pod.is_ending),
        pools=pools,
        status=_status(item, world, verdicts),
        events=(*tell_changes(item, verdicts), *found.events),
        again_after_s=found.again_after_s,
        finalizer=bool(found.words or pools),
    )


def _carry_on(item: Object, view: View) -> Decision:
    world, names = view.world, view.names
    objects = _make_objects(view)
    is_able = not view.lacks.reason
    changes = (*view.steps.changes, *_leave_nodes(view)) if is_able else ()
    pools: tuple[PoolChange, ...] = ()
    if _may_hold(world):
        pools = change_pools(world.pools.values(), names, view.holds, view.coming)
    verdicts = judge(view)
    events = [*tell_changes(item, verdicts), *(_tell(change) for change in changes)]
    events += [Event(reason="PoolHeld" if pool.paused else "PoolLetGo", message=_say(pool)) for pool in pools]
    return Decision(
        apply=tuple(objects),
        delete=find_unwanted(world.objects, objects, names) if is_able else (),
        nodes=changes,
        evict=view.steps.evict,
        end=view.smokes.end if is_able else (),
        start=own_pods(view.smokes.start, view.spec, view.templates) if is_able else (),
        pools=pools,
        status=_status(item, world, verdicts, view),
        events=tuple(events),
        pods_of=view.steps.pods_of,
        again_after_s=_first_of(view.steps.again_after_s, view.holds.left_s),
        metrics=measure(view),
    )


def _first_of(*seconds: float | None) -> float | None:
    return min((max(1.0, one) for one in seconds if one is not None), default=None)


def _may_hold(world: World) -> bool:
    """Tell whether pools may be changed: what is refused would be tried for ever, and hold up everything after it."""
    return world.rights.get("hold-pools") is not Known.NO


def _let_pools_go(names: Names, world: World) -> tuple[PoolChange, ...]:
    return change_pools(world.pools.values(), names, Holds()) if _may_hold(world) else ()


def _make_objects(view: View) -> list[dict[str, Any]]:
    """Return our objects as they are to be: access and rules before the Module, what needs the driver after it."""
    if view.lacks.reason:
        return []
    apis = view.world.apis
    objects = make_rules(view.template, apis)
    if view.is_settled:
        objects.append(make_module(view.spec, view.template, view.mappings, view.version, view.kept_loader))
    objects += make_plugin(view.spec, view.template, apis)
    return own(objects, view.spec, view.names, view.templates)


def _leave_nodes(view: View) -> list[NodeChange]:
    """Return what becomes of nodes that are selected no more, and still have what we wrote on them."""
    selected = {node.name for node in view.nodes}
    return [
        give_back(node, view.names, "it is not selected any more")
        for node in view.world.nodes.values()
        if node.name not in selected and view.names.progress in node.annotations
    ]


def _tell(change: NodeChange) -> Event:
    return Event(reason="NodeStep", message=f"{change.name}: {change.because}", about=change.name)


def _say(pool: PoolChange) -> str:
    return f"MachineConfigPool {pool.name} is {'paused' if pool.paused else 'let go'}: {pool.because}"


def _status(item: Object, world: World, verdicts: Sequence[Verdict], view: View | None = None) -> dict[str, Any]:
    status: dict[str, Any] = {
        "observedGeneration": item["metadata"].get("generation", 0),
        "conditions": make_conditions(item, verdicts, world.now),
    }
    if view is None:
        return status
    status |= {"nodes": make_counts(view), "kernels": list_kernels(view), "releases": list_releases(view)}
    if index := describe_index(view):
        status["index"] = index
    return status
