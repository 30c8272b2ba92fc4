"""The pod by which the operator tries a device of a node, when a driver has just arrived there. Pure.

It is a pod like anybody's: it asks for one device, and kubelet gives it one. Its rights are those of
the plugin's pods, and none of a node's folders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from builder.emit.deviceplugin.pods import container_settings, pod_settings

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
        **pod_settings(facts.component.name, facts.driver),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "activeDeadlineSeconds": test.timeout,
        "terminationGracePeriodSeconds": 5,
        "containers": [_container(facts, resource)],
    }
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
        **container_settings(facts.image),
        **command,
        **source,
        # What it said last is what the operator tells of it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": f"{facts.plugin.memory}Mi", resource: "1"},
        },
    }
