"""The operator as a process before the real API server: what it writes, and what becomes of it when all is not well."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.indexes import STRANGER

from integration.kind import fleet as fleets
from integration.kind.api_proxy import serve_proxy
from integration.kind.api_server import serve_api
from integration.kind.client import Refused, wait_until
from integration.kind.fleet import NEW_KERNEL, OLD_KERNEL, OPERATOR_NAMESPACE, Asked, Fleet, driver_item, signed_index
from integration.kind.operator_process import OperatorProcess, run_operator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.kind.api_server import ApiServer

pytestmark = pytest.mark.kind
_COUNT, _BUDGET, _DEVICES = 12, 3, 4
_OPERATOR = Path(__file__).parents[3] / "operator"
_DRAIN = {"enabled": True, "timeoutSeconds": 60}


class _Site:
    """An API server that writes down what the operator asks, and a fleet."""

    def __init__(self, api: ApiServer, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.client = api.client
        self.fleet = Fleet(api.client)
        self.kubeconfig = fleets.operator_kubeconfig(api, folder / "operator.kubeconfig")
        self._turn = 0

    def operator(self, kubeconfig: Path | None = None, **more: str) -> Any:
        self._turn += 1
        return run_operator(self.folder / str(self._turn), kubeconfig or self.kubeconfig, fleets.templates(), **more)

    def asked(self, since: str) -> list[Asked]:
        time.sleep(0.5)
        return fleets.read_audit(self.folder, begun_after=since)

    def want(self, version: str, **rollout: Any) -> None:
        self.client.apply(driver_item(version, maxUnavailable=_BUDGET, drain=_DRAIN, **rollout))

    def wait(self, version: str, count: int = _COUNT, seconds: float = 120.0) -> None:
        def is_told() -> bool:
            status = self.fleet.item().get("status", {})
            return bool(len(self.fleet.ready_with(version)) == count == status.get("nodes", {}).get("ready"))

        wait_until(is_told, seconds=seconds, what=f"{version} on {count} nodes")

    def condition(self, name: str) -> tuple[str, str]:
        for one in self.fleet.item()["status"]["conditions"]:
            if one["type"] == name:
                return one["status"], one["reason"]
        raise AssertionError(name)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Site]:
    folder = tmp_path_factory.mktemp("operator")
    (folder / "api").mkdir()
    with serve_api(folder / "api", *fleets.audit_flags(folder)) as api:
        fleets.install(api.client)
        site = _Site(api, folder)
        site.fleet.make_nodes(_COUNT)
        yield site


@pytest.fixture
def site(server: _Site) -> Iterator[_Site]:
    """The fleet with version 1.0.0 wanted, and nothing there; what a test leaves is removed after it."""
    fleet = server.fleet
    versions = ["1.0.0", "2.0.0", "3.0.0"]
    server.client.apply(fleets.index_map(signed_index({version: [OLD_KERNEL, NEW_KERNEL] for version in versions})))
    server.want("1.0.0")
    with fleet.working():
        yield server
        fleet.broken.clear()
        fleet.dead.clear()
        fleet.devices = _DEVICES
        _remove_all(server)


def _remove_all(site: _Site) -> None:
    client = site.client
    for kind, api, namespace in (
        ("KernelDriver", fleets.API, None), ("Module", fleets.MODULE_API, fleets.NAMESPACE),
        ("DaemonSet", "apps/v1", fleets.NAMESPACE), ("ConfigMap", "v1", OPERATOR_NAMESPACE),
        ("Lease", "coordination.k8s.io/v1", OPERATOR_NAMESPACE),
    ):  # fmt: skip
        for found in client.find(api, kind, namespace):
            item = {"apiVersion": api, "kind": kind, **found}
            if found["metadata"].get("finalizers") and kind == "KernelDriver":
                client.patch(item, {"metadata": {"finalizers": None}})
            if found["metadata"]["name"] != "kube-root-ca.crt":
                client.delete(item)
    for name, node in site.fleet.nodes().items():
        if node["status"]["nodeInfo"]["kernelVersion"] != OLD_KERNEL:
            site.fleet.set_kernel(name, OLD_KERNEL)
        site.fleet.set_ready(name, ready=True)
        marks = {
            "labels": {fleets.WANTED: None, "canary": None},
            "annotations": dict.fromkeys(one for one in node["metadata"].get("annotations", {}) if fleets.GROUP in one),
        }
        item = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        client.patch(item, {"metadata": marks, "spec": {"unschedulable": None}})
    wait_until(lambda: site.fleet.module() is None, what="the end of the Module")
    wait_until(lambda: not site.fleet.ready_with("1.0.0"), what="nodes without a driver")


def test_what_is_so_already_is_not_written_and_a_restart_changes_nothing(site: _Site) -> None:
    with site.operator() as operator:
        site.wait("1.0.0")
        assert operator.ask("/readyz")[0] == operator.ask("/healthz")[0] == 200
        assert site.condition("Ready") == ("True", "AllReady")
        time.sleep(3)
        since = _now()
        time.sleep(20)
        asked = site.asked(since)
        assert [one for one in asked if one.is_write] == []
        assert any(one.is_lease for one in asked), "or nothing was counted"
        code, seconds = operator.end()
        assert (code, seconds < 5) == (0, True)
    since = _now()
    with site.operator() as operator:
        operator.wait_for("all that has to be known is known")
        time.sleep(5)
        assert [one for one in site.asked(since) if one.is_write] == []
        assert 'kmod_reconcile_total{result="done"}' in operator.ask("/metrics")[1]


def test_a_thousand_devices_are_devices(site: _Site) -> None:
    site.fleet.devices = 1000
    with site.operator():
        site.wait("1.0.0")
        told = {node["status"]["allocatable"][fleets.RESOURCE] for node in site.fleet.nodes().values()}
        assert told == {"1k"}, "that is how the server writes it"


def test_what_somebody_did_to_our_objects_is_set_right_by_one_write(site: _Site) -> None:
    client = site.client
    with site.operator():
        site.wait("1.0.0")
        daemon_set = {"apiVersion": "apps/v1", **client.get("apps/v1", "DaemonSet", "plugin", fleets.NAMESPACE)}
        time.sleep(2)
        since = _now()
        client.patch(daemon_set, {"spec": {"template": {"spec": {"serviceAccountName": "other"}}}})

        def is_right() -> bool:
            found = client.get("apps/v1", "DaemonSet", "plugin", fleets.NAMESPACE)
            return bool(found["spec"]["template"]["spec"]["serviceAccountName"] == "plugin")

        wait_until(is_right, seconds=10)
        client.delete(daemon_set)
        wait_until(is_right, seconds=10)
        client.patch(daemon_set, {"metadata": {"annotations": {"theirs": "1"}}})
        time.sleep(3)
        assert len([one for one in site.asked(since) if one.is_write and "daemonsets" in one.path]) == 2
        assert (
            client.get("apps/v1", "DaemonSet", "plugin", fleets.NAMESPACE)["metadata"]["annotations"]["theirs"] == "1"
        )


def test_killed_again_and_again_it_ends_right_and_never_breaks_the_budget(site: _Site) -> None:
    stop, broken = threading.Event(), []
    down: set[str] = set()

    def see(_: str, node: dict[str, Any]) -> None:
        name, labels = node["metadata"]["name"], node["metadata"]["labels"]
        is_up = fleets.READY in labels and not node["spec"].get("unschedulable")
        (down.discard if is_up else down.add)(name)
        if len(down) > _BUDGET:
            broken.append(sorted(down))

    with site.operator():
        site.wait("1.0.0")
    site.fleet.watch_nodes(see, stop)
    for number in range(_COUNT):
        site.fleet.make_pod(f"node-{number:04}", f"work-{number}")
    time.sleep(1)
    assert down == set()
    site.want("2.0.0")
    chance = random.Random(7)
    kills = 0
    try:
        while len(site.fleet.ready_with("2.0.0")) < _COUNT and kills < 40:
            # By the same name the next one needs not wait for the lease to run out, as a container that is restarted.
            with site.operator() as operator:
                time.sleep(chance.uniform(0.8, 3.0))
                operator.kill()
                kills += 1
        with site.operator():
            site.wait("2.0.0")
    finally:
        stop.set()
    assert broken == []
    assert kills >= 3
    nodes = site.fleet.nodes().values()
    assert not any(node["spec"].get("unschedulable") for node in nodes)
    assert site.client.find("v1", "Pod", fleets.NAMESPACE) == []


def test_nodes_that_fail_stop_no_others_and_go_on_when_they_are_mended(site: _Site) -> None:
    fleet = site.fleet
    bad, down = "node-0001", "node-0002"
    fleet.set_kernel(bad, NEW_KERNEL)
    fleet.broken.add(("2.0.0", NEW_KERNEL))
    with site.operator():
        site.wait("1.0.0")
        fleet.set_ready(down, ready=False)
        site.want("2.0.0", timeoutSeconds=10)
        others = sorted(set(fleet.nodes()) - {bad, down})
        wait_until(lambda: sorted(fleet.ready_with("2.0.0")) == others, seconds=120, what="2.0.0 on all others")
        wait_until(lambda: site.condition("Degraded") == ("True", "StepFailed"), seconds=30)
        assert site.condition("Ready")[0] == "False"
        assert fleet.ready_with("1.0.0") == [down], "it was not touched"
        assert fleet.nodes()[bad]["spec"]["unschedulable"] is True
        fleet.set_ready(down, ready=True)
        fleet.broken.clear()
        site.wait("2.0.0")
        wait_until(lambda: site.condition("Degraded") == ("False", "NoFailure"), seconds=30)


def test_a_version_without_devices_comes_no_further_than_the_canary(site: _Site) -> None:
    fleet, canary = site.fleet, "node-0003"
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": canary}}
    site.client.patch(node, {"metadata": {"labels": {"canary": "yes"}}})
    fleet.dead.add("2.0.0")
    with site.operator():
        site.wait("1.0.0")
        site.want("2.0.0", timeoutSeconds=10, canary={"nodeSelector": {"canary": "yes"}, "soakSeconds": 0})
        wait_until(lambda: site.condition("Progressing")[1] == "CanaryFailed", seconds=60)
        assert site.condition("Ready")[0] == "False"
        assert sorted(fleet.ready_with("1.0.0")) == sorted(set(fleet.nodes()) - {canary})
        fleet.dead.clear()
        site.wait("2.0.0")


def test_an_api_server_that_fails_a_fifth_of_the_time_is_only_slower(site: _Site) -> None:
    chance = random.Random(3)
    with serve_proxy(site.api) as proxy, site.operator(proxy.kubeconfig(site.folder / "bad")) as operator:
        site.wait("1.0.0")
        proxy.status = lambda _, path: chance.choice([500, 503, 429, 409, *[0] * 16]) if "/leases" not in path else 0
        site.want("2.0.0")
        site.wait("2.0.0", seconds=240)
        assert operator.child.poll() is None


def test_a_watch_that_falls_silent_is_noticed(site: _Site) -> None:
    with (
        serve_proxy(site.api) as proxy,
        site.operator(proxy.kubeconfig(site.folder / "silent"), TEST_SILENCE_S="4") as operator,
    ):
        site.wait("1.0.0")
        proxy.silence()
        site.want("2.0.0")
        site.wait("2.0.0")
        assert 'kmod_watch_restarts_total{kind="KernelDriver"}' in operator.ask("/metrics")[1]


def test_versions_that_are_too_old_are_listed_anew(site: _Site) -> None:
    with serve_proxy(site.api) as proxy, site.operator(proxy.kubeconfig(site.folder / "old")) as operator:
        site.wait("1.0.0")
        proxy.status = lambda _, path: 410 if "watch=true" in path and "resourceVersion=" in path else 0
        proxy.silence()
        with pytest.raises(AssertionError):
            operator.wait_for("nothing that is said", seconds=1)
        proxy.status = lambda *_: 0
        proxy.silenced.clear()
        site.want("2.0.0")
        site.wait("2.0.0")


def test_a_standby_takes_over_at_once_when_the_other_is_told_to_end(site: _Site) -> None:
    with site.operator(pod="first") as first:
        first.wait_for("this program works now")
        with site.operator(pod="second") as second:
            site.wait("1.0.0")
            assert second.ask("/readyz") == (200, '{"well": true, "message": "another program works: first"}\n')
            code, seconds = first.end()
            began = time.monotonic()
            assert (code, seconds < 5) == (0, True)
            second.wait_for("this program works now", 10)
            assert time.monotonic() - began < 6
            site.want("2.0.0")
            site.wait("2.0.0")


def test_a_standby_takes_over_when_the_other_is_killed_and_not_before_its_time(site: _Site) -> None:
    with site.operator(pod="first") as first, site.operator(pod="second") as second:
        wait_until(lambda: _works(first) or _works(second))
        leader, other = (first, second) if _works(first) else (second, first)
        leader.kill()
        began = time.monotonic()
        other.wait_for("this program works now", 40)
        assert 8 < time.monotonic() - began < 25
        site.wait("1.0.0")


def _works(operator: OperatorProcess) -> bool:
    return any(line["message"] == "this program works now" for line in operator.lines())


@pytest.mark.parametrize("seconds", [0.0, 0.6, 0.7, 0.8, 0.9, 1.0, 1.3])
def test_it_ends_when_told_whenever_that_is(site: _Site, seconds: float) -> None:
    with site.operator() as operator:
        time.sleep(seconds + 0.3)
        assert operator.end()[0] in {0, -15}, "before it listens to signals, it just ends"


def test_who_does_not_reach_the_server_ends_before_another_may_begin(site: _Site) -> None:
    with (
        serve_proxy(site.api) as proxy,
        site.operator(proxy.kubeconfig(site.folder / "cut"), pod="cut") as cut,
        contextlib.ExitStack() as held,
    ):
        cut.wait_for("this program works now")
        well = held.enter_context(site.operator(pod="well"))
        wait_until(lambda: well.ask("/readyz")[1].endswith('cut"}\n'))
        proxy.is_deaf.set()
        began = time.monotonic()
        assert cut.child.wait(20) == 1
        assert time.monotonic() - began < 15
        assert not _works(well), "it may not begin while the first may still write"
        assert "was not renewed for 10 s" in cut.lines()[-1]["message"]
        well.wait_for("this program works now", 20)


def test_an_index_that_is_older_or_a_strangers_is_not_believed_also_after_a_restart(site: _Site) -> None:
    newer = signed_index({"1.0.0": [OLD_KERNEL], "2.0.0": [OLD_KERNEL]}, made="2026-11-27T05:00:00Z")
    site.client.apply(fleets.index_map(newer))
    with site.operator():
        site.wait("1.0.0")
    site.client.apply(fleets.index_map(signed_index({"1.0.0": []}, made="2026-11-27T04:00:00Z")))
    with site.operator():
        wait_until(lambda: site.condition("IndexTrusted") == ("False", "OlderIndex"), seconds=20)
        strangers = signed_index({"2.0.0": []}, made="2026-11-27T06:00:00Z", signer=STRANGER)
        site.client.apply(fleets.index_map(strangers))
        wait_until(lambda: site.condition("IndexTrusted")[1] == "NotTrusted", seconds=20)
        site.client.delete(fleets.index_map(b""))
        wait_until(lambda: site.condition("IndexTrusted")[1] == "Unreadable", seconds=20)
        site.want("2.0.0")
        site.wait("2.0.0")


def test_what_is_removed_leaves_nothing(site: _Site) -> None:
    client = site.client
    with site.operator():
        site.wait("1.0.0")
        since = _now()
        client.delete(site.fleet.item())

        def is_gone() -> bool:
            try:
                site.fleet.item()
            except Refused as refused:
                return refused.code == 404
            return False

        wait_until(is_gone, seconds=60)
        assert site.fleet.module() is None
        assert client.find("apps/v1", "DaemonSet", fleets.NAMESPACE) == []
        for node in site.fleet.nodes().values():
            assert not any(fleets.GROUP in name for name in node["metadata"].get("annotations", {}))
            assert fleets.WANTED not in node["metadata"]["labels"]
        gone = [one.path.rpartition("/")[0].rpartition("/")[2] for one in site.asked(since) if one.method == "DELETE"]
        assert gone.index("daemonsets") < gone.index("modules")


def test_a_node_is_explained(site: _Site) -> None:
    with site.operator() as operator:
        site.wait("1.0.0")
        file = operator.log.parent / "templates.json"
    since = _now()
    environment = {
        "PATH": os.environ["PATH"], "KUBECONFIG": str(site.kubeconfig), "KMOD_TEMPLATES": str(file),
        "KMOD_NAMESPACE": OPERATOR_NAMESPACE,
    }  # fmt: skip
    command = [sys.executable, "-m", "kmod_operator", "explain"]

    def explain(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *words], check=False, capture_output=True, text=True, cwd=_OPERATOR, env=environment
        )

    done = explain("node-0003")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0, "node-0003 has ptemplate 1.0.0, with 4 drivers.example.com/ptemplate.",
    ), done.stderr  # fmt: skip
    assert "has no node nowhere" in explain("nowhere").stdout
    nobody = explain("node-0003", "--driver", "other")
    assert (nobody.returncode, nobody.stdout) == (
        1,
        "The cluster has no KernelDriver other: nothing asks for a driver.\n",
    )
    assert [one for one in site.asked(since) if one.is_write] == []


def test_a_pod_that_may_not_be_evicted_is_waited_for_and_told(site: _Site) -> None:
    client = site.client
    with site.operator() as operator:
        site.wait("1.0.0")
        site.fleet.make_pod("node-0000", "stays", labels={"stays": "yes"})
        site.fleet.forbid_eviction({"stays": "yes"})
        site.want("2.0.0")
        operator.wait_for("node-0000 is not drained yet: the pod drv/stays cannot be evicted", 60)
        wait_until(lambda: len(site.fleet.ready_with("2.0.0")) == _COUNT - 1, seconds=60)
        told = [
            one for one in client.find("events.k8s.io/v1", "Event", "default") if one["reason"] == "EvictionRefused"
        ]
        assert [(one["regarding"]["name"], one["type"]) for one in told] == [("node-0000", "Warning")]
        budget = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
        client.delete({**budget, "metadata": {"name": "never", "namespace": fleets.NAMESPACE}})
        site.wait("2.0.0")
