"""A device plugin that KMM runs: what it knows of, and nothing that it does itself."""

from __future__ import annotations

import pytest
from fakes.plugin_facts import DIGEST, plugin_facts
from kmod_operator.settings import read_settings

from builder.emit.deviceplugin.by_kmm import make_kmm_plugin
from builder.emit.kmm.version import KmmVersion


@pytest.mark.parametrize("version", KmmVersion)
def test_kmm_is_told_image_variables_and_one_folder(version: KmmVersion) -> None:
    plugin = make_kmm_plugin(plugin_facts(managed_by="kmm", replicas=2, memory=100), version)
    container = plugin["container"]
    assert container["image"] == f"quay.test/org/plugin@{DIGEST}"
    assert read_settings({item["name"]: item["value"] for item in container["env"]}).replicas == 2
    assert container["resources"]["limits"] == {"memory": "100Mi"}
    # KMM mounts kubelet's folder itself: a second volume of that path is refused by nobody, and helps nobody.
    assert [volume["hostPath"]["path"] for volume in plugin["volumes"]] == ["/var/run/cdi"]
    assert container["volumeMounts"] == [{"name": "cdi", "mountPath": "/var/run/cdi"}]
    assert plugin["serviceAccountName"] == "plugin"


def test_what_came_later_is_left_out() -> None:
    facts = plugin_facts(managed_by="kmm")
    assert "automountServiceAccountToken" not in make_kmm_plugin(facts, KmmVersion.V2_4)
    assert make_kmm_plugin(facts, KmmVersion.V2_6)["automountServiceAccountToken"] is False
