"""The operator holds pools of machines before the real API server, so that a kernel comes to the canary first.

What stands in for OpenShift: its two kinds without their schemas, and below, what its machine-config operator does with
pools (pkg/controller/node of its repository): of a pool that is not paused it takes as many nodes as the pool allows,
boots them into the pool's configuration, and goes on when they are Ready again, with a driver or without.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from integration.kind import fleet as fleets
from integration.kind.api_server import serve_api
from integration.kind.client import Client, wait_until
from integration.kind.fleet import NEW_KERNEL, OLD_KERNEL, Fleet, driver_item, signed_index
from integration.kind.operator_process import run_operator

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from integration.kind.api_server import ApiServer
    from integration.kind.operator_process import OperatorProcess

pytestmark = pytest.mark.kind
_COUNT, _SOAK_S = 6, 6
_POOLS_API, _VERSION_API = "machineconfiguration.openshift.io/v1", "config.openshift.io/v1"
_CANARY = "node-0000"


def _define(client: Client, api: str, kind: str, plural: str) -> None:
    group, _, version = api.partition("/")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    one = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {
        "group": group, "names": {"kind": kind, "plural": plural}, "scope": "Cluster",
        "versions": [one | {"subresources": {"status": {}}}],
    }  # fmt: skip
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    client.create({**crd, "metadata": {"name": f"{plural}.{group}"}, "spec": spec})

    def is_served() -> bool:
        client.forget_kinds()
        return client.find(api, kind) == []

    wait_until(is_served, what=kind)


class _OpenShift:
    """A cluster's pools and its version."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.client = fleet, fleet.client
        _define(self.client, _POOLS_API, "MachineConfigPool", "machineconfigpools")
        _define(self.client, _VERSION_API, "ClusterVersion", "clusterversions")
        for name in ("worker", "canary"):
            selector = fleets.SELECTOR if name == "worker" else {"pool": name}
            spec = {"nodeSelector": {"matchLabels": selector}, "configuration": {"name": "rendered-1"}}
            self.client.create(self._pool(name) | {"spec": spec})
            self._tell(name, "rendered-1")
        version = {"apiVersion": _VERSION_API, "kind": "ClusterVersion", "metadata": {"name": "version"}, "spec": {}}
        self.client.create(version)
        self.goes_to("4.18.1", done=True)

    def goes_to(self, release: str, *, done: bool = False) -> None:
        history = [{"state": "Completed", "version": "4.18.1"}]
        if release != "4.18.1":
            history.insert(0, {"state": "Completed" if done else "Partial", "version": release})
        version = {"apiVersion": _VERSION_API, "kind": "ClusterVersion", "metadata": {"name": "version"}}
        self.client.patch(version, {"status": {"desired": {"version": release}, "history": history}}, "status")

    def render(self) -> None:
        """Tell all pools of the next configuration, also those that are paused."""
        for name in ("worker", "canary"):
            self.client.patch(self._pool(name), {"spec": {"configuration": {"name": "rendered-2"}}})

    def work(self) -> list[str]:
        """Boot the next node of each pool that is not paused; returns their names."""
        booted = []
        for name in ("worker", "canary"):
            late = [node for node in self._nodes(name) if self._kernel(node) != NEW_KERNEL]
            if late and not self.paused(name):
                self.fleet.set_ready(late[0], ready=False)
                self.fleet.set_kernel(late[0], NEW_KERNEL)
                self.fleet.set_ready(late[0], ready=True)
                booted.append(late[0])
            if not late[1:] and not (late and self.paused(name)):
                self._tell(name, "rendered-2")
        return booted

    def paused(self, name: str) -> bool:
        return bool(self.client.get(_POOLS_API, "MachineConfigPool", name)["spec"].get("paused"))

    def _nodes(self, pool: str) -> list[str]:
        return [name for name in sorted(self.fleet.nodes()) if (name == _CANARY) == (pool == "canary")]

    def _kernel(self, name: str) -> str:
        return str(self.fleet.nodes()[name]["status"]["nodeInfo"]["kernelVersion"])

    def _tell(self, name: str, configuration: str) -> None:
        self.client.patch(self._pool(name), {"status": {"configuration": {"name": configuration}}}, "status")

    @staticmethod
    def _pool(name: str) -> dict[str, Any]:
        return {"apiVersion": _POOLS_API, "kind": "MachineConfigPool", "metadata": {"name": name}}


