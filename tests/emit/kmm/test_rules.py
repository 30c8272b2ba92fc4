"""KMM's rules, offline: each thing that its admission refuses, and each trap that it does not see."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.kmm import CONTAINER, SECRETS, change_module, codes_of, good_module


@pytest.mark.parametrize("version", ["2.4", "2.6", "2.7"])
def test_a_good_module_has_nothing_wrong(version: str) -> None:
    assert codes_of(good_module(), version) == {}


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
        ("spec", ..., "empty", "warning"),
        ("spec", None, "empty", "warning"),
        (_TOLERATION, [{"operator": "In"}], "toleration", "error"),
        (_TOLERATION, [{"value": "x"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a b", "operator": "Exists"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "operator": "Exists", "value": "x"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "value": "-"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "effect": "Never"}], "toleration", "error"),
        (_TOLERATION, [{"key": "a", "tolerationSeconds": 1}], "toleration", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]}, "host-path", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "env": [{"value": "x"}]}}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "volumeMounts": [{"name": "v"}]}}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "volumeMounts": [{"name": "v", "mountPath": ""}]}}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "volumeMounts": [{"name": "v", "mountpath": "/v"}]}}, "unknown-field", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c", "env": [{"name": 7}]}}, "kind", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "", "hostPath": {"path": "/dev"}}]}, "missing", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": "/dev"}]}, "kind", "error"),
        ("spec/devicePlugin", {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {}}]}, "missing", "error"),
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
    assert codes_of(change_module(path, value)).get(code) == severity


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
    assert codes_of(change_module(path, value)) == {}


def test_fields_and_rules_depend_on_the_version() -> None:
    newer = change_module("spec/imageRebuildTriggerGeneration", 2)
    assert codes_of(newer, "2.4") == {"too-new": "error"}
    assert codes_of(newer, "2.6") == {}
    plugin = {"container": {"image": "a/b:c"}, "volumes": [{"name": "v", "hostPath": {"path": "/run/x"}}]}
    assert codes_of(change_module("spec/devicePlugin", plugin), "2.4") == {}
    assert codes_of(change_module("spec/devicePlugin", plugin), "2.6") == {"host-path": "error"}
    assert codes_of(change_module("spec/devicePlugin", plugin), "2.7") == {}
    globs = {**SECRETS, "unsignedImage": "a/b:c", "filesToSign": ["/opt/lib/modules/*/x.ko"]}
    assert codes_of(change_module(f"{CONTAINER}/sign", globs), "2.4") == {"files-to-sign": "error"}
    assert codes_of(change_module(f"{CONTAINER}/sign", globs), "2.6") == {}
    long = change_module("metadata/name", "d" * 33)
    long["metadata"]["namespace"] = "n" * 8
    assert (codes_of(long, "2.6"), codes_of(long, "2.7")) == ({"name-length": "error"}, {"name-length": "warning"})


def test_preflights_differ_between_flavours() -> None:
    preflight = {"apiVersion": "kmm.sigs.x-k8s.io/v1beta2", "kind": "PreflightValidationOCP", "metadata": {"name": "x"}, "spec": {"kernelVersion": "5.14.0-1.el9", "dtkImage": "a"}}  # fmt: skip
    assert codes_of(preflight) == {}
    assert codes_of(preflight, flavour="upstream") == {"flavour": "error"}
    assert codes_of(preflight | {"kind": "PreflightValidation"}) == {"unknown-field": "error"}
    assert codes_of(preflight | {"apiVersion": "kmm.sigs.x-k8s.io/v1beta1"}) == {"deprecated": "warning"}
    assert codes_of(preflight | {"spec": {"kernelVersion": "5"}}) == {"kernel-version": "error"}
    assert codes_of(preflight | {"metadata": {"name": "x", "namespace": "y"}}) == {"namespace": "error"}


def test_a_module_inside_of_a_hub_is_looked_into() -> None:
    spec = change_module(f"{_M}/literal", ...)["spec"]
    hub = {"apiVersion": "hub.kmm.sigs.x-k8s.io/v1beta1", "kind": "ManagedClusterModule", "metadata": {"name": "x"}, "spec": {"moduleSpec": spec, "selector": {}, "spokeNamespace": "d"}}  # fmt: skip
    assert codes_of(hub) == {"mapping": "error"}


def test_other_objects_are_left_alone() -> None:
    assert codes_of({"kind": "Secret"}) == {}
    assert codes_of(["a list"]) == {}
