"""What ``emit operator`` writes, before the real API server, kubectl's kustomize and Helm: applied as it is, and one in all formats."""

from __future__ import annotations

import copy
import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from fakes.operator_facts import driver_facts, operator_facts

from builder.emit.kmm.version import Flavour, KmmVersion
from builder.emit.operator.chart import emit_chart
from builder.emit.operator.model import OperatorObjects, make_operator
from builder.emit.operator.plain import emit_plain
from integration.kind.client import Client, Refused, wait_until
from integration.kind.kmm import installed, released_crds
from integration.kind.make import make
from integration.kind.nfd_operator import crds as nfd_crds
from integration.kind.recipe import HELM

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from integration.kind.api_server import ApiServer

pytestmark = pytest.mark.kind
_GROUP = "drivers.example.com"
_API, _KIND = f"{_GROUP}/v1alpha1", "KernelDriver"
_ACCOUNT = "system:serviceaccount:kmod-operator:kmod-operator"
_OURS = {"fieldManager": "kmod-operator", "force": "true", "fieldValidation": "Strict"}


def _objects(flavour: Flavour = Flavour.UPSTREAM) -> OperatorObjects:
    return make_operator(operator_facts(flavour=flavour))


@pytest.fixture(scope="module")
def client(api_server: ApiServer) -> Iterator[Client]:
    """KMM's and NFD's own kinds, and everything that is applied, in the order in which it is."""
    with installed(api_server.client, [*released_crds(KmmVersion.V2_6, Flavour.UPSTREAM), *nfd_crds()]):
        applied = []
        for item in _objects().all:
            applied.append(api_server.client.apply(item))
            if item["kind"] == "CustomResourceDefinition":
                wait_until(lambda: api_server.client.find(_API, _KIND) == [], what=_KIND)
        yield api_server.client
        for item in reversed(applied):
            api_server.client.delete(item)


def _driver(**spec: Any) -> dict[str, Any]:
    said = {"driver": {"name": "drv", "version": "1.4.0"}, "index": {"configMap": "drv-index"}}
    return {"apiVersion": _API, "kind": _KIND, "metadata": {"name": "drv"}, "spec": said | spec}


def test_all_is_taken_and_the_second_time_changes_nothing(client: Client) -> None:
    for item in _objects().all:
        again = client.apply(item)
        assert again["metadata"].get("generation", 1) == 1, item["kind"]
    assert {item["metadata"]["name"] for role in _objects(Flavour.OPENSHIFT).optional for item in role.objects} == {
        "kmod-operator-drain", "kmod-operator-hold-pools",
    }  # fmt: skip
    for role in _objects(Flavour.OPENSHIFT).optional:
        for item in role.objects:
            client.apply(item, dry_run=True)


