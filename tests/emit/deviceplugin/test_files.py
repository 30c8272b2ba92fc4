"""What runs a device plugin: nothing that it does not need."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from fakes.kmm_facts import kmm_facts

from builder.config.model import Component, DevicePlugin
from builder.emit.deviceplugin.files import PluginFacts, emit_device_plugin, make_daemon_set
from builder.emit.kmm.version import Flavour

_DIGEST = f"sha256:{'d' * 64}"


def _facts(kmm: dict[str, Any] | None = None, **plugin: Any) -> PluginFacts:
    words: dict[str, Any] = dict.fromkeys(("vendor", "summary", "description", "maintainer"), "V")
    component = Component(
        name="plugin", version="0.1.0", source=".", containerfile="Containerfile", image="quay.test/org/plugin",
        device_plugin=DevicePlugin(driver="drv", resource="drivers.example.com/drv", **plugin), **words,
    )  # fmt: skip
    return PluginFacts(component=component, driver=kmm_facts(kmm or {}).driver, digest=_DIGEST)


def _objects(facts: PluginFacts, flavour: Flavour) -> dict[str, dict[str, Any]]:
    files = emit_device_plugin(facts, flavour)
    assert list(files) == ["10-access.yaml", "20-daemonset.yaml"]
    return {item["kind"]: item for text in files.values() for item in yaml.safe_load_all(text)}


def test_the_image_is_named_by_digest_and_runs_where_the_driver_is_loaded() -> None:
    pod = make_daemon_set(_facts())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == f"quay.test/org/plugin@{_DIGEST}"
    assert pod["nodeSelector"] == {"kmm.node.kubernetes.io/drv.drv.ready": ""}
    assert {item["name"]: item["value"] for item in container["env"]} == {
        "KMOD_RESOURCE": "drivers.example.com/drv", "KMOD_INJECTION": "cdi", "KMOD_REPLICAS": "1", "KMOD_LISTEN": "8080",
    }  # fmt: skip


def test_it_has_no_privilege_no_token_and_two_folders() -> None:
    pod = make_daemon_set(_facts())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False, "readOnlyRootFilesystem": True,
    }  # fmt: skip
    assert not pod["automountServiceAccountToken"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"]["seLinuxOptions"] == {"type": "container_device_plugin_t"}
    assert [volume["hostPath"]["path"] for volume in pod["volumes"]] == [
        "/var/lib/kubelet/device-plugins",
        "/var/run/cdi",
    ]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


def test_openshift_gets_a_constraint_that_allows_what_the_pod_needs() -> None:
    objects = _objects(_facts(), Flavour.OPENSHIFT)
    constraint = objects["SecurityContextConstraints"]
    assert constraint["volumes"] == ["hostPath"]
    assert constraint["requiredDropCapabilities"] == ["ALL"]
    assert constraint["seLinuxContext"]["seLinuxOptions"] == {"type": "container_device_plugin_t"}
    assert not [
        key
        for key, value in constraint.items()
        if value is True and key not in {"allowHostDirVolumePlugin", "readOnlyRootFilesystem"}
    ]
    assert not constraint["users"] + constraint["groups"]
    (rule,) = objects["Role"]["rules"]
    assert rule["resourceNames"] == [constraint["metadata"]["name"]]
    assert objects["RoleBinding"]["subjects"] == [{"kind": "ServiceAccount", "name": "plugin", "namespace": "drv"}]


def test_upstream_gets_an_account_and_nothing_that_it_does_not_know() -> None:
    assert _objects(_facts(), Flavour.UPSTREAM).keys() == {"ServiceAccount", "DaemonSet"}


def test_what_versions_yaml_says_is_in_it() -> None:
    taint = {"key": "gpu", "operator": "Exists"}
    facts = _facts(
        {"namespace": "far", "pull_secret": "pull", "tolerations": (taint,)},
        source="mine:Devices", injection="nodes", replicas=4, memory=200,
    )  # fmt: skip
    daemon = make_daemon_set(facts)
    pod = daemon["spec"]["template"]["spec"]
    assert daemon["metadata"]["namespace"] == "far"
    assert pod["nodeSelector"] == {"kmm.node.kubernetes.io/far.drv.ready": ""}
    assert (pod["tolerations"], pod["imagePullSecrets"]) == ([taint], [{"name": "pull"}])
    (container,) = pod["containers"]
    said = {item["name"]: item["value"] for item in container["env"]}
    assert (said["KMOD_SOURCE"], said["KMOD_INJECTION"], said["KMOD_REPLICAS"]) == ("mine:Devices", "nodes", "4")
    assert container["resources"]["limits"] == {"memory": "200Mi"}


def test_a_component_that_is_no_plugin_has_no_files() -> None:
    facts = _facts()
    plain = facts.component.model_copy(update={"device_plugin": None})
    with pytest.raises(ValueError, match="plugin"):
        emit_device_plugin(PluginFacts(component=plain, driver=facts.driver, digest=_DIGEST), Flavour.UPSTREAM)


def test_labels_are_written_out() -> None:
    """No anchors: not every tool that patches YAML knows them."""
    assert "&" not in emit_device_plugin(_facts(), Flavour.OPENSHIFT)["20-daemonset.yaml"]