class _Site:
    """Nodes in two pools, with a driver that is to be on all of them."""

    def __init__(self, api: ApiServer, folder: Path) -> None:
        self.client, self.folder = api.client, folder
        fleets.install(self.client)
        self.fleet = Fleet(self.client)
        self.fleet.make_nodes(_COUNT)
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": _CANARY}}
        self.client.patch(node, {"metadata": {"labels": {"pool": "canary"}}})
        self.cluster = _OpenShift(self.fleet)
        self.kubeconfig = fleets.operator_kubeconfig(api, folder / "kubeconfig")
        self._turn = 0

    def publish(self, *kernels: str, made: str) -> None:
        releases = {"4.18.1-x86_64": [OLD_KERNEL], "4.18.2-x86_64": [NEW_KERNEL]}
        self.client.apply(fleets.index_map(signed_index({"1.0.0": kernels}, releases=releases, made=made)))

    def want(self) -> None:
        item = driver_item("1.0.0", canary={"nodeSelector": {"pool": "canary"}, "soakSeconds": _SOAK_S})
        item["spec"]["clusterUpdate"] = {"policy": "HoldPools"}
        self.client.apply(item)

    def operate(self) -> AbstractContextManager[OperatorProcess]:
        self._turn += 1
        return run_operator(self.folder / str(self._turn), self.kubeconfig, fleets.templates())

    def wait_for(self, *pools: str, what: str) -> None:
        wait_until(lambda: self.held() == list(pools), seconds=30, what=what)

    def held(self) -> list[str]:
        return [name for name in ("canary", "worker") if self.cluster.paused(name)]

    def condition(self, name: str) -> tuple[str, str]:
        found = {one["type"]: one for one in self.fleet.item().get("status", {}).get("conditions", ())}
        return found[name]["status"], found[name]["reason"]

    def is_ready(self) -> bool:
        return bool(self.fleet.item().get("status", {}).get("nodes", {}).get("ready") == _COUNT)

    def update_the_rest(self) -> None:
        """Have the cluster take node after node; each comes back without a driver, and gets it from KMM."""
        for _ in range(100):
            booted = self.cluster.work()
            assert len(booted) <= 1
            for name in booted:
                wait_until(partial(self._has_driver, name), seconds=30, what=f"the driver on {name}")
            if not booted and self.held() == [] and self.is_ready():
                return
            time.sleep(0.5)

    def _has_driver(self, name: str) -> bool:
        return name in self.fleet.ready_with("1.0.0")


def test_a_kernel_comes_to_the_canary_first_also_where_the_operator_is_killed(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    with serve_api(tmp_path / "api", *fleets.audit_flags(tmp_path)) as api:
        site = _Site(api, tmp_path)
        site.publish(OLD_KERNEL, made="2026-11-27T00:00:00Z")
        site.want()
        with site.fleet.working():
            with site.operate() as operator:
                wait_until(site.is_ready, seconds=90)
                site.cluster.goes_to("4.18.2")
                site.wait_for("canary", "worker", what="there is no image: both wait")
                assert site.condition("UpdateSafe") == ("False", "ReleaseNotCovered")
                site.cluster.render()
                site.cluster.goes_to("4.18.2", done=True)  # the control plane is done, and ClusterVersion says so
                time.sleep(3)
                assert (site.held(), site.cluster.work()) == (["canary", "worker"], [])
                site.publish(OLD_KERNEL, NEW_KERNEL, made="2026-11-27T01:00:00Z")
                site.wait_for("worker", what="the canary comes first")
                operator.kill()
            with site.operate() as operator:
                assert site.cluster.work() == [_CANARY]
                began = time.monotonic()
                site.wait_for(what="the canary soaked")
                assert time.monotonic() - began >= _SOAK_S - 1
                operator.kill()
            with site.operate():
                site.update_the_rest()
                wait_until(lambda: site.condition("Ready") == ("True", "AllReady"), seconds=30)
        told = {item["status"]["nodeInfo"]["kernelVersion"] for item in site.fleet.nodes().values()}
        assert told == {NEW_KERNEL}
        pools = api.client.find(_POOLS_API, "MachineConfigPool")
        assert not any(fleets.GROUP in str(pool["metadata"].get("annotations")) for pool in pools)
        changed = [one for one in fleets.read_audit(tmp_path) if one.is_write and "machineconfigpools" in one.path]
        print(f"{len(changed)} writes to pools for {_COUNT} nodes")
        assert len(changed) <= 4 + 2 * _COUNT