def test_the_program_s_templates_are_objects_that_the_cluster_takes(client: Client) -> None:
    config = next(item for item in _objects().workload if item["kind"] == "ConfigMap")
    driver = json.loads(config["data"]["templates.json"])["drivers"]["drv"]
    module = copy.deepcopy(driver["module"])
    module["spec"]["moduleLoader"]["container"]["kernelMappings"] = [
        {"literal": "6.1.0", "containerImage": f"quay.test/org/drv@sha256:{'1' * 64}"}
    ]
    for item in (module, *driver["plugin"], *driver["rules"]):
        client.apply(item, dry_run=True)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"index": {"image": "quay.test/org/drv:index"}},
        {"index": {"image": "quay.test/org/drv:index", "pullSecret": "kmod-operator-pull"}},
        {"nodeSelector": {"feature.node.kubernetes.io/drv": "true", "empty": ""}},
        {"tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}]},
        {"devices": {"mode": "None"}},
        {"rollout": {"maxUnavailable": 3}},
        {"rollout": {"maxUnavailable": "100%", "paused": True, "timeoutSeconds": 60}},
        {"rollout": {"canary": {"nodeSelector": {"canary": "true"}, "soakSeconds": 0}}},
        {"rollout": {"canary": {"nodeSelector": {"canary": "true"}}, "drain": {"enabled": True, "timeoutSeconds": 60}}},
        {"clusterUpdate": {"policy": "HoldPools"}, "monitoring": {"enabled": True}},
    ],
)
def test_good_objects_are_taken(client: Client, spec: dict[str, Any]) -> None:
    client.create(_driver(**spec), dry_run=True)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"index": {}}, "give either configMap or image"),
        ({"index": {"configMap": "a", "image": "b"}}, "give either configMap or image"),
        ({"index": {"configMap": "a", "pullSecret": "b"}}, "pullSecret is for image"),
        ({"index": {"configMap": ""}}, "should be at least 1 chars long"),
        ({"index": {"configMap": "A_B"}}, "should match"),
        ({"index": {"image": "a b"}}, "should match"),
        ({"driver": {"name": "drv"}}, "spec.driver.version: Required"),
        ({"driver": {"version": "1"}}, "spec.driver.name: Required"),
        ({"driver": {"name": "dr.v", "version": "1"}}, "should match"),
        ({"driver": {"name": "d" * 40, "version": "1"}}, "may not be more than 39"),
        ({"driver": {"name": "drv", "version": "1+2"}}, "should match"),
        ({"nodeSelector": {"a": "b c"}}, "should match"),
        ({"nodeSelector": {f"k{number}": "" for number in range(17)}}, "must have at most 16 items"),
        ({"tolerations": [{"operator": "Equal"}]}, "key is needed"),
        ({"tolerations": [{}]}, "key is needed"),
        ({"tolerations": [{"operator": "Exists", "key": "a", "value": "b"}]}, "value says nothing"),
        ({"tolerations": [{"key": "a", "effect": "Never"}]}, "supported values"),
        ({"devices": {"mode": "DRA"}}, "supported values"),
        ({"rollout": {"maxUnavailable": 0}}, "greater than or equal to 1"),
        ({"rollout": {"maxUnavailable": "0%"}}, "should match"),
        ({"rollout": {"maxUnavailable": "10"}}, "should match"),
        ({"rollout": {"maxUnavailable": "101%"}}, "should match"),
        ({"rollout": {"canary": {"soakSeconds": 60}}}, "soakSeconds needs a nodeSelector"),
        ({"rollout": {"canary": {"soakSeconds": 60, "nodeSelector": {}}}}, "soakSeconds needs a nodeSelector"),
        ({"rollout": {"canary": {"nodeSelector": {"a": "b"}, "soakSeconds": -1}}}, "greater than or equal to 0"),
        ({"rollout": {"timeoutSeconds": 9}}, "greater than or equal to 10"),
        ({"rollout": {"drain": {"timeoutSeconds": 10**9}}}, "less than or equal to"),
        ({"clusterUpdate": {"policy": "Block"}}, "supported values"),
        ({"monitoring": {"enabled": "yes"}}, "must be of type boolean"),
        ({"rolout": {}}, "unknown field"),
    ],
)  # fmt: skip
def test_bad_objects_are_refused_with_a_sentence(client: Client, spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        client.create(_driver(**spec), dry_run=True)


@pytest.mark.parametrize("name", ["a" * 64, "a.b"])
def test_names_that_no_label_takes_are_refused(client: Client, name: str) -> None:
    with pytest.raises(Refused, match="63 characters and no dot"):
        client.create(_driver() | {"metadata": {"name": name}}, dry_run=True)


def test_a_driver_does_not_become_another_one(client: Client) -> None:
    made = client.create(_driver())
    try:
        client.patch(made, {"spec": {"driver": {"version": "1.5.0"}}})
        with pytest.raises(Refused, match="a driver cannot become another one"):
            client.patch(made, {"spec": {"driver": {"name": "other"}}})
    finally:
        client.delete(made)


def test_the_status_is_a_part_of_its_own_and_is_shown(client: Client, api_server: ApiServer) -> None:
    made = client.create(_driver())
    condition = {
        "type": "Ready", "status": "Unknown", "reason": "NoIndex", "message": "no index", "lastTransitionTime": "2026-11-27T00:00:00Z",
    }  # fmt: skip
    status = {
        "observedGeneration": 1, "conditions": [condition], "nodes": {"selected": 3, "ready": 2},
        "kernels": [{"kernel": "6.1.0", "image": "", "nodes": 3, "ready": 2, "state": "Covered", "reason": ""}],
        "releases": [{"release": "4.18.1", "state": "Safe", "reason": ""}],
        "index": {"digest": "sha256:1", "made": "2026-11-27T00:00:00Z", "signer": "ab"},
    }  # fmt: skip
    try:
        assert "status" not in client.patch(made, {"status": status})
        found = client.patch(made, {"status": status}, "status")
        assert (found["status"], found["metadata"]["generation"]) == (status, 1)
        many = [{"kernel": str(number)} for number in range(65)]
        with pytest.raises(Refused, match="must have at most 64 items"):
            client.patch(made, {"status": {"kernels": many}}, "status")
        done = subprocess.run(
            [api_server.kubectl, "--kubeconfig", api_server.kubeconfig, "get", "kerneldrivers"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        heads, row = (line.split() for line in done.stdout.splitlines())
        assert heads == ["NAME", "DRIVER", "VERSION", "READY", "NODES", "AGE"]
        assert row[:5] == ["drv", "drv", "1.4.0", "Unknown", "3"]
    finally:
        client.delete(made)


def _as_operator(client: Client, method: str, path: str, **more: Any) -> int:
    headers = {"Impersonate-User": _ACCOUNT, "Content-Type": "application/apply-patch+yaml"}
    answer = client.http.request(method, path, headers=headers, **more)
    return answer.status_code


def _apply_as_operator(client: Client, item: Mapping[str, Any]) -> int:
    metadata = item["metadata"]
    path = client.path(item["apiVersion"], item["kind"], metadata.get("namespace"), metadata["name"])
    return _as_operator(client, "PATCH", path, params=_OURS, content=json.dumps(item))


def test_it_applies_what_is_its_own_by_name_and_nothing_else(client: Client) -> None:
    """Server-side apply asks for 'create' with the name, so that a role can name what may be made."""
    config = next(item for item in _objects().workload if item["kind"] == "ConfigMap")
    driver = json.loads(config["data"]["templates.json"])["drivers"]["drv"]
    daemon, rule = driver["plugin"][0], driver["rules"][0]
    try:
        for item in (daemon, rule):
            assert _apply_as_operator(client, item) == 201
            assert _apply_as_operator(client, item) == 200
        for other in (
            {**daemon, "metadata": {**daemon["metadata"], "name": "other"}},
            {**daemon, "metadata": {**daemon["metadata"], "namespace": "default"}},
            {**rule, "metadata": {"name": "other"}},
        ):
            assert _apply_as_operator(client, other) == 403
    finally:
        client.delete(daemon)
        client.delete(rule)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/secrets", "/api/v1/namespaces/kmod-operator/secrets", "/api/v1/namespaces/kmod-operator/secrets/other",
        "/api/v1/pods", "/api/v1/configmaps", "/api/v1/namespaces/default/configmaps",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/apps/v1/daemonsets", "/apis/kmm.sigs.x-k8s.io/v1beta1/modules",
    ],
)  # fmt: skip
def test_it_reads_nothing_that_it_does_not_need(client: Client, path: str) -> None:
    assert _as_operator(client, "GET", path) == 403


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/api/v1/nodes", 200), ("/apis/drivers.example.com/v1alpha1/kerneldrivers", 200),
        ("/api/v1/namespaces/kmod-operator/configmaps", 200), ("/api/v1/namespaces/kmod-operator/secrets/kmod-operator-pull", 404),
        ("/apis/apps/v1/namespaces/drv/daemonsets", 200), ("/apis/kmm.sigs.x-k8s.io/v1beta1/namespaces/drv/modules", 200),
        ("/apis/nfd.k8s-sigs.io/v1alpha1/nodefeaturerules", 200), ("/apis/events.k8s.io/v1/namespaces/default/events", 200),
        ("/apis/coordination.k8s.io/v1/namespaces/kmod-operator/leases/kmod-operator", 404),
    ],
)  # fmt: skip
def test_it_reads_what_it_needs(client: Client, path: str, answer: int) -> None:
    assert _as_operator(client, "GET", path) == answer


