"""``explain NODE`` from a project, before the real API server: by a kubeconfig of somebody who may read, and no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from integration.conftest import ROOT
from integration.kind import fleet as fleets
from integration.kind.api_server import serve_api, write_kubeconfig
from integration.kind.client import Client, Refused, wait_until
from integration.kind.fleet import NEW_KERNEL, OLD_KERNEL, OPERATOR_NAMESPACE, Fleet, driver_item, signed_index
from integration.kind.operator_process import run_operator

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kind
_RBAC = "rbac.authorization.k8s.io/v1"
_COUNT = 4
_READS = ("get", "list", "watch")


def _let_read(client: Client, name: str) -> dict[str, Any]:
    """Let somebody read what docs/operator.md says that explain needs; returns the role in the cluster."""
    kinds = (("", "nodes"), ("", "pods"), ("kmm.sigs.x-k8s.io", "modules"), (fleets.GROUP, fleets.PLURAL))
    rules = [{"apiGroups": [group], "resources": [kind], "verbs": [*_READS]} for group, kind in kinds]
    who = {"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
    role = {"apiVersion": _RBAC, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    client.apply(role)
    bound = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    binding = {"apiVersion": _RBAC, "kind": "ClusterRoleBinding", "metadata": {"name": name}}
    client.apply(binding | {"roleRef": bound, "subjects": [who]})
    maps = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": [*_READS]}]
    place = {"name": name, "namespace": OPERATOR_NAMESPACE}
    client.apply({"apiVersion": _RBAC, "kind": "Role", "metadata": place, "rules": maps})
    binding = {"apiVersion": _RBAC, "kind": "RoleBinding", "metadata": place}
    client.apply(binding | {"roleRef": bound | {"kind": "Role"}, "subjects": [who]})
    return role


def _explain(kubeconfig: Path, *words: str) -> tuple[int, str, str]:
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    command = [sys.executable, "-m", "builder", "explain", *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    return done.returncode, done.stdout, done.stderr


def _may_list(kubeconfig: Path) -> bool:
    client = Client.of(kubeconfig)
    try:
        return bool(client.find("v1", "Node"))
    except Refused:
        return False
    finally:
        client.http.close()


def test_it_is_asked_of_a_live_cluster_by_somebody_who_may_only_read(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    with serve_api(tmp_path / "api") as api:
        client, fleet = api.client, Fleet(api.client)
        fleets.install(client)
        fleet.make_nodes(_COUNT)
        templates = fleets.templates(smoke=True)
        place = {"name": "operator-templates", "namespace": OPERATOR_NAMESPACE}
        data = {"templates.json": json.dumps(templates)}
        client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": place, "data": data})
        client.apply(fleets.index_map(signed_index({"1.0.0": [OLD_KERNEL]})))
        client.apply(driver_item("1.0.0", maxUnavailable=_COUNT))
        kubeconfig = fleets.operator_kubeconfig(api, tmp_path / "operator.kubeconfig")
        with fleet.working(), run_operator(tmp_path / "operator", kubeconfig, templates):
            wait_until(lambda: len(fleet.ready_with("1.0.0")) == _COUNT, seconds=60)
            wait_until(lambda: fleet.item()["status"]["nodes"]["ready"] == _COUNT, seconds=60)
            fleet.set_kernel("node-0001", NEW_KERNEL)
            wait_until(lambda: fleet.item()["status"]["nodes"]["uncovered"] == 1, seconds=60)
        role = _let_read(client, "ann")
        ann = write_kubeconfig(tmp_path / "ann", str(client.http.base_url), api.authority, api.authority.issue("ann"))

        # A server takes a moment until it knows of a right.
        wait_until(partial(_may_list, ann), seconds=20, what="ann may list nodes")
        code, out, err = _explain(ann, "node-0000")
        assert (code, err) == (0, "")
        assert out.splitlines()[0] == "node-0000 has ptemplate 1.0.0, with 4 drivers.example.com/ptemplate."
        code, out, _ = _explain(ann, "node-0001", "--json")
        (driver,) = json.loads(out)["drivers"]
        assert (code, driver["state"]) == (18, "Uncovered")
        assert f"kernel {NEW_KERNEL} has no image of version 1.0.0" in " ".join(driver["sentences"]).lower()
        assert _explain(ann, "nowhere")[0] == 19
        assert _explain(ann, "node-0000", "--driver", "other")[0] == 19

        client.apply({**role, "rules": role["rules"][1:]})
        wait_until(lambda: not _may_list(ann), seconds=20, what="ann may not list nodes any more")
        code, out, err = _explain(ann, "node-0000")
        assert (code, out) == (7, "")
        assert "v1 Node" in err
        assert "Traceback" not in err
    code, out, err = _explain(ann, "node-0000")
    assert (code, out) == (7, "")
    assert "Traceback" not in err
