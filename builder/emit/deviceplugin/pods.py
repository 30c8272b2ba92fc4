"""What a device plugin's pods have in common, those that serve devices and those that try one. Pure.

They run under the plugin's account and SELinux type, as root without a single capability: kubelet's folders and device
files are root's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.deviceplugin.access import SELINUX_TYPE

if TYPE_CHECKING:
    from builder.config.model.driver import Driver


def pod_settings(account: str, driver: Driver) -> dict[str, Any]:
    """Return what every pod's ``spec`` has: whose it is, where it may run, and how its image is pulled."""
    settings: dict[str, Any] = {
        "serviceAccountName": account,
        "securityContext": {
            "runAsUser": 0,
            "seLinuxOptions": {"type": SELINUX_TYPE},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if tolerations := [item.model_dump(exclude_defaults=True) for item in driver.kmm.tolerations]:
        settings["tolerations"] = tolerations
    if driver.kmm.pull_secret:
        settings["imagePullSecrets"] = [{"name": driver.kmm.pull_secret}]
    return settings


def container_settings(image: str) -> dict[str, Any]:
    """Return what every container has: its image, and no right at all."""
    return {
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
    }