def test_kustomize_gives_back_the_very_objects(api_server: ApiServer, tmp_path: Path) -> None:
    for flavour in Flavour:
        folder = _write(tmp_path / flavour, emit_plain(_objects(flavour)))
        done = subprocess.run([api_server.kubectl, "kustomize", folder], check=True, capture_output=True, text=True)
        assert _by_name(yaml.safe_load_all(done.stdout)) == _by_name(_objects(flavour).all)


@pytest.mark.parametrize("flavour", list(Flavour))
def test_helm_gives_back_the_very_objects(tmp_path: Path, flavour: Flavour) -> None:
    facts = operator_facts(driver_facts(), driver_facts(name="second", plugin=False), flavour=flavour)
    objects = make_operator(facts)
    chart = _write(tmp_path / "chart", emit_chart(facts, objects))
    _helm("lint", "--strict", str(chart))
    expected = _by_name(item for item in objects.all if item != objects.namespace)
    assert _rendered(chart) == expected
    for role in objects.optional:
        first, *rest = role.name.split("-")
        value = first + "".join(word.capitalize() for word in rest)
        assert _rendered(chart, "--set", f"{value}=true") == expected | _by_name(role.objects)


def test_helm_refuses_another_namespace_and_words_that_it_does_not_know(tmp_path: Path) -> None:
    facts = operator_facts()
    chart = _write(tmp_path / "chart", emit_chart(facts, make_operator(facts)))
    for words, sentence in (
        (["--namespace", "other"], "this chart goes into the namespace kmod-operator"),
        (["--namespace", "kmod-operator", "--set", "drian=true"], "additional properties 'drian' not allowed"),
    ):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            _helm("template", "x", str(chart), *words)
        assert sentence in caught.value.stderr


