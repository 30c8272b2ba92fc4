"""What runs a device plugin: its account and rights, and its DaemonSet. Pure.

KMM would run a plugin privileged (``spec.devicePlugin``), so this is a DaemonSet of its own, on the label that KMM
gives to a node while the driver is loaded there: unloaded, the label goes, and the pod with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.emit.deviceplugin.access import Account, make_access
from builder.emit.deviceplugin.dra import device_class, own_slices_policy
from builder.emit.deviceplugin.pods import container_settings, pod_settings
from builder.emit.probes import make_probes
from builder.writing import emit_yaml

if TYPE_CHECKING:
    from builder.config.model.component import Component
    from builder.config.model.device_plugin import DevicePlugin
    from builder.config.model.driver import Driver
    from builder.emit.kmm.version import Flavour

ACCESS, DYNAMIC, DAEMON_SET = "10-access.yaml", "15-dynamic-resources.yaml", "20-daemonset.yaml"
FILES = (ACCESS, DYNAMIC, DAEMON_SET)
_PLUGIN_DIR, _REGISTRY_DIR = "/var/lib/kubelet/device-plugins", "/var/lib/kubelet/plugins_registry"
_CDI_DIR = "/var/run/cdi"
_PORT = 8080
_PORT_NAME = "status"
# What it has with 64 devices, rounded up; docs/devices.md has the figures.
_REQUESTS_MIB = {"DevicePlugin": 48, "DRA": 64, "Auto": 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFacts:
    """What the files are made of: ``digest`` is that of the published list of the component's images."""

    component: Component
    driver: Driver
    digest: str

    @property
    def plugin(self) -> DevicePlugin:
        if self.component.device_plugin is None:
            raise ValueError(self.component.name)
        return self.component.device_plugin

    @property
    def namespace(self) -> str:
        """The driver's: its nodes' label and its pull secret are there."""
        return self.driver.kmm.namespace or self.driver.name

    @property
    def image(self) -> str:
        return f"{self.component.image_name}@{self.digest}"

    @property
    def asks_api(self) -> bool:
        """Whether it speaks to the API server: a device plugin does not, and has no token."""
        return self.plugin.mode != "DevicePlugin"

    @property
    def cluster_name(self) -> str:
        """The name of its objects that are in no namespace."""
        return f"{self.namespace}-{self.component.name}"

    @property
    def account(self) -> Account:
        return Account(
            name=self.component.name,
            namespace=self.namespace,
            cluster_name=self.cluster_name,
            asks_api=self.asks_api,
        )


def emit_device_plugin(facts: PluginFacts, flavour: Flavour) -> dict[str, str]:
    """Return files by name, in the order in which they are applied; equal facts give equal files.

    The namespace and its pull secret are those of ``emit kmm``.
    """
    files = {ACCESS: emit_yaml(*make_access(facts.account, flavour))}
    if facts.asks_api:
        files[DYNAMIC] = emit_yaml(*make_dynamic_resources(facts))
    files[DAEMON_SET] = emit_yaml(make_daemon_set(facts))
    return files


def make_dynamic_resources(facts: PluginFacts) -> list[dict[str, Any]]:
    """Return what only clusters with dynamic resources know: who may write which slices, and what claims ask for."""
    policy = own_slices_policy(facts.cluster_name, namespace=facts.namespace, account=facts.component.name)
    return [*policy, device_class(facts.plugin.resource, facts.plugin.driver_name)]


def make_daemon_set(facts: PluginFacts) -> dict[str, Any]:
    """Return the DaemonSet."""
    name = facts.component.name
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": facts.driver.name}
    pod: dict[str, Any] = {
        **pod_settings(name, facts.driver),
        "automountServiceAccountToken": facts.asks_api,
        "nodeSelector": {f"kmm.node.kubernetes.io/{facts.namespace}.{facts.driver.name}.ready": ""},
        # Pods must not lose their devices because a node is full.
        "priorityClassName": "system-node-critical",
        "containers": [_container(facts)],
        "volumes": [
            {"name": name, "hostPath": {"path": path, "type": kind}} for name, path, kind in host_folders(facts)
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": facts.namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
        },
    }


def host_folders(facts: PluginFacts) -> list[tuple[str, str, str]]:
    """Return name, path and kind of the node's folders that it works in."""
    kubelet = {"device-plugins": _PLUGIN_DIR, "plugins-registry": _REGISTRY_DIR}
    wanted = {"DevicePlugin": ("device-plugins",), "DRA": ("plugins-registry",)}.get(facts.plugin.mode, tuple(kubelet))
    return [*((name, kubelet[name], "Directory") for name in wanted), ("cdi", _CDI_DIR, "DirectoryOrCreate")]


def make_environment(facts: PluginFacts) -> list[dict[str, Any]]:
    """Return the variables that the program reads."""
    said = {
        "KMOD_RESOURCE": facts.plugin.resource,
        "KMOD_INJECTION": facts.plugin.injection,
        "KMOD_REPLICAS": str(facts.plugin.replicas),
        "KMOD_LISTEN": str(_PORT),
        **({"KMOD_SOURCE": facts.plugin.source} if facts.plugin.source else {}),
        **({"KMOD_MODE": facts.plugin.mode} if facts.asks_api else {}),
    }
    node = {"name": "KMOD_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    return [*({"name": name, "value": value} for name, value in said.items()), *([node] if facts.asks_api else [])]


def make_resources(facts: PluginFacts) -> dict[str, Any]:
    limit = facts.plugin.memory
    return {
        "requests": {"cpu": "20m", "memory": f"{min(_REQUESTS_MIB[facts.plugin.mode], limit)}Mi"},
        "limits": {"memory": f"{limit}Mi"},
    }


def _container(facts: PluginFacts) -> dict[str, Any]:
    return {
        "name": "device-plugin",
        **container_settings(facts.image),
        "env": make_environment(facts),
        "ports": [{"name": _PORT_NAME, "containerPort": _PORT}],
        **make_probes(_PORT_NAME, ready_s=5),
        "resources": make_resources(facts),
        "volumeMounts": [{"name": name, "mountPath": path} for name, path, _ in host_folders(facts)],
    }
