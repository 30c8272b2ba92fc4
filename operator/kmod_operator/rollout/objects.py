"""The objects that a driver has in a cluster, made of the vendor's templates. Pure."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from kmod_operator.rollout.mappings import find_loader
from kmod_operator.rollout.names import MANAGED_BY, MANAGER, MODULE_KIND
from kmod_operator.rollout.world import Known, reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kmod_operator.rollout.mappings import Mappings
    from kmod_operator.rollout.names import Names
    from kmod_operator.rollout.spec import DriverSpec
    from kmod_operator.rollout.template import DriverTemplate, Templates
    from kmod_operator.rollout.world import Object

# Of a Module's loader, what is decided here and not in the template.
_OWN = frozenset({"version", "kernelMappings"})
# From a node with a taint that its Module does not tolerate KMM takes a driver at once, and brings none to it. Cordons
# are taints, people's and our own, and under one a node is drained and gets its new version.
_PASSING = ("unschedulable", "disk-pressure", "memory-pressure", "pid-pressure")
_TOLERATIONS = [
    {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": "NoSchedule"} for name in _PASSING
]
POD_MONITOR_KIND = "monitoring.coreos.com/v1 PodMonitor"


def kind_of(item: Object) -> str:
    """Return an object's kind as ``World.apis`` has it."""
    return f"{item['apiVersion']} {item['kind']}"


def make_rules(template: DriverTemplate, apis: Mapping[str, Known]) -> list[dict[str, Any]]:
    """Return the rules of Node Feature Discovery, where the cluster has it."""
    return [_copy(rule) for rule in template.rules if apis.get(kind_of(rule)) is Known.YES]


def make_plugin(spec: DriverSpec, template: DriverTemplate, apis: Mapping[str, Known]) -> list[dict[str, Any]]:
    """Return what tells kubelet of devices, and what has it observed; nothing where none are to be told of."""
    if spec.devices == "None":
        return []
    found = [_copy(item) for item in template.plugin]
    sets = [item for item in found if item["kind"] == "DaemonSet"]
    for item in sets:
        if spec.tolerations:
            item["spec"]["template"]["spec"]["tolerations"] = [dict(one) for one in spec.tolerations]
    if spec.monitoring and apis.get(POD_MONITOR_KIND) is Known.YES:
        found += [_monitor(item) for item in sets]
    return found


def _monitor(daemon_set: Mapping[str, Any]) -> dict[str, Any]:
    metadata = daemon_set["metadata"]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": {"selector": daemon_set["spec"]["selector"], "podMetricsEndpoints": [{"port": "status"}]},
    }


def keep_loader(template: DriverTemplate, module: Object | None) -> Mapping[str, Any] | None:
    """Return how the Module of a cluster loads, where the template would have it otherwise; None where it is the same.

    KMM unloads and loads on all nodes of a version at once where anything of that changes, whatever the budget is.
    """
    there = find_loader(module)
    return there if there and not _holds(find_loader(template.module), there) else None


def _holds(wanted: Any, there: Any) -> bool:
    """Tell whether something says all that is wanted; what the server added to it counts for nothing."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return all(name in there and _holds(value, there[name]) for name, value in wanted.items() if name not in _OWN)
    return bool(wanted == there)


def make_module(
    spec: DriverSpec,
    template: DriverTemplate,
    mappings: Mappings,
    version: str,
    loader: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return KMM's Module. Version and mappings are in one object, and so in one write, as KMM wants it.

    ``loader`` is how it is to load instead of what the template says; see ``keep_loader``.
    """
    module = _copy(template.module)
    container = _copy(loader or find_loader(template.module))
    module["spec"]["moduleLoader"]["container"] = container
    container["version"] = version
    container["kernelMappings"] = [{"literal": kernel, "containerImage": image} for kernel, image in mappings.all]
    if spec.selector:
        module["spec"]["selector"] = dict(spec.selector)
    said = spec.tolerations or module["spec"].get("tolerations", ())
    module["spec"]["tolerations"] = [*_TOLERATIONS, *(dict(one) for one in said if one not in _TOLERATIONS)]
    return module


def own(items: Sequence[dict[str, Any]], spec: DriverSpec, names: Names, templates: Templates) -> list[dict[str, Any]]:
    """Return objects as ours: with labels by which they are found, and the owner with which they go."""
    owner = {
        "apiVersion": f"{templates.group}/{templates.version}",
        "kind": templates.kind,
        "name": spec.name,
        "uid": spec.uid,
        "controller": True,
        # True would need the right to change the owner's finalizers, and gives nothing: ours holds the owner.
        "blockOwnerDeletion": False,
    }
    for item in items:
        metadata = item["metadata"]
        metadata["labels"] = {**(metadata.get("labels") or {}), MANAGED_BY: MANAGER, names.owner: spec.name}
        metadata["ownerReferences"] = [owner]
    return list(items)


def is_ours(item: Object, names: Names) -> bool:
    """Tell whether an object is one that was made for this driver's object."""
    labels = item["metadata"].get("labels") or {}
    return labels.get(MANAGED_BY) == MANAGER and labels.get(names.owner) == names.item


def module_reference(names: Names) -> str:
    return f"{MODULE_KIND} {names.namespace}/{names.module}"


def find_unwanted(there: Mapping[str, Object], wanted: Sequence[Object], names: Names) -> tuple[str, ...]:
    """Return our objects that are not wanted any more.

    Never the Module: without it KMM unloads the driver everywhere, so it goes with the driver's object alone.
    """
    kept = {reference(item) for item in wanted} | {module_reference(names)}
    return tuple(sorted(name for name, item in there.items() if name not in kept and is_ours(item, names)))


def _copy(item: Object) -> dict[str, Any]:
    return copy.deepcopy(dict(item))
