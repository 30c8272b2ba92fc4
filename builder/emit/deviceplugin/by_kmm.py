"""A device plugin that KMM runs: a part of its Module, and the account of its pods. Pure.

KMM runs it privileged and brings kubelet's folder itself; it knows no probes and no ports of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.deviceplugin.files import host_folders, make_environment, make_resources

if TYPE_CHECKING:
    from builder.emit.deviceplugin.files import PluginFacts
    from builder.emit.kmm.version import KmmVersion

_OF_KMM = "device-plugins"


def make_kmm_plugin(facts: PluginFacts, version: KmmVersion) -> dict[str, Any]:
    """Return ``spec.devicePlugin`` of the driver's Module."""
    folders = [item for item in host_folders(facts) if item[0] != _OF_KMM]
    plugin: dict[str, Any] = {
        "serviceAccountName": facts.component.name,
        "container": {
            "image": facts.image,
            "imagePullPolicy": "IfNotPresent",
            "env": make_environment(facts),
            "resources": make_resources(facts),
            "volumeMounts": [{"name": name, "mountPath": path} for name, path, _ in folders],
        },
        "volumes": [{"name": name, "hostPath": {"path": path, "type": kind}} for name, path, kind in folders],
    }
    if version.has("2.6"):
        plugin["automountServiceAccountToken"] = False
    return plugin
