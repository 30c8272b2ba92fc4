"""The operator with what ``emit operator`` gives it and nothing more; and nothing of that is for nothing."""

from __future__ import annotations

import json
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from fakes.indexes import VENDOR
from fakes.operator_facts import driver_facts, operator_facts
from kmod_operator.rollout.template import read_templates

from builder.emit.kmm.version import Flavour
from builder.emit.operator.model import OperatorObjects, make_operator
from integration.kind import fleet as fleets
from integration.kind.api_server import serve_api, write_kubeconfig
from integration.kind.client import Client, Refused, wait_until
from integration.kind.fleet import DRIVER, NAMESPACE, NEW_KERNEL, OLD_KERNEL, SELECTOR, Fleet, driver_item, signed_index
from integration.kind.nfd_operator import crds as nfd_crds
from integration.kind.operator_process import OperatorProcess, run_operator

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from integration.kind.api_server import ApiServer

pytestmark = pytest.mark.kind
_ACCOUNT = "system:serviceaccount:kmod-operator:kmod-operator"
_COUNT = 6
_RULE_API = "nfd.k8s-sigs.io/v1alpha1"
_MONITOR_API = "monitoring.coreos.com/v1"
_WRITES = frozenset({"create", "patch", "update", "delete"})
_Right = tuple[str, str, str]


def _monitor_crd() -> dict[str, Any]:
    """Return Prometheus' kind, of which the fields play no part here."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    group, _, version = _MONITOR_API.partition("/")
    versions = [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"podmonitors.{group}"},
        "spec": {
            "group": group, "names": {"kind": "PodMonitor", "plural": "podmonitors"}, "scope": "Namespaced", "versions": versions,
        },
    }  # fmt: skip


def _objects() -> OperatorObjects:
    driver = driver_facts({"namespace": NAMESPACE, "selector": SELECTOR}, name=DRIVER, smoke=True)
    return make_operator(operator_facts(driver, flavour=Flavour.UPSTREAM, keys=[VENDOR.pem]))


def _audit_flags(folder: Path) -> list[str]:
    flags = fleets.audit_flags(folder)
    policy = folder / "policy.yaml"
    policy.write_text(policy.read_text().replace('"operator"', json.dumps(_ACCOUNT)))
    return flags


def _kubeconfig(api: ApiServer, file: Path) -> Path:
    """Write who the operator's pods are: a certificate of that name takes the place of their token."""
    return write_kubeconfig(file, str(api.client.http.base_url), api.authority, api.authority.issue(_ACCOUNT))


def _install(client: Client, objects: OperatorObjects) -> None:
    fleets.install(client)
    for crd in [*nfd_crds(), _monitor_crd()]:
        client.apply(crd)
    for api, kind in ((_RULE_API, "NodeFeatureRule"), (_MONITOR_API, "PodMonitor")):
        wait_until(partial(_is_served, client, api, kind), what=kind)
    for item in objects.all:
        client.apply(item)
    (drain,) = objects.optional
    for item in drain.objects:
        client.apply(item)


def _is_served(client: Client, api: str, kind: str) -> bool:
    client.forget_kinds()
    return client.find(api, kind) == []


def test_its_rights_are_enough_and_each_is_used(tmp_path: Path) -> None:
    """From the first node to the last one that lets go; reading is left out: of three verbs each kind needs some."""
    objects = _objects()
    config = next(item for item in objects.workload if item["kind"] == "ConfigMap")
    (content,) = config["data"].values()
    assert read_templates(content.encode()).drivers[DRIVER].namespace == NAMESPACE
    (tmp_path / "api").mkdir()
    with serve_api(tmp_path / "api", *_audit_flags(tmp_path)) as api:
        client, fleet = api.client, Fleet(api.client)
        _install(client, objects)
        fleet.make_nodes(_COUNT)
        kernels: list[str] = [OLD_KERNEL, NEW_KERNEL]
        versions: dict[str, Iterable[str]] = dict.fromkeys(("1.0.0", "2.0.0"), kernels)
        client.apply(fleets.index_map(signed_index(versions)))
        drain = {"enabled": True, "timeoutSeconds": 60}
        kubeconfig = _kubeconfig(api, tmp_path / "kubeconfig")
        with fleet.working(), run_operator(tmp_path / "run", kubeconfig, json.loads(content)) as operator:
            for version in versions:
                item = driver_item(version, maxUnavailable=_COUNT, drain=drain)
                client.apply({**item, "spec": item["spec"] | {"monitoring": {"enabled": True}}})
                wait_until(partial(_is_ready, fleet, version), seconds=90, what=f"{version} on all nodes")
                fleet.make_pod("node-0000", f"user-of-{version}")
            (rule,) = client.find(_RULE_API, "NodeFeatureRule")
            (monitor,) = client.find(_MONITOR_API, "PodMonitor")
            assert (rule["metadata"]["name"], monitor["metadata"]["namespace"]) == (DRIVER, NAMESPACE)
            client.delete(driver_item())
            wait_until(partial(_is_gone, fleet), seconds=90, what="the end of the object")
            assert operator.end()[0] == 0
        asked = fleets.read_audit(tmp_path)
    refused = {(one.method, one.path) for one in asked if one.status == 403}
    assert refused == set()
    assert len(asked) > _COUNT, "or nothing was written down"
    assert _used(tmp_path) == _given(objects)


