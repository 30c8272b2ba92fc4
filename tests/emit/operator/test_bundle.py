"""The bundle: the very objects, by the rules of Operator Lifecycle Manager and of certification."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from fakes.operator_facts import BUNDLE_DIGEST, OPERATOR_DIGEST, PLUGIN_DIGEST, component, operator_facts

from builder.emit.kmm.version import Flavour
from builder.emit.operator.bundle import emit_bundle, emit_catalog, make_csv
from builder.emit.operator.model import make_operator
from builder.errors import UsageError

# operator-registry, pkg/lib/bundle/supported_resources.go
_MAY_HOLD = {
    "ClusterServiceVersion", "CustomResourceDefinition", "Secret", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "ServiceAccount",
    "Service", "Role", "RoleBinding", "PrometheusRule", "ServiceMonitor", "PodDisruptionBudget", "PriorityClass",
    "VerticalPodAutoscaler", "ConsoleYAMLSample", "ConsoleQuickStart", "ConsoleCLIDownload", "ConsoleLink", "NetworkPolicy",
}  # fmt: skip
_FEATURES = {
    "disconnected", "fips-compliant", "proxy-aware", "tls-profiles", "token-auth-aws", "token-auth-azure", "token-auth-gcp",
}  # fmt: skip


def _manifests(**changes: Any) -> list[dict[str, Any]]:
    facts = operator_facts(**changes)
    files = emit_bundle(facts, make_operator(facts))
    return [yaml.safe_load(text) for name, text in files.items() if name.startswith("manifests/")]


def _install(manifests: list[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    """Return the objects that OLM makes of a bundle (pkg/controller/install, and v1's registry+v1 renderer)."""
    (csv,) = [item for item in manifests if item["kind"] == "ClusterServiceVersion"]
    cluster = {"CustomResourceDefinition", "PriorityClass"}
    found = [
        item if item["kind"] in cluster else {**item, "metadata": item["metadata"] | {"namespace": namespace}}
        for item in manifests
        if item is not csv
    ]
    spec = csv["spec"]["install"]["spec"]
    for said, prefix in ((spec["clusterPermissions"], "Cluster"), (spec["permissions"], "")):
        found += [
            {"kind": f"{prefix}Role", "account": item["serviceAccountName"], "rules": item["rules"]} for item in said
        ]
    for item in spec["deployments"]:
        metadata = {"name": item["name"], "namespace": namespace, "labels": item["label"]}
        found.append({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": item["spec"]})
    return found


@pytest.mark.parametrize("flavour", list(Flavour))
def test_olm_makes_the_very_objects(flavour: Flavour) -> None:
    objects = make_operator(operator_facts(flavour=flavour))
    installed = _install(_manifests(flavour=flavour), "kmod-operator")
    workload = [item for item in installed if "metadata" in item]
    assert sorted(map(json.dumps, map(_sorted, workload))) == sorted(
        map(json.dumps, map(_sorted, [objects.crd, *objects.workload]))
    )
    rules = {item["kind"]: item["rules"] for item in installed if "rules" in item}
    assert rules == {item["kind"]: item["rules"] for item in objects.access if "rules" in item}
    assert {item["account"] for item in installed if "account" in item} == {objects.account["metadata"]["name"]}


def _sorted(value: Any) -> Any:
    return json.loads(json.dumps(value, sort_keys=True))


def test_what_drivers_namespaces_have_is_beside_it() -> None:
    facts = operator_facts()
    objects = make_operator(facts)
    files = emit_bundle(facts, objects)
    assert list(yaml.safe_load_all(files["30-drivers.yaml"])) == objects.drivers
    assert "30-drivers.yaml" not in files["bundle.Dockerfile"]


def test_it_holds_nothing_that_olm_refuses() -> None:
    assert {item["kind"] for item in _manifests()} <= _MAY_HOLD
    assert not [item for item in _manifests() if "namespace" in item["metadata"]]


def test_it_asks_for_no_other_operator() -> None:
    facts = operator_facts(bundle=f"quay.test/org/bundle@{BUNDLE_DIGEST}")
    objects = make_operator(facts)
    files = emit_bundle(facts, objects)
    assert not [name for name in files if "dependencies" in name]
    text = "".join([*files.values(), *emit_catalog(facts, objects).values()])
    assert not re.search(r"olm\.(package\.required|gvk\.required|constraint|maxOpenShiftVersion)", text)


def test_the_labels_of_its_image_are_its_annotations() -> None:
    facts = operator_facts()
    files = emit_bundle(facts, make_operator(facts))
    annotations = yaml.safe_load(files["metadata/annotations.yaml"])["annotations"]
    assert dict(re.findall(r'^LABEL (\S+)="(.*)"$', files["bundle.Dockerfile"], re.MULTILINE)) == annotations
    assert annotations["operators.operatorframework.io.bundle.mediatype.v1"] == "registry+v1"
    assert annotations["operators.operatorframework.io.bundle.package.v1"] == "kmod-operator"


@pytest.mark.parametrize(
    ("releases", "said"),
    [
        ((), "v4.14"),
        (("4.16.3", "4.18.30"), "v4.16"),
        (("4.12.1",), "v4.14"),
        (("5.0.1", "4.20.1"), "v4.20"),
        (("nightly",), "v4.14"),
    ],
)
def test_the_oldest_openshift_is_that_of_the_oldest_image(releases: tuple[str, ...], said: str) -> None:
    facts = operator_facts(releases=releases)
    annotations = emit_bundle(facts, make_operator(facts))["metadata/annotations.yaml"]
    assert yaml.safe_load(annotations)["annotations"]["com.redhat.openshift.versions"] == said


def test_certification_s_annotations_are_words() -> None:
    facts = operator_facts()
    annotations = make_csv(facts, make_operator(facts))["metadata"]["annotations"]
    prefix = "features.operators.openshift.io/"
    features = {name.removeprefix(prefix): value for name, value in annotations.items() if name.startswith(prefix)}
    assert features.keys() == _FEATURES
    assert set(features.values()) <= {"true", "false"}
    assert all(isinstance(value, str) for value in annotations.values())


def test_examples_are_of_the_kind_that_it_owns() -> None:
    facts = operator_facts()
    csv = make_csv(facts, make_operator(facts))
    (owned,) = csv["spec"]["customresourcedefinitions"]["owned"]
    (example,) = json.loads(csv["metadata"]["annotations"]["alm-examples"])
    assert (example["kind"], example["apiVersion"]) == (owned["kind"], f"drivers.example.com/{owned['version']}")


def test_every_image_is_a_related_one() -> None:
    facts = operator_facts()
    csv = make_csv(facts, make_operator(facts))
    images = [item["image"] for item in csv["spec"]["relatedImages"]]
    assert images == [f"quay.test/org/operator@{OPERATOR_DIGEST}", f"quay.test/org/drv-plugin@{PLUGIN_DIGEST}"]
    everywhere = set(re.findall(r"quay\.test/\S+?@sha256:[0-9a-f]{64}", json.dumps(_manifests())))
    assert everywhere == set(images)


def test_it_watches_all_namespaces_and_no_fewer() -> None:
    facts = operator_facts()
    modes = make_csv(facts, make_operator(facts))["spec"]["installModes"]
    assert {item["type"] for item in modes if item["supported"]} == {"AllNamespaces"}
    assert len(modes) == 4


def test_architectures_are_those_of_the_image() -> None:
    facts = operator_facts()
    labels = make_csv(facts, make_operator(facts))["metadata"]["labels"]
    assert labels.keys() == {f"operatorframework.io/arch.{arch}" for arch in ("amd64", "arm64")} | {
        "operatorframework.io/os.linux"
    }


def test_a_catalog_names_the_bundle_by_digest() -> None:
    image = f"quay.test/org/bundle@{BUNDLE_DIGEST}"
    facts = operator_facts(bundle=image, settings={"channel": "fast"})
    files = emit_catalog(facts, make_operator(facts))
    package, channel, bundle = yaml.safe_load_all(files["kmod-operator/catalog.yaml"])
    assert (package["schema"], package["defaultChannel"]) == ("olm.package", "fast")
    assert channel["entries"] == [{"name": bundle["name"], "skipRange": "<1.4.0"}]
    assert (bundle["image"], bundle["name"]) == (image, "kmod-operator.v1.4.0")
    assert [item["type"] for item in bundle["properties"]] == ["olm.package", "olm.gvk", "olm.csv.metadata"]
    assert bundle["relatedImages"][0]["image"] == image
    assert "COPY kmod-operator /configs/kmod-operator" in files["catalog.Dockerfile"]


def test_without_a_bundle_there_is_no_catalog() -> None:
    facts = operator_facts()
    assert emit_catalog(facts, make_operator(facts)) == {}


def test_a_maintainer_without_an_address_is_told() -> None:
    strange = operator_facts(settings={"name": "kmod-operator"}, component=component("operator", maintainer="nobody"))
    with pytest.raises(UsageError, match="has no address"):
        emit_bundle(strange, make_operator(strange))
