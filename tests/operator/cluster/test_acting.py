"""What is decided is carried out, in its order, and no more than that."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from fakes.kube_server import GROUP, FakeServer, refusal
from kmod_operator.cluster.acting import Actor, Outcome
from kmod_operator.cluster.at_once import side_by_side
from kmod_operator.cluster.lease import LostError
from kmod_operator.cluster.looking import Cluster
from kmod_operator.cluster.telling import Teller
from kmod_operator.kubernetes.errors import ApiError
from kmod_operator.rollout.decision import Decision, Event, NodeChange, PoolChange
from kmod_operator.rollout.template import DriverTemplate, Templates
from kmod_operator.rollout.world import Pod, SmokePod, World, reference

if TYPE_CHECKING:
    from collections.abc import Callable

_ITEMS = f"/apis/{GROUP}/v1alpha1/kerneldrivers"
_OURS = {"app.kubernetes.io/managed-by": "kmod-operator", f"{GROUP}/driver": "x"}
_PLUGIN: dict[str, Any] = {
    "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "plugin", "namespace": "d", "labels": _OURS},
    "spec": {"a": 1},
}  # fmt: skip
_ACCOUNT = {**_PLUGIN, "apiVersion": "v1", "kind": "ServiceAccount"}
_MODULE = {"apiVersion": "kmm.sigs.x-k8s.io/v1beta1", "kind": "Module", "metadata": {"name": "m", "namespace": "d"}}
TEMPLATES = Templates(
    group=GROUP, version="v1alpha1", kind="KernelDriver", plural="kerneldrivers", namespace="o", keys=(),
    drivers={"p": DriverTemplate(namespace="d", module=_MODULE, plugin=(_ACCOUNT, _PLUGIN))},
)  # fmt: skip


class _Bench:
    """An actor before a server that has two nodes, a pool, and one object of the vendor's kind."""

    def __init__(self) -> None:
        self.server = FakeServer()
        for name in ("a", "b"):
            self.server.put(f"/api/v1/nodes/{name}", {"metadata": {"name": name, "labels": {"x": "y"}}, "spec": {}})
        pool = {"metadata": {"name": "worker"}, "spec": {"paused": False}}
        self.server.put("/apis/machineconfiguration.openshift.io/v1/machineconfigpools/worker", pool)
        item = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "KernelDriver", "metadata": {"name": "x"}, "spec": {}}
        self.server.put(f"{_ITEMS}/x", item)
        self.may_act = True

    def guard(self) -> None:
        if not self.may_act:
            raise LostError

    def run(self, work: Callable[[_Bench], Any]) -> Any:
        async def both() -> Any:
            client = self.server.client
            self.cluster = Cluster(client, TEMPLATES, changed=lambda _: None)
            self.actor = Actor(
                client, self.cluster, TEMPLATES, Teller(client, manager="kmod-operator", instance="me"),
                guard=self.guard,
            )  # fmt: skip
            running = asyncio.create_task(self.cluster.run())
            try:
                async with asyncio.timeout(5):
                    while self.cluster.lacks():  # noqa: ASYNC110
                        await asyncio.sleep(0)
                self.server.asked.clear()
                self.server.bodies.clear()
                return await work(self)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        return asyncio.run(asyncio.wait_for(both(), 20))

    async def act(self, decision: Decision) -> Outcome:
        """Carry something out by what is there now."""
        item = self.server.items.get(f"{_ITEMS}/x")
        assert item is not None
        nodes = {node.name: node for node in self.cluster.nodes}
        world = World(now=datetime.now(UTC), nodes=nodes, objects=self.cluster.of_item("x"))
        await self.actor.carry_out(item, decision, world, done := Outcome())
        return done

    def change(self, name: str, **more: Any) -> NodeChange:
        node = self.cluster.nodes.get(name)
        assert node is not None
        return NodeChange(name=name, version=node.version, **more)


def _everything(bench: _Bench) -> Decision:
    pool = bench.cluster.pools.get("worker")
    assert pool is not None
    return Decision(
        apply=(_ACCOUNT, _PLUGIN),
        nodes=(bench.change("a", labels={"x": None, "new": "1"}, annotations={f"{GROUP}/x": "1"}, unschedulable=True),),
        evict=(Pod(namespace="w", name="p", uid="u", node="a"),),
        pools=(PoolChange(name="worker", paused=True, annotations={"by": "x"}, version=pool.version),),
        status={"conditions": [], "nodes": {"ready": 1}},
        events=(Event(reason="R", message="m"),),
    )