def test_what_helm_would_take_for_its_own_words_comes_through(tmp_path: Path) -> None:
    facts = operator_facts()
    strange = replace(facts, component=facts.component.model_copy(update={"summary": "{{ .Values.x }} }} {{"}))
    objects = make_operator(strange)
    objects.account["metadata"]["annotations"] = {"said": "{{ fail }} }}{{"}
    chart = _write(tmp_path / "chart", emit_chart(strange, objects))
    assert _rendered(chart) == _by_name(item for item in objects.all if item != objects.namespace)


def _rendered(chart: Path, *words: str) -> dict[tuple[str, str, str], Any]:
    """Return what Helm makes of a chart, without its word that things stay."""
    found = list(yaml.safe_load_all(_helm("template", "x", str(chart), "--namespace", "kmod-operator", *words)))
    for item in found:
        annotations = item["metadata"].get("annotations", {})
        annotations.pop("helm.sh/resource-policy", None)
        if not annotations:
            item["metadata"].pop("annotations", None)
    return _by_name(found)


def _helm(*words: str) -> str:
    helm = make([HELM])["helm"]
    return subprocess.run([helm, *words], check=True, capture_output=True, text=True).stdout


def _by_name(items: Any) -> dict[tuple[str, str, str], Any]:
    found = [item for item in items if item]
    named = {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item for item in found}
    assert len(named) == len(found)
    return named


def _write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder
