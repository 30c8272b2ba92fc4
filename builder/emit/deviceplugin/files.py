"""What runs a device plugin: its account, on OpenShift its security context constraint, and its DaemonSet. Pure.

KMM would run a plugin privileged (``spec.devicePlugin``), so this is a DaemonSet of its own, on the label that KMM
gives to a node while the driver is loaded there: unloaded, the label goes, and the pod with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from builder.emit.kmm.version import Flavour
from builder.writing import emit_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.config.model import Component, DevicePlugin, Driver

_SELINUX_TYPE = "container_device_plugin_t"  # of container-selinux: may make sockets in kubelet's folder
_PLUGIN_DIR, _CDI_DIR = "/var/lib/kubelet/device-plugins", "/var/run/cdi"
_PORT = 8080
_PORT_NAME = "status"


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


def emit_device_plugin(facts: PluginFacts, flavour: Flavour) -> dict[str, str]:
    """Return files by name, in the order in which they are applied; equal facts give equal files.

    The namespace and its pull secret are those of ``emit kmm``.
    """
    files = {"10-access.yaml": emit_yaml(*_access(facts, flavour))}
    files["20-daemonset.yaml"] = emit_yaml(make_daemon_set(facts))
    return files


def _object(api: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def _access(facts: PluginFacts, flavour: Flavour) -> list[dict[str, Any]]:
    name, namespace = facts.component.name, facts.namespace
    account = _object("v1", "ServiceAccount", name, namespace) | {"automountServiceAccountToken": False}
    if flavour is Flavour.UPSTREAM:
        return [account]
    api = "rbac.authorization.k8s.io"
    constraint = f"{namespace}-{name}"
    rule = {
        "apiGroups": ["security.openshift.io"],
        "resources": ["securitycontextconstraints"],
        "resourceNames": [constraint],
        "verbs": ["use"],
    }
    role = _object(f"{api}/v1", "Role", name, namespace) | {"rules": [rule]}
    binding = _object(f"{api}/v1", "RoleBinding", name, namespace) | {
        "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    return [account, _constraint(constraint), role, binding]


def _constraint(name: str) -> dict[str, Any]:
    """Return what the pod needs and nothing else: two folders of the node, and root's files in them."""
    return _object("security.openshift.io/v1", "SecurityContextConstraints", name) | {
        "allowHostDirVolumePlugin": True,
        "allowHostIPC": False,
        "allowHostNetwork": False,
        "allowHostPID": False,
        "allowHostPorts": False,
        "allowPrivilegeEscalation": False,
        "allowPrivilegedContainer": False,
        "allowedCapabilities": [],
        "defaultAddCapabilities": [],
        "requiredDropCapabilities": ["ALL"],
        "readOnlyRootFilesystem": True,
        "runAsUser": {"type": "MustRunAs", "uid": 0},
        "seLinuxContext": {"type": "MustRunAs", "seLinuxOptions": {"type": _SELINUX_TYPE}},
        "seccompProfiles": ["runtime/default"],
        "fsGroup": {"type": "MustRunAs"},
        "supplementalGroups": {"type": "MustRunAs"},
        "volumes": ["hostPath"],
        "users": [],
        "groups": [],
    }


def make_daemon_set(facts: PluginFacts) -> dict[str, Any]:
    """Return the DaemonSet."""
    name = facts.component.name
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": facts.driver.name}
    pod: dict[str, Any] = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "nodeSelector": {f"kmm.node.kubernetes.io/{facts.namespace}.{facts.driver.name}.ready": ""},
        # Pods must not lose their devices because a node is full.
        "priorityClassName": "system-node-critical",
        "securityContext": {
            "runAsUser": 0,
            "seLinuxOptions": {"type": _SELINUX_TYPE},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(facts)],
        "volumes": [
            _host_folder("device-plugins", _PLUGIN_DIR, "Directory"),
            _host_folder("cdi", _CDI_DIR, "DirectoryOrCreate"),
        ],
    }
    if tolerations := [item.model_dump(exclude_defaults=True) for item in facts.driver.kmm.tolerations]:
        pod["tolerations"] = tolerations
    if facts.driver.kmm.pull_secret:
        pod["imagePullSecrets"] = [{"name": facts.driver.kmm.pull_secret}]
    return _object("apps/v1", "DaemonSet", name, facts.namespace) | {
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
        }
    }


def _container(facts: PluginFacts) -> dict[str, Any]:
    said = {
        "KMOD_RESOURCE": facts.plugin.resource,
        "KMOD_INJECTION": facts.plugin.injection,
        "KMOD_REPLICAS": str(facts.plugin.replicas),
        "KMOD_LISTEN": str(_PORT),
        **({"KMOD_SOURCE": facts.plugin.source} if facts.plugin.source else {}),
    }
    return {
        "name": "device-plugin",
        "image": f"{facts.component.image_name}@{facts.digest}",
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": name, "value": value} for name, value in said.items()],
        "ports": [{"name": _PORT_NAME, "containerPort": _PORT}],
        "livenessProbe": _probe("/healthz") | {"periodSeconds": 20, "failureThreshold": 3},
        "readinessProbe": _probe("/readyz") | {"periodSeconds": 5},
        "resources": {
            "requests": {"cpu": "20m", "memory": "48Mi"},
            "limits": {"memory": f"{facts.plugin.memory}Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [
            {"name": "device-plugins", "mountPath": _PLUGIN_DIR},
            {"name": "cdi", "mountPath": _CDI_DIR},
        ],
    }


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": _PORT_NAME}, "timeoutSeconds": 5}


def _host_folder(name: str, path: str, kind: str) -> Mapping[str, Any]:
    return {"name": name, "hostPath": {"path": path, "type": kind}}
