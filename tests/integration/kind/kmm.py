"""KMM itself: its CRDs, and its own webhook before a real API server."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import os
import shutil
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from integration.kind.api_server import free_ports, stop
from integration.kind.client import Client, Refused, wait_until
from integration.kind.make import make, sources_of
from integration.kind.recipe import KMM_WEBHOOK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.emit.kmm.version import Flavour, KmmVersion
    from integration.kind.api_server import ApiServer

_DATA = Path(__file__).parents[2] / "data" / "kmm" / "crds"
_PATH = "validate-kmm-sigs-x-k8s-io-v1beta1-module"
_CRD_API = "apiextensions.k8s.io/v1"


def released_crds(version: KmmVersion, flavour: Flavour) -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions of a release; tests/data/kmm says where they are from."""
    data = json.loads((_DATA / f"{version}.json").read_text())
    found = []
    for kind, entry in data[flavour.value]["crds"].items():
        crd = copy.deepcopy(data["openshift"]["crds"][kind] if entry == "openshift" else entry)
        if kind == "ManagedClusterModule":
            module = data["openshift"]["crds"]["Module"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            schema["properties"]["spec"]["properties"]["moduleSpec"] = module["properties"]["spec"]
        found.append(crd)
    return found


def source_dir() -> Path:
    """Return where the compiler keeps KMM's own files, at the commit of programs/kmm/go.mod."""
    return sources_of(KMM_WEBHOOK)


def pinned_crds() -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions of the commit that the webhook and the operator are built from."""
    files = sorted((source_dir() / "config" / "crd" / "bases").glob("*.yaml"))
    return [yaml.safe_load(file.read_text()) for file in files]


@contextlib.contextmanager
def installed(client: Client, crds: list[dict[str, Any]]) -> Iterator[None]:
    """Have kinds in a cluster until the end of the block, and wait until it knows them, and knows them no more."""
    made: list[dict[str, Any]] = []
    try:
        made.extend(map(client.create, crds))
        for crd in made:
            wait_until(partial(_is_served, client, crd), what=crd["metadata"]["name"])
        yield
    finally:
        for crd in made:
            client.delete(crd)
        for crd in made:
            wait_until(partial(_is_gone, client, crd), what=f"the end of {crd['metadata']['name']}")
        client.forget_kinds()


def _is_served(client: Client, crd: dict[str, Any]) -> bool:
    found = client.get(_CRD_API, "CustomResourceDefinition", crd["metadata"]["name"])
    conditions = {item["type"]: item["status"] for item in found["status"]["conditions"] or ()}
    if conditions.get("Established") != "True":
        return False
    group, names = crd["spec"]["group"], crd["spec"]["names"]
    for version in crd["spec"]["versions"]:
        if version["served"]:
            client.find(f"{group}/{version['name']}", names["kind"])
    return True


def _is_gone(client: Client, crd: dict[str, Any]) -> bool:
    try:
        client.get(_CRD_API, "CustomResourceDefinition", crd["metadata"]["name"])
    except Refused as refused:
        return refused.code == 404
    return False


@contextlib.contextmanager
def serve_webhook(api: ApiServer, folder: Path) -> Iterator[None]:
    """Put KMM's own webhook before an API server until the end of the block."""
    program = make([KMM_WEBHOOK])["webhook-server"]
    (port,) = free_ports(1)
    # controller-runtime looks for certificates below the folder of temporary files, and takes no other word for it.
    serving = folder / "k8s-webhook-server" / "serving-certs"
    serving.mkdir(parents=True)
    pair = api.authority.issue("kmm-webhook", "localhost", "127.0.0.1")
    shutil.copy(pair.certificate, serving / "tls.crt")
    shutil.copy(pair.key, serving / "tls.key")
    settings = {
        "healthProbeBindAddress": "0",
        "leaderElection": {"enabled": False},
        "metrics": {"bindAddress": "0"},
        "webhook": {"disableHTTP2": True, "port": port},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    environment = os.environ | {"TMPDIR": str(folder), "KUBECONFIG": str(api.kubeconfig)}
    command = ["setpriv", "--pdeathsig", "KILL", "--", str(program)]
    command += [f"--config={folder / 'config.yaml'}", "--enable-module"]
    with (folder / "webhook.log").open("wb") as log, contextlib.ExitStack() as held:
        child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        held.callback(stop, child)
        _wait_for_port(port, child, folder / "webhook.log")
        hook = _hook(f"https://127.0.0.1:{port}/{_PATH}", api.authority.file.read_bytes())
        api.client.create(hook)
        held.callback(api.client.delete, hook)
        yield


def _wait_for_port(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if child.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.1)
    raise AssertionError(f"KMM's webhook does not answer: {log.read_text(errors='replace')[-2000:]}")


def _hook(address: str, authority: bytes) -> dict[str, Any]:
    rule = {
        "apiGroups": ["kmm.sigs.x-k8s.io"],
        "apiVersions": ["v1beta1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["modules"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "kmm"},
        "webhooks": [
            {
                "name": "vmodule.kb.io",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": address, "caBundle": base64.b64encode(authority).decode()},
                "failurePolicy": "Fail",
                "rules": [rule],
                "sideEffects": "None",
            }
        ],
    }
