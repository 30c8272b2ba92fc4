"""The pod by which the operator tries a device of a node, when a driver has just arrived there. Pure.

It is a pod like anybody's: it asks for one device, and kubelet gives it one. It runs under the plugin's account, as
root without a single capability, because device files are root's unless the driver says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.deviceplugin.access import SELINUX_TYPE

if TYPE_CHECKING:
    from builder.emit.deviceplugin.files import PluginFacts

_COMMAND = ("try-devices",)


def make_smoke_pod(facts: PluginFacts) -> dict[str, Any] | None:
    """Return the pod without its node and its owner, which the cluster says; None where there is no test."""
    test = facts.plugin.smoke_test
    if test is None:
        return None
    resource = facts.plugin.resource + (".shared" if facts.plugin.replicas > 1 else "")
    labels = {"app.kubernetes.io/name": f"{facts.component.name}-smoke", "app.kubernetes.io/part-of": facts.driver.name}
    spec: dict[str, Any] = {
        "serviceAccountName": facts.component.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "activeDeadlineSeconds": test.timeout,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsUser": 0,
            "seLinuxOptions": {"type": SELINUX_TYPE},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(facts, resource)],
    }
    if tolerations := [item.model_dump(exclude_defaults=True) for item in facts.driver.kmm.tolerations]:
        spec["tolerations"] = tolerations
    if facts.driver.kmm.pull_secret:
        spec["imagePullSecrets"] = [{"name": facts.driver.kmm.pull_secret}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{facts.component.name}-smoke", "namespace": facts.namespace, "labels": labels},
        "spec": spec,
    }


def _container(facts: PluginFacts, resource: str) -> dict[str, Any]:
    test = facts.plugin.smoke_test
    command = {"command": list(test.command)} if test and test.command else {"args": list(_COMMAND)}
    source = {"env": [{"name": "KMOD_SOURCE", "value": facts.plugin.source}]} if facts.plugin.source else {}
    return {
        "name": "smoke",
        "image": facts.image,
        "imagePullPolicy": "IfNotPresent",
        **command,
        **source,
        # What it said last is what the operator tells of it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": f"{facts.plugin.memory}Mi", resource: "1"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
    }
