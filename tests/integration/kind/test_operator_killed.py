"""Two hundred kills with 500 nodes: wherever the operator ends, the next one goes on, and nothing breaks meanwhile.

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
from integration.kind.api_server import serve_api
from integration.kind.client import wait_until
from integration.kind.fleet import OLD_KERNEL, Fleet, driver_item, signed_index
from integration.kind.operator_process import run_operator

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long
_NODES, _BUDGET, _KILLS = 500, 25, 200
# Each takes the fleet through all steps, so that kills are spread over several upgrades.
_VERSIONS = tuple(f"{number}.0.0" for number in range(1, 10))
_SEED = 7


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


def test_two_hundred_kills_with_five_hundred_nodes(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    with serve_api(tmp_path / "api", *fleets.audit_flags(tmp_path)) as api:
        fleets.install(api.client)
        fleet = Fleet(api.client)
        names = fleet.make_nodes(_NODES)
        api.client.apply(fleets.index_map(signed_index({version: [OLD_KERNEL] for version in _VERSIONS})))
        kubeconfig = fleets.operator_kubeconfig(api, tmp_path / "kubeconfig")
        chance, stop, watched = random.Random(_SEED), threading.Event(), _Watched()
        turn = kills = 0

        def is_there(version: str) -> bool:
            told = fleet.item().get("status", {}).get("nodes", {}).get("ready")
            return bool(len(fleet.ready_with(version)) == _NODES == told)

        def want(version: str) -> None:
            drain = {"enabled": True, "timeoutSeconds": 600}
            api.client.apply(driver_item(version, maxUnavailable=_BUDGET, drain=drain))

        with fleet.working():
            want(_VERSIONS[0])
            with run_operator(tmp_path / "first", kubeconfig, fleets.templates()):
                wait_until(partial(is_there, _VERSIONS[0]), seconds=900, what=_VERSIONS[0])
            fleet.watch_nodes(watched.see, stop)
            try:
                for version in _VERSIONS[1:]:
                    with ThreadPoolExecutor(8) as pool:
                        list(pool.map(lambda name, of=version: fleet.make_pod(name, f"{name}-{of}"), names))
                    time.sleep(2)
                    assert watched.down == set()
                    watched.begin()
                    want(version)
                    while len(fleet.ready_with(version)) < _NODES and kills < _KILLS:
                        turn += 1
                        # By the same name the next one waits for no lease, as a container that is begun anew.
                        with run_operator(tmp_path / str(turn), kubeconfig, fleets.templates()) as operator:
                            # A second passes until it works, and a step of a node is a second.
                            time.sleep(chance.uniform(1.0, 5.0))
                            operator.kill()
                            kills += 1
                    with run_operator(tmp_path / f"end-{version}", kubeconfig, fleets.templates()):
                        wait_until(partial(is_there, version), seconds=900, what=version)
                    _check(fleet, watched, version)
                    print(
                        f"{version}: {kills} kills so far, {watched.most} nodes down at once, of {_BUDGET} that may be"
                    )
                    if kills >= _KILLS:
                        break
            finally:
                stop.set()
        assert kills == _KILLS, "the fleet was faster than the kills: more versions are needed"


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
    assert {one["containerImage"] for one in mapped} == {fleets.image_of(version, OLD_KERNEL)}
    assert fleet.client.find("v1", "Pod", fleets.NAMESPACE) == []