def test_all_is_done_in_its_order_and_a_second_time_nothing() -> None:
    async def work(bench: _Bench) -> None:
        decision = _everything(bench)
        done = await bench.act(decision)
        assert (done.troubles, done.writes) == ([], 7)
        assert [path for method, path in bench.server.writes()] == [
            f"{_ITEMS}/x", "/api/v1/namespaces/d/serviceaccounts/plugin", "/apis/apps/v1/namespaces/d/daemonsets/plugin",
            "/api/v1/nodes/a", "/api/v1/namespaces/w/pods/p/eviction",
            "/apis/machineconfiguration.openshift.io/v1/machineconfigpools/worker", f"{_ITEMS}/x/status",
            "/apis/events.k8s.io/v1/namespaces/default/events",
        ]  # fmt: skip
        node = bench.server.items["/api/v1/nodes/a"]
        assert (node["metadata"]["labels"], node["metadata"]["annotations"], node["spec"]) == (
            {"new": "1"}, {f"{GROUP}/x": "1"}, {"unschedulable": True},
        )  # fmt: skip
        assert bench.server.items[f"{_ITEMS}/x"]["metadata"]["finalizers"] == [f"{GROUP}/unload"]
        bench.server.asked.clear()
        again = replace(_everything(bench), evict=())
        assert (await bench.act(again)).writes == 0, bench.server.writes()
        assert bench.server.writes() == []

    _Bench().run(work)


_PODS = "/api/v1/namespaces/d/pods"
_SMOKE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "smoke-1", "namespace": "d"},
    "spec": {},
}
_OVER = SmokePod(
    namespace="d", name="smoke-0", uid="u", owner="x", node="a", to="1", kernel="k", begun="", attempt=1
)  # fmt: skip


def test_a_smoke_test_is_begun_once_and_ended_by_what_it_was_seen_as() -> None:
    async def work(bench: _Bench) -> None:
        bench.server.put(f"{_PODS}/smoke-0", {"metadata": {"name": "smoke-0", "namespace": "d"}})
        decision = Decision(start=(_SMOKE,), end=(_OVER,))
        done = await bench.act(decision)
        assert (done.troubles, f"{_PODS}/smoke-1" in bench.server.items) == ([], True)
        bodies = dict(zip(bench.server.asked, bench.server.bodies, strict=True))
        assert bodies["DELETE", f"{_PODS}/smoke-0"]["preconditions"] == {"uid": "u"}
        bench.server.refuse = lambda one: refusal(409, "it is there") if one.url.path == _PODS else None
        done = await bench.act(Decision(start=(_SMOKE,)))
        assert (done.troubles, done.again_s) == ([], 1.0), "the program before began it"

    _Bench().run(work)


def test_a_smoke_test_that_may_not_be_begun_is_told_and_holds_up_nobody() -> None:
    async def work(bench: _Bench) -> None:
        bench.server.refuse = lambda one: refusal(403, "no pods") if one.url.path.startswith(_PODS) else None
        done = await bench.act(Decision(start=(_SMOKE,), end=(_OVER,), status={"x": 1}))
        assert len(done.troubles) == 2
        assert [event.reason for event in done.told] == ["ApplyFailed"]
        assert bench.server.items[f"{_ITEMS}/x"]["status"] == {"x": 1}

    _Bench().run(work)


def test_an_object_that_the_server_writes_in_another_way_is_written_once() -> None:
    """A quantity of 0.01 becomes 10m: what was answered to our write is as good as what was written."""

    async def work(bench: _Bench) -> None:
        real = bench.server.put

        def canonical(path: str, item: dict[str, Any]) -> dict[str, Any]:
            return real(path, {**item, "spec": {"a": "canonical"}} if item.get("kind") == "DaemonSet" else item)

        bench.server.put = canonical  # type: ignore[method-assign]
        assert (await bench.act(Decision(apply=(_PLUGIN,)))).writes == 2
        assert (await bench.act(Decision(apply=(_PLUGIN,)))).writes == 0
        changed = {**_PLUGIN, "spec": {"a": 2}}
        assert (await bench.act(Decision(apply=(changed,)))).writes == 1

    _Bench().run(work)


def test_a_node_that_changed_meanwhile_is_left_to_the_next_pass_and_holds_up_nobody() -> None:
    async def work(bench: _Bench) -> None:
        stale = NodeChange(name="a", version="1", labels={"k": "v"})
        done = await bench.act(Decision(nodes=(stale, bench.change("b", labels={"k": "v"}))))
        assert (done.troubles, done.again_s) == ([], 1.0)
        assert "k" not in bench.server.items["/api/v1/nodes/a"]["metadata"]["labels"]
        assert bench.server.items["/api/v1/nodes/b"]["metadata"]["labels"]["k"] == "v"

    _Bench().run(work)


