"""Smoke tests: short pods that ask for a device like anybody's, and try it where a driver has just arrived. Pure.

A node that has a version loaded and devices to give is Ready after one such pod ended well on it. One pod is there for
a node at a time, a few in the cluster; a pod that fails is tried again, three times in all. What came of it is in the
node's note, so that nothing is forgotten or counted twice wherever this is killed.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kmod_operator.rollout.names import MANAGED_BY, MANAGER
from kmod_operator.rollout.progress import stamp
from kmod_operator.rollout.states import kmm_kernel
from kmod_operator.rollout.world import SmokePod

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kmod_operator.rollout.names import Names
    from kmod_operator.rollout.spec import DriverSpec
    from kmod_operator.rollout.states import NodeState
    from kmod_operator.rollout.template import Templates
    from kmod_operator.rollout.world import Object

_AT_ONCE = 16
_LONGEST = 2048
_LONGEST_WORDS = 300
# A node is drained, or about to be, where a version has just arrived.
_CORDON = {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Smokes:
    """Pods to begin, and pods to end."""

    start: tuple[dict[str, Any], ...] = ()
    end: tuple[SmokePod, ...] = ()


def by_node(pods: Iterable[SmokePod] | None) -> dict[str, SmokePod]:
    """Return the pod of each node: of several, the one of the latest try."""
    return {pod.node: pod for pod in sorted(pods or (), key=lambda one: (one.attempt, one.name))}


def plan_smokes(
    states: Sequence[NodeState], pods: Sequence[SmokePod] | None, template: Object | None, names: Names, version: str
) -> Smokes:
    """Return which pods begin and end.

    Args:
        states: of nodes.
        pods: that are there; None: not known, and then nothing is begun.
        template: the vendor's pod; None: the driver has no smoke test, or people want none.
        names: of the driver.
        version: that is tried.
    """
    if pods is None:
        return Smokes()
    waits = {found.node.name: found for found in states if found.awaits_smoke} if template else {}
    kept, end = {}, []
    for pod in pods:
        found = waits.get(pod.node)
        is_wanted = found is not None and is_try_of(pod, found, version)
        if is_wanted and pod.node not in kept:
            kept[pod.node] = pod
        elif not pod.is_ending:
            end.append(pod)
    leaving = {pod.node for pod in pods} - kept.keys()
    room = _AT_ONCE - sum(not pod.is_over for pod in kept.values())
    missing = [found for name, found in waits.items() if name not in kept and name not in leaving]
    start = [make_pod(found, template, names, version) for found in missing[: max(0, room)]] if template else []
    return Smokes(start=tuple(start), end=tuple(end))


def is_try_of(pod: SmokePod, found: NodeState, version: str) -> bool:
    """Tell whether a pod is the one that a node waits for: one of before says nothing of what is loaded now."""
    return asdict(pod).items() >= _next_try(found, version).items()


def _next_try(found: NodeState, version: str) -> dict[str, Any]:
    """Return which try is next, or is on; each time that a driver is loaded is another one."""
    note = found.progress
    return {
        "node": found.node.name,
        "to": version,
        "kernel": kmm_kernel(found.node.kernel),
        "begun": stamp(note.since) if note else "",
        "attempt": note.tries + 1 if note else 1,
    }


def make_pod(found: NodeState, template: Object, names: Names, version: str) -> dict[str, Any]:
    """Return a node's next pod; its name says which it is, so that of two programs one begins it."""
    pod: dict[str, Any] = copy.deepcopy(dict(template))
    text = json.dumps(_next_try(found, version), sort_keys=True)
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["name"] = f"smoke-{names.item}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    labels = {MANAGED_BY: MANAGER, names.owner: names.item, names.smoke: "true"}
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    metadata["annotations"] = {names.smoke: text}
    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [found.node.name]}]}
    spec["affinity"] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [named]}}
    }
    return pod


def own_pods(pods: Iterable[dict[str, Any]], spec: DriverSpec, templates: Templates) -> tuple[dict[str, Any], ...]:
    """Return pods that go with the driver's object, and come to its nodes whatever taints these have."""
    owner = {
        "apiVersion": f"{templates.group}/{templates.version}", "kind": templates.kind, "name": spec.name,
        "uid": spec.uid, "controller": True, "blockOwnerDeletion": False,
    }  # fmt: skip
    made = []
    for pod in pods:
        pod["metadata"]["ownerReferences"] = [owner]
        said = spec.tolerations or pod["spec"].get("tolerations") or ()
        pod["spec"]["tolerations"] = [_CORDON, *(dict(one) for one in said if one != _CORDON)]
        made.append(pod)
    return tuple(made)


def read_smoke_pod(item: Mapping[str, Any], names_smoke: str) -> SmokePod:
    """Return what of a pod matters; of one that is not as we made it nothing is known, and so it is ended."""
    metadata, status = item["metadata"], item.get("status") or {}
    said = _read_map((metadata.get("annotations") or {}).get(names_smoke))
    phase = status.get("phase")
    return SmokePod(
        namespace=str(metadata.get("namespace", "")),
        name=metadata["name"],
        uid=str(metadata.get("uid", "")),
        owner=str((metadata.get("labels") or {}).get(names_smoke.partition("/")[0] + "/driver", "")),
        node=str(said.get("node", "")),
        to=str(said.get("to", "")),
        kernel=str(said.get("kernel", "")),
        begun=str(said.get("begun", "")),
        attempt=attempt if isinstance(attempt := said.get("attempt"), int) else 0,
        phase=phase if isinstance(phase, str) else "",
        words=_words(status),
        is_ending=bool(metadata.get("deletionTimestamp")),
    )


def _read_map(text: object) -> dict[str, Any]:
    if not isinstance(text, str) or len(text) > _LONGEST:
        return {}
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _words(status: Mapping[str, Any]) -> str:
    """Return why a pod is not well: what its container said at its end, its exit code, or what it waits for."""
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        if ended := state.get("terminated"):
            said = str(ended.get("message") or "").strip().splitlines()
            return _shorten(f"exit code {ended.get('exitCode')}" + (f": {_message(said[-1])}" if said else ""))
        if (waiting := state.get("waiting")) and status.get("phase") == "Pending":
            return _shorten(f"{waiting.get('reason')}: {waiting.get('message') or ''}".rstrip(": "))
    if status.get("reason") or status.get("message"):
        return _shorten(f"{status.get('reason') or ''}: {status.get('message') or ''}".strip(": "))
    waits = (one for one in status.get("conditions") or () if one.get("type") == "PodScheduled")
    return _shorten(next((str(one.get("message") or "") for one in waits if one.get("status") == "False"), ""))


def _message(line: str) -> str:
    """Return what a line says: our own programs write JSON with a ``message``."""
    return str(_read_map(line).get("message") or line)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_WORDS else f"{text[: _LONGEST_WORDS - 3]}..."
