"""KMM's rules, offline: each thing that its admission refuses, and each trap that it does not see."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.kmm import CONTAINER, SECRETS, change_module, good_module

from builder.emit.kmm.rules import find_problems
from builder.emit.kmm.version import Flavour, KmmVersion


def _codes(data: Any, version: str = "2.7", flavour: str = "openshift") -> dict[str, str]:
    found = find_problems(data, KmmVersion(version), Flavour(flavour))
    return {problem.code: problem.severity.value for problem in found}


@pytest.mark.parametrize("version", ["2.4", "2.6", "2.7"])
def test_a_good_module_has_nothing_wrong(version: str) -> None:
    assert _codes(good_module(), version) == {}


_M = f"{CONTAINER}/kernelMappings/0"
_R = f"{CONTAINER}/kernelMappings/1"
_TOLERATION = "spec/tolerations"


@pytest.mark.parametrize(
    ("path", "value", "code", "severity"),
    [
        ("apiVersion", "kmm.sigs.x-k8s.io/v1beta2", "api-version", "error"),
        ("metadata/name", ..., "name", "error"),
        ("metadata/name", "Drv", "name", "error"),
        ("metadata/name", "d" * 40, "name-length", "error"),
        ("metadata/name", "d" * 33, "name-length", "warning"),
        ("metadata/name", "a.b", "name-with-dot", "warning"),
        ("metadata/namespace", ..., "namespace", "warning"),
        ("spec/selector", ..., "missing", "error"),
        ("spec/selector", {}, "selector", "warning"),
        ("spec/selector", {"a": True}, "kind", "error"),
        ("spec/selector", {"a b": "x"}, "selector", "error"),
        ("spec/selector", {"a": "-x"}, "selector", "error"),
        ("spec/selector", {"node-role.kubernetes.io/worker": "worker"}, "selector", "warning"),
        ("spec/modulLoader", {}, "unknown-field", "error"),
        ("spec/moduleLoader", ..., "empty", "warning"),
        (_TOLERATION, [{"operator": "In"}], "toleration", "error"),
        (_TOLERATION, [{"value": "x"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a b", "operator": "Exists"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "operator": "Exists", "value": "x"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "value": "-"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "effect": "Never"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "tolerationSeconds": 1}], "toleration", "error"),
        (f"{CONTAINER}/kernelMappings", [], "no-mappings", "error"),
        (f"{CONTAINER}/kernelMappings", ..., "missing", "error"),
        (f"{CONTAINER}/version", "1.0+x", "version", "error"),
        (f"{_M}/regexp", "^x$", "mapping", "error"),
        (f"{_M}/literal", ..., "mapping", "error"),
        (f"{_M}/literal", "5.14\f", "control-character", "error"),
        (f"{_M}/containerImage", ..., "missing", "error"),
        (f"{_M}/containerImage", "quay.test/org/drv", "image", "error"),
        (f"{_M}/containerImage", "registry:5000/drv", "image", "error"),
        (f"{_M}/containerImage", "registry:5000/drv:1", "not-pinned", "warning"),
        (f"{CONTAINER}/imagePullPolicy", "Always", "pull-policy", "warning"),
        (f"{_R}/regexp", "^(?=5).*$", "regexp", "error"),
        (f"{_R}/regexp", r"^(5)\1$", "regexp", "error"),
        (f"{_R}/regexp", "^.+$", "catch-all", "warning"),
        (f"{_R}/regexp", ".*", "catch-all", "warning"),
        (f"{_R}/regexp", r"el9_4\.x86_64", "unanchored", "warning"),
        (f"{_R}/regexp", r"^.+\fc37\.x86_64$", "control-character", "error"),
        (f"{_R}/literal", "5.14.0-427.68.1.el9_4.x86_64", "mapping", "error"),
        (f"{CONTAINER}/modprobe/moduleName", ..., "modprobe", "error"),
        (f"{CONTAINER}/modprobe/moduleName", "drv.ko", "modprobe", "error"),
        (f"{CONTAINER}/modprobe/rawArgs", {"load": ["a"]}, "modprobe", "error"),
        (f"{CONTAINER}/modprobe/modulesLoadingOrder", ["drv"], "loading-order", "error"),
        (f"{CONTAINER}/modprobe/modulesLoadingOrder", ["a", "drv"], "loading-order", "error"),
        (f"{CONTAINER}/modprobe/modulesLoadingOrder", ["drv", "a", "a"], "loading-order", "error"),
        (f"{CONTAINER}/modprobe/parameters", ["debug"], "parameter", "warning"),
        (f"{CONTAINER}/inTreeModuleToRemove", "x", "deprecated", "warning"),
        (f"{CONTAINER}/sign", {**SECRETS, "unsignedImage": "a/b:c"}, "files-to-sign", "error"),
        (f"{CONTAINER}/sign", {**SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/lib/x.ko"]}, "files-to-sign", "error"),
        (f"{CONTAINER}/sign", {**SECRETS, "filesToSign": ["/opt/lib/x.ko"]}, "unsigned-image", "error"),
        (f"{CONTAINER}/sign", {"keySecret": {"name": "k"}}, "missing", "error"),
        (f"{CONTAINER}/build", {"dockerfileConfigMap": {"name": "x"}, "buildArgs": [{"name": "A"}]}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]}, "host-path", "error"),
        (f"{_R}/regexp", r"^5\.14\C$", "regexp", "error"),
        (f"{_M}/containerImage", "", "image", "error"),
        (f"{CONTAINER}/modprobe/rawArgs", {"load": []}, "modprobe", "error"),
        (f"{CONTAINER}", {**good_module()["spec"]["moduleLoader"]["container"], "inTreeModuleToRemove": "x", "inTreeModulesToRemove": []}, "in-tree", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "env": [{"value": "x"}]}}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "volumeMounts": [{"name": "v"}]}}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"hostPath": {"path": "/dev"}}]}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostpath": {"path": "/dev"}}]}, "unknown-field", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "resources": {"limits": {"cpu": "abc"}}}}, "quantity", "error"),
        ("metadata/labels", {"a": 1}, "kind", "error"),
        ("metadata/annotation", {"a": "b"}, "unknown-field", "error"),
        ("spec/dra", {"driverName": "Not", "container": {"image": "a/b:c"}}, "dra", "error"),
        ("spec/dra", {"driverName": "d", "container": {"image": "a/b:c"}, "deviceClasses": [{"name": "a"}, {"name": "a"}]}, "dra", "error"),
    ],
)  # fmt: skip
def test_each_mistake_is_found(path: str, value: Any, code: str, severity: str) -> None:
    assert _codes(change_module(path, value)).get(code) == severity


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{_R}/regexp", r"^5\\C$"),
        (f"{_R}/regexp", r"^\Q\C\E$"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "resources": {"limits": {"cpu": "1.5", "memory": "64Mi", "x/y": 1}}}}),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {"path": "//dev/x"}}]}),
        ("metadata/annotations", {"a": "1"}),
    ],
)  # fmt: skip
def test_what_the_webhook_takes_is_taken(path: str, value: Any) -> None:
    assert _codes(change_module(path, value)) == {}


def test_fields_and_rules_depend_on_the_version() -> None:
    newer = change_module("spec/imageRebuildTriggerGeneration", 2)
    assert _codes(newer, "2.4") == {"too-new": "error"}
    assert _codes(newer, "2.6") == {}
    plugin = {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {"path": "/run/x"}}]}
    assert _codes(change_module("spec/devicePlugin", plugin), "2.4") == {}
    assert _codes(change_module("spec/devicePlugin", plugin), "2.6") == {"host-path": "error"}
    assert _codes(change_module("spec/devicePlugin", plugin), "2.7") == {}
    globs = {**SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/opt/lib/modules/*/x.ko"]}
    assert _codes(change_module(f"{CONTAINER}/sign", globs), "2.4") == {"files-to-sign": "error"}
    assert _codes(change_module(f"{CONTAINER}/sign", globs), "2.6") == {}
    long = change_module("metadata/name", "d" * 33)
    long["metadata"]["namespace"] = "n" * 8
    assert (_codes(long, "2.6"), _codes(long, "2.7")) == ({"name-length": "error"}, {"name-length": "warning"})


def test_a_normalised_path_is_no_path_for_kernels_with_a_plus() -> None:
    sign = {**SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/opt/lib/modules/${KERNEL_FULL_VERSION}/x.ko"]}
    assert _codes(change_module(f"{CONTAINER}/sign", sign)) == {"normalised-path": "warning"}


def test_a_mapping_that_is_never_used_is_told() -> None:
    data = good_module()
    mappings = data["spec"]["moduleLoader"]["container"]["kernelMappings"]
    mappings.reverse()
    assert _codes(data) == {"shadowed": "warning"}


def test_preflights_differ_between_flavours() -> None:
    preflight = {"apiVersion": "kmm.sigs.x-k8s.io/v1beta2", "kind": "PreflightValidationOCP", "metadata": {"name": "x"}, "spec": {"kernelVersion": "5.14.0-1.el9", "dtkImage": "a"}}  # fmt: skip
    assert _codes(preflight) == {}
    assert _codes(preflight, flavour="upstream") == {"flavour": "error"}
    assert _codes(preflight | {"kind": "PreflightValidation"}) == {"unknown-field": "error"}
    assert _codes(preflight | {"apiVersion": "kmm.sigs.x-k8s.io/v1beta1"}) == {"deprecated": "warning"}
    assert _codes(preflight | {"spec": {"kernelVersion": "5"}}) == {"kernel-version": "error"}
    assert _codes(preflight | {"metadata": {"name": "x", "namespace": "y"}}) == {"namespace": "error"}


def test_a_module_inside_of_a_hub_is_looked_into() -> None:
    spec = change_module(f"{_M}/literal", ...)["spec"]
    hub = {"apiVersion": "hub.kmm.sigs.x-k8s.io/v1beta1", "kind": "ManagedClusterModule", "metadata": {"name": "x"}, "spec": {"moduleSpec": spec, "selector": {}, "spokeNamespace": "d"}}  # fmt: skip
    assert _codes(hub) == {"mapping": "error"}


def test_other_objects_are_left_alone() -> None:
    assert _codes({"kind": "Secret"}) == {}
    assert _codes(["a list"]) == {}