def test_a_node_that_refuses_holds_up_nobody_and_is_told() -> None:
    async def work(bench: _Bench) -> None:
        bench.server.refuse = lambda one: refusal(403, "no") if one.url.path.endswith("nodes/a") else None
        done = await bench.act(
            Decision(nodes=tuple(bench.change(name, labels={"k": "v"}) for name in "ab"), status={"x": 1})
        )
        assert done.troubles == ["the Node a cannot be changed: the API server answers 403: no"]
        assert bench.server.items["/api/v1/nodes/b"]["metadata"]["labels"]["k"] == "v"
        assert bench.server.items[f"{_ITEMS}/x"]["status"] == {"x": 1}

    _Bench().run(work)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_not_well_is_not_asked_for_each_node(status: int) -> None:
    async def work(bench: _Bench) -> None:
        bench.server.refuse = lambda one: (
            refusal(status, "no", **{"Retry-After": "9"}) if "nodes" in one.url.path else None
        )
        with pytest.raises(ApiError, match=str(status)) as caught:
            await bench.act(Decision(nodes=tuple(bench.change("a", labels={str(n): "v"}) for n in range(100))))
        assert caught.value.wait_s == 9
        assert len(bench.server.writes()) < 20

    _Bench().run(work)


def test_after_an_object_that_could_not_be_applied_nothing_is_touched_but_it_is_said() -> None:
    async def work(bench: _Bench) -> None:
        bench.server.refuse = lambda one: refusal(422, "bad") if "serviceaccounts" in one.url.path else None
        decision = replace(_everything(bench), delete=("apps/v1 DaemonSet d/plugin",))
        done = await bench.act(decision)
        assert done.troubles == ["the ServiceAccount d/plugin cannot be applied: the API server answers 422: bad"]
        assert [
            path for _, path in bench.server.writes() if "nodes" in path or "daemonsets" in path or "pods" in path
        ] == []
        said = [body for body in bench.server.bodies if body and body.get("kind") == "Event"]
        assert "ApplyFailed" in [one["reason"] for one in said]
        assert bench.server.items[f"{_ITEMS}/x"]["status"] == decision.status

    _Bench().run(work)


def test_a_kind_that_the_cluster_lacks_is_a_sentence() -> None:
    async def work(bench: _Bench) -> None:
        done = await bench.act(Decision(apply=({**_PLUGIN, "kind": "Nothing"},)))
        assert done.troubles == ["the cluster has no Nothing of apps/v1"]

    _Bench().run(work)


def test_a_pod_that_may_not_go_is_waited_for_and_told() -> None:
    async def work(bench: _Bench) -> None:
        bench.server.refuse = lambda one: (
            refusal(429, "budget", **{"Retry-After": "10"}) if "eviction" in one.url.path else None
        )
        pods = tuple(Pod(namespace="w", name=name, uid="u", node="a") for name in "pq")
        done = await bench.act(Decision(evict=pods))
        assert (done.troubles, done.again_s, len(done.told)) == ([], 10.0, 2)
        assert "a is not drained yet: the pod w/p cannot be evicted" in done.told[0].message
        bodies = [body for body in bench.server.bodies if body and body.get("kind") == "Eviction"]
        assert bodies[0]["deleteOptions"] == {"preconditions": {"uid": "u"}}
        bench.server.refuse = lambda one: refusal(404, "gone") if "eviction" in one.url.path else None
        assert (await bench.act(Decision(evict=pods))).troubles == []
        bench.server.refuse = lambda one: refusal(500, "two budgets") if "eviction" in one.url.path else None
        assert len((await bench.act(Decision(evict=pods))).troubles) == 2

    _Bench().run(work)


def _deletions(bench: _Bench) -> list[tuple[str, Any]]:
    asked = zip(bench.server.asked, bench.server.bodies, strict=True)
    return [(path, body) for (method, path), body in asked if method == "DELETE"]


