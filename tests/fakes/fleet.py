"""A cluster of our own to try decisions on: nodes, a Module, and what KMM makes of them, without time and processes.

What KMM does is that of its repository: internal/controllers/module_reconciler.go, prepareNodeSchedulingData: with a
mapping, the version label decides; without one, what is loaded is unloaded.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kmod_operator.index.index import Index, IndexedImage
from kmod_operator.rollout.decide import decide
from kmod_operator.rollout.mappings import read_mappings, read_version
from kmod_operator.rollout.names import MODULE_KIND, POOL_KIND, VERSION_KIND, Names
from kmod_operator.rollout.smoking import read_smoke_pod
from kmod_operator.rollout.template import DriverTemplate, Templates
from kmod_operator.rollout.world import (
    ClusterUpdates,
    IndexState,
    Known,
    Node,
    Pod,
    Pool,
    SmokePod,
    World,
    reference,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kmod_operator.rollout.decision import Decision, NodeChange, PoolChange

RESOURCE = "drivers.example.com/ptemplate"
GROUP = "drivers.example.com"
WORKER = {"node-role.kubernetes.io/worker": ""}
OLD_KERNEL, NEW_KERNEL = "5.14.0-427.1.1.el9_4.x86_64", "5.14.0-427.2.1.el9_4.x86_64"
NAMES = Names(group=GROUP, item="ptemplate", namespace="drv", module="ptemplate")
RULE_KIND = "nfd.openshift.io/v1alpha1 NodeFeatureRule"
BEGIN = datetime(2026, 11, 27, 6, 0, tzinfo=UTC)


def image(version: str, kernel: str) -> str:
    return f"registry.example/org/ptemplate@sha256:{version}-{kernel}"


def make_index(versions: Mapping[str, Iterable[str]], **releases: tuple[str, ...]) -> Index:
    images = {
        version: {kernel: IndexedImage(image=image(version, kernel), arch="amd64") for kernel in kernels}
        for version, kernels in versions.items()
    }
    named = {f"4.18.{name.removeprefix('z')}-x86_64": kernels for name, kernels in releases.items()}
    return Index(driver="ptemplate", made=BEGIN, images=images, releases=named)


def _object(kind: str, api: str = "v1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "ptemplate", "namespace": "drv"}, "spec": spec}


TEMPLATES = Templates(
    group=GROUP, version="v1alpha1", kind="KernelDriver", plural="kerneldrivers", namespace="kmod-operator", keys=(),
    drivers={
        "ptemplate": DriverTemplate(
            namespace="drv",
            module=_object(
                "Module", "kmm.sigs.x-k8s.io/v1beta1", selector=WORKER,
                moduleLoader={"container": {"modprobe": {"moduleName": "ptemplate_char"}}},
            ),
            plugin=(
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "plugin", "namespace": "drv"}},
                _object("DaemonSet", "apps/v1", selector={"matchLabels": {"app": "plugin"}}, template={"spec": {}}),
            ),
            rules=({"apiVersion": "nfd.openshift.io/v1alpha1", "kind": "NodeFeatureRule", "metadata": {"name": "p"}},),
            resource=RESOURCE,
        )
    },
)  # fmt: skip


_SMOKE = _object(
    "Pod", restartPolicy="Never", activeDeadlineSeconds=60,
    containers=[{"name": "smoke", "image": "i", "resources": {"limits": {RESOURCE: "1"}}}],
)  # fmt: skip
SMOKING = dataclasses.replace(
    TEMPLATES, drivers={"ptemplate": dataclasses.replace(TEMPLATES.drivers["ptemplate"], smoke=_SMOKE)}
)


@dataclass
class Fleet:
    """The cluster; ``broken`` are pairs of version and kernel that do not load, ``dead`` versions without devices."""

    nodes: dict[str, Node] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    item: dict[str, Any] = field(default_factory=dict)
    index: IndexState = field(default_factory=IndexState)
    updates: ClusterUpdates | None = None
    apis: dict[str, Known] = field(
        default_factory=lambda: {MODULE_KIND: Known.YES, RULE_KIND: Known.YES, VERSION_KIND: Known.NO}
    )
    rights: dict[str, Known] = field(default_factory=lambda: {"drain": Known.YES, "hold-pools": Known.YES})
    now: datetime = BEGIN
    broken: set[tuple[str, str]] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    sticky: set[str] = field(default_factory=set)
    """Pods that cannot be evicted."""
    loaded: dict[str, str] = field(default_factory=dict)
    """Image that a node has loaded."""
    asked: tuple[str, ...] = ()
    told: list[tuple[str, str]] = field(default_factory=list)
    has_finalizer: bool = False
    has_old_kmm: bool = False
    """KMM is one that has no label for the version that is loaded."""
    smokes: dict[str, SmokePod] | None = None
    """Pods of smoke tests, by node; None: the driver has none."""
    bad: set[str] = field(default_factory=set)
    """Versions whose devices are there and do not work."""
    rendered: str = ""
    """Kernel that pools are to have, of the release that is on its way."""
    seen: dict[str, Node] | None = None
    """Nodes as the operator last heard of them, where its watch says nothing."""
    _writes: int = 0
    _refused: frozenset[int] = frozenset()
    _count: int = 0

    def world(self) -> World:
        return World(
            now=self.now,
            nodes=dict(self.nodes if self.seen is None else self.seen),
            pods={name: tuple(pod for pod in self.pods.values() if pod.node == name) for name in self.asked},
            objects=dict(self.objects),
            module=self.module,
            apis=self.apis,
            index=self.index,
            updates=self.updates,
            pools=dict(self.pools),
            rights=self.rights,
            smokes=None if self.smokes is None else list(self.smokes.values()),
        )

    @property
    def module(self) -> Any:
        return self.objects.get(f"{MODULE_KIND} drv/ptemplate")

    def decide(self) -> Decision:
        return decide(self.item, TEMPLATES if self.smokes is None else SMOKING, self.world())

    def turn(self, *, writes: int | None = None, refused: Sequence[int] = ()) -> Decision:
        """Decide, and carry out.

        Args:
            writes: no more than that many, as if it was killed then.
            refused: which of the writes the server refuses; after an object that it refuses no node is touched.
        """
        decision = self.decide()
        self._writes, self._refused, self._count = 10**6 if writes is None else writes, frozenset(refused), 0
        for item in decision.apply:
            if self.objects.get(reference(item)) == item:
                continue
            if not self._may_write():
                return decision
            self.objects[reference(item)] = item
        for change in decision.nodes:
            if self._may_write():
                self._change_node(change)
        for pod in decision.evict:
            if self._may_write() and pod.name not in self.sticky:
                self.pods.pop(pod.name, None)
        self._change_smokes(decision)
        for pool in decision.pools:
            if self._may_write():
                self._change_pool(pool)
        self._end_turn(decision)
        return decision

    def _change_smokes(self, decision: Decision) -> None:
        for pod in decision.end:
            if self._may_write() and self.smokes:
                self.smokes.pop(pod.name, None)
        for made in decision.start:
            if self._may_write() and self.smokes is not None:
                found = read_smoke_pod(made, NAMES.smoke)
                assert found.node not in {one.node for one in self.smokes.values()}
                self.smokes[found.name] = found

    def _end_turn(self, decision: Decision) -> None:
        for name in decision.delete:
            if self._may_write():
                self.objects.pop(name, None)
        if self._may_write():
            self.item["status"] = dict(decision.status)
            self.told += [(event.reason, event.message) for event in decision.events]
            self.has_finalizer = decision.finalizer
        self.asked = decision.pods_of

    def _change_pool(self, change: PoolChange) -> None:
        there = self.pools[change.name]
        annotations = _merge(there.annotations, change.annotations)
        self.pools[change.name] = dataclasses.replace(there, paused=change.paused, annotations=annotations)

    def _may_write(self) -> bool:
        self._writes -= 1
        self._count += 1
        return self._writes >= 0 and self._count not in self._refused

    def fall_silent(self) -> None:
        """Have the operator hear nothing of nodes any more; what it writes itself it is answered."""
        self.seen = dict(self.nodes)

    def _change_node(self, change: NodeChange) -> None:
        node = self.nodes[change.name]
        if self.seen is not None and change.version != node.version:
            return  # the server refuses it: somebody else wrote meanwhile
        assert change.version == node.version, "a write to a node that is not as it was seen"
        self._write_node(change, node)
        if self.seen is not None:
            self.seen[change.name] = self.nodes[change.name]

    def _write_node(self, change: NodeChange, node: Node) -> None:
        self.nodes[change.name] = dataclasses.replace(
            node,
            labels=_merge(node.labels, change.labels),
            annotations=_merge(node.annotations, change.annotations),
            unschedulable=node.unschedulable if change.unschedulable is None else change.unschedulable,
            version=str(int(node.version or "0") + 1),
        )

    def change(self, name: str, **values: Any) -> None:
        """Have something happen to a node that is not ours."""
        node = self.nodes[name]
        self.nodes[name] = dataclasses.replace(node, **values, version=str(int(node.version or "0") + 1))

    def label(self, name: str, **labels: str | None) -> None:
        self.change(name, labels=_merge(self.nodes[name].labels, labels))

    def kmm(self, *names: str) -> None:
        """Have KMM, and the device plugin, do what they do on nodes; on all by default."""
        mappings, version = read_mappings(self.module), read_version(self.module)
        for name in names or list(self.nodes):
            node = self.nodes[name]
            if node.ready is not Known.YES:
                continue
            mapped, label = mappings.get(node.kernel), node.labels.get(NAMES.wanted_version)
            if self.module is None or not mapped or label is None or (node.unschedulable and not self._tolerated):
                self.loaded.pop(name, None)
            elif label == version:
                self.loaded[name] = mapped if (version, node.kernel) not in self.broken else ""
            self._tell(name)

    @property
    def _tolerated(self) -> bool:
        """Whether KMM's Module may be on nodes that are cordoned: from others KMM takes it, and brings none to them."""
        found = {one.get("key") for one in self.module["spec"].get("tolerations", ())}
        return "node.kubernetes.io/unschedulable" in found

    def _tell(self, name: str) -> None:
        """Write on a node what is loaded there."""
        found = self.loaded.get(name, "")
        version = found.partition("sha256:")[2].removesuffix(f"-{self.nodes[name].kernel}")
        told = NAMES.worker_version if self.has_old_kmm else NAMES.ready_version
        labels = {NAMES.ready: "" if found else None, told: version if found else None}
        count = 3 if found and version not in self.dead else 0
        if _merge(self.nodes[name].labels, labels) != self.nodes[name].labels or count != self.devices(name):
            self.change(name, labels=_merge(self.nodes[name].labels, labels), allocatable={RESOURCE: count})

    def devices(self, name: str) -> int:
        return self.nodes[name].allocatable.get(RESOURCE, 0)

    def reboot(self, name: str, kernel: str = "") -> None:
        """A node comes back with nothing loaded, and maybe with another kernel."""
        self.loaded.pop(name, None)
        self.change(name, kernel=kernel or self.nodes[name].kernel)
        self._tell(name)

    def kubelet(self, *names: str) -> None:
        """Have pods of smoke tests run to their end, on nodes that are well; on all by default."""
        for pod in list((self.smokes or {}).values()):
            node = self.nodes.get(pod.node)
            if node and node.ready is Known.YES and (not names or pod.node in names) and self.devices(pod.node):
                is_bad = node.labels.get(NAMES.ready_version) in self.bad
                phase, words = ("Failed", "exit code 1: it reads nothing") if is_bad else ("Succeeded", "")
                assert self.smokes is not None
                self.smokes[pod.name] = dataclasses.replace(pod, phase=phase, words=words)

    def release(self, version: str, kernel: str) -> None:
        """Have the cluster be on its way to a release: its pools are to have a kernel."""
        current = self.updates.current if self.updates else "4.18.1"
        self.updates = ClusterUpdates(desired=version, current=current)
        self.apis[VERSION_KIND] = Known.YES
        self.rendered = kernel

    def mco(self, *names: str) -> list[str]:
        """Have OpenShift do what it does for pools that are not paused: boot some of their nodes into the kernel.

        Returns the nodes that were booted.
        """
        booted = []
        for pool in list(self.pools.values()):
            nodes = [node for node in self.nodes.values() if self.pool_of(node) == pool.name]
            late = [node.name for node in nodes if node.kernel != self.rendered]
            if not pool.paused and self.rendered and (not names or pool.name in names):
                for name in late[: int(pool.max_unavailable)]:
                    self.reboot(name, self.rendered)
                    booted.append(name)
            is_behind = any(self.nodes[node.name].kernel != self.rendered for node in nodes)
            self.pools[pool.name] = dataclasses.replace(pool, behind=Known.YES if is_behind else Known.NO)
        return booted

    def pool_of(self, node: Node) -> str:
        """Return the one pool that a node is of: a pool of people's own comes before ``worker``."""
        found = [
            name for name, pool in self.pools.items() if pool.selector["matchLabels"].items() <= node.labels.items()
        ]
        return next((name for name in sorted(found) if name != "worker"), "worker" if found else "")

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def settle(self, turns: int = 60, seconds: float = 5) -> Decision:
        """Go on until nothing is written any more."""
        for _ in range(turns):
            before = (dict(self.nodes), dict(self.objects), dict(self.pods), dict(self.pools), dict(self.smokes or {}))
            decision = self.turn()
            self.kmm()
            self.kubelet()
            self.wait(seconds)
            after = (self.nodes, self.objects, self.pods, self.pools, self.smokes or {})
            if before == after and decision.again_after_s is None:
                break
        return self.decide()

    def condition(self, kind: str) -> tuple[str, str]:
        found = {one["type"]: (one["status"], one["reason"]) for one in self.decide().status["conditions"]}
        return found[kind]


