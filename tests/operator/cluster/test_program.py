"""All parts together before an API server in memory: what is decided when, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from fakes.kube_server import GROUP, FakeServer, refusal
from kmod_operator.cluster import program
from kmod_operator.cluster.cache import Limits
from kmod_operator.cluster.controller import Controller
from kmod_operator.cluster.lease import Times
from kmod_operator.cluster.metrics import OperatorMetrics
from kmod_operator.cluster.program import Operator
from kmod_operator.rollout.decision import Decision
from kmod_operator.rollout.template import DriverTemplate, Templates
from kmod_operator.rollout.world import Known, World
from kmod_operator.settings import OperatorSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_operator.rollout.world import Object

_SETTINGS = OperatorSettings(templates=Path("/none"), namespace="o", pod="me", port=0)
_MODULE: dict[str, Any] = {
    "apiVersion": "kmm.sigs.x-k8s.io/v1beta1",
    "kind": "Module",
    "metadata": {"name": "m", "namespace": "d"},
}
_RULE = {"apiVersion": "nfd.k8s-sigs.io/v1alpha1", "kind": "NodeFeatureRule", "metadata": {"name": "r"}}
_PLUGIN: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "plugin", "namespace": "d"},
}
_TEMPLATES = Templates(
    group=GROUP, version="v1alpha1", kind="KernelDriver", plural="kerneldrivers", namespace="o", keys=(),
    drivers={"p": DriverTemplate(namespace="d", module=_MODULE, plugin=(_PLUGIN,), rules=(_RULE,), resource="d/p")},
)  # fmt: skip
_ITEMS = f"/apis/{GROUP}/v1alpha1/kerneldrivers"
_MODULES = "/apis/kmm.sigs.x-k8s.io/v1beta1/namespaces/d/modules"


@dataclass
class _Bench:
    """An operator, and the worlds that it decided by."""

    server: FakeServer = field(default_factory=FakeServer)
    worlds: list[tuple[str, World]] = field(default_factory=list)
    decision: Any = field(default_factory=Decision)

    def decide(self, item: Object, templates: Templates, world: World) -> Decision:
        assert templates is _TEMPLATES
        assert (item["apiVersion"], item["kind"]) == (f"{GROUP}/v1alpha1", "KernelDriver")
        self.worlds.append((item["metadata"]["name"], world))
        if isinstance(self.decision, Exception):
            raise self.decision
        found: Decision = self.decision
        return found

    def put_item(self, name: str = "x", **more: Any) -> None:
        spec = {"driver": {"name": "p"}, "index": {"configMap": "i"}}
        metadata = {"name": name, "finalizers": [f"{GROUP}/unload"], **more}
        self.server.put(f"{_ITEMS}/{name}", {"metadata": metadata, "spec": spec})

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.001)

    def say(self, path: str, type_: str, item: dict[str, Any]) -> None:
        self.server.watches.setdefault(path, asyncio.Queue()).put_nowait({"type": type_, "object": item})

    def run(self, work: Callable[[], Any]) -> int:
        async def both() -> int:
            limits = Limits(first_wait_s=0.01, longest_wait_s=0.01, look_again_s=0.05)
            self.operator = Operator(
                _SETTINGS, _TEMPLATES, self.server.client, decide=self.decide, settle_s=0.0, limits=limits
            )
            stop = asyncio.Event()
            running = asyncio.create_task(self.operator.run(stop))
            try:
                await work()
            finally:
                stop.set()
                code = await asyncio.wait_for(running, 5)
            return code

        return asyncio.run(asyncio.wait_for(both(), 20))


def test_it_decides_by_all_that_is_there() -> None:
    bench = _Bench()
    bench.put_item()
    ours = {"app.kubernetes.io/managed-by": "kmod-operator", f"{GROUP}/driver": "x"}
    bench.server.put("/api/v1/nodes/a", {"metadata": {"name": "a"}, "status": {"nodeInfo": {"kernelVersion": "5"}}})
    bench.server.put(f"{_MODULES}/m", {"metadata": {"name": "m", "namespace": "d", "labels": ours}})
    bench.server.put(f"{_MODULES}/other", {"metadata": {"name": "other", "namespace": "d"}})
    pool = {"metadata": {"name": "worker"}, "spec": {"paused": True}}
    bench.server.put("/apis/machineconfiguration.openshift.io/v1/machineconfigpools/worker", pool)

    async def work() -> None:
        await bench.until(lambda: bench.worlds)
        name, world = bench.worlds[0]
        assert name == "x"
        assert world.nodes["a"].kernel == "5"
        assert list(world.objects) == ["kmm.sigs.x-k8s.io/v1beta1 Module d/m"]
        assert world.module is not None
        assert (world.module["kind"], world.module["metadata"]["name"]) == ("Module", "m")
        assert world.pools["worker"].paused
        assert world.updates is None
        assert world.apis == {
            f"{GROUP}/v1alpha1 KernelDriver": Known.YES, "v1 Node": Known.YES,
            "machineconfiguration.openshift.io/v1 MachineConfigPool": Known.YES,
            "config.openshift.io/v1 ClusterVersion": Known.NO, "kmm.sigs.x-k8s.io/v1beta1 Module": Known.YES,
            "apps/v1 DaemonSet": Known.YES, "nfd.k8s-sigs.io/v1alpha1 NodeFeatureRule": Known.NO,
            "monitoring.coreos.com/v1 PodMonitor": Known.NO,
        }  # fmt: skip
        assert world.index.trouble == "there is no ConfigMap o/i"
        assert bench.operator.is_ready().well
        assert bench.operator.is_alive().words in {"it works", "a pass has lasted for 0 s"}

    assert bench.run(work) == 0
    lease = bench.server.items["/apis/coordination.k8s.io/v1/namespaces/o/leases/kmod-operator"]
    assert lease["spec"]["holderIdentity"] == "", "it is released"


@pytest.mark.parametrize(
    ("unheard", "words"),
    [("nodes", "v1 Node was not listed yet"), ("kerneldrivers", "KernelDriver was not listed yet")],
)
def test_nothing_is_decided_before_all_is_known(unheard: str, words: str) -> None:
    bench = _Bench()
    bench.put_item()
    bench.server.refuse = lambda one: refusal(503, "away") if one.url.path.endswith(unheard) else None

    async def work() -> None:
        await bench.until(
            lambda: words in bench.operator.is_ready().words and "503: away" in bench.operator.is_ready().words
        )
        assert not bench.operator.is_ready().well
        assert bench.worlds == []
        bench.server.refuse = lambda _: None
        await bench.until(lambda: bench.worlds)

    bench.run(work)


@pytest.mark.parametrize("unheard", ["config.openshift.io", "machineconfiguration.openshift.io"])
def test_what_is_optional_is_unknown_and_stops_nothing(unheard: str) -> None:
    bench = _Bench()
    bench.put_item()
    bench.server.kinds["config.openshift.io/v1"] = {"ClusterVersion": ("clusterversions", False)}
    bench.server.refuse = lambda one: refusal(503, "away") if unheard in one.url.path else None

    async def work() -> None:
        await bench.until(lambda: bench.worlds)
        apis = bench.worlds[0][1].apis
        assert [name.partition("/")[0] for name, known in apis.items() if known is Known.UNKNOWN] == [unheard]

    bench.run(work)


def test_nodes_that_may_not_be_listed_are_not_no_nodes() -> None:
    bench = _Bench()
    bench.put_item()
    bench.server.refuse = lambda one: refusal(403, "you may not") if one.url.path.endswith("nodes") else None

    async def work() -> None:
        await bench.until(lambda: "v1 Node cannot be listed: nodes cannot be listed" in bench.operator.is_ready().words)
        assert bench.worlds == []

    bench.run(work)


def test_objects_that_may_be_read_by_name_alone_are() -> None:
    bench = _Bench()
    bench.put_item()
    ours = {"app.kubernetes.io/managed-by": "kmod-operator", f"{GROUP}/driver": "x"}
    sets = "/apis/apps/v1/namespaces/d/daemonsets"
    bench.server.put(f"{sets}/plugin", {**_PLUGIN, "metadata": {**_PLUGIN["metadata"], "labels": ours}})
    bench.server.put(f"{_MODULES}/m", {**_MODULE, "metadata": {**_MODULE["metadata"], "labels": ours}})
    bench.server.refuse = lambda one: refusal(403, "no") if one.url.path in {sets, _MODULES} else None

    async def work() -> None:
        await bench.until(lambda: bench.worlds)
        world = bench.worlds[0][1]
        assert list(world.objects) == ["apps/v1 DaemonSet d/plugin"]
        assert world.module is not None
        assert world.apis["apps/v1 DaemonSet"] is Known.YES

    bench.run(work)


def test_pods_are_asked_for_where_the_decision_before_wanted_them() -> None:
    bench = _Bench(decision=Decision(pods_of=("a", "gone", "silent")))
    bench.put_item()
    for name in ("a", "silent"):
        bench.server.put(f"/api/v1/nodes/{name}", {"metadata": {"name": name}})
    bench.server.put(
        "/api/v1/pods/p", {"metadata": {"name": "p", "namespace": "w", "uid": "u"}, "spec": {"nodeName": "a"}}
    )
    bench.server.refuse = lambda one: (
        refusal(403, "no") if one.url.params.get("fieldSelector") == "spec.nodeName=silent" else None
    )

    async def work() -> None:
        await bench.until(lambda: len(bench.worlds) > 1)
        assert bench.worlds[0][1].pods == {}
        assert [pod.name for pod in bench.worlds[1][1].pods["a"]] == ["p"]
        assert set(bench.worlds[1][1].pods) == {"a"}, "who cannot be asked is not known to have none"

    bench.run(work)


def test_rights_are_asked_for_and_unknown_is_not_no() -> None:
    for answer, known in ((True, Known.YES), (False, Known.NO), (None, Known.UNKNOWN)):
        bench = _Bench()
        bench.put_item()

        def refuse(one: Any, answer: bool | None = answer) -> Any:
            if not one.url.path.endswith("selfsubjectaccessreviews"):
                return None
            return refusal(500, "no") if answer is None else httpx2.Response(201, json={"status": {"allowed": answer}})

        bench.server.refuse = refuse

        async def work(bench: _Bench = bench, known: Known = known) -> None:
            await bench.until(lambda: bench.worlds)
            assert bench.worlds[0][1].rights == {"drain": known, "hold-pools": known}

        bench.run(work)


def test_a_pass_that_fails_is_tried_again_and_holds_up_no_other() -> None:
    bench = _Bench(decision=ValueError("a mistake of ours"))
    bench.put_item("x")
    bench.put_item("y")

    async def work() -> None:
        await bench.until(lambda: {"x", "y"} <= {name for name, _ in bench.worlds})
        bench.decision = Decision()
        await bench.until(lambda: bench.operator._metrics.reconciles.labels("done")._value.get() >= 2)
        assert bench.operator._metrics.reconciles.labels("failed")._value.get() >= 2

    assert bench.run(work) == 0


def test_numbers_go_when_they_are_not_said_any_more() -> None:
    number: Any = {("kmod_driver_nodes", (("driver", "x"), ("state", "ready"))): 3.0}
    bench = _Bench(decision=Decision(metrics=number))
    bench.put_item()
    labels = {"driver": "x", "state": "ready"}

    async def work() -> None:
        registry = bench.operator.registry
        await bench.until(lambda: registry.get_sample_value("kmod_driver_nodes", labels) == 3.0)
        bench.decision = Decision()
        bench.operator.controller.changed("x")
        await bench.until(lambda: registry.get_sample_value("kmod_driver_nodes", labels) is None)
        bench.decision = Decision(metrics=number)
        bench.operator.controller.changed("")
        await bench.until(lambda: registry.get_sample_value("kmod_driver_nodes", labels) == 3.0)
        bench.say(_ITEMS, "DELETED", {"metadata": {"name": "x", "resourceVersion": "999"}})
        await bench.until(lambda: registry.get_sample_value("kmod_driver_nodes", labels) is None)

    bench.run(work)


def test_a_heartbeat_wakes_nobody_and_a_change_does() -> None:
    bench = _Bench()
    bench.put_item()
    bench.server.put("/api/v1/nodes/a", {"metadata": {"name": "a"}})

    async def work() -> None:
        await bench.until(lambda: bench.worlds)
        await asyncio.sleep(0.05)
        count = len(bench.worlds)
        for version in range(500, 520):
            bench.say("/api/v1/nodes", "MODIFIED", {"metadata": {"name": "a", "resourceVersion": str(version)}})
        await asyncio.sleep(0.1)
        assert len(bench.worlds) == count
        changed = {"metadata": {"name": "a", "resourceVersion": "600", "labels": {"x": "y"}}}
        bench.say("/api/v1/nodes", "MODIFIED", changed)
        await bench.until(lambda: len(bench.worlds) > count)
        assert bench.worlds[-1][1].nodes["a"].version == "600"

    bench.run(work)


def test_what_waits_for_its_turn_is_ready_and_ends_when_told() -> None:
    bench = _Bench()
    path = "/apis/coordination.k8s.io/v1/namespaces/o/leases/kmod-operator"
    spec = {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "now"}
    bench.server.put(path, {"metadata": {"name": "kmod-operator", "namespace": "o"}, "spec": spec})

    async def work() -> None:
        await bench.until(lambda: bench.operator.election.holder)
        assert bench.operator.is_ready().well
        assert bench.operator.is_alive().words == "another program works: other"
        assert bench.worlds == []

    assert bench.run(work) == 0
    assert bench.server.items[path]["spec"] == spec


def test_who_loses_the_lease_ends_with_a_failure() -> None:
    bench = _Bench()
    bench.put_item()
    path = "/apis/coordination.k8s.io/v1/namespaces/o/leases/kmod-operator"

    async def work() -> int:
        bench.operator = Operator(
            _SETTINGS, _TEMPLATES, bench.server.client, decide=bench.decide, settle_s=0.0, times=Times(retry_s=0.01)
        )
        running = asyncio.create_task(bench.operator.run(asyncio.Event()))
        await bench.until(lambda: bench.worlds)
        there = bench.server.items[path]
        bench.server.put(path, {**there, "spec": {**there["spec"], "holderIdentity": "other"}})
        return await asyncio.wait_for(running, 5)

    assert asyncio.run(asyncio.wait_for(work(), 20)) == 1
    assert bench.server.items[path]["spec"]["holderIdentity"] == "other"


def test_a_part_that_does_not_end_keeps_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may still write: another program has to wait until the lease has run out."""
    monkeypatch.setattr(program, "_ENDS_WITHIN_S", 0.01)
    bench = _Bench()
    bench.put_item()

    async def work() -> None:
        stop, ends = asyncio.Event(), asyncio.Event()
        bench.operator = Operator(_SETTINGS, _TEMPLATES, bench.server.client, decide=bench.decide, settle_s=0.0)

        async def deaf() -> None:
            while not ends.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await ends.wait()

        monkeypatch.setattr(bench.operator.controller, "run", deaf)
        running = asyncio.create_task(bench.operator.run(stop))
        await bench.until(lambda: bench.operator.election.is_leader)
        stop.set()
        with pytest.raises(RuntimeError, match="a part of the operator does not end"):
            await running
        ends.set()

    asyncio.run(asyncio.wait_for(work(), 20))
    lease = bench.server.items["/apis/coordination.k8s.io/v1/namespaces/o/leases/kmod-operator"]
    assert lease["spec"]["holderIdentity"] == "me"