def test_deletions_are_in_their_order_and_of_what_was_seen() -> None:
    async def work(bench: _Bench) -> None:
        await bench.act(Decision(apply=(_ACCOUNT, _PLUGIN)))
        names = (reference(_PLUGIN), reference(_ACCOUNT), "v1 ConfigMap d/unknown")
        done = await bench.act(Decision(delete=names))
        assert done.troubles == []
        (plugin, how), (account, other) = _deletions(bench)
        assert (plugin, how["propagationPolicy"]) == ("/apis/apps/v1/namespaces/d/daemonsets/plugin", "Foreground")
        assert (account, other["propagationPolicy"]) == ("/api/v1/namespaces/d/serviceaccounts/plugin", "Background")
        assert how["preconditions"] == {"uid": f"uid-{plugin}"}

    _Bench().run(work)


def test_what_is_being_deleted_or_is_not_ours_is_left() -> None:
    async def work(bench: _Bench) -> None:
        item = bench.server.items[f"{_ITEMS}/x"]
        going = {**_PLUGIN, "metadata": {**_PLUGIN["metadata"], "deletionTimestamp": "now"}}
        theirs = {**_ACCOUNT, "metadata": {"name": "plugin", "namespace": "d", "labels": {}}}
        world = World(now=datetime.now(UTC), objects={reference(one): one for one in (going, theirs)})
        decision = Decision(delete=(reference(going), reference(theirs)))
        await bench.actor.carry_out(item, decision, world, done := Outcome())
        assert done.troubles == ["v1 ServiceAccount d/plugin is not deleted: it is not ours"]
        assert _deletions(bench) == []

    _Bench().run(work)


def test_what_stands_after_a_deletion_that_failed_waits() -> None:
    async def work(bench: _Bench) -> None:
        await bench.act(Decision(apply=(_ACCOUNT, _PLUGIN)))
        bench.server.refuse = lambda one: refusal(403, "no") if one.method == "DELETE" else None
        done = await bench.act(Decision(delete=(reference(_PLUGIN), reference(_ACCOUNT)), finalizer=False))
        assert len(done.troubles) == 1
        assert len(_deletions(bench)) == 1
        assert bench.server.items[f"{_ITEMS}/x"]["metadata"]["finalizers"] == [f"{GROUP}/unload"]

    _Bench().run(work)


def test_finalizers_of_others_stay() -> None:
    async def work(bench: _Bench) -> None:
        place = f"{_ITEMS}/x"
        there = bench.server.items[place]
        bench.server.put(place, {**there, "metadata": {**there["metadata"], "finalizers": ["other/one"]}})
        await bench.act(Decision())
        assert bench.server.items[place]["metadata"]["finalizers"] == ["other/one", f"{GROUP}/unload"]
        await bench.act(Decision(finalizer=False))
        assert bench.server.items[place]["metadata"]["finalizers"] == ["other/one"]

    _Bench().run(work)


def test_the_finalizer_is_the_first_of_all_and_its_end_the_last() -> None:
    async def work(bench: _Bench) -> None:
        await bench.act(Decision(apply=(_ACCOUNT,), status={"x": 1}))
        assert bench.server.writes()[0] == ("PATCH", f"{_ITEMS}/x")
        bench.server.asked.clear()
        await bench.act(
            Decision(
                delete=(reference(_ACCOUNT),),
                status={"x": 2},
                finalizer=False,
                events=(Event(reason="R", message="m"),),
            )
        )
        assert bench.server.writes()[-1] == ("PATCH", f"{_ITEMS}/x")
        assert len(bench.server.writes()) == 4

    _Bench().run(work)


def test_an_object_that_goes_is_given_no_finalizer() -> None:
    async def work(bench: _Bench) -> None:
        there = bench.server.items[f"{_ITEMS}/x"]
        bench.server.put(f"{_ITEMS}/x", {**there, "metadata": {**there["metadata"], "deletionTimestamp": "now"}})
        await bench.act(Decision())
        assert bench.server.writes() == []

    _Bench().run(work)


def test_nothing_is_written_once_another_may_work() -> None:
    async def work(bench: _Bench) -> None:
        bench.may_act = False
        for decision in (
            _everything(bench),
            Decision(nodes=(bench.change("a", labels={"k": "v"}),)),
            Decision(status={"x": 1}),
        ):
            with pytest.raises(LostError):
                await bench.act(decision)
        assert bench.server.writes() == []

    _Bench().run(work)


