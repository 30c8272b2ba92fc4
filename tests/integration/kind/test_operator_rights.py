"""The operator with what ``emit operator`` gives it and nothing more."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

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
from integration.kind.operator_process import run_operator

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from integration.kind.api_server import ApiServer

pytestmark = pytest.mark.kind
_ACCOUNT = "system:serviceaccount:kmod-operator:kmod-operator"
_COUNT = 6
_RULE_API = "nfd.k8s-sigs.io/v1alpha1"


def _objects() -> OperatorObjects:
    driver = driver_facts({"namespace": NAMESPACE, "selector": SELECTOR}, name=DRIVER)
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
    for crd in nfd_crds():
        client.apply(crd)
    wait_until(lambda: client.find(_RULE_API, "NodeFeatureRule") == [], what="NodeFeatureRule")
    for item in objects.all:
        client.apply(item)
    (drain,) = objects.optional
    for item in drain.objects:
        client.apply(item)


def test_its_rights_are_enough_from_the_first_node_to_the_last_one_that_lets_go(tmp_path: Path) -> None:
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
                client.apply(driver_item(version, maxUnavailable=_COUNT, drain=drain))
                wait_until(partial(_is_ready, fleet, version), seconds=90, what=f"{version} on all nodes")
            (rule,) = client.find(_RULE_API, "NodeFeatureRule")
            assert rule["metadata"]["name"] == DRIVER
            client.delete(driver_item())
            wait_until(partial(_is_gone, fleet), seconds=90, what="the end of the object")
            assert operator.end()[0] == 0
        asked = fleets.read_audit(tmp_path)
    refused = {(one.method, one.path) for one in asked if one.status == 403}
    assert refused == set()
    assert len(asked) > _COUNT, "or nothing was written down"


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
