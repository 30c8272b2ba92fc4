"""The operator with 500 nodes and 5,000 pods: how much memory it takes, and what it asks of the server."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from integration.kind import fleet as fleets
from integration.kind.api_server import serve_api
from integration.kind.client import wait_until
from integration.kind.fleet import OLD_KERNEL, Fleet, driver_item, signed_index
from integration.kind.operator_process import run_operator

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kind
_NODES, _PODS = 500, 5000
_MOST_KIB = 96 << 10
_IDLE_S = 60.0


def test_five_hundred_nodes_are_brought_to_a_version_and_then_left_alone(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    with serve_api(tmp_path / "api", *fleets.audit_flags(tmp_path)) as api:
        fleets.install(api.client)
        fleet = Fleet(api.client)
        names = fleet.make_nodes(_NODES)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda one: fleet.make_pod(names[one % _NODES], f"p-{one}", devices=0), range(_PODS)))
        api.client.apply(fleets.index_map(signed_index({"1.0.0": [OLD_KERNEL], "2.0.0": [OLD_KERNEL]})))
        drain = {"enabled": True, "timeoutSeconds": 600}
        kubeconfig = fleets.operator_kubeconfig(api, tmp_path / "kubeconfig")
        with fleet.working(), run_operator(tmp_path / "operator", kubeconfig, fleets.templates()) as operator:
            # Loading and done; draining, unloading, loading and done: each a change of the node and an event.
            for version, steps in (("1.0.0", 2), ("2.0.0", 4)):
                api.client.apply(driver_item(version, maxUnavailable="10%", drain=drain))
                began, cpu_s, since = time.monotonic(), operator.cpu_s, _now()

                def is_there(version: str = version) -> bool:
                    told = fleet.item().get("status", {}).get("nodes", {}).get("ready")
                    return told == _NODES and len(fleet.ready_with(version)) == _NODES

                wait_until(is_there, seconds=600, what=version)
                writes = [one for one in fleets.read_audit(tmp_path, begun_after=since) if one.is_write]
                print(
                    f"{version}: {time.monotonic() - began:.0f} s, {operator.cpu_s - cpu_s:.1f} s of a processor, "
                    f"{len(writes)} writes, {operator.peak_kib} KiB"
                )
                assert len(writes) < (2 * steps + 1) * _NODES
            time.sleep(10)
            since, cpu_s = _now(), operator.cpu_s
            time.sleep(_IDLE_S)
            assert [one for one in fleets.read_audit(tmp_path, begun_after=since) if one.is_write] == []
            print(f"idle: {operator.cpu_s - cpu_s:.2f} s of a processor in {_IDLE_S:.0f} s")
            assert operator.peak_kib < _MOST_KIB


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
