"""The operator with 500 nodes and 5,000 pods: how much memory and processor it takes, and what it asks of the server.

The long one looks on for ten idle minutes, and writes the figures into tests/bench/results/:
``nox -s e2e -- -m long tests/integration/kind/test_operator_fleet.py``.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integration.kind import fleet as fleets
from integration.kind.api_server import serve_api
from integration.kind.client import wait_until
from integration.kind.fleet import OLD_KERNEL, Asked, Fleet, driver_item, signed_index
from integration.kind.operator_process import OperatorProcess, run_operator

if TYPE_CHECKING:
    from collections.abc import Iterable

_NODES, _PODS = 500, 5000
_MOST_KIB = 96 << 10
# Loading and done; draining, unloading, loading and done: each a change of the node and an event.
_STEPS = {"1.0.0": 2, "2.0.0": 4}
_RESULTS = Path(__file__).parents[2] / "bench" / "results"


@pytest.mark.parametrize(
    ("idle_s", "file"),
    [
        pytest.param(60, None, marks=pytest.mark.kind, id="a minute"),
        pytest.param(600, _RESULTS / "operator-fleet.json", marks=pytest.mark.long, id="ten minutes"),
    ],
)
def test_five_hundred_nodes_are_brought_to_a_version_and_then_left_alone(
    tmp_path: Path, idle_s: int, file: Path | None
) -> None:
    (tmp_path / "api").mkdir()
    with serve_api(tmp_path / "api", *fleets.audit_flags(tmp_path)) as api:
        fleets.install(api.client)
        fleet = Fleet(api.client)
        names = fleet.make_nodes(_NODES)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda one: fleet.make_pod(names[one % _NODES], f"p-{one}", devices=0), range(_PODS)))
        api.client.apply(fleets.index_map(signed_index({version: [OLD_KERNEL] for version in _STEPS})))
        kubeconfig = fleets.operator_kubeconfig(api, tmp_path / "kubeconfig")
        figures: dict[str, Any] = {"nodes": _NODES, "pods": _PODS}
        with fleet.working(), run_operator(tmp_path / "operator", kubeconfig, fleets.templates()) as operator:
            for version, steps in _STEPS.items():
                found = figures[version] = _bring(fleet, operator, tmp_path, version)
                assert found["writes"] < (2 * steps + 1) * _NODES
            time.sleep(10)
            figures["idle"] = _look_on(operator, tmp_path, idle_s)
            figures["peak_kib"] = operator.peak_kib
        print(json.dumps(figures))
        assert figures["idle"]["writes"] == 0
        assert figures["peak_kib"] < _MOST_KIB
        if file is not None:
            machine = {
                "cores": os.cpu_count(),
                "load": round(os.getloadavg()[1], 1),
                "python": platform.python_version(),
            }
            file.write_text(json.dumps({"machine": machine, **figures}, indent=2) + "\n")


def _bring(fleet: Fleet, operator: OperatorProcess, folder: Path, version: str) -> dict[str, Any]:
    """Have all nodes brought to a version; returns what that took."""
    drain = {"enabled": True, "timeoutSeconds": 600}
    began, cpu_s, since = time.monotonic(), operator.cpu_s, _now()
    fleet.client.apply(driver_item(version, maxUnavailable="10%", drain=drain))

    def is_there() -> bool:
        told = fleet.item().get("status", {}).get("nodes", {}).get("ready")
        return bool(told == _NODES == len(fleet.ready_with(version)))

    wait_until(is_there, seconds=900, what=version)
    figures = {"wall_s": round(time.monotonic() - began, 1), "cpu_s": round(operator.cpu_s - cpu_s, 1)}
    return figures | _count(fleets.read_audit(folder, begun_after=since))


def _look_on(operator: OperatorProcess, folder: Path, seconds: int) -> dict[str, Any]:
    """Have nothing happen for a while; returns what that took."""
    since, cpu_s = _now(), operator.cpu_s
    time.sleep(seconds)
    figures = {"seconds": seconds, "cpu_s": round(operator.cpu_s - cpu_s, 2)}
    return figures | _count(fleets.read_audit(folder, begun_after=since))


def _count(asked: Iterable[Asked]) -> dict[str, Any]:
    """Return how many requests there were: those that change something, those of the lease, and all by what they are."""
    found = list(asked)
    kinds = Counter(f"{one.method} {_resource(one.path)}" for one in found)
    return {
        "writes": sum(one.is_write for one in found),
        "lease": sum(one.is_lease for one in found),
        "requests": dict(sorted(kinds.items())),
    }


def _resource(path: str) -> str:
    """Return what a path is about, without names: ``nodes``, ``pods/eviction``."""
    words = path.strip("/").split("/")
    words = words[2:] if words[0] == "api" else words[3:]
    words = words[2:] if words[:1] == ["namespaces"] and len(words) > 2 else words
    return "/".join([words[0] if words else "", *words[2:]]).strip("/") or path


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
