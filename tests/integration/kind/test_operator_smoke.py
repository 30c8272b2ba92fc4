"""The operator tries devices by pods before the real API server: what it begins, what it ends, and what it tells."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest

from integration.kind import fleet as fleets
from integration.kind.api_server import serve_api
from integration.kind.client import Refused, wait_until
from integration.kind.fleet import DRIVER, NAMESPACE, OLD_KERNEL, Fleet, driver_item, signed_index
from integration.kind.operator_process import run_operator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.kind
_COUNT = 12
_DRAIN = {"enabled": True, "timeoutSeconds": 60}


class _Site:
    def __init__(self, fleet: Fleet, folder: Path, kubeconfig: Path) -> None:
        self.fleet, self.folder, self.kubeconfig = fleet, folder, kubeconfig
        self._turn = 0

    def operator(self) -> Any:
        self._turn += 1
        return run_operator(self.folder / str(self._turn), self.kubeconfig, fleets.templates(smoke=True))

    def want(self, version: str, **rollout: Any) -> None:
        self.fleet.client.apply(driver_item(version, maxUnavailable=4, drain=_DRAIN, **rollout))

    def wait(self, version: str) -> None:
        def is_told() -> bool:
            told = self.fleet.item().get("status", {}).get("nodes", {}).get("ready")
            return bool(len(self.fleet.ready_with(version)) == _COUNT == told)

        wait_until(is_told, seconds=120, what=f"{version}: {self.fleet.item().get('status')}")

    def pods(self) -> list[dict[str, Any]]:
        return [
            one for one in self.fleet.client.find("v1", "Pod", NAMESPACE) if fleets.SMOKE in one["metadata"]["labels"]
        ]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[_Site]:
    (tmp_path / "api").mkdir()
    with serve_api(tmp_path / "api") as api:
        fleets.install(api.client)
        fleet = Fleet(api.client)
        fleet.make_nodes(_COUNT)
        api.client.apply(fleets.index_map(signed_index({"1.0.0": [OLD_KERNEL], "2.0.0": [OLD_KERNEL]})))
        kubeconfig = fleets.operator_kubeconfig(api, tmp_path / "operator.kubeconfig")
        with fleet.working():
            yield _Site(fleet, tmp_path, kubeconfig)


def test_each_node_is_tried_once_and_no_pod_stays_also_where_it_is_killed(site: _Site) -> None:
    site.want("1.0.0")
    with site.operator():
        site.wait("1.0.0")
        wait_until(lambda: site.pods() == [], seconds=20)
    assert sorted(name for name, _ in site.fleet.tried) == sorted(site.fleet.nodes())
    site.fleet.tried.clear()
    site.want("2.0.0")
    chance = random.Random(11)
    for _ in range(12):
        with site.operator() as operator:
            time.sleep(chance.uniform(0.8, 2.5))
            operator.kill()
    with site.operator():
        site.wait("2.0.0")
        wait_until(lambda: site.pods() == [], seconds=20)
    counts = {name: sum(one == name for one, _ in site.fleet.tried) for name in site.fleet.nodes()}
    assert min(counts.values()) == 1
    assert max(counts.values()) <= 2, "one that was ended before anybody saw how it ended is tried once more"


def test_a_device_that_does_not_work_is_told_and_stops_with_the_canary(site: _Site) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-0003"}}
    site.fleet.client.patch(node, {"metadata": {"labels": {"canary": "yes"}}})
    site.fleet.bad.add("2.0.0")
    with site.operator():
        site.want("1.0.0")
        site.wait("1.0.0")
        site.want("2.0.0", canary={"nodeSelector": {"canary": "yes"}, "soakSeconds": 0})

        def reasons() -> dict[str, tuple[str, str]]:
            conditions = site.fleet.item()["status"]["conditions"]
            return {one["type"]: (one["reason"], one["message"]) for one in conditions}

        wait_until(lambda: reasons()["Progressing"][0] == "CanaryFailed", seconds=60)
        assert "its smoke test failed 3 times, the last time: exit code 1: it reads nothing" in reasons()["Degraded"][1]
        assert reasons()["Ready"][0] == "StepFailed"
        told = {name: node["metadata"]["labels"][fleets.WANTED] for name, node in site.fleet.nodes().items()}
        assert [name for name, version in told.items() if version == "2.0.0"] == ["node-0003"]
        assert site.fleet.nodes()["node-0003"]["spec"]["unschedulable"] is True
        assert [one for one in site.fleet.tried if one[1]] == [("node-0003", True)] * 3
        site.fleet.client.delete(driver_item(name=DRIVER))
        wait_until(lambda: _is_gone(site.fleet), seconds=60)
    assert site.pods() == []


def _is_gone(fleet: Fleet) -> bool:
    try:
        fleet.item()
    except Refused as refused:
        return refused.code == 404
    return False
