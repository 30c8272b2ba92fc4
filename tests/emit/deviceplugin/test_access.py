"""What a device plugin may do: on its nodes, and in the cluster."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from fakes.plugin_facts import plugin_facts

from builder.emit.deviceplugin.files import ACCESS, emit_device_plugin
from builder.emit.kmm.version import Flavour

_MODES = ("DevicePlugin", "DRA", "Auto")


def _objects(flavour: Flavour, **plugin: Any) -> dict[str, dict[str, Any]]:
    text = emit_device_plugin(plugin_facts(**plugin), flavour)[ACCESS]
    return {item["kind"]: item for item in yaml.safe_load_all(text)}


def test_openshift_gets_a_constraint_that_allows_what_the_pod_needs() -> None:
    objects = _objects(Flavour.OPENSHIFT)
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
    assert _objects(Flavour.UPSTREAM).keys() == {"ServiceAccount"}


@pytest.mark.parametrize("mode", ["DRA", "Auto"])
def test_who_asks_the_api_server_has_rights_and_may_mount_a_token(mode: str) -> None:
    objects = _objects(Flavour.OPENSHIFT, mode=mode)
    assert objects["SecurityContextConstraints"]["volumes"] == ["hostPath", "projected"]
    role, binding = objects["ClusterRole"], objects["ClusterRoleBinding"]
    assert role["metadata"] == binding["metadata"] == {"name": "drv-plugin"}
    assert binding["roleRef"]["kind"] == "ClusterRole"
    assert binding["roleRef"]["name"] == "drv-plugin"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "plugin", "namespace": "drv"}]
    assert _objects(Flavour.UPSTREAM, mode=mode).keys() == {"ServiceAccount", "ClusterRole", "ClusterRoleBinding"}


@pytest.mark.parametrize("mode", _MODES)
def test_the_account_gives_no_other_pod_a_token(mode: str) -> None:
    assert not _objects(Flavour.UPSTREAM, mode=mode)["ServiceAccount"]["automountServiceAccountToken"]
