"""Why a node has its driver, or has it not: in sentences, from the view by which is decided. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kmod_operator.rollout.reasons import REASONS
from kmod_operator.rollout.smoking import by_node
from kmod_operator.rollout.spec import SpecError, read_spec
from kmod_operator.rollout.states import MOVING, State, kmm_kernel
from kmod_operator.rollout.view import View, look

if TYPE_CHECKING:
    from kmod_operator.rollout.states import NodeState
    from kmod_operator.rollout.template import Templates
    from kmod_operator.rollout.world import Node, Object, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a node has the driver of one object, or has it not.

    Attributes:
        state: where the node is, a word of ``State``; or why it is nowhere: ``NoNode``, ``InvalidSpec``,
            ``UnknownDriver``, ``NotSelected``.
        sentences: the first says whether it has the driver.
    """

    state: str
    sentences: tuple[str, ...]


def explain(name: str, item: Object, templates: Templates, world: World) -> Explanation:
    """Explain a node and a driver's object."""
    node = world.nodes.get(name)
    if node is None:
        return _nowhere("NoNode", f"The cluster has no node {name}; it has {len(world.nodes)} others.")
    try:
        spec = read_spec(item, templates.group)
    except SpecError as error:
        return _nowhere("InvalidSpec", f"{name} gets nothing: {error}.")
    template = templates.drivers.get(spec.driver)
    if template is None:
        words = f"{name} gets nothing: this operator was not made for driver {spec.driver}. {_hint('UnknownDriver')}"
        return _nowhere("UnknownDriver", words)
    view = look(spec, template, templates, world)
    found = next((one for one in view.states if one.node.name == name), None)
    if found is None:
        return _nowhere("NotSelected", _explain_selector(node, view))
    sentences = (_begin(found, view), *_reasons(found, view), *_around(found, view))
    return Explanation(state=str(found.state), sentences=sentences)


def _nowhere(state: str, sentence: str) -> Explanation:
    return Explanation(state=state, sentences=(sentence,))


def _hint(reason: str) -> str:
    words = REASONS.get(reason, "")
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def _explain_selector(node: Node, view: View) -> str:
    wanted = view.spec.selector or view.template.module["spec"]["selector"]
    lacking = [f"{key}={value}" for key, value in wanted.items() if node.labels.get(key) != value]
    whose = "spec.nodeSelector" if view.spec.selector else "versions.yaml"
    return f"{node.name} is not selected: it lacks the label {', '.join(lacking)} ({whose})."


def _begin(found: NodeState, view: View) -> str:
    name, driver, version = found.node.name, view.spec.driver, view.version
    if found.state is State.READY:
        devices = found.node.allocatable.get(view.template.resource, 0) if view.template.resource else 0
        more = f", with {devices} {view.template.resource}" if devices else ""
        return f"{name} has {driver} {version}{more}."
    if found.loaded:
        return f"{name} has {driver} {found.loaded}, and is to have {version}."
    return f"{name} does not have {driver}."


def _reasons(found: NodeState, view: View) -> list[str]:
    if view.lacks.reason:
        return [f"Nothing is done at all: {view.lacks.words}. {_hint(view.lacks.reason)}"]
    if found.state is State.READY:
        return []
    if found.state is State.WAITING:
        gate = view.steps.waits.get(found.node.name)
        if gate is None or not gate.reason:
            return ["It begins now."]
        left = f" (about {gate.left_s:.0f} s more)" if gate.left_s is not None else ""
        return [f"It waits{left}: {gate.words}. {_hint(gate.reason)}"]
    if found.state in MOVING:
        since = f" for {found.progress.seconds(view.world.now):.0f} s" if found.progress and found.is_begun else ""
        left = f"; {max(0.0, found.left_s):.0f} s are left" if found.left_s is not None else ""
        return [f"It is {found.state.value.lower()}{since}: {found.words}{left}."]
    return [f"{found.words[:1].upper()}{found.words[1:]}. {_hint(found.reason)}".rstrip()]


def _around(found: NodeState, view: View) -> list[str]:
    """Say what else decides: its kernel's image, the index, who made it unschedulable."""
    kernel = kmm_kernel(found.node.kernel)
    image = view.mappings.images.get(kernel)
    lines = []
    if image:
        lines.append(f"Its kernel {found.node.kernel} has the image {image}.")
    elif found.state is not State.UNCOVERED:
        lines.append(f"Whether its kernel {found.node.kernel} has an image is not known.")
    pod = by_node(view.world.smokes).get(found.node.name) if found.awaits_smoke else None
    if pod is not None:
        words = f": {pod.words}" if pod.words else ""
        lines.append(f"Its smoke test is the pod {pod.namespace}/{pod.name}, try {pod.attempt}, {pod.phase}{words}.")
    pool = view.holds.pool_of.get(found.node.name, "")
    if because := view.holds.because.get(pool):
        lines.append(f"Its MachineConfigPool {pool} waits, so that it boots no other kernel yet: {because}.")
    if view.world.index.trouble:
        lines.append(f"Of the index: {view.world.index.trouble}. {_hint(view.world.index.trouble_reason)}")
    if found.node.unschedulable:
        ours = found.progress is not None and found.progress.cordoned
        lines.append("It was cordoned by this operator." if ours else "It was cordoned by somebody else, and stays so.")
    return lines
