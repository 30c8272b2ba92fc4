"""Kubelet's own manager of dynamic resources, alone: the other side of every driver; and who a driver is in a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import yaml

from builder.emit.deviceplugin.dra import cluster_role, own_slices_policy
from integration.kind.client import Refused, wait_until
from integration.kind.make import make
from integration.kind.recipe import DRA_MANAGER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from integration.kind.api_server import ApiServer
    from integration.kind.client import Client

_ANSWERS_WITHIN_S = 60.0
_ACCOUNT = "driver"


class DraManager:
    """A running manager, which finds drivers in ``folder`` / ``plugins`` and keeps its state in ``folder`` / ``state``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def is_registered(self, driver: str) -> bool:
        return bool((await self._ask(do="registered", driver=driver))["registered"])

    async def prepare(self, pod: str, claim: str) -> dict[str, Any]:
        """Prepare a claim for a pod: ``cdi`` names what its container gets, ``error`` is kubelet's own word."""
        return await self._ask(do="prepare", pod=pod, claim=claim)

    async def unprepare(self, pod: str, claim: str) -> str:
        found: str = (await self._ask(do="unprepare", pod=pod, claim=claim)).get("error", "")
        return found

    async def health(self, pod: str, claim: str) -> dict[str, str]:
        """Return what the pod's status says of its devices."""
        found: dict[str, str] = (await self._ask(do="health", pod=pod, claim=claim)).get("health", {})
        return found

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def _ask(self, **words: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), _ANSWERS_WITHIN_S)
        found: dict[str, Any] = json.loads(line)
        return found


@contextlib.asynccontextmanager
async def run_dra_manager(api: ApiServer, folder: Path, node: str) -> AsyncIterator[DraManager]:
    """Run one until the end of the block; it is killed then, as kubelet may be."""
    program = make([DRA_MANAGER])["dra-manager"]
    for name in ("state", "plugins"):
        (folder / name).mkdir(exist_ok=True)
    with (folder / "manager.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "--", program, "--kubeconfig", api.kubeconfig, "--node", node,
            "--state", folder / "state", "--plugins", folder / "plugins", "-v", "4",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
        )  # fmt: skip
    manager = DraManager(process)
    try:
        yield manager
    finally:
        await manager.kill()


def make_node(client: Client, name: str) -> str:
    """Have a node of this name; returns its UID."""
    uid: str = client.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})["metadata"]["uid"]
    return uid


def make_driver(api: ApiServer, node: str, file: Path) -> Path:
    """Write a kubeconfig of a driver on a node: the account that the role is for, with a token of that node."""
    client = api.client
    uid = make_node(client, node)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": _ACCOUNT, "namespace": "default"}}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": _ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": _ACCOUNT, "namespace": "default"}],
    }
    policy = own_slices_policy(_ACCOUNT, namespace="default", account=_ACCOUNT)
    for item in (account, cluster_role(_ACCOUNT), binding, *policy):
        client.apply(item)
    wanted = {
        "expirationSeconds": 3600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid},
    }
    path = client.path("v1", "ServiceAccount", "default", _ACCOUNT)
    answer = client.http.post(
        f"{path}/token", json={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": wanted}
    )
    token = answer.raise_for_status().json()["status"]["token"]
    data = yaml.safe_load(api.kubeconfig.read_text())
    data["users"] = [{"name": "admin", "user": {"token": token}}]
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(data))
    return file


def make_claim(client: Client, name: str, driver: str, node: str, devices: list[str], *pods: str) -> None:
    """Make a claim that the scheduler gave these devices, for these pods."""
    with contextlib.suppress(Refused):
        delete_claim(client, name)
    kind = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim"}
    exactly = {"deviceClassName": driver, "allocationMode": "ExactCount", "count": len(devices)}
    spec = {"devices": {"requests": [{"name": "one", "exactly": exactly}]}}
    made = client.create(kind | {"metadata": {"name": name, "namespace": "default"}, "spec": spec})
    results = [{"request": "one", "driver": driver, "pool": node, "device": device} for device in devices]
    reserved = [{"resource": "pods", "name": pod, "uid": pod} for pod in pods]
    status = {"allocation": {"devices": {"results": results}}, "reservedFor": reserved}
    client.patch(made, {"status": status}, "status")


def delete_claim(client: Client, name: str) -> None:
    """Delete a claim that nobody uses any more, as the cluster's controller does."""
    found = client.get("resource.k8s.io/v1", "ResourceClaim", name, "default")
    client.patch(found, {"status": {"reservedFor": None, "allocation": None}}, "status")
    client.patch(found, {"metadata": {"finalizers": None}})
    client.delete(found)


def slices_of(client: Client, node: str) -> list[dict[str, Any]]:
    kind = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice"}  # lists do not say it of each
    return [kind | one for one in client.find(*kind.values(), fieldSelector=f"spec.nodeName={node}")]


def devices_of(client: Client, node: str) -> set[str]:
    """Return the devices of a node, as the scheduler sees them: of a pool that is whole."""
    found = slices_of(client, node)
    newest = max((one["spec"]["pool"]["generation"] for one in found), default=0)
    members = [one for one in found if one["spec"]["pool"]["generation"] == newest]
    if any(one["spec"]["pool"]["resourceSliceCount"] != len(members) for one in members):
        return set()
    return {device["name"] for one in members for device in one["spec"].get("devices") or ()}


def wait_for_devices(client: Client, node: str, wanted: set[str], seconds: float = 30.0) -> None:
    wait_until(lambda: devices_of(client, node) == wanted, seconds=seconds, what=f"{wanted} on {node}")
