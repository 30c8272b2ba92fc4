"""Makes of objects of the API what is kept of them. Pure.

A node of the API has tens of thousands of bytes, of which we need hundreds; equal words of many nodes are kept once.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kmod_operator.rollout.names import smoke_key
from kmod_operator.rollout.smoking import read_smoke_pod
from kmod_operator.rollout.world import ClusterUpdates, Known, Node, Pod, Pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kmod_operator.rollout.world import SmokePod

_MIRROR = "kubernetes.io/config.mirror"
_ANNOTATIONS_OF_POOLS = "machineconfiguration.openshift.io/"
_COUNT = re.compile(r"([0-9]{1,15})([kMG]?)", re.ASCII)
_THOUSANDS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_OVER = ("Succeeded", "Failed")


class Trimmer:
    """Trims nodes; knows words that it has seen.

    Args:
        group: of the vendor's kind: annotations of nodes that begin with it are kept.
        manager: who of those that manage fields of an object is kept.
    """

    def __init__(self, group: str, manager: str) -> None:
        self._kept = (f"{group}/", _ANNOTATIONS_OF_POOLS)
        self._manager = manager
        self._smoke = smoke_key(group)
        self._words: dict[str, str] = {}

    def node(self, item: Mapping[str, Any]) -> Node:
        metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
        info = status.get("nodeInfo") or {}
        annotations = metadata.get("annotations") or {}
        return Node(
            name=metadata["name"],
            kernel=self._word(info.get("kernelVersion")),
            arch=self._word(info.get("architecture")),
            labels=self._map(metadata.get("labels") or {}),
            annotations=self._map({key: value for key, value in annotations.items() if key.startswith(self._kept)}),
            ready=_ready(status.get("conditions") or ()),
            unschedulable=spec.get("unschedulable") is True,
            allocatable={self._word(key): count for key, count in _counts(status.get("allocatable") or {})},
            version=str(metadata.get("resourceVersion", "")),
        )

    def ours(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return an object without what other managers of it have."""
        metadata = item["metadata"]
        managed = [one for one in metadata.get("managedFields") or () if one.get("manager") == self._manager]
        return {**item, "metadata": {**metadata, "managedFields": managed}}

    def smoke_pod(self, item: Mapping[str, Any]) -> SmokePod:
        return read_smoke_pod(item, self._smoke)

    def _map(self, words: Mapping[str, Any]) -> dict[str, str]:
        return {self._word(key): self._word(value) for key, value in words.items()}

    def _word(self, word: Any) -> str:
        text = word if isinstance(word, str) else ""
        # Words of one node alone (its name, its address) would stay when it is gone: long ones are not kept.
        return self._words.setdefault(text, text) if len(text) < 64 and len(self._words) < 20_000 else text  # noqa: PLR2004


def without_managers(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without who manages which of its fields."""
    metadata = {name: value for name, value in item["metadata"].items() if name != "managedFields"}
    return {**item, "metadata": metadata}


def is_same_node(one: Node, other: Node) -> bool:
    """Tell whether two states of a node differ in nothing but the version, which each heartbeat changes."""
    return (
        one.kernel == other.kernel
        and one.labels == other.labels
        and one.annotations == other.annotations
        and one.ready == other.ready
        and one.unschedulable == other.unschedulable
        and one.allocatable == other.allocatable
        and one.arch == other.arch
    )


def is_same_object(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Likewise, of an object."""
    return _without_version(one) == _without_version(other)


def trim_pod(item: Mapping[str, Any]) -> Pod:
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    resources: dict[str, int] = {}
    for container in containers:
        asked = container.get("resources") or {}
        for name, count in _counts({**(asked.get("requests") or {}), **(asked.get("limits") or {})}):
            resources[name] = resources.get(name, 0) + count
    return Pod(
        namespace=str(metadata.get("namespace", "")),
        name=metadata["name"],
        uid=str(metadata.get("uid", "")),
        node=str(spec.get("nodeName") or ""),
        resources=resources,
        owner=next((str(one["kind"]) for one in metadata.get("ownerReferences") or () if one.get("controller")), ""),
        is_mirror=_MIRROR in (metadata.get("annotations") or {}),
        is_ending=bool(metadata.get("deletionTimestamp")),
        is_over=status.get("phase") in _OVER,
    )


def trim_pool(item: Mapping[str, Any]) -> Pool:
    metadata, spec = item["metadata"], item.get("spec") or {}
    return Pool(
        name=metadata["name"],
        paused=spec.get("paused") is True,
        behind=_is_behind(spec, item.get("status") or {}),
        max_unavailable=str(spec.get("maxUnavailable") or 1),
        annotations=dict(metadata.get("annotations") or {}),
        selector=dict(spec.get("nodeSelector") or {}),
        version=str(metadata.get("resourceVersion", "")),
    )


def _is_behind(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Known:
    """Tell whether a pool is to have another configuration than all of its nodes have."""
    wanted, there = ((part.get("configuration") or {}).get("name") for part in (spec, status))
    if not wanted or not there:
        return Known.UNKNOWN
    return Known.NO if wanted == there else Known.YES


def is_same_pool(one: Pool, other: Pool) -> bool:
    """Tell whether two states of a pool differ in nothing but the version."""
    return replace(one, version="") == replace(other, version="")


def trim_updates(item: Mapping[str, Any]) -> ClusterUpdates:
    status = item.get("status") or {}
    done = [one for one in status.get("history") or () if one.get("state") == "Completed"]
    offered = [one.get("version") for one in status.get("availableUpdates") or ()]
    offered += [(one.get("release") or {}).get("version") for one in status.get("conditionalUpdates") or ()]
    return ClusterUpdates(
        desired=str((status.get("desired") or {}).get("version") or ""),
        current=str(done[0].get("version") or "") if done else "",
        offered=tuple(dict.fromkeys(str(version) for version in offered if version)),
    )


def trim_data(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a ConfigMap holds."""
    return {"data": item.get("data") or {}, "binaryData": item.get("binaryData") or {}}


def _ready(conditions: Iterable[Mapping[str, Any]]) -> Known:
    """Return what a node's condition says; one that kubelet did not renew is unknown."""
    said = next((one.get("status") for one in conditions if one.get("type") == "Ready"), None)
    return {"True": Known.YES, "False": Known.NO}.get(str(said), Known.UNKNOWN)


def _counts(resources: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return those that are whole numbers, as devices are; of 1000 the server makes 1k."""
    found = []
    for name, text in resources.items():
        if count := _COUNT.fullmatch(str(text)):
            found.append((name, int(count[1]) * _THOUSANDS[count[2]]))
    return found


def _without_version(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {
        name: value for name, value in item["metadata"].items() if name not in {"resourceVersion", "managedFields"}
    }
    return {**item, "metadata": metadata}