def _merge(there: Mapping[str, str], changed: Mapping[str, str | None]) -> dict[str, str]:
    both = {**there, **changed}
    return {name: value for name, value in both.items() if value is not None}


def make_item(version: str = "1.0.0", **spec: Any) -> dict[str, Any]:
    """Return the object of the vendor's kind."""
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "KernelDriver",
        "metadata": {"name": "ptemplate", "uid": "u1", "generation": 1, "finalizers": [f"{GROUP}/unload"]},
        "spec": {
            "driver": {"name": "ptemplate", "version": version},
            "index": {"configMap": "ptemplate-index"},
            **spec,
        },
    }


def make_fleet(count: int = 4, kernel: str = OLD_KERNEL, **spec: Any) -> Fleet:
    """Return a cluster whose index has two versions for two kernels."""
    nodes = {
        f"n{number}": Node(name=f"n{number}", kernel=kernel, arch="amd64", labels=dict(WORKER), version="1")
        for number in range(count)
    }
    both = (OLD_KERNEL, NEW_KERNEL)
    index = make_index({"1.0.0": both, "1.1.0": both}, z1=(OLD_KERNEL,), z2=(NEW_KERNEL,))
    state = IndexState(index=index, digest="sha256:1", signer="k")
    spec = {"rollout": {"maxUnavailable": 1, "drain": {"enabled": True}}, **spec}
    pools = {"worker": Pool(name="worker", selector={"matchLabels": WORKER})}
    fleet = Fleet(nodes=nodes, item=make_item(**spec), index=state, pools=pools)
    fleet.apis[POOL_KIND] = Known.YES
    return fleet


def want(fleet: Fleet, version: str) -> None:
    """Have people want another version."""
    fleet.item["spec"] = {**fleet.item["spec"], "driver": {"name": "ptemplate", "version": version}}
    fleet.item["metadata"] = {**fleet.item["metadata"], "generation": fleet.item["metadata"]["generation"] + 1}