def test_what_is_asked_for_already_so_is_not_written() -> None:
    async def work(bench: _Bench) -> None:
        bench.server.items[f"{_ITEMS}/x"]["metadata"]["finalizers"] = [f"{GROUP}/unload"]
        bench.server.items[f"{_ITEMS}/x"]["status"] = {"a": [1], "b": {"c": 1}}
        same = bench.change("a", labels={"x": "y", "gone": None}, unschedulable=False)
        done = await bench.act(
            Decision(
                nodes=(same, NodeChange(name="nobody", labels={"x": "z"})),
                pools=(
                    PoolChange(name="worker", paused=False, annotations={"by": None}),
                    PoolChange(name="none", paused=True),
                ),
                status={"a": (1,), "b": {"c": 1, "d": None}},
            )
        )
        assert (done.writes, bench.server.writes()) == (0, [])

    _Bench().run(work)


def test_events_are_told_once_also_after_a_restart() -> None:
    async def work(bench: _Bench) -> None:
        item = bench.server.items[f"{_ITEMS}/x"]
        events = (Event(reason="R", message="m"), Event(reason="R", message="m", about="a", is_warning=True))
        tellers = [Teller(bench.server.client, manager="kmod-operator", instance="me") for _ in range(2)]
        assert await tellers[0].tell(item, events) == 2
        assert await tellers[0].tell(item, events) == 0
        assert await tellers[1].tell(item, events) == 0
        assert await tellers[1].tell(item, (Event(reason="R", message="other"),)) == 1
        first, second, _ = [body for body in bench.server.bodies if body]
        assert (first["regarding"]["name"], first["type"]) == ("x", "Normal")
        assert (second["regarding"]["kind"], second["regarding"]["name"], second["type"]) == ("Node", "a", "Warning")
        assert second["related"]["name"] == "x"

    _Bench().run(work)


def test_what_was_not_said_for_an_hour_is_news_and_what_is_said_all_the_time_is_not() -> None:
    async def work(bench: _Bench) -> None:
        now = [0.0]
        teller = Teller(bench.server.client, manager="kmod-operator", instance="me", clock=lambda: now[0])
        item = bench.server.items[f"{_ITEMS}/x"]
        always, once = Event(reason="A", message="a"), Event(reason="B", message="b")
        assert await teller.tell(item, (always, once)) == 2
        for _ in range(10):
            now[0] += 1000
            assert await teller.tell(item, (always,)) == 0
        assert await teller.tell(item, (always, once)) == 1

    _Bench().run(work)


def test_long_messages_are_cut_and_an_event_that_fails_ends_nothing() -> None:
    async def work(bench: _Bench) -> None:
        item = bench.server.items[f"{_ITEMS}/x"]
        teller = Teller(bench.server.client, manager="kmod-operator", instance="me")
        await teller.tell(item, (Event(reason="R", message="ü" * 2000),))
        note = bench.server.bodies[-1]["note"]
        assert len(note.encode()) <= 1024
        assert note.endswith("...")
        bench.server.refuse = lambda _: refusal(403, "no events")
        await teller.tell(item, (Event(reason="R", message="x"),))

    _Bench().run(work)


def test_jobs_are_done_a_few_at_a_time_and_the_first_that_fails_ends_them() -> None:
    running, most, begun = 0, 0, 0

    async def job(number: int) -> None:
        nonlocal running, most, begun
        begun += 1
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        if number == 20:
            raise ApiError("no")

    async def work() -> None:
        await side_by_side(job(number) for number in range(20))
        assert (most, begun) == (8, 20)
        with pytest.raises(ApiError, match="no"):
            await side_by_side(job(number) for number in range(100))
        assert begun < 60

    asyncio.run(work())


def test_a_condition_of_somebody_else_in_the_status_is_left_and_ours_is_written_once() -> None:
    async def work(bench: _Bench) -> None:
        real = bench.server.put

        def with_theirs(path: str, item: dict[str, Any]) -> dict[str, Any]:
            status = item.get("status") or {}
            if status.get("conditions"):
                item = {**item, "status": {**status, "conditions": [*status["conditions"][:1], {"type": "Theirs"}]}}
            return real(path, item)

        bench.server.put = with_theirs  # type: ignore[method-assign]
        ready = Decision(status={"conditions": [{"type": "Ready", "status": "True"}]})
        assert (await bench.act(ready)).writes == 2, "with the finalizer"
        assert (await bench.act(ready)).writes == 0
        other = Decision(status={"conditions": [{"type": "Ready", "status": "False"}]})
        assert (await bench.act(other)).writes == 1
        assert (await bench.act(other)).writes == 0
        item = bench.server.items[f"{_ITEMS}/x"]
        bench.server.put(f"{_ITEMS}/x", {**item, "status": {"conditions": []}})
        assert (await bench.act(other)).writes == 1, "somebody took ours away"

    _Bench().run(work)
