"""What there is in a cluster, as far as a driver is concerned. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from kmod_operator.index.index import Index

Object: TypeAlias = "Mapping[str, Any]"
"""An object of the API, as JSON."""


DESIRED_CONFIG = "machineconfiguration.openshift.io/desiredConfig"
CURRENT_CONFIG = "machineconfiguration.openshift.io/currentConfig"
"""Annotations of OpenShift's nodes: the first is written when a node's turn has come, the other when it is done."""


class Known(StrEnum):
    """An answer that can be lacking: unknown is not absent."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What of a node matters.

    Attributes:
        kernel: ``status.nodeInfo.kernelVersion``, and nothing that a label says.
        ready: what its condition Ready says.
        allocatable: whole numbers of ``status.allocatable``, by resource.
        version: ``metadata.resourceVersion``: a write is refused where somebody else wrote meanwhile.
    """

    name: str
    kernel: str
    arch: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    ready: Known = Known.YES
    unschedulable: bool = False
    allocatable: Mapping[str, int] = field(default_factory=dict)
    version: str = ""

    @property
    def is_updating(self) -> bool:
        """Whether the cluster is bringing another configuration to it, a kernel maybe: it will be rebooted."""
        wanted = self.annotations.get(DESIRED_CONFIG)
        return bool(wanted) and wanted != self.annotations.get(CURRENT_CONFIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod on a node that is drained.

    Attributes:
        resources: what its containers ask for, by resource.
        is_mirror: kubelet's own, of a file; it cannot be evicted.
        is_ending: it is being deleted already.
        is_over: all of its containers have ended for good.
        owner: kind of its controller; empty where it has none.
    """

    namespace: str
    name: str
    uid: str
    node: str
    resources: Mapping[str, int] = field(default_factory=dict)
    owner: str = ""
    is_mirror: bool = False
    is_ending: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SmokePod:
    """A pod of ours that tries a device of a node.

    Attributes:
        owner: name of the driver's object.
        to, kernel: version and kernel that it tries.
        begun: when the step of the node began in which it does, as the node's note says it.
        attempt: the how-manieth, from 1.
        phase: of the pod: ``Pending``, ``Running``, ``Succeeded``, ``Failed``.
        words: why it is not well, or what it waits for; empty where nothing is said.
        is_ending: it is being deleted already.
    """

    namespace: str
    name: str
    uid: str
    owner: str
    node: str
    to: str
    kernel: str
    begun: str
    attempt: int
    phase: str = ""
    words: str = ""
    is_ending: bool = False

    @property
    def is_over(self) -> bool:
        return self.phase in {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexState:
    """The index that is believed, or why there is none.

    Attributes:
        index: the newest that was verified; an older or a broken one after it changes nothing.
        digest: of its bytes; empty where there is none.
        signer: fingerprint of the key that signed it.
        trouble: why what is offered now is not believed, or could not be read; empty where all is well.
        trouble_reason: the same as one word, of ``reasons.py``.
    """

    index: Index | None = None
    digest: str = ""
    signer: str = ""
    trouble: str = ""
    trouble_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A MachineConfigPool.

    Attributes:
        selector: ``spec.nodeSelector`` as it is (matchLabels, matchExpressions).
        behind: whether not all of its nodes have the configuration that the pool is to have.
        max_unavailable: how many of its nodes are updated at once: a number, or a share (``10%``).
    """

    name: str
    paused: bool = False
    behind: Known = Known.UNKNOWN
    max_unavailable: str = "1"
    annotations: Mapping[str, str] = field(default_factory=dict)
    selector: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterUpdates:
    """What ClusterVersion says: the release that is wanted, the one that runs, and those that are offered."""

    desired: str = ""
    current: str = ""
    offered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All of it at one moment.

    Attributes:
        now: time of day, of the machine that decides.
        nodes: all nodes, by name.
        pods: by node, of those nodes alone whose pods the decision before asked for; a node that could not be asked is
            not in it.
        objects: ours in the cluster, by ``reference()``: those with our label for this driver.
        module: KMM's Module of the driver, whoever made it; None where there is none.
        apis: whether the cluster has an API, by ``group/version Kind`` (``kmm.sigs.x-k8s.io/v1beta1 Module``).
        index: what is believed.
        updates: None where the cluster has no ClusterVersion, or it cannot be read (see ``apis``).
        pools: by name.
        smokes: pods that try devices for the driver's object; None: not known.
        rights: whether the account may do what is optional: ``drain``, ``hold-pools``.
    """

    now: datetime
    nodes: Mapping[str, Node] = field(default_factory=dict)
    pods: Mapping[str, tuple[Pod, ...]] = field(default_factory=dict)
    objects: Mapping[str, Object] = field(default_factory=dict)
    module: Object | None = None
    apis: Mapping[str, Known] = field(default_factory=dict)
    index: IndexState = field(default_factory=IndexState)
    updates: ClusterUpdates | None = None
    pools: Mapping[str, Pool] = field(default_factory=dict)
    smokes: Sequence[SmokePod] | None = None
    rights: Mapping[str, Known] = field(default_factory=dict)


def reference(item: Object) -> str:
    """Return how an object is called in ``World.objects``: ``apiVersion Kind namespace/name``."""
    metadata = item["metadata"]
    return f"{item['apiVersion']} {item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
