"""Two hundred kills with 500 nodes: wherever the operator ends, the next one goes on, and nothing breaks meanwhile.

Besides, all that goes wrong in a cluster does: nodes fall silent and come back, pods may not be evicted, a version does not
load on one kernel, the API server refuses and fails, watches say nothing, and each program has a clock of its own.

It takes half an hour or more, so it is not among the tests on clusters:
``nox -s e2e -- -m long tests/integration/kind/test_operator_killed.py``.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from integration.kind import fleet as fleets
from integration.kind.api_proxy import ApiProxy, serve_proxy
from integration.kind.api_server import serve_api
from integration.kind.client import wait_until
from integration.kind.fleet import NEW_KERNEL, OLD_KERNEL, Fleet, driver_item, signed_index
from integration.kind.operator_process import run_operator

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from integration.kind.operator_process import OperatorProcess

pytestmark = pytest.mark.long
_NODES, _BUDGET, _KILLS = 500, 25, 200
# Each takes the fleet through all steps, so that kills are spread over several upgrades.
_VERSIONS = tuple(f"{number}.0.0" for number in range(1, 10))
_SEED = 7
_OTHERS, _HELD, _HELD_IN, _BROKEN_IN = 5, 3, "2.0.0", "3.0.0"
"""Nodes with another kernel, and nodes whose pods may not be evicted; and with which versions that matters."""
_BEGINS = 20
_FAILS, _CLOCKS_S, _TIMEOUT_S = 0.02, 20.0, 300
"""Share of requests that fail, by how much clocks differ, and how long a step may take."""


@dataclass
class _Watched:
    """What is seen of nodes, event by event.

    Attributes:
        down: nodes that have no driver, or take no pods.
        most: how many were down at once, at most.
        drained: how often each node was cordoned since the last ``begin``.
    """

    down: set[str] = field(default_factory=set)
    most: int = 0
    drained: Counter[str] = field(default_factory=Counter)
    _closed: set[str] = field(default_factory=set)

    def begin(self) -> None:
        self.most, self.drained = 0, Counter()

    def see(self, _: str, node: dict[str, Any]) -> None:
        name, labels = node["metadata"]["name"], node["metadata"]["labels"]
        is_closed = bool(node["spec"].get("unschedulable"))
        (self.down.discard if fleets.READY in labels and not is_closed else self.down.add)(name)
        self.most = max(self.most, len(self.down))
        if is_closed and name not in self._closed:
            self.drained[name] += 1
        (self._closed.add if is_closed else self._closed.discard)(name)


@dataclass
class _Troubles:
    """What else goes wrong while the operator is killed again and again."""

    fleet: Fleet
    proxy: ApiProxy
    chance: random.Random
    silent: list[str] = field(default_factory=list)

    def begin(self, version: str, names: list[str]) -> None:
        """Have a pod on each node, some of which nobody may evict; a version that does not load on one kernel."""
        held = set(names[:_HELD]) if version == _HELD_IN else set()

        def make(name: str) -> None:
            self.fleet.make_pod(name, f"{name}-{version}", labels={"stays": "yes"} if name in held else {})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, names))
        if held:
            self.fleet.forbid_eviction({"stays": "yes"})
        if version == _BROKEN_IN:
            self.fleet.broken.add((version, NEW_KERNEL))
        self.proxy.status = self._fail

    def go_on(self, turn: int) -> None:
        """Have other nodes fall silent than before, and now and then the watches."""
        for name in self.silent:
            self.fleet.set_ready(name, ready=True)
        self.silent = self.chance.sample(sorted(self.fleet.nodes()), 2)
        for name in self.silent:
            self.fleet.set_ready(name, ready=False)
        if turn % 5 == 0:
            self.proxy.silence()

    def end(self) -> None:
        """Have nothing go wrong any more but what does not load."""
        for name in self.silent:
            self.fleet.set_ready(name, ready=True)
        self.silent = []
        self.proxy.status = lambda *_: 0
        self.proxy.silenced.clear()
        for found in self.fleet.client.find("policy/v1", "PodDisruptionBudget", fleets.NAMESPACE):
            self.fleet.client.delete({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", **found})

    def _fail(self, _: str, path: str) -> int:
        return 0 if "/leases" in path or self.chance.random() > _FAILS else self.chance.choice([500, 503, 429, 409])


@dataclass
class _Run:
    """Upgrades, in which the operator is killed."""

    fleet: Fleet
    folder: Path
    kubeconfig: Path
    troubles: _Troubles
    names: list[str]
    chance: random.Random = field(default_factory=lambda: random.Random(_SEED))
    watched: _Watched = field(default_factory=_Watched)
    kills: int = 0

    def operate(self, name: str) -> AbstractContextManager[OperatorProcess]:
        """Have an operator: by the same name the next one waits for no lease, as a container that is begun anew."""
        more = {"TEST_SILENCE_S": "4", "TEST_CLOCK_S": str(self.chance.uniform(-_CLOCKS_S, _CLOCKS_S))}
        return run_operator(self.folder / name, self.kubeconfig, fleets.templates(), **more)

    def want(self, version: str) -> None:
        drain = {"enabled": True, "timeoutSeconds": 3600}
        item = driver_item(version, maxUnavailable=_BUDGET, timeoutSeconds=_TIMEOUT_S, drain=drain)
        self.fleet.client.apply(item)

    def bring(self, version: str, *, failed: int = 0) -> None:
        """Have an operator until all nodes but those that fail have a version.

        One that ends, because it could not renew its Lease on a machine that is busy, is begun anew, as kubelet does.
        """

        def is_there() -> bool:
            told = self.fleet.item().get("status", {}).get("nodes", {})
            there = len(self.fleet.ready_with(version)), told.get("ready"), told.get("failed")
            return there == (_NODES - failed, _NODES - failed, failed)

        def is_over(operator: OperatorProcess) -> bool:
            return operator.child.poll() is not None or is_there()

        for number in range(_BEGINS):
            with self.operate(f"{version}-{failed}-{number}") as operator:
                wait_until(partial(is_over, operator), seconds=900, what=f"{version} on all nodes but {failed}")
                if operator.child.poll() is None:
                    return
        raise AssertionError(f"the operator ended {_BEGINS} times")

    def upgrade(self, version: str) -> None:
        """Bring all nodes to a version while everything goes wrong, and then let it end."""
        self.troubles.begin(version, self.names)
        time.sleep(2)
        assert self.watched.down == set()
        self.watched.begin()
        self.want(version)
        failing = _OTHERS if version == _BROKEN_IN else 0
        self._kill(version, _NODES - failing - (_HELD if version == _HELD_IN else 0))
        self.troubles.end()
        self.bring(version, failed=failing)
        if failing:
            assert _reason(self.fleet, "Degraded") == "StepFailed"
            self.fleet.broken.clear()
            self.bring(version)
        _check(self.fleet, self.watched, version)
        print(f"{version}: {self.kills} kills so far, {self.watched.most} nodes down at once, of {_BUDGET} that may be")

    def _kill(self, version: str, count: int) -> None:
        """Kill the operator until so many nodes have the version, or it was killed often enough."""
        while len(self.fleet.ready_with(version)) < count and self.kills < _KILLS:
            self.troubles.go_on(self.kills)
            with self.operate(str(self.kills)) as operator:
                # A second passes until it works, and a step of a node is a second.
                time.sleep(self.chance.uniform(1.0, 5.0))
                operator.kill()
            self.kills += 1


def test_two_hundred_kills_with_five_hundred_nodes(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    with serve_api(tmp_path / "api") as api, serve_proxy(api) as proxy:
        fleets.install(api.client)
        fleet, stop = Fleet(api.client), threading.Event()
        names = fleet.make_nodes(_NODES)
        for name in names[-_OTHERS:]:
            fleet.set_kernel(name, NEW_KERNEL)
        kernels = [OLD_KERNEL, NEW_KERNEL]
        api.client.apply(fleets.index_map(signed_index(dict.fromkeys(_VERSIONS, kernels))))
        troubles = _Troubles(fleet, proxy, random.Random(_SEED))
        run = _Run(fleet, tmp_path, proxy.kubeconfig(tmp_path / "kubeconfig"), troubles, names)
        with fleet.working():
            run.want(_VERSIONS[0])
            run.bring(_VERSIONS[0])
            fleet.watch_nodes(run.watched.see, stop)
            try:
                for version in _VERSIONS[1:]:
                    if run.kills < _KILLS:
                        run.upgrade(version)
            finally:
                stop.set()
        assert run.kills == _KILLS, "the fleet was faster than the kills: more versions are needed"


def _reason(fleet: Fleet, kind: str) -> str:
    return next(str(one["reason"]) for one in fleet.item()["status"]["conditions"] if one["type"] == kind)


def _check(fleet: Fleet, watched: _Watched, version: str) -> None:
    """Check what holds after an upgrade, and what held at every moment of it."""
    assert watched.most <= _BUDGET
    assert len(watched.drained) == _NODES
    assert [name for name, count in watched.drained.items() if count > 1] == [], "no node is drained twice"
    nodes = fleet.nodes().values()
    assert not any(node["spec"].get("unschedulable") for node in nodes)
    module = fleet.module()
    assert module is not None
    mapped = module["spec"]["moduleLoader"]["container"]["kernelMappings"]
    images = {fleets.image_of(version, kernel) for kernel in (OLD_KERNEL, NEW_KERNEL)}
    assert {one["containerImage"] for one in mapped} == images
    assert fleet.client.find("v1", "Pod", fleets.NAMESPACE) == []