def test_rights_that_are_taken_in_the_middle_and_given_back(tmp_path: Path) -> None:
    """Nodes and Modules cannot be written, or not even read: nothing ends, nothing is undone, and then it goes on."""
    objects = _objects()
    content = next(iter(next(item for item in objects.workload if item["kind"] == "ConfigMap")["data"].values()))
    bound = [item for item in objects.all if item["kind"] in {"ClusterRoleBinding", "RoleBinding"} and _is_ours(item)]
    (tmp_path / "api").mkdir()
    with serve_api(tmp_path / "api", *_audit_flags(tmp_path)) as api:
        client, fleet = api.client, Fleet(api.client)
        _install(client, objects)
        fleet.make_nodes(_COUNT)
        kernels: list[str] = [OLD_KERNEL]
        client.apply(fleets.index_map(signed_index({"1.0.0": kernels, "2.0.0": kernels})))
        drain = {"enabled": True, "timeoutSeconds": 600}
        kubeconfig = _kubeconfig(api, tmp_path / "kubeconfig")
        with fleet.working(), run_operator(tmp_path / "run", kubeconfig, json.loads(content)) as operator:
            client.apply(driver_item("1.0.0", maxUnavailable=_COUNT, drain=drain))
            wait_until(partial(_is_ready, fleet, "1.0.0"), seconds=90, what="1.0.0 on all nodes")
            client.apply(driver_item("2.0.0", maxUnavailable=1, drain=drain))
            wait_until(lambda: fleet.ready_with("2.0.0"), seconds=60, what="2.0.0 on the first node")
            for item in bound:
                client.delete(item)
            operator.wait_for("answers 403", 60)
            time.sleep(15)
            down = [name for name, node in fleet.nodes().items() if fleets.READY not in node["metadata"]["labels"]]
            assert len(down) <= 1
            assert operator.child.poll() is None or _lost_its_lease(operator)
        for item in bound:
            client.apply(item)
        with fleet.working(), run_operator(tmp_path / "again", kubeconfig, json.loads(content)):
            wait_until(partial(_is_ready, fleet, "2.0.0"), seconds=120, what="2.0.0 on all nodes")
            assert not any(node["spec"].get("unschedulable") for node in fleet.nodes().values())


def _is_ours(binding: dict[str, Any]) -> bool:
    return bool(binding["subjects"][0]["name"] == "kmod-operator")


def _lost_its_lease(operator: OperatorProcess) -> bool:
    """Who may not renew its Lease ends, as another one could begin."""
    return operator.child.poll() == 1 and "was not renewed" in operator.lines()[-1]["message"]


def _used(folder: Path) -> set[_Right]:
    """Return which writes the operator made, by the server's own record: group, resource, verb."""
    found = set()
    for line in (folder / "audit.log").read_text().splitlines():
        entry = json.loads(line)
        about, verb = entry.get("objectRef", {}), entry["verb"]
        resource = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
        if verb not in _WRITES or resource == "selfsubjectaccessreviews":
            continue
        group = about.get("apiGroup", "")
        found.add((group, resource, verb))
        if verb == "patch" and entry["responseStatus"]["code"] == HTTPStatus.CREATED:
            found.add((group, resource, "create"))
    return found


def _given(objects: OperatorObjects) -> set[_Right]:
    """Return which writes it has a right to."""
    roles = [*objects.all, *(item for role in objects.optional for item in role.objects)]
    bound = [item for item in roles if "rules" in item and item["metadata"]["name"].startswith("kmod-operator")]
    return {
        (group, resource, verb)
        for item in bound
        for rule in item["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in _WRITES.intersection(rule["verbs"])
    }


def _is_ready(fleet: Fleet, version: str) -> bool:
    status = fleet.item().get("status", {})
    conditions = {item["type"]: item["status"] for item in status.get("conditions", ())}
    return len(fleet.ready_with(version)) == _COUNT and conditions.get("Ready") == "True"


def _is_gone(fleet: Fleet) -> bool:
    try:
        fleet.item()
    except Refused as refused:
        return refused.code == 404
    return False
