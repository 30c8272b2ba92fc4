"""What runs a device plugin: nothing that it does not need."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from fakes.plugin_facts import DIGEST, plugin_facts
from kmod_operator.settings import SettingError, read_settings
from pydantic import ValidationError

from builder.emit.deviceplugin.files import (
    DYNAMIC,
    FILES,
    PluginFacts,
    emit_device_plugin,
    host_folders,
    make_daemon_set,
    make_environment,
    make_resources,
)
from builder.emit.kmm.version import Flavour


def test_the_image_is_named_by_digest_and_runs_where_the_driver_is_loaded() -> None:
    pod = make_daemon_set(plugin_facts())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == f"quay.test/org/plugin@{DIGEST}"
    assert pod["nodeSelector"] == {"kmm.node.kubernetes.io/drv.drv.ready": ""}
    assert {item["name"]: item["value"] for item in container["env"]} == {
        "KMOD_RESOURCE": "drivers.example.com/drv", "KMOD_INJECTION": "cdi", "KMOD_REPLICAS": "1", "KMOD_LISTEN": "8080",
    }  # fmt: skip


def test_it_has_no_privilege_no_token_and_two_folders() -> None:
    pod = make_daemon_set(plugin_facts())["spec"]["template"]["spec"]
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


def test_what_versions_yaml_says_is_in_it() -> None:
    taint = {"key": "gpu", "operator": "Exists"}
    facts = plugin_facts(
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
    facts = plugin_facts()
    plain = facts.component.model_copy(update={"device_plugin": None})
    with pytest.raises(ValueError, match="plugin"):
        emit_device_plugin(PluginFacts(component=plain, driver=facts.driver, digest=DIGEST), Flavour.UPSTREAM)


def test_labels_are_written_out() -> None:
    """No anchors: not every tool that patches YAML knows them."""
    assert "&" not in emit_device_plugin(plugin_facts(), Flavour.OPENSHIFT)["20-daemonset.yaml"]


@pytest.mark.parametrize(
    ("mode", "folders"),
    [
        ("DevicePlugin", ["device-plugins", "cdi"]),
        ("DRA", ["plugins_registry", "cdi"]),
        ("Auto", ["device-plugins", "plugins_registry", "cdi"]),
    ],
)
def test_each_mode_has_the_folders_and_variables_that_it_needs(mode: str, folders: list[str]) -> None:
    facts = plugin_facts(mode=mode)
    pod = make_daemon_set(facts)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    paths = [volume["hostPath"]["path"] for volume in pod["volumes"]]
    assert [path.rpartition("/")[2] for path in paths] == folders
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == paths
    assert pod["automountServiceAccountToken"] == (mode != "DevicePlugin")
    said = {item["name"]: item.get("value") or item["valueFrom"] for item in container["env"]}
    node = {"fieldRef": {"fieldPath": "spec.nodeName"}}
    assert (said.get("KMOD_MODE"), said.get("KMOD_NODE")) == ((mode, node) if mode != "DevicePlugin" else (None, None))


@pytest.mark.parametrize("mode", ["DevicePlugin", "DRA", "Auto"])
def test_the_program_takes_every_variable_that_it_is_given(mode: str) -> None:
    more: dict[str, Any] = {"replicas": 3, "injection": "nodes"} if mode == "DevicePlugin" else {}
    facts = plugin_facts(mode=mode, source="mine:Devices", resource="x.example/My_dev", **more)
    said = {item["name"]: item.get("value", "worker") for item in make_environment(facts)}
    settings = read_settings(said)
    assert (settings.mode, settings.source, settings.resource) == (mode, "mine:Devices", "x.example/My_dev")
    assert (settings.injection, settings.replicas) == (more.get("injection", "cdi"), more.get("replicas", 1))
    assert settings.driver == facts.plugin.driver_name
    assert {str(folder) for folder in (settings.plugin_dir, settings.registry_dir, settings.cdi_dir)} >= {
        path for _, path, _ in host_folders(facts)
    }


@pytest.mark.parametrize("mode", ["DevicePlugin", "DRA", "Auto"])
@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("injection", ["cdi", "nodes"])
@pytest.mark.parametrize(
    "resource",
    [
        "x.example/dev", f"{'a' * 51}.example/b", f"{'a' * 54}.example/b", f"{'a' * 55}.example/b", f"{'a' * 60}.example/b",
        f"{'a' * 61}.example/b", f"{'a' * 60}.{'b' * 60}.example/b",
    ],
)  # fmt: skip
def test_what_the_program_refuses_is_refused_before(mode: str, replicas: int, injection: str, resource: str) -> None:
    """And nothing else is: versions.yaml and the program have the same rules."""
    environment = {
        "KMOD_RESOURCE": resource, "KMOD_REPLICAS": str(replicas), "KMOD_INJECTION": injection, "KMOD_MODE": mode, "KMOD_NODE": "n",
    }  # fmt: skip
    try:
        read_settings(environment)
    except SettingError:
        with pytest.raises(ValidationError):
            plugin_facts(mode=mode, replicas=replicas, injection=injection, resource=resource)
    else:
        plugin_facts(mode=mode, replicas=replicas, injection=injection, resource=resource)


def test_a_request_is_not_more_than_the_limit() -> None:
    """The API server would refuse the pods, and not the DaemonSet: nobody would see it."""
    resources = make_resources(plugin_facts(mode="DRA", memory=32))
    assert resources["requests"]["memory"] == resources["limits"]["memory"] == "32Mi"


def test_only_modes_that_ask_the_api_server_have_objects_of_dynamic_resources() -> None:
    assert list(emit_device_plugin(plugin_facts(), Flavour.UPSTREAM)) == ["10-access.yaml", "20-daemonset.yaml"]
    for mode in ("DRA", "Auto"):
        files = emit_device_plugin(plugin_facts({"namespace": "far"}, mode=mode), Flavour.UPSTREAM)
        assert list(files) == list(FILES)
        objects = {item["kind"]: item for item in yaml.safe_load_all(files[DYNAMIC])}
        assert list(objects) == ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "DeviceClass"]
        assert "system:serviceaccount:far:plugin" in str(objects["ValidatingAdmissionPolicy"])
        assert objects["DeviceClass"]["metadata"]["name"] == "drv.drivers.example.com"
        assert objects["DeviceClass"]["spec"]["extendedResourceName"] == "drivers.example.com/drv"
