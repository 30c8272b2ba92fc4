"""Whatever happens in a cluster, and wherever the operator is killed: what must never be, is not; and it ends right."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from fakes.fleet import (
    NAMES,
    NEW_KERNEL,
    OLD_KERNEL,
    RESOURCE,
    TEMPLATES,
    image,
    make_fleet,
    make_index,
    want,
)
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Phases
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from kmod_operator.rollout.mappings import read_mappings
from kmod_operator.rollout.progress import Phase, Progress, read_progress
from kmod_operator.rollout.spec import read_spec
from kmod_operator.rollout.states import kmm_kernel
from kmod_operator.rollout.world import Known, Node, Pod, reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kmod_operator.rollout.decision import Decision, NodeChange

_NODES = [f"n{number}" for number in range(6)]
_VERSIONS = ["1.0.0", "1.1.0", "1.2.0"]
_KERNELS = [OLD_KERNEL, NEW_KERNEL, "5.14.0-427.3.1.el9_4.x86_64"]
_node, _version, _kernel = st.sampled_from(_NODES), st.sampled_from(_VERSIONS), st.sampled_from(_KERNELS)


class ClusterMachine(RuleBasedStateMachine):
    """A cluster in which anything happens between any two writes of the operator."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = make_fleet(len(_NODES))
        self.cordoned: set[str] = set()
        """Nodes that an administrator cordoned, before we did."""
        self.pod = 0
        self.canary = ""

    @initialize(budget=st.sampled_from([1, 2, "50%"]), canary=st.booleans(), smoke=st.booleans())
    def begin(self, budget: int | str, *, canary: bool, smoke: bool) -> None:
        self.fleet.smokes = {} if smoke else None
        rollout: dict[str, Any] = {"maxUnavailable": budget, "drain": {"enabled": True}}
        if canary:
            rollout["canary"] = {"nodeSelector": {"canary": "yes"}, "soakSeconds": 60}
            self.canary = "n3"
            self.fleet.label("n3", canary="yes")
        self.fleet.item["spec"]["rollout"] = rollout
        self.fleet.settle(100, seconds=20)

    @rule(turns=st.integers(1, 4))
    def it_goes_on(self, turns: int) -> None:
        """Nothing else happens for a while."""
        for _ in range(turns):
            self.operate(None)
            self.fleet.kmm()
            self.fleet.kubelet()
            self.fleet.wait(10)

    @rule(writes=st.one_of(st.none(), st.integers(0, 8)), refused=st.one_of(st.just(()), st.sets(st.integers(1, 8))))
    def operate(self, writes: int | None, refused: Iterable[int] = ()) -> None:
        """The operator decides and acts; it may be killed in between, and the server may refuse some of it."""
        before = dict(self.fleet.nodes)
        decision = self.fleet.decide()
        unwell = self._unwell(decision)
        assert len({change.name for change in decision.nodes}) == len(decision.nodes)
        self._check_evictions(decision)
        self.fleet.turn(writes=writes, refused=tuple(refused))
        self._check_changes(decision, before, unwell)
        budget = read_spec(self.fleet.item, TEMPLATES.group).budget(len(self.fleet.nodes))
        made = [change for change in decision.nodes if change.version == before[change.name].version]
        begun = {change.name for change in made if self._begins(change, before[change.name])}
        assert not begun - unwell or len(begun | unwell) <= budget

    @rule()
    def the_watch_falls_silent(self) -> None:
        self.fleet.fall_silent()

    @rule()
    def the_watch_is_heard_again(self) -> None:
        """By itself, or because another program takes over, which lists all."""
        self.fleet.seen = None

    @rule(name=_node)
    def kmm_works(self, name: str) -> None:
        self.fleet.kmm(name)

    @rule(name=_node)
    def kubelet_works(self, name: str) -> None:
        self.fleet.kubelet(name)

    @rule(version=_version, bad=st.booleans())
    def devices_work(self, version: str, *, bad: bool) -> None:
        """Or they are there, and do not."""
        (self.fleet.bad.discard if not bad else self.fleet.bad.add)(version)

    @rule(seconds=st.sampled_from([1, 30, 100, 1000, -500]))
    def time_passes(self, seconds: int) -> None:
        self.fleet.wait(seconds)

    @rule(version=_version)
    def people_want(self, version: str) -> None:
        want(self.fleet, version)

    @rule(paused=st.booleans())
    def people_pause(self, *, paused: bool) -> None:
        self.fleet.item["spec"]["rollout"] |= {"paused": paused}

    @rule(name=_node, ready=st.sampled_from([Known.YES, Known.YES, *Known]))
    def node_is(self, name: str, ready: Known) -> None:
        self.fleet.change(name, ready=ready)

    @rule(name=_node, kernel=_kernel)
    def node_reboots(self, name: str, kernel: str) -> None:
        self.fleet.reboot(name, kernel)

    @rule(name=_node)
    def administrator_cordons(self, name: str) -> None:
        node = self.fleet.nodes[name]
        note = read_progress(node.annotations.get(NAMES.progress))
        if not node.unschedulable:
            if note is None or not note.cordoned:  # else it was ours, and nobody has seen yet that it was taken away
                self.cordoned.add(name)
            self.fleet.change(name, unschedulable=True)

    @rule(name=_node)
    def administrator_uncordons(self, name: str) -> None:
        self.cordoned.discard(name)
        self.fleet.change(name, unschedulable=False)

    @rule(sticky=st.booleans())
    def pods_come(self, *, sticky: bool) -> None:
        for name in self.fleet.nodes:
            self._pod_comes(name, sticky=sticky)

    def _pod_comes(self, name: str, *, sticky: bool) -> None:
        node = self.fleet.nodes[name]
        if not node.unschedulable and node.allocatable.get(RESOURCE, 0):
            self.pod += 1
            pod = f"p{self.pod}"
            self.fleet.pods[pod] = Pod(namespace="w", name=pod, uid=pod, node=name, resources={RESOURCE: 1})
            if sticky:
                self.fleet.sticky.add(pod)

    @rule()
    def pods_end(self) -> None:
        self.fleet.pods.clear()
        self.fleet.sticky.clear()

    @rule(version=_version, kernel=_kernel, broken=st.booleans())
    def driver_is(self, version: str, kernel: str, *, broken: bool) -> None:
        (self.fleet.broken.add if broken else self.fleet.broken.discard)((version, kernel))

    @rule(version=_version, dead=st.booleans())
    def devices_are(self, version: str, *, dead: bool) -> None:
        (self.fleet.dead.add if dead else self.fleet.dead.discard)(version)

    @rule(versions=st.dictionaries(_version, st.sets(_kernel, min_size=1), min_size=2))
    def index_comes(self, versions: dict[str, set[str]]) -> None:
        self.fleet.index = dataclasses.replace(self.fleet.index, index=make_index(versions))

    @rule(name=_node, note=st.sampled_from([None, "{", '{"to": "1.0.0", "phase": "Done", "since": "x"}']))
    def somebody_spoils_the_note(self, name: str, note: str | None) -> None:
        node = self.fleet.nodes[name]
        progress = read_progress(node.annotations.get(NAMES.progress))
        if progress and progress.cordoned:
            self.cordoned.add(name)  # nobody knows any more that it was us
        annotations = {key: value for key, value in node.annotations.items() if key != NAMES.progress}
        self.fleet.change(name, annotations=annotations | ({NAMES.progress: note} if note else {}))

    @invariant()
    def images_are_those_of_the_index_and_none_is_taken_from_who_has_it(self) -> None:
        silent, self.fleet.seen = self.fleet.seen, None
        decision = self.decided = self.fleet.decide()
        self.fleet.seen = silent
        index = self.fleet.index.index
        assert index is not None
        believed = {image.image for images in index.images.values() for image in images.values()}
        there = read_mappings(self.fleet.module)
        for item in decision.apply:
            if item["kind"] != "Module":
                continue
            mapped = read_mappings(item)
            assert mapped
            assert set(mapped.values()) <= believed
            # KMM unloads what has no mapping: a loaded driver's is never taken away while it is believed.
            for node in self.fleet.nodes.values():
                if NAMES.ready in node.labels and there.get(kmm_kernel(node.kernel)) in believed:
                    assert kmm_kernel(node.kernel) in mapped

    @invariant()
    def ready_is_never_said_without_devices(self) -> None:
        if self.decided.status["conditions"][0]["status"] != "True":
            return
        up = [node for node in self.fleet.nodes.values() if node.ready is Known.YES]
        wanted = self.fleet.item["spec"]["driver"]["version"]
        assert up
        for node in up:
            assert node.allocatable[RESOURCE] > 0
            assert node.labels[NAMES.ready_version] == wanted

    @invariant()
    def ready_is_never_said_of_a_device_that_nobody_tried(self) -> None:
        if self.fleet.smokes is None or self.decided.status["conditions"][0]["status"] != "True":
            return
        assert all(self._is_tried(node) for node in self.fleet.nodes.values() if node.ready is Known.YES)

    @invariant()
    def a_few_pods_try_devices_and_none_on_a_node_twice(self) -> None:
        nodes = [pod.node for pod in (self.fleet.smokes or {}).values()]
        assert len(nodes) == len(set(nodes))

    @staticmethod
    def _is_tried(node: Node) -> bool:
        """Tell whether a node's note says that it arrived with what it has: that is written when a pod ended well."""
        note = read_progress(node.annotations.get(NAMES.progress))
        has = node.labels.get(NAMES.ready_version), kmm_kernel(node.kernel), Phase.DONE
        return note is not None and (note.to, note.kernel, note.phase) == has

    @invariant()
    def what_an_administrator_cordoned_stays_so(self) -> None:
        assert all(self.fleet.nodes[name].unschedulable for name in self.cordoned)

    def teardown(self) -> None:
        """When nothing happens any more, all nodes that can have the version have it, and then nothing is written."""
        fleet = self.fleet
        fleet.seen = None
        for held in (fleet.broken, fleet.dead, fleet.bad, fleet.pods, fleet.sticky):
            held.clear()
        fleet.index = dataclasses.replace(fleet.index, index=make_index(dict.fromkeys(_VERSIONS, _KERNELS)))
        fleet.item["spec"]["rollout"].pop("paused", None)
        for name, node in list(fleet.nodes.items()):
            progress = read_progress(node.annotations.get(NAMES.progress))
            if progress and progress.phase is Phase.FAILED:  # as the message says: removed, it is tried again
                if progress.cordoned:
                    self.cordoned.add(name)
                fleet.change(name, annotations={})
            fleet.change(name, ready=Known.YES)
        fleet.settle(400, seconds=20)
        version = fleet.item["spec"]["driver"]["version"]
        assert fleet.condition("Ready") == ("True", "AllReady"), fleet.decide().status["conditions"]
        for name, node in fleet.nodes.items():
            assert fleet.loaded[name] == image(version, node.kernel)
            assert node.unschedulable is (name in self.cordoned)
        decision = fleet.turn()
        assert (decision.nodes, decision.evict, decision.delete, decision.again_after_s) == ((), (), (), None)
        assert all(fleet.objects[reference(item)] == item for item in decision.apply)

    def _unwell(self, decision: Decision) -> set[str]:
        """Nodes that are down, on their way, or do not have what they were told to; not those without an image."""
        found = set()
        version = self.fleet.item["spec"]["driver"]["version"]
        covered = {one["kernel"] for one in decision.status["kernels"] if one["state"] == "Covered"}
        for name, node in (self.fleet.seen or self.fleet.nodes).items():
            progress = read_progress(node.annotations.get(NAMES.progress))
            label = node.labels.get(NAMES.wanted_version)
            has_it = node.labels.get(NAMES.ready_version) == label and node.allocatable.get(RESOURCE, 0) > 0
            if self.fleet.smokes is not None and label == version:  # what has an older one is tried with the next
                has_it &= self._is_tried(node)
            is_begun = progress is not None and progress.phase is not Phase.DONE
            is_lost = label is not None and node.kernel in covered and not has_it
            if node.ready is not Known.YES or is_begun or is_lost:
                found.add(name)
        return found

    def _begins(self, change: NodeChange, node: Node) -> bool:
        """Tell whether a change takes something of a node: its pods, or the version that it is told to have."""
        there = read_progress(node.annotations.get(NAMES.progress))
        is_begun = there is not None and there.phase is not Phase.DONE
        return not is_begun and (change.unschedulable is True or NAMES.wanted_version in change.labels)

    def _check_evictions(self, decision: Decision) -> None:
        for pod in decision.evict:
            assert (self.fleet.seen or self.fleet.nodes)[pod.node].unschedulable
            assert pod.resources.get(RESOURCE)

    def _check_canary(self, name: str, node: Node, note: Progress) -> None:
        """A node begins when the canary has the version; one that is on its way goes on."""
        there = read_progress(node.annotations.get(NAMES.progress))
        is_begun = there is not None and there.to == note.to and there.phase is not Phase.DONE
        if is_begun or node.labels.get(NAMES.wanted_version) == note.to:
            return
        canary = self.fleet.nodes[self.canary]
        progress = read_progress(canary.annotations.get(NAMES.progress))
        assert progress is not None, name
        assert (progress.to, progress.phase) == (note.to, Phase.DONE)
        assert progress.seconds(self.fleet.now) >= 60
        assert canary.labels[NAMES.ready_version] == note.to

    def _check_changes(self, decision: Decision, before: dict[str, Any], unwell: set[str]) -> None:
        for change in decision.nodes:
            node = before[change.name]
            if change.version != node.version:
                assert self.fleet.seen is not None, "it is refused: somebody else wrote, and nobody told us"
                continue
            assert node.ready is Known.YES
            if change.unschedulable is False:
                assert change.name not in self.cordoned
            note = read_progress(change.annotations.get(NAMES.progress))
            is_gated = self.canary not in {"", change.name} and change.name not in unwell
            if note and note.phase in {Phase.DRAINING, Phase.LOADING} and is_gated:
                self._check_canary(change.name, before[change.name], note)
            takes = change.labels.get(NAMES.wanted_version, "") is None and NAMES.ready in node.labels
            if takes:
                assert not [pod for pod in self.fleet.pods.values() if pod.node == change.name]


# Without shrinking: it takes minutes, and what it would leave out is soon found by hand.
ClusterMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck),
    phases=[Phases.explicit, Phases.generate], report_multiple_bugs=False, print_blob=True,
)  # fmt: skip
TestCluster = ClusterMachine.TestCase