@pytest.mark.parametrize("ticks", range(0, 200, 5))
def test_it_ends_when_told_whenever_that_is(ticks: int) -> None:
    bench = _Bench()
    bench.put_item()
    bench.server.put("/api/v1/nodes/a", {"metadata": {"name": "a"}})

    async def work() -> None:
        for tick in range(ticks):
            bench.operator.controller.changed("x" if tick % 2 else "")
            await asyncio.sleep(0)
        bench.operator.controller.changed("")

    assert bench.run(work) == 0


def test_a_loop_that_stands_still_is_told() -> None:
    bench = _Bench()
    bench.put_item()

    async def work() -> None:
        await bench.until(lambda: bench.worlds and bench.operator.controller.working_since is None)
        controller = bench.operator.controller
        controller.working_since = controller._clock() - 700
        assert not bench.operator.is_alive().well
        controller.working_since, controller.beat_at = None, controller._clock() - 100
        assert "stood still" in bench.operator.is_alive().words
        controller.beat_at = controller._clock()
        for cache in (bench.operator.cluster.items, bench.operator.cluster.nodes):
            cache.heard_at = controller._clock() - 1000
        assert "was not heard" in bench.operator.is_alive().words

    bench.run(work)


class _Unknown:
    """A cluster of which nothing is known yet."""

    def lacks(self) -> str:
        return "nothing is known"


@pytest.mark.parametrize("ticks", range(5))
def test_a_change_at_the_moment_of_the_end_does_not_hold_it_up(ticks: int) -> None:
    async def work() -> bool:
        controller = Controller(_TEMPLATES, OperatorMetrics(), decide=_Bench().decide)
        unknown: Any = _Unknown()
        controller.connect(unknown, unknown, unknown, unknown)
        running = asyncio.create_task(controller.run())
        for _ in range(5):
            await asyncio.sleep(0)
        controller._wake.set()
        for _ in range(ticks):
            await asyncio.sleep(0)
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=0.2)
        running.cancel()
        return bool(done)

    assert asyncio.run(work())
